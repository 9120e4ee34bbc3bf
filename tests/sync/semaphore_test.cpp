// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/semaphore.hpp>

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

task<> acquire_and_note(weft::semaphore& s, std::vector<int>& order, int who) {
    co_await s.acquire();
    order.push_back(who);
}

task<bool> acquire_within(weft::semaphore& s, weft::duration d) {
    co_return co_await s.acquire_for(d);
}

task<> hold_and(weft::semaphore& s, task<> inside) {
    auto held = co_await s.scoped();
    co_await std::move(inside);
}

task<> fail() {
    co_await weft::yield();
    throw std::runtime_error("inside");
}

} // namespace

TEST_CASE("semaphore: begins with so many permits, with one, or with none", "[T-SEM-01][G-09]") {
    weft::semaphore one;
    CHECK(one.value() == 1);
    weft::semaphore three(3);
    CHECK(three.value() == 3);
    weft::semaphore none(0);
    CHECK(none.value() == 0);
    CHECK_FALSE(none.try_acquire());
    CHECK_THROWS_AS(weft::semaphore(-1), std::invalid_argument);
    CHECK_THROWS_AS(weft::semaphore(PTRDIFF_MIN), std::invalid_argument);
    CHECK_THROWS_AS(weft::semaphore(weft::semaphore::max() + 1), weft::limit_error);
    weft::semaphore many(weft::semaphore::max());
    CHECK(many.value() == weft::semaphore::max());
}

TEST_CASE("semaphore: takes a permit, or waits for one", "[T-SEM-02]") {
    weft::semaphore s(2);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(acquire_and_note(s, order, 1));
            co_await s.acquire();
            co_await s.acquire();
            CHECK(order.empty()); // a permit that is there is taken without a suspension
            co_await until([&] { return s.waiting() == 1; });
            CHECK(s.value() == 0);
            s.release();
            CHECK(order.empty()); // nobody runs inside of release()
        });
    });
    CHECK(order == std::vector<int>{1});
    CHECK(s.value() == 0);
}

TEST_CASE("semaphore: try_acquire says at once whether it has a permit", "[T-SEM-03][G-01]") {
    weft::semaphore s(1);
    CHECK(s.try_acquire());
    CHECK_FALSE(s.try_acquire());
    CHECK_FALSE(s.try_scoped());
    s.release();
    CHECK(s.try_scoped());
    CHECK(s.value() == 1);
}

TEST_CASE("semaphore: a wait with a deadline tells whether it has one",
          "[T-SEM-03][G-02][G-03][G-04]") {
    weft::semaphore s(0);
    bool passed = false;
    on_a_loop([&]() -> task<> {
        const auto begin = std::chrono::steady_clock::now();
        passed = co_await s.acquire_for(3ms);
        CHECK_FALSE(passed);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        passed = co_await s.acquire_until(begin);
        CHECK_FALSE(passed);
        CHECK(s.waiting() == 0);
        for (auto d : {0ns, -1ns, weft::duration::min()}) {
            passed = co_await s.acquire_for(d);
            CHECK_FALSE(passed);
            s.release();
            passed = co_await s.acquire_for(d);
            CHECK(passed);
        }
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waiting = g.spawn(acquire_within(s, weft::tests::patience));
            co_await until([&] { return s.waiting() == 1; });
            s.release();
            passed = co_await waiting.join();
            CHECK(passed);
        });
        CHECK(s.value() == 0);
    });
}

TEST_CASE("semaphore: release(n) lets n through and keeps the rest", "[T-SEM-04]") {
    weft::semaphore s(0);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 5; ++i) {
                g.spawn(acquire_and_note(s, order, i));
                co_await until([&] { return s.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            s.release(3);
            CHECK(s.waiting() == 2);
            CHECK(s.value() == 0);
            co_await until([&] { return order.size() == 3; });
            co_await weft::yield();
            CHECK(order.size() == 3);
            s.release(4);
            CHECK(s.waiting() == 0);
            CHECK(s.value() == 2);
        });
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4}); // as they came
    CHECK(s.try_acquire());
    CHECK(s.try_acquire());
    CHECK_FALSE(s.try_acquire());
}

TEST_CASE("semaphore: less than one permit isn't released, and not too many", "[T-SEM-04][G-09]") {
    weft::semaphore s(1);
    CHECK_THROWS_AS(s.release(0), std::invalid_argument);
    CHECK_THROWS_AS(s.release(-3), std::invalid_argument);
    CHECK(s.value() == 1);
    CHECK_THROWS_AS(s.release(weft::semaphore::max()), weft::limit_error);
    CHECK_THROWS_AS(s.release(PTRDIFF_MAX), weft::limit_error);
    CHECK(s.value() == 1);
    s.release(weft::semaphore::max() - 1);
    CHECK(s.value() == weft::semaphore::max());
}

TEST_CASE("semaphore: nobody overtakes, and it is locked while others wait", "[G-06]") {
    weft::semaphore s(0);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(acquire_and_note(s, order, 1));
            co_await until([&] { return s.waiting() == 1; });
            s.release(); // it is the other one's from here on
            CHECK(s.locked());
            CHECK_FALSE(s.try_acquire());
            s.release();
            co_await acquire_and_note(s, order, 2);
        });
    });
    CHECK(order.size() == 2);
    CHECK(s.locked());
    s.release();
    CHECK_FALSE(s.locked());
}

TEST_CASE("semaphore: each permit lets one more through, whatever the contention",
          "[T-SEM-04][G-14]") {
    weft::semaphore s(0);
    constexpr int each = 2000;
    std::atomic<int> acquired{0};
    auto takes = [&](int n) -> task<> {
        for (int i = 0; i < n; ++i) {
            co_await s.acquire();
            ++acquired;
        }
    };
    auto gives = [&](int n) -> task<> {
        for (int i = 0; i < n; i += 2) {
            s.release(2);
            if (i % 32 == 0)
                co_await weft::yield();
        }
    };
    std::thread taker([&] { weft::sync_wait(takes(each)); });
    std::thread giver([&] { weft::sync_wait(gives(2 * each)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::loop& other = rt.get_loop(1);
        co_await weft::when_all(takes(each), takes(each), gives(2 * each),
                                weft::on(other, takes(each)), weft::on(other, takes(each)),
                                weft::on(other, gives(2 * each)));
    });
    taker.join();
    giver.join();
    CHECK(acquired == 5 * each);
    CHECK(s.value() == each);
    CHECK(s.waiting() == 0);
}

TEST_CASE("semaphore: who is stopped while waiting leaves no trace", "[G-05]") {
    weft::semaphore s(0);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            std::vector<weft::task_handle<>> waiting;
            for (int i = 0; i < 5; ++i) {
                waiting.push_back(g.spawn(acquire_and_note(s, order, i)));
                co_await until([&] { return s.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            waiting[0].cancel();
            waiting[2].cancel();
            waiting[4].cancel();
            CHECK(s.waiting() == 2);
            s.release(3);
        });
    });
    CHECK(order == std::vector<int>{1, 3});
    CHECK(s.value() == 1);
}

TEST_CASE("semaphore: who was given a permit when the stop comes keeps it", "[G-05][P3]") {
    weft::semaphore s(0);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(acquire_and_note(s, order, 1));
            co_await until([&] { return s.waiting() == 1; });
            s.release();
            first.cancel();
        });
    });
    CHECK(order == std::vector<int>{1});
    CHECK(s.value() == 0);
}

TEST_CASE("semaphore: a guard releases on every way out", "[G-08]") {
    weft::semaphore s(2);
    on_a_loop([&]() -> task<> {
        co_await hold_and(s, []() -> task<> { co_return; }());
        CHECK(s.value() == 2);

        CHECK_THROWS_AS(co_await hold_and(s, fail()), std::runtime_error);
        CHECK(s.value() == 2);

        auto stopped = co_await weft::as_result(
            weft::with_timeout(1ms, hold_and(s, weft::as_task(weft::sleep_for(1h)))));
        CHECK(stopped.error());
        CHECK(s.value() == 2);

        auto a = co_await s.scoped();
        auto b = co_await s.scoped_until(weft::never);
        CHECK(b);
        auto c = co_await s.scoped_for(1ms);
        CHECK_FALSE(c);
        b.reset();
        c = co_await s.scoped_for(1h);
        CHECK(c);
        CHECK(s.value() == 0);
    });
    CHECK(s.value() == 2);
}

TEST_CASE("semaphore: it may be destroyed as soon as the last permit was handed over") {
    for (int i = 0; i < 300; ++i) {
        auto s = std::make_unique<weft::semaphore>(0);
        std::thread other([at = s.get()] {
            until_here([&] { return at->waiting() == 1; });
            at->release();
        });
        weft::sync_wait(s->acquire());
        s.reset();
        other.join();
    }
}

namespace {

struct slots {
    static constexpr int many = 3;
    weft::semaphore free{many};
    std::atomic<int> used{0};
    std::atomic<int> too_many{0};

    task<> use(bool stay) {
        if (++used > many)
            ++too_many;
        if (stay)
            co_await weft::yield();
        --used;
    }
};

task<> uses(slots& all, int& count, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    for (const weft::tests::mixing_time t; !t.over() || count == 0;) {
        bool stay = d.below(3) == 0;
        switch (d.below(4)) {
        case 0:
            if (!co_await all.free.acquire_for(d.moment()))
                continue;
            break;
        case 1:
            try {
                co_await weft::with_timeout(d.moment(), all.free.acquire());
            } catch (const weft::timeout_error&) {
                continue;
            }
            break;
        case 2: {
            auto inside = [](slots& s, bool is_long) -> task<> {
                auto held = co_await s.free.scoped();
                co_await weft::shield(s.use(is_long));
                if (is_long)
                    co_await weft::sleep_for(1h); // the stop comes here, with the permit
            };
            static_cast<void>(
                co_await weft::as_result(weft::with_timeout(d.moment(), inside(all, stay))));
            continue;
        }
        default:
            co_await all.free.acquire();
            break;
        }
        co_await all.use(stay);
        ++count;
        all.free.release();
    }
}

} // namespace

TEST_CASE("semaphore: stops at random moments balance every permit", "[G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    slots all;
    std::vector<int> counts(8, 0);
    std::vector<std::thread> threads;
    for (unsigned i = 6; i < 8; ++i)
        threads.emplace_back([&, i] { weft::sync_wait(uses(all, counts[i], seed, i)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> tasks;
        for (unsigned i = 0; i < 6; ++i) {
            auto there = weft::on(rt.get_loop(i % 2), uses(all, counts[i], seed, i));
            tasks.push_back(weft::as_task(std::move(there)));
        }
        co_await weft::when_all(std::move(tasks));
    });
    for (auto& t : threads)
        t.join();
    CHECK(all.too_many == 0);
    CHECK(all.free.value() == slots::many);
    CHECK(all.free.waiting() == 0);
}
