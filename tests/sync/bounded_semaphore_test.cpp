// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/bounded_semaphore.hpp>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

task<> acquire_and_note(weft::bounded_semaphore& s, std::vector<int>& order, int who) {
    co_await s.acquire();
    order.push_back(who);
}

} // namespace

TEST_CASE("bounded_semaphore: begins with so many permits, with one, or with none",
          "[T-SEM-01][G-09]") {
    weft::bounded_semaphore one;
    CHECK(one.value() == 1);
    CHECK(one.initial_value() == 1);
    weft::bounded_semaphore none(0);
    CHECK_FALSE(none.try_acquire());
    CHECK_THROWS_AS(weft::bounded_semaphore(-1), std::invalid_argument);
    CHECK_THROWS_AS(weft::bounded_semaphore(weft::bounded_semaphore::max() + 1), weft::limit_error);
}

TEST_CASE("bounded_semaphore: a release too many is an error and releases nothing", "[T-SEM-05]") {
    weft::bounded_semaphore s(3);
    CHECK_THROWS_AS(s.release(), std::invalid_argument);
    CHECK(s.value() == 3);
    CHECK(s.try_acquire());
    CHECK(s.try_acquire());
    CHECK_THROWS_AS(s.release(3), std::invalid_argument); // two fit
    CHECK_THROWS_AS(s.release(PTRDIFF_MAX), std::invalid_argument);
    CHECK_THROWS_AS(s.release(0), std::invalid_argument);
    CHECK_THROWS_AS(s.release(-1), std::invalid_argument);
    CHECK(s.value() == 1);
    s.release(2);
    CHECK(s.value() == 3);
    CHECK_THROWS_AS(s.release(), std::invalid_argument);

    weft::bounded_semaphore none(0);
    CHECK_THROWS_AS(none.release(), std::invalid_argument);
    CHECK(none.value() == 0);
}

TEST_CASE("bounded_semaphore: a release too many wakes nobody", "[T-SEM-05]") {
    weft::bounded_semaphore s(2);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await s.acquire();
        co_await s.acquire();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 2; ++i) {
                g.spawn(acquire_and_note(s, order, i));
                co_await until([&] { return s.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            CHECK_THROWS_AS(s.release(3), std::invalid_argument);
            CHECK(s.waiting() == 2);
            s.release();
            CHECK(s.waiting() == 1);
            s.release();
        });
    });
    CHECK(order == std::vector<int>{0, 1});
    CHECK(s.value() == 0);
}

TEST_CASE("bounded_semaphore: waits with a deadline, guards, stops", "[T-SEM-03][G-05][G-08]") {
    weft::bounded_semaphore s(1);
    bool passed = false;
    on_a_loop([&]() -> task<> {
        auto held = co_await s.scoped();
        passed = co_await s.acquire_for(2ms);
        CHECK_FALSE(passed);
        passed = static_cast<bool>(co_await s.scoped_for(0ns));
        CHECK_FALSE(passed);
        auto stopped = co_await weft::as_result(weft::with_timeout(1ms, s.acquire()));
        CHECK(stopped.error());
        CHECK(s.waiting() == 0);
        held.reset();
        CHECK(s.try_scoped());
        CHECK(s.value() == 1);
    });
}

TEST_CASE("bounded_semaphore: tasks of two loops and threads balance", "[T-SEM-05][G-14]") {
    weft::bounded_semaphore s(2);
    auto uses = [&]() -> task<> {
        for (int i = 0; i < 500; ++i) {
            co_await s.acquire();
            if (i % 16 == 0)
                co_await weft::yield();
            s.release();
        }
    };
    std::thread other([&] { weft::sync_wait(uses()); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await weft::when_all(uses(), uses(), weft::on(rt.get_loop(1), uses()));
    });
    other.join();
    CHECK(s.value() == 2);
    CHECK(s.waiting() == 0);
    CHECK_THROWS_AS(s.release(), std::invalid_argument);
}
