#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Eight bytes to another process and back over a multiprocessing.Pipe."""
import multiprocessing
import os
import time

COUNT = 20000
WARM_UP = 1000


def return_messages(connection):
    for _ in range(COUNT + WARM_UP):
        connection.send_bytes(connection.recv_bytes())


def ask():
    mine, other = multiprocessing.Pipe()
    process = multiprocessing.Process(target=return_messages, args=(other,))
    process.start()
    message = b"w" * 8
    before = 0
    for i in range(COUNT + WARM_UP):
        if i == WARM_UP:
            before = time.monotonic_ns()
        mine.send_bytes(message)
        mine.recv_bytes()
    each = (time.monotonic_ns() - before) / COUNT
    process.join()
    return each / 1000


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    answer = ask()
    for metric in ("queue sleeping", "connection"):
        print(metric, "us", f"{answer:.6g}", sep="\t")
