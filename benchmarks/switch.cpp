// SPDX-License-Identifier: MIT
// Two tasks that take turns: each goes to the end of the queue.
#include "harness/measure.h"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/when_all.hpp>

constexpr int rounds = 11;
constexpr int per_round = 1000000;

static weft::task<> take_turns() {
    for (int i = 0; i < per_round; ++i)
        co_await weft::yield();
}

static weft::task<> question() {
    double times[rounds];
    for (double& t : times) {
        int64_t begin = wall_ns();
        co_await weft::when_all(take_turns(), take_turns());
        t = static_cast<double>(wall_ns() - begin) / (2.0 * per_round);
    }
    print_metric("time", "ns", median_of(times, rounds));
}

int main() { weft::run(question()); }
