// SPDX-License-Identifier: MIT
// Items through a bounded queue: how many, and what every program checks at the end.
#pragma once
#include "median.hpp"

constexpr int queue_capacity = 1024;
constexpr int item_count = 1000000;

/// What all items add up to: each of `producers` puts the numbers from 0 on.
inline uint64_t sum_of_items(int producers) {
    auto each = static_cast<uint64_t>(item_count / producers);
    return static_cast<uint64_t>(producers) * (each * (each - 1) / 2);
}

inline void check_sum(uint64_t sum, int producers) {
    if (sum == sum_of_items(producers))
        return;
    fprintf(stderr, "items were lost\n");
    exit(1);
}
