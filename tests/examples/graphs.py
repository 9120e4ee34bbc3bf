#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""graphs: a drawing for each graph; what can't be drawn, takes too long or crashes the library costs itself; how much faster it
is than one process.

    tests/examples/graphs.py build/plain/examples/graphs/graphs
"""
import os
import random
import re
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree

from support import descendants, require, run, until


def graph(seed, nodes, edges):
    r = random.Random(seed)
    lines = [f"  n{r.randrange(nodes)} -> n{r.randrange(nodes)} [label=\"{i}\"];" for i in range(edges)]
    return "digraph g {\n" + "\n".join(f"  n{i};" for i in range(nodes)) + "\n" + "\n".join(lines) + "\n}\n"


def main(program):
    with tempfile.TemporaryDirectory() as there:
        os.makedirs(f"{there}/in")
        for i in range(12):
            with open(f"{there}/in/g{i:02}.dot", "w", encoding="utf-8") as f:
                f.write(graph(i, 60, 80))
        done = subprocess.run([program, "--workers", "2", "--out", f"{there}/out", f"{there}/in"],
                              capture_output=True, text=True, timeout=100)
        require(done.returncode == 0, done.stdout + done.stderr)
        require("12 graphs with 720 nodes and 960 edges" in done.stdout and "; 0 failed" in done.stdout, done.stdout)
        require(re.search(r"one process [\d.]+ s, 2 workers [\d.]+ s: [\d.]+ times as fast", done.stdout), done.stdout)
        print(done.stdout.splitlines()[1])
        drawings = sorted(os.listdir(f"{there}/out"))
        require(len(drawings) == 12 and drawings[3] == "0004-g03.svg", drawings)
        for name in drawings:
            svg = xml.etree.ElementTree.parse(f"{there}/out/{name}").getroot()
            groups = [g.get("class") for g in svg.iter("{http://www.w3.org/2000/svg}g")]
            require(groups.count("node") == 60 and groups.count("edge") == 80, f"{name}: not all is drawn")

        # What is wrong with graphs costs the graph.
        with open(f"{there}/wrong.dot", "w", encoding="utf-8") as f:
            f.write("digraph g {\n a -> ;\n}\n")
        with open(f"{there}/empty.dot", "w", encoding="utf-8") as f:
            f.write("")
        with open(f"{there}/endless.dot", "w", encoding="utf-8") as f:
            f.write(graph(1, 400, 12000))
        begin = time.monotonic()
        done = subprocess.run([program, "--workers", "2", "--patience", "4", "--no-compare", "--out", f"{there}/out2",
                               f"{there}/wrong.dot", f"{there}/endless.dot", f"{there}/empty.dot", f"{there}/missing.dot",
                               f"{there}/in"], capture_output=True, text=True, timeout=100)
        require(done.returncode == 1, done.stdout + done.stderr)
        require("16 graphs" in done.stdout and "; 4 failed" in done.stdout, done.stdout + done.stderr)
        require(re.search(r"wrong.dot: .*syntax error in line 2", done.stderr), done.stderr)
        require("endless.dot: took too long" in done.stderr, done.stderr)
        require("empty.dot: there is no graph in it" in done.stderr, done.stderr)
        require(re.search(r"missing.dot: .*No such file", done.stderr), done.stderr)
        require(len(os.listdir(f"{there}/out2")) == 12, "the others are drawn")
        print(f"with bad graphs: {time.monotonic() - begin:.1f} s")

        # A worker that dies over a graph costs a second try; over the same graph once more, the graph.
        with open(f"{there}/fatal.dot", "w", encoding="utf-8") as f:
            f.write(graph(1, 400, 12000))
        process = subprocess.Popen([program, "--workers", "1", "--no-compare", "--out", f"{there}/out3",
                                    f"{there}/fatal.dot", f"{there}/in/g00.dot"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        victims = set()
        for _ in range(2):
            def busy():
                """The worker, when it is at work on the layout."""
                for pid in {pid for pid, _ in descendants(process.pid)} - victims:
                    try:
                        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                            ticks = int(f.read().rpartition(")")[2].split()[11])
                    except (FileNotFoundError, ProcessLookupError):
                        continue
                    if ticks >= 20:
                        return pid
                return None
            pid = until(busy, "a worker draws")
            victims.add(pid)
            os.kill(pid, signal.SIGSEGV)
        out, errors = process.communicate(timeout=100)
        require(process.returncode == 1, out + errors)
        require(re.search(r"fatal.dot: crashed Graphviz, twice: process \d+ was killed by", errors), errors)
        require("2 graphs" in out and "; 1 failed" in out, out)
        require(os.listdir(f"{there}/out3") == ["0002-g00.svg"], "the other is drawn")
        until(lambda: not descendants(os.getpid()), "processes are left", 5)


run(main)
