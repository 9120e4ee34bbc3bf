// SPDX-License-Identifier: MIT
// The questions about two threads, for whatever can post a function to a loop that runs on another.
#pragma once
#include "measure.h"

#include <atomic>
#include <unistd.h>

/// Posts to a loop that sleeps, again and again. The loop must belong to another thread, which is
/// on another processor. Prints how long it takes from the post until the function runs, and how
/// long the poster is held up.
template <class Post>
void ask_wakeups(Post post) {
    constexpr int warm_up = 500;
    constexpr int count = 10000;
    constexpr int64_t until_it_sleeps = 40000;
    static double latency[count], held_up[count];
    for (int i = -warm_up; i < count; ++i) {
        for (int64_t begin = wall_ns(); wall_ns() < begin + until_it_sleeps;) {
        }
        std::atomic<int64_t> ran_at{0};
        int64_t begin = wall_ns();
        post([&ran_at] { ran_at.store(wall_ns(), std::memory_order_release); });
        int64_t posted = wall_ns();
        while (ran_at.load(std::memory_order_acquire) == 0) {
        }
        if (i >= 0) {
            latency[i] = static_cast<double>(ran_at.load() - begin);
            held_up[i] = static_cast<double>(posted - begin);
        }
    }
    print_metric("latency", "us", median_of(latency, count) / 1000);
    print_metric("poster", "us", median_of(held_up, count) / 1000);
}

/// Posts a million functions to a loop that is busy. Prints what one costs the poster, and how long
/// it takes until the last has run. The two calls of getppid mark, for who counts the system calls
/// from outside, where to begin and to end.
template <class Post>
void ask_posts(Post post) {
    constexpr int rounds = 5;
    constexpr int count = 200000;
    double posting[rounds], running[rounds];
    for (int r = 0; r < rounds; ++r) {
        int left = count; // only the loop's thread touches it
        std::atomic<bool> done{false};
        getppid();
        int64_t begin = wall_ns();
        for (int i = 0; i < count; ++i)
            post([&left, &done] {
                if (--left == 0)
                    done.store(true, std::memory_order_release);
            });
        int64_t posted = wall_ns();
        getppid();
        while (!done.load(std::memory_order_acquire)) {
        }
        posting[r] = static_cast<double>(posted - begin) / count;
        running[r] = static_cast<double>(wall_ns() - begin) / count;
    }
    print_metric("poster", "ns", median_of(posting, rounds));
    print_metric("until run", "ns", median_of(running, rounds));
}
