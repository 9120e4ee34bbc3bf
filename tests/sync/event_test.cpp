// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/event.hpp>

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

task<> note_when_set(weft::event& e, std::vector<int>& order, int who) {
    co_await e.wait();
    order.push_back(who);
}

task<> note_that_it_ran(bool& ran) {
    ran = true;
    co_return;
}

task<bool> wait_long(weft::event& e) { co_return co_await e.wait_for(weft::tests::patience); }

task<> note_result(weft::event& e, std::vector<bool>& results) {
    results.push_back(co_await wait_long(e));
}

task<> wait_at_home(weft::event& e, weft::loop& home, std::atomic<int>& right) {
    co_await e.wait();
    if (&weft::this_loop() == &home)
        ++right;
}

} // namespace

TEST_CASE("event: begins unset and says whether it is set", "[T-EVT-01]") {
    weft::event e;
    CHECK_FALSE(e.is_set());
    e.set();
    CHECK(e.is_set());
    e.clear();
    CHECK_FALSE(e.is_set());
}

TEST_CASE("event: set wakes all who wait, in the order in which they came",
          "[T-EVT-02][G-06][G-07]") {
    weft::event e;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 5; ++i)
                g.spawn(note_when_set(e, order, i));
            co_await until([&] { return e.waiting() == 5; });
            e.set();
            CHECK(order.empty()); // nobody runs inside of set()
            e.set();              // changes nothing
        });
        CHECK(e.waiting() == 0);
        co_await note_when_set(e, order, 5); // it stays set
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("event: a wait for a set event doesn't suspend", "[T-EVT-02]") {
    weft::event e;
    bool passed = false;
    e.set();
    bool others_ran = false;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(note_that_it_ran(others_ran));
            co_await e.wait();
            passed = co_await e.wait_for(10s);
            CHECK(passed);
            passed = co_await e.wait_until(weft::never);
            CHECK(passed);
            CHECK_FALSE(others_ran);
        });
    });
    CHECK(others_ran);
}

TEST_CASE("event: after clear, waits wait again", "[T-EVT-03]") {
    weft::event e;
    bool passed = false;
    e.set();
    e.clear();
    e.clear(); // changes nothing
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        passed = co_await e.wait_for(0s);
        CHECK_FALSE(passed);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(note_when_set(e, order, 1));
            co_await until([&] { return e.waiting() == 1; });
            CHECK(order.empty());
            e.set();
        });
    });
    CHECK(order == std::vector<int>{1});
}

TEST_CASE("event: a wait with a deadline tells whether it was set", "[T-EVT-04][G-01][G-03]") {
    weft::event e;
    bool passed = false;
    on_a_loop([&]() -> task<> {
        const auto begin = std::chrono::steady_clock::now();
        passed = co_await e.wait_for(3ms);
        CHECK_FALSE(passed);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        passed = co_await e.wait_until(std::chrono::steady_clock::now() + 1ms);
        CHECK_FALSE(passed);
        CHECK(e.waiting() == 0); // an expired wait leaves no trace
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waiting = g.spawn(wait_long(e));
            co_await until([&] { return e.waiting() == 1; });
            e.set();
            passed = co_await waiting.join();
            CHECK(passed);
        });
        passed = co_await e.wait_for(1h);
        CHECK(passed);
    });
}

TEST_CASE("event: no time, or less, only looks", "[G-04]") {
    weft::event e;
    bool passed = false;
    on_a_loop([&]() -> task<> {
        for (auto d : {0ns, -1ns, weft::duration::min()}) {
            passed = co_await e.wait_for(d);
            CHECK_FALSE(passed);
            e.set();
            passed = co_await e.wait_for(d);
            CHECK(passed);
            e.clear();
        }
        passed = co_await e.wait_until(weft::time_point::min());
        CHECK_FALSE(passed);
        passed = co_await e.wait_for(std::chrono::duration<double>(-1e300));
        CHECK_FALSE(passed);
        e.set();
        passed = co_await e.wait_until(weft::time_point::min());
        CHECK(passed);
        passed = co_await e.wait_for(std::chrono::duration<double>(1e300));
        CHECK(passed);
    });
}

TEST_CASE("event: set and clear at once still release everyone who waited", "[T-EVT-05]") {
    weft::event e;
    std::vector<bool> results;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 4; ++i) {
                g.spawn(note_result(e, results));
            }
            co_await until([&] { return e.waiting() == 4; });
            e.set();
            e.clear();
            CHECK(e.waiting() == 0);
            CHECK_FALSE(e.is_set());
        });
    });
    CHECK(results == std::vector<bool>(4, true));
}

TEST_CASE("event: a stopped wait leaves no trace", "[G-05]") {
    weft::event e;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            std::vector<weft::task_handle<>> waiting;
            for (int i = 0; i < 5; ++i)
                waiting.push_back(g.spawn(note_when_set(e, order, i)));
            co_await until([&] { return e.waiting() == 5; });
            waiting[0].cancel();
            waiting[2].cancel();
            waiting[4].cancel();
            CHECK(e.waiting() == 2);
            e.set();
        });
    });
    CHECK(order == std::vector<int>{1, 3});
}

TEST_CASE("event: a stop that comes after the wake-up changes nothing", "[G-05][P3]") {
    weft::event e;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waiting = g.spawn(note_when_set(e, order, 1));
            co_await until([&] { return e.waiting() == 1; });
            e.set();
            waiting.cancel();
            co_await waiting.join();
        });
    });
    CHECK(order == std::vector<int>{1});
}

TEST_CASE("event: a task that is being stopped doesn't begin to wait", "[G-05]") {
    weft::event e;
    on_a_loop([&]() -> task<> {
        auto stopped = [](weft::event& on) -> task<> {
            // Here the stop comes.
            static_cast<void>(co_await weft::as_result(weft::sleep_until(weft::never)));
            co_await on.wait();
        };
        auto ended = co_await weft::as_result(weft::with_timeout(1ms, stopped(e)));
        CHECK(ended.error());
        CHECK(e.waiting() == 0);
    });
}

TEST_CASE("event: tasks of two loops and threads wait for it at once", "[G-14][G-07]") {
    weft::event e;
    std::atomic<int> threads_woken{0};
    std::atomic<int> at_home{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            weft::sync_wait(e.wait());
            ++threads_woken;
        });
    }
    std::thread setter([&] {
        until_here([&] { return e.waiting() == 7; });
        e.set();
    });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::loop& first = rt.get_loop(0);
        weft::loop& second = rt.get_loop(1);
        co_await weft::when_all(wait_at_home(e, first, at_home), wait_at_home(e, first, at_home),
                                weft::on(second, wait_at_home(e, second, at_home)),
                                weft::on(second, wait_at_home(e, second, at_home)));
    });
    setter.join();
    for (auto& t : threads)
        t.join();
    CHECK(threads_woken == 3);
    CHECK(at_home == 4);
}

TEST_CASE("event: it may be destroyed as soon as its last waiter returned") {
    // The setter is still about to leave set(): under a sanitizer a late look would be seen.
    for (int i = 0; i < 300; ++i) {
        auto e = std::make_unique<weft::event>();
        std::thread setter([&, at = e.get()] {
            until_here([&] { return at->waiting() == 1; });
            at->set();
        });
        weft::sync_wait(e->wait());
        e.reset();
        setter.join();
    }
}

namespace {

struct mixed {
    weft::event e;
    std::atomic<bool> over{false};
    std::atomic<int> ended{0};
};

task<> waits_and_is_stopped(mixed& m, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    while (!m.over) {
        switch (d.below(3)) {
        case 0:
            static_cast<void>(co_await m.e.wait_for(d.moment()));
            break;
        case 1:
            static_cast<void>(co_await weft::as_result(weft::with_timeout(d.moment(), m.e.wait())));
            break;
        default:
            co_await m.e.wait();
            break;
        }
        co_await weft::yield();
    }
    ++m.ended;
}

} // namespace

TEST_CASE("event: waits that are stopped at random lose nobody's wake-up", "[G-05][P3]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    mixed m;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] { weft::sync_wait(waits_and_is_stopped(m, seed, 100 + i)); });
    }
    std::thread setter([&] {
        weft::tests::dice d(seed, 999);
        for (const weft::tests::mixing_time t; !t.over();) {
            m.e.set();
            if (d.below(2) == 0)
                std::this_thread::yield();
            m.e.clear();
        }
        m.over = true;
        m.e.set();
    });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned i = 0; i < 6; ++i) {
            auto there = weft::on(rt.get_loop(i % 2), waits_and_is_stopped(m, seed, i));
            all.push_back(weft::as_task(std::move(there)));
        }
        co_await weft::when_all(std::move(all));
    });
    setter.join();
    for (auto& t : threads)
        t.join();
    CHECK(m.ended == 8);
    CHECK(m.e.waiting() == 0);
}
