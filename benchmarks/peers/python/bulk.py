#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Large messages from a process to another one over a multiprocessing.Pipe."""
import multiprocessing
import os
import statistics
import time

ROUNDS = 3


def pin(n):
    given = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {given[n % len(given)]})


def get_all(connection, n):
    pin(1)
    for _ in range(ROUNDS + 1):
        for _ in range(n):
            connection.recv_bytes()
        connection.send_bytes(b"")


def ask(metric, size, n):
    mine, other = multiprocessing.Pipe()
    process = multiprocessing.Process(target=get_all, args=(other, n))
    process.start()
    message = b"w" * size
    times = []
    for _ in range(ROUNDS + 1):
        before = time.monotonic_ns()
        for _ in range(n):
            mine.send_bytes(message)
        mine.recv_bytes()
        times.append((time.monotonic_ns() - before) / n)
    process.join()
    print(metric, "us", f"{statistics.median(times[1:]) / 1000:.6g}", sep="\t")


if __name__ == "__main__":
    ask("1 MiB", 1 << 20, 60)
    ask("16 MiB", 16 << 20, 6)
