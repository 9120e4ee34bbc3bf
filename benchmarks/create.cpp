// SPDX-License-Identifier: MIT
// Creates and awaits a task that is ready at once.
#include "harness/measure.h"

#include <weft/runtime/runtime.hpp>

#include <vector>

constexpr int rounds = 11;
constexpr int per_round = 1000000;

// Not inlined, as with the peers: what is asked is the price of a frame, not whether the compiler
// gets rid of it.
[[gnu::noinline]] static weft::task<int> ready(int i) { co_return i; }

static weft::task<> question() {
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

    std::vector<weft::task<int>> tasks;
    tasks.reserve(per_round);
    double before = status_bytes("VmRSS:");
    for (int i = 0; i < per_round; ++i)
        tasks.push_back(ready(i));
    print_metric("memory", "bytes", (status_bytes("VmRSS:") - before) / per_round);
}

int main() { weft::run(question()); }
