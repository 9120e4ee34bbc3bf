// SPDX-License-Identifier: MIT
// Hands empty functions to a pool of two threads from outside, and goes there and back from a loop.
#include "harness/pool.hpp"

#include <weft/executors/thread_pool.hpp>
#include <weft/runtime/runtime.hpp>

static weft::task<> round_trips(weft::thread_pool& pool) {
    int64_t begin = wall_ns();
    for (int i = 0; i < trips_awake; ++i)
        co_await pool.call([] {});
    print_metric("round trip awake", "us",
                 static_cast<double>(wall_ns() - begin) / 1000 / trips_awake);

    static double times[trips_parked];
    for (double& t : times) {
        wait_until_it_sleeps();
        begin = wall_ns();
        co_await pool.call([] {});
        t = static_cast<double>(wall_ns() - begin) / 1000;
    }
    print_metric("round trip parked", "us", median_of(times, trips_parked));
}

int main() {
    weft::thread_pool pool({.threads = pool_threads});
    ask_submissions([&pool](std::atomic<int>& ran) {
        static_cast<void>(pool.submit([&ran] { ran.fetch_add(1, std::memory_order_release); }));
    });
    weft::run(round_trips(pool));
}
