// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/latch.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

task<> wait_and_note(weft::latch& l, std::vector<int>& order, int who) {
    co_await l.wait();
    order.push_back(who);
}

task<> arrive_and_count(weft::latch& l, std::atomic<int>& passed) {
    co_await l.arrive_and_wait();
    ++passed;
}

} // namespace

TEST_CASE("latch: at zero everybody goes on, first come, first served", "[G-06][G-07]") {
    weft::latch l(3);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 4; ++i) {
                g.spawn(wait_and_note(l, order, i));
                co_await until([&] { return l.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            l.count_down(2);
            CHECK(l.pending() == 1);
            CHECK_FALSE(l.try_wait());
            CHECK(l.waiting() == 4);
            l.count_down();
            CHECK(l.try_wait());
            CHECK(order.empty()); // nobody runs inside of count_down()
        });
        co_await l.wait(); // and it stays at zero
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("latch: one that begins at zero holds nobody up") {
    weft::latch l(0);
    CHECK(l.try_wait());
    weft::sync_wait(l.wait());
    weft::sync_wait(l.arrive_and_wait(0));
    l.count_down(0);
    CHECK_THROWS_AS(l.count_down(), std::invalid_argument);
}

TEST_CASE("latch: what can't be counted is an error and changes nothing", "[G-09]") {
    CHECK_THROWS_AS(weft::latch(-1), std::invalid_argument);
    weft::latch l(2);
    CHECK_THROWS_AS(l.count_down(-1), std::invalid_argument);
    CHECK_THROWS_AS(l.count_down(3), std::invalid_argument);
    CHECK_THROWS_AS(weft::sync_wait(l.arrive_and_wait(3)), std::invalid_argument);
    l.count_down(0);
    CHECK(l.pending() == 2);
    CHECK_FALSE(l.try_wait());
}

TEST_CASE("latch: a wait with a deadline tells whether it is zero", "[G-02][G-03][G-04]") {
    weft::latch l(1);
    bool passed = true;
    on_a_loop([&]() -> task<> {
        const auto begin = std::chrono::steady_clock::now();
        passed = co_await l.wait_for(3ms);
        CHECK_FALSE(passed);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        passed = co_await l.wait_for(-1ns);
        CHECK_FALSE(passed);
        passed = co_await l.wait_until(begin);
        CHECK_FALSE(passed);
        l.count_down();
        passed = co_await l.wait_for(0ns);
        CHECK(passed);
        passed = co_await l.wait_until(weft::time_point::min());
        CHECK(passed);
    });
}

TEST_CASE("latch: who is stopped while waiting leaves no trace, but has arrived", "[G-05]") {
    weft::latch l(2);
    std::atomic<int> passed{0};
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(wait_and_note(l, order, 1));
            auto second = g.spawn(arrive_and_count(l, passed));
            co_await until([&] { return l.waiting() == 2; });
            first.cancel();
            second.cancel();
            CHECK(l.waiting() == 0);
            CHECK(l.pending() == 1);
            g.spawn(arrive_and_count(l, passed));
        });
    });
    CHECK(passed == 1);
    CHECK(order.empty());
}

TEST_CASE("latch: all arrive before anybody goes on, from loops and threads", "[G-14]") {
    constexpr int parties = 6;
    weft::latch l(parties);
    std::atomic<int> came{0};
    std::atomic<int> too_early{0};
    auto party = [&]() -> task<> {
        ++came;
        co_await l.arrive_and_wait();
        if (came != parties)
            ++too_early;
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([&] { weft::sync_wait(party()); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await weft::when_all(party(), party(), weft::on(rt.get_loop(1), party()),
                                weft::on(rt.get_loop(1), party()));
    });
    for (auto& t : threads)
        t.join();
    CHECK(too_early == 0);
    CHECK(l.pending() == 0);
}

TEST_CASE("latch: it may be destroyed as soon as a wait has ended") {
    for (int i = 0; i < 300; ++i) {
        auto l = std::make_unique<weft::latch>(1);
        std::thread other([at = l.get(), i] {
            if (i % 2 == 0)
                until_here([&] { return at->waiting() == 1; });
            at->count_down();
        });
        weft::sync_wait(l->wait());
        l.reset();
        other.join();
    }
}
