#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Eight bytes to another process and back over a multiprocessing.Pipe."""
import multiprocessing
import os
import statistics
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
    laps = []
    last = time.monotonic_ns()
    for _ in range(COUNT + WARM_UP):
        mine.send_bytes(message)
        mine.recv_bytes()
        now = time.monotonic_ns()
        laps.append(now - last)
        last = now
    process.join()
    return statistics.median(laps[WARM_UP:]) / 1000


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    answer = ask()
    for metric in ("queue sleeping", "connection"):
        print(metric, "us", f"{answer:.6g}", sep="\t")
