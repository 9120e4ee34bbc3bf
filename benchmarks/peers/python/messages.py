#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Messages of 64 bytes through a multiprocessing.Queue from processes to other processes."""
import multiprocessing
import os
import statistics
import time

COUNT = 40000
ROUNDS = 3


def pin(n):
    given = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {given[n % len(given)]})


def put_all(queue, begin, n):
    pin(0)
    message = b"w" * 64
    for _ in range(ROUNDS + 1):
        begin.acquire()
        for _ in range(n):
            queue.put(message)


def get_all(queue, begin, done, n):
    pin(1)
    for _ in range(ROUNDS + 1):
        begin.acquire()
        for _ in range(n):
            queue.get()
        done.release()


def ask(metric, each_side):
    queue = multiprocessing.Queue()
    begin, begin_getting, done = (multiprocessing.Semaphore(0) for _ in range(3))
    n = COUNT // each_side
    processes = [multiprocessing.Process(target=put_all, args=(queue, begin, n)) for _ in range(each_side)]
    processes += [multiprocessing.Process(target=get_all, args=(queue, begin_getting, done, n)) for _ in range(each_side)]
    for p in processes:
        p.start()
    times = []
    for _ in range(ROUNDS + 1):
        before = time.monotonic_ns()
        for _ in range(each_side):
            begin.release()
            begin_getting.release()
        for _ in range(each_side):
            done.acquire()
        times.append((time.monotonic_ns() - before) / COUNT)
    for p in processes:
        p.join()
    print(metric, "ns", f"{statistics.median(times[1:]):.6g}", sep="\t")


if __name__ == "__main__":
    ask("1:1", 1)
    ask("4:4", 4)
