// SPDX-License-Identifier: MIT
// Two coroutines of Asio that take turns: each goes to the end of the queue.
#include "../../harness/measure.h"

#include <asio.hpp>

using executor = asio::io_context::executor_type;

constexpr int rounds = 11;
constexpr int per_round = 200000;

static asio::awaitable<void, executor> take_turns() {
    asio::use_awaitable_t<executor> token;
    executor ex = co_await asio::this_coro::executor;
    for (int i = 0; i < per_round; ++i)
        co_await asio::post(ex, token);
}

int main() {
    double times[rounds];
    for (double& t : times) {
        asio::io_context context(1);
        co_spawn(context, take_turns(), asio::detached);
        co_spawn(context, take_turns(), asio::detached);
        int64_t begin = wall_ns();
        context.run();
        t = static_cast<double>(wall_ns() - begin) / (2.0 * per_round);
    }
    print_metric("time", "ns", median_of(times, rounds));
}
