// SPDX-License-Identifier: MIT
// The questions about a pool of threads.
#pragma once
#include "measure.h"

#include <atomic>

constexpr unsigned pool_threads = 2;
constexpr int submissions = 1000000;
constexpr int trips_awake = 100000;
constexpr int trips_parked = 5000;

/// Lets the pool go to sleep, which isn't part of the time.
inline void wait_until_it_sleeps() {
    for (int64_t begin = wall_ns(); wall_ns() < begin + 200000;) {
    }
}

/// Submits empty functions from this thread; until the last has run.
template <class Submit>
void ask_submissions(Submit submit) {
    constexpr int rounds = 5;
    double times[rounds];
    for (int r = -1; r < rounds; ++r) {
        std::atomic<int> ran{0};
        int64_t begin = wall_ns();
        for (int i = 0; i < submissions; ++i)
            submit(ran);
        while (ran.load(std::memory_order_acquire) != submissions) {
        }
        if (r >= 0)
            times[r] = static_cast<double>(wall_ns() - begin) / submissions;
    }
    print_metric("submit", "ns", median_of(times, rounds));
}
