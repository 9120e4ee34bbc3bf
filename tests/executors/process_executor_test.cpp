// SPDX-License-Identifier: MIT
// A process pool and a thread pool behind the same interface, and what only processes show.
#include <weft/executors/cpus.hpp>
#include <weft/executors/map.hpp>
#include <weft/executors/process_pool.hpp>
#include <weft/executors/thread_pool.hpp>
#include <weft/executors/wait.hpp>

#include <weft/ipc/error.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>

#include <catch2/catch.hpp>

#include <poll.h>
#include <ranges>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;

int slowly(int n) {
    ::poll(nullptr, 0, 20);
    return n;
}
int set_by_the_program = 0;
int what_the_program_set() { return set_by_the_program; }
// Hangs until its worker is killed.
int for_ever(int n) {
    while (true)
        ::poll(nullptr, 0, 1000);
    return n;
}

// The words of an executor, whatever it runs on.
template <executor E>
task<std::string> tour(E& pool) {
    std::string told;
    auto square = [](int n) { return n * n; };
    future<int> nine = pool.submit(square, 3);
    told += std::to_string(co_await nine) + " ";
    auto squares = map(pool, {.chunk = 2}, square, std::views::iota(1, 6));
    while (auto n = co_await squares.next())
        told += std::to_string(*n) + " ";
    std::vector<future<int>> all;
    for (int i = 0; i != 3; ++i)
        all.push_back(pool.submit(square, i));
    auto w = co_await wait(all);
    told += std::to_string(w.done().size()) + " done ";
    auto fails = [](int) -> int { throw std::out_of_range("no such thing"); };
    try {
        co_await pool.submit(fails, 1);
    } catch (const std::out_of_range& e) {
        told += e.what();
    }
    co_await pool.shutdown(shutdown_options());
    try {
        static_cast<void>(pool.submit(square, 1));
    } catch (const state_error&) {
        told += ", and no more";
    }
    co_return told;
}

} // namespace

TEST_CASE("executor: threads and processes are used in the same words",
          "[MP-POOL-21][MP-DUM-01][MP-POOL-11]") {
    run([]() -> task<> {
        const std::string expected = "9 1 4 9 16 25 3 done no such thing, and no more";
        process_pool processes({.workers = 2});
        thread_pool threads({.threads = 2});
        auto by_processes = co_await tour(processes);
        auto by_threads = co_await tour(threads);
        CHECK(by_processes == expected);
        CHECK(by_threads == expected);
    }());
}

TEST_CASE("process_pool: without a number it has one worker for each usable CPU",
          "[CF-PPE-01][MP-POOL-01]") {
    run([]() -> task<> {
        process_pool pool;
        CHECK(pool.size() == usable_cpus());
        process_pool three({.workers = 3, .min_workers = 0});
        CHECK(three.size() == 3);
        co_return;
    }());
}

TEST_CASE("process_pool: a future is waited for with a limit, and asked how it is",
          "[MP-POOL-20]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        future<int> f = pool.submit({.stop_grace = 0s}, fn<&for_ever>, 1);
        bool done = co_await f.wait_for(1ms);
        CHECK_FALSE(done);
        CHECK_FALSE(f.done());
        bool timed_out = false;
        try {
            co_await f.result_for(1ms);
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        f.request_stop();
        co_await f.wait(); // never throws
        CHECK(f.done());
        CHECK(f.cancelled());
    }());
}

TEST_CASE("map: what comes before a bad item of the input arrives, and the pool stays of use",
          "[MP-POOL-09][MP-POOL-07]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        auto until_five = std::views::iota(1) | std::views::transform([](int n) {
                              return n == 5 ? throw std::runtime_error("a bad item") : n;
                          });
        for (std::size_t chunk = 1; chunk != 4; ++chunk) {
            auto results = map(pool, {.chunk = chunk, .look_ahead = 2}, fn<&slowly>, until_five);
            std::vector<int> got;
            std::string error;
            try {
                while (auto n = co_await results.next())
                    got.push_back(*n);
            } catch (const std::runtime_error& e) {
                error = e.what();
            }
            CHECK(error == "a bad item");
            // Whole pieces only.
            CHECK(got.size() == 4 / chunk * chunk);
            CHECK(std::ranges::equal(got, std::views::iota(1, 1 + static_cast<int>(got.size()))));
        }
        auto again = co_await pool.submit(fn<&slowly>, 7);
        CHECK(again == 7);
    }());
}

TEST_CASE("process_pool: a worker has what it is given, and not what the program has",
          "[MP-GUIDE-03]") {
    set_by_the_program = 5;
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto seen = co_await pool.submit(fn<&what_the_program_set>);
        CHECK(seen == 0);
    }());
}
