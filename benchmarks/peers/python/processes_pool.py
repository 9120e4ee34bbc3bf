#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Calls in the worker processes of a multiprocessing.Pool."""
import multiprocessing
import os
import statistics
import time

TRIPS = 2000
SUBMISSIONS = 10000
ROUNDS = 3


GIVEN = sorted(os.sched_getaffinity(0))


def pin(n, thread=0):
    os.sched_setaffinity(thread, {GIVEN[n % len(GIVEN)]})


def pin_all_threads(n):
    """What serves a pool has threads of its own, where weft's has its caller's."""
    for thread in os.listdir("/proc/self/task"):
        pin(n, int(thread))


def wait_until_it_sleeps():
    """As long as in the other programs, and as there without going to sleep."""
    end = time.monotonic_ns() + 200000
    while time.monotonic_ns() < end:
        pass


def twice(n):
    return 2 * n


def bytes_of(size):
    return b"w" * size


def report(metric, unit, value):
    print(metric, unit, f"{value:.6g}", sep="\t", flush=True)


def time_of(work):
    before = time.monotonic_ns()
    work()
    return time.monotonic_ns() - before


def ask(metric, unit, scale, work):
    report(metric, unit, statistics.median([time_of(work) for _ in range(ROUNDS + 1)][1:]) / scale)


def ask_round_trips():
    with multiprocessing.Pool(1, pin, (1,)) as pool:
        pool.apply(twice, (1,))
        pin_all_threads(0)
        laps = []
        for _ in range(TRIPS // 4):
            wait_until_it_sleeps()
            laps.append(time_of(lambda: pool.apply(twice, (1,))))
        report("round trip asleep", "us", statistics.median(laps) / 1000)
        laps = [time_of(lambda: pool.apply(twice, (1,))) for _ in range(TRIPS)]
        report("round trip spinning", "us", statistics.median(laps) / 1000)


def submit_all(pool):
    for r in [pool.apply_async(twice, (i,)) for i in range(SUBMISSIONS)]:
        r.get()


def map_all(pool, n, chunk):
    for _ in pool.imap(twice, range(n), chunk):
        pass


def ask_throughput():
    with multiprocessing.Pool(2) as pool:
        ask("submit", "ns", SUBMISSIONS, lambda: submit_all(pool))
        ask("map 1", "ns", 10000, lambda: map_all(pool, 10000, 1))
        ask("map 100", "ns", 200000, lambda: map_all(pool, 200000, 100))


def ask_large():
    with multiprocessing.Pool(1, pin, (1,)) as pool:
        for name, size, n in (("1 MiB", 1 << 20, 20), ("16 MiB", 16 << 20, 3)):
            message = b"w" * size
            ask(f"{name} argument", "us", n * 1000, lambda: [pool.apply(len, (message,)) for _ in range(n)])
            ask(f"{name} result", "us", n * 1000, lambda: [pool.apply(bytes_of, (size,)) for _ in range(n)])


if __name__ == "__main__":
    ask_round_trips()
    os.sched_setaffinity(0, GIVEN)
    ask_throughput()
    ask_large()
