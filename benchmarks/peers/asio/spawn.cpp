// SPDX-License-Identifier: MIT
// Spawns a million coroutines of Asio and waits for the last.
#include "../../harness/measure.h"

#include <asio.hpp>

using executor = asio::io_context::executor_type;

constexpr int rounds = 5;
constexpr int count = 1000000;

static asio::awaitable<void, executor> child(unsigned& sum) {
    ++sum;
    co_return;
}

int main() {
    double times[rounds];
    double before = status_bytes("VmRSS:");
    asio::io_context context(1);
    for (double& t : times) {
        unsigned sum = 0;
        int64_t begin = wall_ns();
        for (int i = 0; i < count; ++i)
            co_spawn(context, child(sum), asio::detached);
        context.run();
        context.restart();
        t = static_cast<double>(wall_ns() - begin) / count;
        if (sum != count)
            return 1;
    }
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - before) / count);
    print_metric("first", "ns", times[0]);
    print_metric("time", "ns", median_of(times + 1, rounds - 1));
}
