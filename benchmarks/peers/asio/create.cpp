// SPDX-License-Identifier: MIT
// Creates and awaits a coroutine of Asio that is ready at once.
#include "../../harness/measure.h"

#include <asio.hpp>

#include <vector>

using executor = asio::io_context::executor_type;

constexpr int rounds = 11;
constexpr int per_round = 1000000;

[[gnu::noinline]] static asio::awaitable<int, executor> ready(int i) { co_return i; }

static asio::awaitable<void, executor> question() {
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

    std::vector<asio::awaitable<int, executor>> tasks;
    tasks.reserve(per_round);
    double before = status_bytes("VmRSS:");
    for (int i = 0; i < per_round; ++i)
        tasks.push_back(ready(i));
    print_metric("memory", "bytes", (status_bytes("VmRSS:") - before) / per_round);
}

int main() {
    asio::io_context context(1);
    co_spawn(context, question(), asio::detached);
    context.run();
}
