// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/mutex.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

task<> note_and_unlock(weft::mutex& m, std::vector<int>& order, int who) {
    co_await m.lock();
    order.push_back(who);
    m.unlock();
}

task<bool> lock_within(weft::mutex& m, weft::duration d) { co_return co_await m.lock_for(d); }

task<bool> lock_until(weft::mutex& m, weft::time_point t) { co_return co_await m.lock_until(t); }

task<> hold_and(weft::mutex& m, task<> inside) {
    auto held = co_await m.scoped();
    co_await std::move(inside);
}

task<> fail() {
    co_await weft::yield();
    throw std::runtime_error("inside");
}

// Locks, and for as long as it has it nobody else may; sometimes with a suspension inside.
class room {
public:
    weft::mutex lock;

    task<> visit(bool stay) {
        if (inside_.exchange(true))
            ++collisions;
        if (stay)
            co_await weft::yield();
        ++visits; // not atomic: the mutex guards it
        inside_.store(false);
    }

    long visits = 0;
    std::atomic<int> collisions{0};

private:
    std::atomic<bool> inside_{false};
};

} // namespace

TEST_CASE("mutex: locks when free, waits when not", "[T-LOCK-01]") {
    weft::mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        CHECK(m.locked());
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(note_and_unlock(m, order, 1));
            co_await until([&] { return m.waiting() == 1; });
            CHECK(order.empty());
            m.unlock();
        });
        CHECK(order == std::vector<int>{1});
        CHECK_FALSE(m.locked());
    });
}

TEST_CASE("mutex: a free one is locked without a suspension", "[T-LOCK-01]") {
    weft::mutex m;
    bool passed = false;
    on_a_loop([&]() -> task<> {
        std::vector<int> order;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(note_and_unlock(m, order, 1));
            for (int i = 0; i < 3; ++i) {
                co_await m.lock();
                m.unlock();
                passed = co_await m.lock_for(1h);
                CHECK(passed);
                m.unlock();
                auto held = co_await m.scoped();
                held.reset();
                passed = static_cast<bool>(co_await m.scoped_until(weft::never));
                CHECK(passed);
            }
            CHECK(order.empty());
        });
        CHECK(order == std::vector<int>{1});
    });
}

TEST_CASE("mutex: try_lock says at once whether it has it", "[T-LOCK-02][G-01]") {
    weft::mutex m;
    CHECK(m.try_lock());
    CHECK_FALSE(m.try_lock());
    CHECK_FALSE(m.try_scoped());
    m.unlock();
    CHECK(m.try_scoped());
    CHECK_FALSE(m.locked());
}

TEST_CASE("mutex: an expired wait changes nothing for the others", "[T-LOCK-03][G-03][G-02]") {
    weft::mutex m;
    bool passed = false;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(note_and_unlock(m, order, 1));
            co_await until([&] { return m.waiting() == 1; });
            auto expiring = g.spawn(lock_within(m, 3ms));
            co_await until([&] { return m.waiting() == 2; });
            g.spawn(note_and_unlock(m, order, 2));
            co_await until([&] { return m.waiting() == 3; });
            const auto begin = std::chrono::steady_clock::now();
            passed = co_await expiring.join();
            CHECK_FALSE(passed);
            CHECK(std::chrono::steady_clock::now() - begin < weft::tests::patience / 2);
            CHECK(m.locked());
            CHECK(m.waiting() == 2);
            CHECK(order.empty());
            m.unlock();
        });
        CHECK(order == std::vector<int>{1, 2});
        CHECK_FALSE(m.locked());
    });
}

TEST_CASE("mutex: a deadline isn't early, and others don't put it off", "[T-LOCK-03][G-02]") {
    weft::mutex m;
    bool passed = false;
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        const auto deadline = std::chrono::steady_clock::now() + 20ms;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waiting = g.spawn(lock_until(m, deadline));
            co_await until([&] { return m.waiting() == 1 || waiting.done(); });
            while (!waiting.done()) { // others come and go behind it
                passed = co_await m.lock_for(1ms);
                CHECK_FALSE(passed);
            }
            CHECK(std::chrono::steady_clock::now() >= deadline);
            passed = co_await waiting.join();
            CHECK_FALSE(passed);
        });
        m.unlock();
    });
}

TEST_CASE("mutex: no time, or less, means to try once", "[G-04][T-LOCK-04]") {
    weft::mutex m;
    bool passed = false;
    on_a_loop([&]() -> task<> {
        for (auto d : {0ns, -1ns, weft::duration::min()}) {
            passed = co_await m.lock_for(d);
            CHECK(passed);
            passed = co_await m.lock_for(d);
            CHECK_FALSE(passed);
            passed = static_cast<bool>(co_await m.scoped_for(d));
            CHECK_FALSE(passed);
            m.unlock();
            passed = static_cast<bool>(co_await m.scoped_for(d));
            CHECK(passed);
            CHECK_FALSE(m.locked());
        }
        passed = co_await m.lock_until(weft::time_point::min());
        CHECK(passed);
        passed = co_await m.lock_until(std::chrono::steady_clock::now() - 1h);
        CHECK_FALSE(passed);
        m.unlock();
    });
}

TEST_CASE("mutex: anybody may unlock it, and one waiter gets it", "[T-LOCK-05]") {
    weft::mutex m;
    REQUIRE(m.try_lock());
    std::atomic<int> have_it{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            weft::sync_wait(m.lock());
            ++have_it;
        });
    }
    until_here([&] { return m.waiting() == 3; });
    for (int n = 1; n <= 3; ++n) {
        m.unlock(); // never locked by this thread, the first time apart
        until_here([&] { return have_it == n; });
        CHECK(m.waiting() == static_cast<std::size_t>(3 - n));
        CHECK(m.locked());
    }
    for (auto& t : threads)
        t.join();
    CHECK(have_it == 3);
    m.unlock();
    CHECK_FALSE(m.locked());
}

TEST_CASE("mutex: unlocking a free one is an error and changes nothing", "[T-LOCK-05][G-09]") {
    weft::mutex m;
    CHECK_THROWS_AS(m.unlock(), weft::state_error);
    CHECK_FALSE(m.locked());
    CHECK(m.try_lock());
    m.unlock();
    CHECK_THROWS_AS(m.unlock(), weft::state_error);
}

TEST_CASE("mutex: locked() is a look, from anywhere", "[T-LOCK-06][G-14]") {
    weft::mutex m;
    std::thread other([&] { weft::sync_wait(m.lock()); });
    other.join();
    CHECK(m.locked());
    m.unlock();
    CHECK_FALSE(m.locked());
}

TEST_CASE("mutex: who has it doesn't get it again, and is told that it would wait for ever",
          "[T-LOCK-07]") {
    weft::mutex m;
    bool passed = true;
    std::string text;
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        CHECK_FALSE(m.try_lock());
        passed = co_await m.lock_for(2ms);
        CHECK_FALSE(passed);
        try {
            co_await m.lock();
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::resource_deadlock_would_occur);
            text = e.what();
        }
        CHECK_THAT(text, Catch::Contains("task main") && Catch::Contains("mutex_test.cpp:"));
        CHECK_THROWS_AS(co_await m.scoped(), std::system_error);
        // The same task, in a timeout, a shield, and on its way out.
        CHECK_THROWS_AS(co_await weft::with_timeout(1h, m.lock()), std::system_error);
        CHECK_THROWS_AS(co_await weft::shield(m.lock()), std::system_error);
        CHECK(m.locked());
        CHECK(m.waiting() == 0);
        m.unlock();
        CHECK_FALSE(m.locked());
    });
    REQUIRE(m.try_lock());
    try {
        weft::sync_wait(m.lock());
    } catch (const std::system_error& e) {
        text = e.what();
    }
    CHECK_THAT(text, Catch::Contains("task sync_wait"));
    m.unlock();
}

TEST_CASE("mutex: who waits for a task that unlocks it isn't taken for its holder", "[T-LOCK-07]") {
    weft::mutex m;
    std::vector<int> order;
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        auto unlocks = [&]() -> task<> {
            m.unlock();
            co_return;
        };
        for (int i = 0; i < 100; ++i) {
            co_await m.lock();
            co_await weft::on(rt.get_loop(1), unlocks());
            co_await m.lock(); // somebody else unlocked it: this is no deadlock
            m.unlock();
        }
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            g.spawn(note_and_unlock(m, order, 1)); // a child is another task
            co_await until([&] { return m.waiting() == 1; });
            m.unlock();
        });
    });
    CHECK(order == std::vector<int>{1});
}

TEST_CASE("mutex: knows who locked it") {
    weft::mutex m;
    CHECK_FALSE(m.locked_here());
    CHECK(m.try_lock());
    CHECK(m.locked_here());
    std::thread([&] { CHECK_FALSE(m.locked_here()); }).join();
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        CHECK(m.locked_here()); // the thread waits for this task, and for nothing else
        m.unlock();
        co_await m.lock();
        auto looks = [&]() -> task<bool> { co_return m.locked_here(); };
        bool here = co_await weft::on(rt.get_loop(1), looks());
        CHECK(here);
        here = co_await weft::with_timeout(1h, looks());
        CHECK(here);
        auto beside = co_await weft::when_all(looks(), looks());
        CHECK_FALSE(std::get<0>(beside));
        m.unlock();
        CHECK_FALSE(m.locked_here());
    });
}

TEST_CASE("mutex: first come, first served, and nobody overtakes", "[G-06]") {
    weft::mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            for (int i = 0; i < 8; ++i) {
                g.spawn(note_and_unlock(m, order, i));
                co_await until([&] { return m.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            m.unlock();
            CHECK(order.empty());      // nobody runs inside of unlock()
            CHECK_FALSE(m.try_lock()); // it belongs to the first of them already
            co_await note_and_unlock(m, order, 8);
        });
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("mutex: tasks of two loops and threads are served as they came", "[G-06][G-07][G-14]") {
    weft::mutex m;
    std::vector<int> order;
    std::vector<std::thread> threads;
    auto comes = [&](std::size_t n) { return [&m, n] { return m.waiting() == n; }; };
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            for (int i = 0; i < 9; ++i) {
                if (i % 3 == 0)
                    g.spawn(note_and_unlock(m, order, i));
                else if (i % 3 == 1)
                    g.spawn(weft::on(rt.get_loop(1), note_and_unlock(m, order, i)));
                else
                    threads.emplace_back([&, i] { weft::sync_wait(note_and_unlock(m, order, i)); });
                co_await until(comes(static_cast<std::size_t>(i) + 1));
            }
            m.unlock();
        });
    });
    for (auto& t : threads)
        t.join();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("mutex: who is stopped while waiting leaves no trace", "[G-05]") {
    weft::mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            std::vector<weft::task_handle<>> waiting;
            for (int i = 0; i < 5; ++i) {
                waiting.push_back(g.spawn(note_and_unlock(m, order, i)));
                co_await until([&] { return m.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            waiting[0].cancel();
            waiting[2].cancel();
            waiting[4].cancel();
            CHECK(m.waiting() == 2);
            m.unlock();
        });
    });
    CHECK(order == std::vector<int>{1, 3});
    CHECK_FALSE(m.locked());
}

TEST_CASE("mutex: who was given it when the stop comes goes on with it", "[G-05][P3]") {
    weft::mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            auto first = g.spawn(note_and_unlock(m, order, 1));
            g.spawn(note_and_unlock(m, order, 2));
            co_await until([&] { return m.waiting() == 2; });
            m.unlock();
            first.cancel();
        });
    });
    CHECK(order == std::vector<int>{1, 2});
    CHECK_FALSE(m.locked());
}

TEST_CASE("mutex: a guard unlocks on every way out", "[G-08]") {
    weft::mutex m;
    on_a_loop([&]() -> task<> {
        co_await hold_and(m, []() -> task<> { co_return; }());
        CHECK_FALSE(m.locked());

        CHECK_THROWS_AS(co_await hold_and(m, fail()), std::runtime_error);
        CHECK_FALSE(m.locked());

        auto stopped = co_await weft::as_result(
            weft::with_timeout(1ms, hold_and(m, weft::as_task(weft::sleep_for(1h)))));
        CHECK(stopped.error());
        CHECK_FALSE(m.locked());
    });
}

TEST_CASE("mutex: a guard is moved, given back early, or let go", "[G-08]") {
    weft::mutex m;
    on_a_loop([&]() -> task<> {
        auto a = co_await m.scoped();
        CHECK(a);
        weft::guard<weft::mutex> b = std::move(a);
        CHECK_FALSE(a); // NOLINT(bugprone-use-after-move)
        CHECK(b);
        CHECK(m.locked());
        b = weft::guard<weft::mutex>();
        CHECK_FALSE(m.locked());

        b = m.try_scoped();
        b.reset();
        b.reset();
        CHECK_FALSE(m.locked());

        b = co_await m.scoped();
        CHECK(b.release() == &m);
        CHECK_FALSE(b);
        CHECK(m.locked());
        m.unlock();
    });
    static_assert(!std::is_copy_constructible_v<weft::guard<weft::mutex>>);
}

TEST_CASE("mutex: a guard that lost a race unlocks", "[G-08][G-05]") {
    weft::mutex m;
    on_a_loop([&]() -> task<> {
        // Both end in the same turn: the loser's result is dropped with the results of when_any.
        auto held = co_await m.scoped();
        auto unlocks = [](weft::guard<weft::mutex>& h) -> task<int> {
            h.reset();
            co_return 1;
        };
        {
            auto first = co_await weft::when_any(unlocks(held), m.scoped());
            CHECK(first.index() == 0);
        }
        CHECK_FALSE(m.locked());
        CHECK(m.waiting() == 0);
    });
}

TEST_CASE("mutex: it may be destroyed as soon as it was handed over") {
    for (int i = 0; i < 300; ++i) {
        auto m = std::make_unique<weft::mutex>();
        std::atomic<bool> locked{false};
        std::thread other([at = m.get(), &locked] {
            locked = at->try_lock();
            until_here([&] { return at->waiting() == 1; });
            at->unlock();
        });
        until_here([&] { return locked.load(); });
        weft::sync_wait(m->lock());
        m.reset();
        other.join();
    }
}

namespace {

task<> visits(room& r, long& count, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    for (const weft::tests::mixing_time m; !m.over() || count == 0;) {
        bool stay = d.below(8) == 0;
        switch (d.below(5)) {
        case 0:
            if (!co_await r.lock.lock_for(d.moment()))
                continue;
            break;
        case 1:
            // Stopped at some moment: then it hasn't the lock, or else it isn't stopped any more.
            try {
                co_await weft::with_timeout(d.moment(), r.lock.lock());
            } catch (const weft::timeout_error&) {
                continue;
            }
            break;
        case 2:
            if (!r.lock.try_lock()) {
                co_await weft::yield();
                continue;
            }
            break;
        case 3: {
            // Stopped anywhere: while waiting, or inside.
            auto inside = [](room& at, bool s) -> task<> {
                auto held = co_await at.lock.scoped();
                co_await weft::shield(at.visit(s));
                held.reset();
                co_await weft::sleep_for(1h);
            };
            static_cast<void>(
                co_await weft::as_result(weft::with_timeout(d.moment(), inside(r, stay))));
            continue;
        }
        default:
            co_await r.lock.lock();
            break;
        }
        co_await r.visit(stay);
        ++count;
        r.lock.unlock();
    }
}

} // namespace

TEST_CASE("mutex: stops at random moments balance every lock", "[G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    room r;
    std::vector<long> counts(8, 0);
    std::vector<std::thread> threads;
    for (unsigned i = 6; i < 8; ++i) {
        threads.emplace_back([&, i] { weft::sync_wait(visits(r, counts[i], seed, i)); });
    }
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned i = 0; i < 6; ++i) {
            auto there = weft::on(rt.get_loop(i % 2), visits(r, counts[i], seed, i));
            all.push_back(weft::as_task(std::move(there)));
        }
        co_await weft::when_all(std::move(all));
    });
    for (auto& t : threads)
        t.join();
    CHECK(r.collisions == 0);
    CHECK(r.lock.waiting() == 0);
    CHECK_FALSE(r.lock.locked());
}
