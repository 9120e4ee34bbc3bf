// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/capacity_limiter.hpp>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

task<> borrow_and_note(weft::capacity_limiter& l, std::vector<int>& order, int who) {
    co_await l.acquire();
    order.push_back(who);
    l.release();
}

} // namespace

TEST_CASE("capacity_limiter: lends so many tokens, one to each borrower", "[G-09]") {
    CHECK_THROWS_AS(weft::capacity_limiter(0), std::invalid_argument);
    CHECK_THROWS_AS(weft::capacity_limiter(-1), std::invalid_argument);
    weft::capacity_limiter l(2);
    std::array<int, 3> borrowers{};
    CHECK(l.total() == 2);
    CHECK(l.try_acquire());
    CHECK(l.has());
    CHECK(l.try_acquire(&borrowers[0]));
    CHECK_FALSE(l.try_acquire(&borrowers[1]));
    CHECK(l.borrowed() == 2);
    CHECK(l.available() == 0);
    CHECK_FALSE(l.has(&borrowers[1]));
    CHECK_THROWS_AS(l.release(&borrowers[1]), weft::state_error);
    l.release(&borrowers[0]);
    CHECK_THROWS_AS(l.release(&borrowers[0]), weft::state_error);
    CHECK(l.borrowed() == 1);
    std::thread([&] { CHECK_THROWS_AS(l.release(), weft::state_error); }).join();
    l.release();
    CHECK(l.available() == 2);
}

TEST_CASE("capacity_limiter: nobody borrows twice") {
    weft::capacity_limiter l(5);
    int thing = 0;
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        auto mine = co_await l.scoped();
        CHECK_THROWS_AS(co_await l.acquire(), weft::state_error);
        CHECK_THROWS_AS(l.try_acquire(), weft::state_error);
        // The same task elsewhere,
        CHECK_THROWS_AS(co_await weft::on(rt.get_loop(1), l.acquire()), weft::state_error);
        CHECK_THROWS_AS(co_await weft::with_timeout(1h, l.acquire()), weft::state_error);
        // and another one beside it.
        std::vector<int> order;
        co_await weft::when_all(borrow_and_note(l, order, 1), borrow_and_note(l, order, 2));
        CHECK(order.size() == 2);
        co_await l.acquire(&thing);
        CHECK_THROWS_AS(co_await l.acquire(&thing), weft::state_error);
        l.release(&thing);
        CHECK(l.borrowed() == 1);
    });
    // Who waits has asked already.
    weft::capacity_limiter one(1);
    on_a_loop([&]() -> task<> {
        co_await one.acquire();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(weft::as_task(one.acquire(&thing)));
            co_await until([&] { return one.waiting() == 1; });
            CHECK_THROWS_AS(co_await one.acquire(&thing), weft::state_error);
            CHECK_THROWS_AS(one.release(&thing), weft::state_error);
            one.release();
        });
        CHECK(one.has(&thing));
        one.release(&thing);
    });
    CHECK(one.available() == 1);
}

TEST_CASE("capacity_limiter: first come, first served, and nobody overtakes", "[G-06]") {
    weft::capacity_limiter l(1);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await l.acquire();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 40; ++i) { // the table grows meanwhile
                g.spawn(borrow_and_note(l, order, i));
                co_await until([&] { return l.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            l.release();
            CHECK(order.empty());
            CHECK_FALSE(l.try_acquire());
        });
    });
    REQUIRE(order.size() == 40);
    for (int i = 0; i < 40; ++i)
        CHECK(order[static_cast<std::size_t>(i)] == i);
    CHECK(l.borrowed() == 0);
}

TEST_CASE("capacity_limiter: the total is changed while it is in use") {
    weft::capacity_limiter l(1);
    std::array<int, 6> who{};
    CHECK_THROWS_AS(l.set_total(0), std::invalid_argument);
    on_a_loop([&]() -> task<> {
        co_await l.acquire(&who[0]);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (std::size_t i = 1; i < 5; ++i) {
                g.spawn(weft::as_task(l.acquire(&who[i])));
                co_await until([&] { return l.waiting() == i; });
            }
            l.set_total(3);
            CHECK(l.waiting() == 2);
            CHECK(l.borrowed() == 3);
            l.set_total(1);
            CHECK(l.available() == -2);
            l.release(&who[0]);
            l.release(&who[1]);
            CHECK(l.waiting() == 2); // still as many as there may be
            CHECK_FALSE(l.try_acquire(&who[5]));
            l.release(&who[2]);
            CHECK(l.waiting() == 1);
            l.set_total(10);
            CHECK(l.waiting() == 0);
        });
        l.release(&who[3]);
        l.release(&who[4]);
    });
    CHECK(l.borrowed() == 0);
    CHECK(l.available() == 10);
}

TEST_CASE("capacity_limiter: waits with a deadline, stops, tokens that give themselves back",
          "[G-02][G-04][G-05][G-08]") {
    weft::capacity_limiter l(1);
    int thing = 0;
    bool passed = true;
    on_a_loop([&]() -> task<> {
        auto held = co_await l.scoped();
        const auto begin = std::chrono::steady_clock::now();
        passed = co_await l.acquire_until(begin + 3ms, &thing);
        CHECK_FALSE(passed);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        passed = co_await l.acquire_for(0ns, &thing);
        CHECK_FALSE(passed);
        passed = static_cast<bool>(co_await l.scoped_for(1ms, &thing));
        CHECK_FALSE(passed);
        auto stopped = co_await weft::as_result(weft::with_timeout(1ms, l.acquire(&thing)));
        CHECK(stopped.error());
        CHECK(l.waiting() == 0);
        held.reset();
        passed = co_await l.acquire_for(-1ns, &thing); // no trace of the former tries
        CHECK(passed);
        l.release(&thing);
        auto a = co_await l.scoped_until(weft::never, &thing);
        CHECK(a);
        auto b = std::move(a);
        CHECK(l.borrowed() == 1);
        b = weft::capacity_limiter::token();
        CHECK(l.borrowed() == 0);
        b = l.try_scoped();
        CHECK(b);
        b.reset();
        auto now = []() -> task<> { co_return; };
        {
            auto first = co_await weft::when_any(now(), l.scoped());
            CHECK(first.index() == 0);
        }
        CHECK(l.borrowed() == 0);
    });
}

TEST_CASE("capacity_limiter: who was lent one when the stop comes keeps it", "[G-05][P3]") {
    weft::capacity_limiter l(1);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await l.acquire();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(borrow_and_note(l, order, 1));
            co_await until([&] { return l.waiting() == 1; });
            l.release();
            first.cancel();
        });
    });
    CHECK(order == std::vector<int>{1});
    CHECK(l.borrowed() == 0);
}

TEST_CASE("capacity_limiter: stops at random moments balance every token", "[G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    weft::capacity_limiter l(3);
    std::atomic<int> used{0};
    std::atomic<int> too_many{0};
    std::vector<int> counts(8, 0);
    auto uses = [&](unsigned who) -> task<> {
        weft::tests::dice d(seed, who);
        for (const weft::tests::mixing_time t; !t.over() || counts[who] == 0;) {
            auto inside = [&](bool stay) -> task<> {
                auto token = co_await l.scoped();
                if (++used > 4)
                    ++too_many;
                --used;
                if (stay)
                    co_await weft::yield();
            };
            if (d.below(16) == 0)
                l.set_total(1 + d.below(4));
            bool stay = d.below(3) == 0;
            if (d.below(2) == 0) {
                static_cast<void>(
                    co_await weft::as_result(weft::with_timeout(d.moment(), inside(stay))));
            } else {
                co_await inside(stay);
                ++counts[who];
            }
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 6; i < 8; ++i)
        threads.emplace_back([&, i] { weft::sync_wait(uses(i)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned i = 0; i < 6; ++i) {
            auto there = weft::on(rt.get_loop(i % 2), uses(i));
            all.push_back(weft::as_task(std::move(there)));
        }
        co_await weft::when_all(std::move(all));
    });
    for (auto& t : threads)
        t.join();
    CHECK(too_many == 0);
    CHECK(l.borrowed() == 0);
    CHECK(l.waiting() == 0);
}
