// SPDX-License-Identifier: MIT
// How often locks are taken, and what every program checks at the end.
#pragma once
#include "median.hpp"

constexpr int alone_count = 10000000;
constexpr int tasks_each = 32; // on each of two threads
constexpr int contended_count = 1 << 20;

/// What happens under the lock isn't optimised away.
inline void keep(uint64_t& value) { asm volatile("" : "+m"(value)); }

inline void check_count(uint64_t counter) {
    if (counter == contended_count)
        return;
    fprintf(stderr, "two held the lock at once\n");
    exit(1);
}
