// SPDX-License-Identifier: MIT
// The questions about work that is done in other processes.
#pragma once
#include "measure.h"

#include <cstring>
#include <sys/types.h>
#include <vector>

constexpr int trips_asleep = 3000;
constexpr int trips_spinning = 100000;
constexpr int starts = 60;

/// What a program says and does that is started to answer and nothing else.
constexpr const char* answers_only = "--answer";

/// A program without arguments asks all its questions, else those that are named.
inline bool is_asked(int argc, char** argv, const char* question) {
    for (int i = 1; i < argc; ++i)
        if (std::strcmp(argv[i], question) == 0)
            return true;
    return argc < 2;
}

/// Lets the other process go to sleep, which isn't part of the time.
inline void wait_until_it_sleeps() {
    for (int64_t begin = wall_ns(); wall_ns() < begin + 200000;) {
    }
}

inline double median_of(std::vector<double>& times) {
    return median_of(times.data(), times.size());
}
