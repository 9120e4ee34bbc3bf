// SPDX-License-Identifier: MIT
// Spawns a million tasks in a group, all of which exist before the first runs, and waits for the
// last.
#include "harness/measure.h"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>

constexpr int rounds = 5;
constexpr int count = 1000000;

[[gnu::noinline]] static weft::task<> child(unsigned& sum) {
    ++sum;
    co_return;
}

static weft::task<> question() {
    double times[rounds];
    double before = status_bytes("VmRSS:");
    for (double& t : times) {
        unsigned sum = 0;
        int64_t begin = wall_ns();
        co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
            for (int i = 0; i < count; ++i)
                group.spawn(child(sum));
            co_return;
        });
        t = static_cast<double>(wall_ns() - begin) / count;
        if (sum != count)
            std::abort();
    }
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - before) / count);
    print_metric("first", "ns", times[0]);
    print_metric("time", "ns", median_of(times + 1, rounds - 1));
}

int main() { weft::run(question()); }
