// SPDX-License-Identifier: MIT
#include <weft/runtime/wait.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using weft::return_when;
using weft::task;
using weft::task_handle;
using namespace std::chrono_literals;
using places = std::vector<std::size_t>;

namespace {

task<int> gives(int n, int turns) {
    for (int i = 0; i < turns; ++i)
        co_await weft::yield();
    co_return n;
}
task<int> fails(int turns) {
    for (int i = 0; i < turns; ++i)
        co_await weft::yield();
    throw std::runtime_error("out");
}
task<int> sleeps() {
    co_await weft::sleep_for(1h);
    co_return 0;
}

// Handles of tasks that end after so many turns; 0 is never, a negative number an error.
std::vector<task_handle<int>> start(const std::vector<int>& turns) {
    std::vector<task_handle<int>> handles;
    for (int t : turns)
        handles.push_back(t == 0  ? weft::spawn(sleeps())
                          : t > 0 ? weft::spawn(gives(t, t))
                                  : weft::spawn(fails(-t)));
    return handles;
}
task<> finish(std::vector<task_handle<int>>& handles) {
    for (auto& h : handles) {
        h.cancel();
        auto r = co_await weft::as_result(h.join());
        static_cast<void>(r);
    }
}

} // namespace

TEST_CASE("wait: tells who has ended, by policy", "[AIO-GATH-05]") {
    weft::run([]() -> task<> {
        auto handles = start({9, 1, -4, 11});
        auto w = co_await weft::wait(handles, return_when::first_completed);
        CHECK(w.done() == places{1});
        CHECK(w.not_done() == places{0, 2, 3});
        w = co_await weft::wait(handles, return_when::first_exception);
        CHECK(w.done() == places{1, 2});
        w = co_await weft::wait(handles);
        CHECK(w.done() == places{0, 1, 2, 3});
        CHECK(w.not_done().empty());
        int n = co_await handles[3].join();
        CHECK(n == 11);
        co_await finish(handles);
    }());
}

TEST_CASE("wait: without an exception, first_exception waits for all; a stop is none",
          "[AIO-GATH-05]") {
    weft::run([]() -> task<> {
        auto handles = start({2, 0, 4});
        handles[1].cancel();
        auto w = co_await weft::wait(handles, return_when::first_exception);
        CHECK(w.done() == places{0, 1, 2});
        auto more = start({0, 3});
        more[0].cancel();
        w = co_await weft::wait(more, return_when::first_completed); // here a stop counts
        CHECK(w.done() == places{0});
        co_await finish(more);
    }());
}

TEST_CASE("wait: what had ended before counts at once", "[AIO-GATH-05]") {
    weft::run([]() -> task<> {
        auto handles = start({1, -1, 0});
        co_await weft::yield();
        co_await weft::yield();
        for (auto policy : {return_when::first_completed, return_when::first_exception}) {
            auto w = co_await weft::wait(handles, policy, weft::time_point::min());
            CHECK(w.done() == places{0, 1});
        }
        co_await finish(handles);
    }());
}

TEST_CASE("wait: neither its deadline nor its stop touches the tasks", "[AIO-GATH-05]") {
    weft::run([]() -> task<> {
        auto handles = start({0, 1});
        co_await handles[1].join();
        auto w =
            co_await weft::wait(handles, return_when::all_completed, weft::deadline_after(1ms));
        CHECK(w.done() == places{1});
        CHECK(w.not_done() == places{0});
        auto r = co_await weft::as_result(weft::with_timeout(1ms, weft::wait(handles)));
        CHECK_THROWS_AS(r.value(), weft::timeout_error);
        CHECK_FALSE(handles[0].done());
        CHECK(handles[0].cancelling() == 0);
        co_await finish(handles);
        CHECK(handles[0].stopped()); // its end finds no listener that is gone
    }());
}

TEST_CASE("wait: for nothing, or for an empty handle, is a mistake", "[AIO-GATH-05]") {
    std::vector<task_handle<int>> none;
    CHECK_THROWS_AS(weft::wait(none), std::invalid_argument);
    none.emplace_back();
    CHECK_THROWS_AS(weft::wait(none), std::invalid_argument);
    CHECK_THROWS_AS(weft::as_completed(none), std::invalid_argument);
}

TEST_CASE("wait: looking at an error doesn't fetch it", "[P6]") {
    weft::tests::stray_errors stray;
    weft::run([&]() -> task<> {
        auto handles = start({-1});
        auto w = co_await weft::wait(handles);
        CHECK(w.done() == places{0});
        CHECK(stray.texts().empty());
    }());
    CHECK(stray.texts() == std::vector<std::string>{"out"});
}

TEST_CASE("as_completed: those that have ended first, then in the order of their ends",
          "[AIO-GATH-06]") {
    weft::run([]() -> task<> {
        auto handles = start({5, 1, 7, -3});
        co_await handles[1].join();
        auto order = weft::as_completed(handles);
        places seen;
        while (auto i = co_await order.next()) {
            CHECK(handles[*i].done());
            seen.push_back(*i);
        }
        CHECK(seen == places{1, 3, 0, 2});
        co_await finish(handles);
        std::vector<task_handle<int>> none;
        auto of_none = weft::as_completed(none);
        auto end = co_await of_none.next();
        CHECK_FALSE(end.has_value());
    }());
}

TEST_CASE("as_completed: notes the order also while nobody asks", "[AIO-GATH-06]") {
    weft::run([]() -> task<> {
        auto handles = start({3, 2, 1});
        auto order = weft::as_completed(handles);
        for (int i = 0; i < 5; ++i)
            co_await weft::yield();
        places seen;
        while (auto i = co_await order.next())
            seen.push_back(*i);
        CHECK(seen == places{2, 1, 0});
    }());
}

TEST_CASE("as_completed: at its deadline it throws, and the rest goes on", "[AIO-GATH-06]") {
    weft::run([]() -> task<> {
        auto handles = start({1, 0, 0});
        // Those that are done come first, even if the deadline is over.
        co_await handles[0].join();
        auto late = weft::as_completed(handles, weft::time_point::min());
        auto first = co_await late.next();
        CHECK(first == 0);
        auto r = co_await weft::as_result(late.next());
        CHECK_THROWS_AS(r.value(), weft::timeout_error);
        CHECK_THROWS_WITH(r.value(), "2 (of 3) tasks unfinished");
        auto in_time = weft::as_completed(handles, weft::deadline_after(1ms));
        first = co_await in_time.next();
        CHECK(first == 0);
        auto s = co_await weft::as_result(in_time.next());
        CHECK_THROWS_AS(s.value(), weft::timeout_error);
        CHECK_FALSE(handles[1].done());
        CHECK(handles[1].cancelling() == 0);
        co_await finish(handles);
    }());
}

TEST_CASE("as_completed: many tasks, dropped in the middle") {
    weft::run([]() -> task<> {
        std::vector<int> turns;
        for (int i = 0; i < 10'000; ++i)
            turns.push_back(1 + i % 7);
        auto handles = start(turns);
        {
            auto order = weft::as_completed(handles);
            for (int i = 0; i < 5'000; ++i) {
                auto place = co_await order.next();
                CHECK(place.has_value());
            }
        }
        auto w = co_await weft::wait(handles);
        CHECK(w.done().size() == 10'000);
    }());
}
