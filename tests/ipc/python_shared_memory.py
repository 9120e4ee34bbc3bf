#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""weft's shared memory and lists against multiprocessing.shared_memory, each made here and used there, with every CPython that is
found whose lists have today's layout (3.11 and later). [SHM-03] [SHM-04] [SHM-05] [SHL-01] [SHL-02] [SHL-03] [SHL-05] [SHL-07]

Usage: python_shared_memory.py PROGRAM          looks for interpreters and runs itself with each of them
       python_shared_memory.py PROGRAM --here   runs with this one
"""
from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import resource_tracker, shared_memory

LIMIT = 60
ITEMS = [1, "ab", None, True, b"x", 2.5]
CHANGED = [False, None, "12345678", 2.25, 2 ** 40, b"xyz"]
MADE = [-7, "text \u00e9", None, True, b"bytes", 0.5]


def shown(items: list) -> list:
    """As the program shows them."""
    def one(i: object) -> str:
        if i is None:
            return "None"
        if isinstance(i, bool):
            return f"bool {int(i)}"
        if isinstance(i, bytes):
            return "bytes " + i.hex()
        return f"{type(i).__name__} {i}"
    return [one(i) for i in items]


def read(lines: str) -> list:
    return [f"float {float.fromhex(x[6:])}" if x.startswith("float ") else x for x in lines.splitlines()]


def here(program: str) -> int:
    failures = 0

    def expect(what: str, got: object, wanted: object) -> None:
        nonlocal failures
        if got != wanted:
            failures += 1
            print(f"FAILED: {what}: {got!r} instead of {wanted!r}", flush=True)

    def run(*arguments: str) -> str:
        return subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, timeout=LIMIT).stdout

    block = shared_memory.SharedMemory(create=True, size=5000)
    try:
        block.buf[:3] = b"abc"
        expect("adding", run("add", block.name), "")
        expect("bytes", bytes(block.buf[:4]), b"bcd\1")
        expect("size", len(block.buf), 5000)
    finally:
        block.close()
        block.unlink()

    theirs = shared_memory.ShareableList(ITEMS)
    try:
        expect("Python's list", read(run("show", theirs.shm.name)), shown(ITEMS))
        expect("changing", run("change", theirs.shm.name), "")
        expect("changed", list(theirs), CHANGED)
        theirs[5] = "again"
        expect("changed back", read(run("show", theirs.shm.name)), shown(CHANGED[:5] + ["again"]))
    finally:
        theirs.shm.close()
        theirs.shm.unlink()

    maker = subprocess.Popen([program, "make"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ours = shared_memory.ShareableList(name=maker.stdout.readline().strip())
    expect("weft's list", list(ours), MADE)
    ours[0] = "12345678"
    ours[1] = b"bytes"
    ours[4] = None
    # Up to 3.12 whoever opens a block is thought to own it.
    resource_tracker.unregister(ours.shm._name, "shared_memory")
    ours.shm.close()
    said, _ = maker.communicate(timeout=LIMIT)
    expect("weft's list, changed", read(said), shown(["12345678", b"bytes", None, True, None, 0.5]))

    print(f"{sys.version.split()[0]}: {'ok' if failures == 0 else f'{failures} failures'}", flush=True)
    return 1 if failures else 0


def main() -> int:
    program = os.path.abspath(sys.argv[1])
    if sys.argv[2:] == ["--here"]:
        return here(program)
    from python_connection import interpreters
    found = interpreters(since=(3, 11))
    if not found:
        print("no CPython of 3.11 or later was found")
        return 77
    status = 0
    for interpreter in found:
        status |= subprocess.run([interpreter, __file__, program, "--here"]).returncode
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
