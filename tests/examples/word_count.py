#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""word_count: the counts are those of a program of ten lines, whatever the parts; what can't be read costs itself; workers
may be killed; a bar on a terminal, lines elsewhere; how much faster it is than one process.

    tests/examples/word_count.py build/plain/examples/word_count/word_count
"""
import collections
import os
import pty
import random
import re
import signal
import subprocess
import tempfile
import time

from support import descendants, require, run, until

# What separates words besides ASCII, as words.cpp has it.
WORD = re.compile(r"[A-Za-z0-9\u00c0-\u1fff\u2070-\u2fff\u3040-\U0010ffff]+")
SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def expected(texts):
    counts = collections.Counter()
    for text in texts:
        counts.update(w.translate(SMALL) for w in WORD.findall(text))
    return counts


def counted(out):
    return {m[2]: int(m[1]) for m in re.finditer(r"^ *(\d+)  (\S+)$", out, re.M)}


def make_text(seed, words):
    r = random.Random(seed)
    known = ["the", "The", "weft", "Straße", "naïve", "日本", "don't", "x1", "Ελλάδα", "thread", "“quoted”", "a—b"]
    known += ["word%d" % i for i in range(2000)]
    return "".join(r.choice(known) + r.choice([" ", "\n", ", ", ".\n", "\u3000", "-"]) for _ in range(words))


def main(program):
    def word_count(*arguments, **more):
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=100, **more)

    with tempfile.TemporaryDirectory() as there:
        texts = [make_text(seed, 200_000) for seed in range(3)] + ["", "one", "no end"]
        for i, text in enumerate(texts):
            os.makedirs(f"{there}/{i % 2}", exist_ok=True)
            with open(f"{there}/{i % 2}/{i}.txt", "w", encoding="utf-8") as f:
                f.write(text)
        os.symlink("/nowhere", f"{there}/link")
        wanted = expected(texts)
        for part in "1", "256":
            done = word_count("--top", "5000", "--part", part, "--workers", "2", there)
            require(done.returncode == 0, done.stderr)
            got = counted(done.stdout)
            require(got == wanted, f"differences: {list((collections.Counter(got) - wanted).items())[:5]}, "
                                   f"{list((wanted - collections.Counter(got)).items())[:5]}")
            require(f"{sum(wanted.values())} words, {len(wanted)} different ones" in done.stdout, done.stdout[-300:])
            require(re.search(r"one process [\d.]+ s, 2 workers [\d.]+ s: [\d.]+ times as fast", done.stdout),
                    done.stdout[-300:])
        require(re.search(r"^word_count: 100% of [\d.]+ MB$", done.stderr, re.M), f"lines say how far it is: {done.stderr}")
        print(done.stdout.splitlines()[-1])

        # What can't be read is told, and the rest counted.
        secret = f"{there}/secret"
        with open(secret, "w", encoding="utf-8") as f:
            f.write("secret " * 10)
        os.chmod(secret, 0)
        readable = os.access(secret, os.R_OK)  # root reads everything
        done = word_count("--no-compare", f"{there}/0", f"{there}/missing", "/dev/null", secret)
        require(done.returncode == 1, done.returncode)
        require("missing: No such file" in done.stderr and "/dev/null: " in done.stderr, done.stderr)
        require(readable or f"{secret}: Permission denied" in done.stderr, done.stderr)
        require(f"left out: {2 if readable else 3}" in done.stdout, done.stdout)
        require(counted(done.stdout)["the"] > 100, done.stdout)

        # A worker that is killed costs nothing.
        with open(f"{there}/large", "w", encoding="utf-8") as f:
            for _ in range(40):
                f.write(texts[0])
        wanted = {w: 40 * n for w, n in expected(texts[:1]).items()}
        killed = 0
        for _ in range(10):  # it may be done before we come to that
            process = subprocess.Popen([program, "--no-compare", "--part", "1", "--workers", "2", "--top", "5000",
                                        f"{there}/large"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            require("10% of" in process.stderr.readline(), "it doesn't count")
            while process.poll() is None and killed < 3:
                workers = [pid for pid, _ in descendants(process.pid)]
                if len(workers) == 2:
                    try:
                        os.kill(workers[killed % 2], signal.SIGKILL)
                        killed += 1
                    except ProcessLookupError:
                        pass
                time.sleep(0.02)
            out, errors = process.communicate(timeout=100)
            require(process.returncode == 0, errors)
            require(counted(out) == wanted, "another result after deaths")
            if killed > 0:
                break
        require(killed > 0, "nobody was there to be killed")

        # A bar, where somebody looks.
        outer, inner = pty.openpty()
        process = subprocess.Popen([program, "--no-compare", "--part", "1", "--workers", "1", there],
                                   stdout=subprocess.DEVNULL, stderr=inner)
        os.close(inner)
        shown = b""
        while True:
            try:
                more = os.read(outer, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            shown += more
        os.close(outer)
        require(process.wait(100) == 0 or not readable, process.returncode)
        require(re.search(rb"\r\[#*\.*\] +\d+%  [\d.]+ MB of [\d.]+ MB", shown), f"no bar: {shown[:200]}")
        require(shown.endswith(b"\r\x1b[K"), f"the bar is left behind: {shown[-100:]}")

        require(word_count().returncode == 2, "no arguments")
        require(word_count("--part", "0", there).returncode == 2, "parts of nothing")
        until(lambda: not descendants(os.getpid()), "processes are left", 5)


run(main)
