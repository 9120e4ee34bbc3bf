// SPDX-License-Identifier: MIT
// Creates and awaits a coroutine that is ready at once, by hand.
#include "../../harness/measure.h"
#include "coroutine.hpp"

#include <vector>

constexpr int rounds = 11;
constexpr int per_round = 1000000;

// Not inlined, so that the frame isn't optimised away: a task that is worth its name can't be,
// either.
[[gnu::noinline]] static by_hand::task<int> ready(int i) { co_return i; }

static by_hand::detached question() {
    double times[rounds];
    unsigned sum = 0;
    for (double& t : times) {
        int64_t begin = wall_ns();
        for (int i = 0; i < per_round; ++i)
            sum += static_cast<unsigned>(co_await ready(i));
        t = static_cast<double>(wall_ns() - begin) / per_round;
    }
    if (sum == 0)
        std::abort();
    print_metric("time", "ns", median_of(times, rounds));

    std::vector<by_hand::task<int>> tasks;
    tasks.reserve(per_round);
    double before = status_bytes("VmRSS:");
    for (int i = 0; i < per_round; ++i)
        tasks.push_back(ready(i));
    print_metric("memory", "bytes", (status_bytes("VmRSS:") - before) / per_round);
}

int main() { question().frame.resume(); }
