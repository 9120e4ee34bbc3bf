// SPDX-License-Identifier: MIT
// Posts to Asio's thread_pool, and goes there and back from a coroutine on an io_context.
#include "../../harness/pool.hpp"

#include <asio.hpp>

using home = asio::io_context::executor_type;

static asio::awaitable<void, home> round_trips(asio::thread_pool& pool) {
    auto here = co_await asio::this_coro::executor;
    auto there_and_back = [&] {
        return asio::async_initiate<const asio::use_awaitable_t<home>&, void()>(
            [&](auto handler) {
                asio::post(pool, [here, h = std::move(handler)]() mutable {
                    asio::post(here, [h = std::move(h)]() mutable { h(); });
                });
            },
            asio::use_awaitable_t<home>());
    };
    int64_t begin = wall_ns();
    for (int i = 0; i < trips_awake; ++i)
        co_await there_and_back();
    print_metric("round trip awake", "us",
                 static_cast<double>(wall_ns() - begin) / 1000 / trips_awake);

    static double times[trips_parked];
    for (double& t : times) {
        wait_until_it_sleeps();
        begin = wall_ns();
        co_await there_and_back();
        t = static_cast<double>(wall_ns() - begin) / 1000;
    }
    print_metric("round trip parked", "us", median_of(times, trips_parked));
}

int main() {
    asio::thread_pool pool(pool_threads);
    ask_submissions([&pool](std::atomic<int>& ran) {
        asio::post(pool, [&ran] { ran.fetch_add(1, std::memory_order_release); });
    });
    asio::io_context context(1);
    asio::co_spawn(context, round_trips(pool), asio::detached);
    context.run();
}
