// SPDX-License-Identifier: MIT
// Asks a question several times and prints the median of the answers.
#pragma once
#include "measure.h"

/// `round()` does `count` things; prints what one of them takes. The first round isn't counted.
template <class Round>
void print_time_each(const char* metric, double count, Round round, int rounds = 7) {
    double times[64];
    round();
    for (int r = 0; r < rounds; ++r) {
        int64_t begin = wall_ns();
        round();
        times[r] = static_cast<double>(wall_ns() - begin) / count;
    }
    print_metric(metric, "ns", median_of(times, static_cast<size_t>(rounds)));
}
