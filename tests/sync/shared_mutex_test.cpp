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
#include <weft/sync/shared_mutex.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

// Each notes itself when it has the lock, and keeps it until its letter is in `go`.
struct desk {
    weft::shared_mutex m;
    std::string came;
    std::string go;

    task<> read(char who) {
        auto held = co_await m.scoped_shared();
        came += who;
        co_await stay(who);
    }
    task<> write(char who) {
        auto held = co_await m.scoped();
        came += who;
        co_await stay(who);
    }
    task<> stay(char who) {
        while (go.find(who) == std::string::npos)
            co_await weft::yield();
    }
    task<> until_waiting(std::size_t n) {
        auto so_many = [this, n] { return m.waiting() == n; };
        co_await until(so_many);
    }
    task<> until_came(std::string_view who) {
        auto are_there = [this, who] { return came == who; };
        co_await until(are_there);
    }
};

} // namespace

TEST_CASE("shared_mutex: readers have it together, a writer alone") {
    weft::shared_mutex m;
    CHECK(m.try_lock_shared());
    CHECK(m.try_lock_shared());
    CHECK(m.readers() == 2);
    CHECK_FALSE(m.locked());
    CHECK_FALSE(m.try_lock());
    CHECK_FALSE(m.try_scoped());
    m.unlock_shared();
    CHECK_FALSE(m.try_lock());
    m.unlock_shared();
    CHECK(m.try_lock());
    CHECK(m.locked());
    CHECK_FALSE(m.try_lock());
    CHECK_FALSE(m.try_lock_shared());
    CHECK_FALSE(m.try_scoped_shared());
    m.unlock();
    CHECK(m.try_scoped());
    CHECK(m.try_scoped_shared());
    CHECK_FALSE(m.locked());
    CHECK(m.readers() == 0);
}

TEST_CASE("shared_mutex: what nobody has locked so can't be unlocked so", "[G-09]") {
    weft::shared_mutex m;
    CHECK_THROWS_AS(m.unlock(), weft::state_error);
    CHECK_THROWS_AS(m.unlock_shared(), weft::state_error);
    REQUIRE(m.try_lock());
    CHECK_THROWS_AS(m.unlock_shared(), weft::state_error);
    m.unlock();
    REQUIRE(m.try_lock_shared());
    CHECK_THROWS_AS(m.unlock(), weft::state_error);
    CHECK(m.readers() == 1);
    m.unlock_shared();
}

TEST_CASE("shared_mutex: first come, first served, and readers side by side together", "[G-06]") {
    desk d;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(d.read('a'));
            co_await d.until_came("a");
            g.spawn(d.write('B'));
            co_await d.until_waiting(1);
            // No reader overtakes the writer,
            g.spawn(d.read('c'));
            co_await d.until_waiting(2);
            CHECK_FALSE(d.m.try_lock_shared());
            g.spawn(d.read('d'));
            co_await d.until_waiting(3);
            g.spawn(d.write('E'));
            co_await d.until_waiting(4);
            g.spawn(d.read('f'));
            co_await d.until_waiting(5);
            d.go += 'a';
            co_await d.until_came("aB");
            d.go += 'B';
            co_await d.until_came("aBcd"); // and no reader the one behind it
            CHECK(d.m.readers() == 2);
            d.go += 'c';
            for (int i = 0; i < 5; ++i)
                co_await weft::yield();
            CHECK(d.came == "aBcd");
            d.go += 'd';
            co_await d.until_came("aBcdE");
            CHECK(d.m.locked());
            d.go += "Ef";
        });
    });
    CHECK(d.came == "aBcdEf");
    CHECK(d.m.try_lock());
    d.m.unlock();
}

TEST_CASE("shared_mutex: readers behind a writer that is stopped, or late, go on", "[G-05]") {
    desk d;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(d.read('a'));
            co_await d.until_came("a");
            auto writer = g.spawn(d.write('B'));
            co_await d.until_waiting(1);
            g.spawn(d.read('c'));
            co_await d.until_waiting(2);
            writer.cancel();
            co_await d.until_came("ac");
            CHECK(d.m.waiting() == 0);

            auto late = g.spawn(
                [](weft::shared_mutex& m) -> task<bool> { co_return co_await m.lock_for(3ms); },
                std::ref(d.m));
            co_await d.until_waiting(1);
            g.spawn(d.read('d'));
            bool passed = co_await late.join();
            CHECK_FALSE(passed);
            co_await d.until_came("acd");

            // A stopped reader is in nobody's way.
            g.spawn(d.write('E'));
            co_await d.until_waiting(1);
            auto reader = g.spawn(d.read('f'));
            co_await d.until_waiting(2);
            reader.cancel();
            CHECK(d.m.waiting() == 1);
            d.go += "acdE";
        });
    });
    CHECK(d.came == "acdE");
    CHECK(d.m.try_lock());
    d.m.unlock();
}

TEST_CASE("shared_mutex: waits with a deadline tell whether they have it", "[G-02][G-03][G-04]") {
    weft::shared_mutex m;
    bool passed = true;
    on_a_loop([&]() -> task<> {
        auto held = co_await m.scoped_shared();
        passed = co_await m.lock_shared_for(0ns);
        CHECK(passed);
        m.unlock_shared();
        const auto begin = std::chrono::steady_clock::now();
        passed = co_await m.lock_until(begin + 3ms);
        CHECK_FALSE(passed);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        passed = co_await m.lock_for(-1ns);
        CHECK_FALSE(passed);
        passed = static_cast<bool>(co_await m.scoped_for(1ms));
        CHECK_FALSE(passed);
        held.reset();
        auto alone = co_await m.scoped_until(weft::never);
        CHECK(alone);
        passed = co_await m.lock_shared_until(weft::time_point::min());
        CHECK_FALSE(passed);
        passed = static_cast<bool>(co_await m.scoped_shared_for(1ms));
        CHECK_FALSE(passed);
        alone.reset();
        passed = static_cast<bool>(co_await m.scoped_shared_until(weft::time_point::min()));
        CHECK(passed);
    });
    CHECK(m.readers() == 0);
    CHECK_FALSE(m.locked());
}

TEST_CASE("shared_mutex: who was given it when the stop comes goes on with it", "[G-05][P3]") {
    desk d;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await d.m.lock();
            auto first = g.spawn(d.read('a'));
            co_await d.until_waiting(1);
            d.m.unlock();
            CHECK(d.m.readers() == 1); // it is the other one's already
            first.cancel();
            d.go += 'a';
        });
    });
    CHECK(d.came == "a");
    CHECK(d.m.readers() == 0);
}

TEST_CASE("shared_mutex: a guard that lost a race unlocks", "[G-08]") {
    weft::shared_mutex m;
    on_a_loop([&]() -> task<> {
        auto now = []() -> task<> { co_return; };
        {
            auto first = co_await weft::when_any(now(), m.scoped());
            CHECK(first.index() == 0);
        }
        {
            auto first = co_await weft::when_any(now(), m.scoped_shared());
            CHECK(first.index() == 0);
        }
        CHECK(m.readers() == 0);
        CHECK_FALSE(m.locked());
    });
}

TEST_CASE("shared_mutex: may be destroyed as soon as it was handed over") {
    for (int i = 0; i < 300; ++i) {
        auto m = std::make_unique<weft::shared_mutex>();
        REQUIRE(m->try_lock());
        std::thread other([at = m.get()] {
            until_here([&] { return at->waiting() == 1; });
            at->unlock();
        });
        if (i % 2 == 0)
            weft::sync_wait(m->lock());
        else
            weft::sync_wait(m->lock_shared());
        m.reset();
        other.join();
    }
}

namespace {

struct library {
    weft::shared_mutex m;
    std::atomic<int> reading{0};
    std::atomic<int> writing{0};
    std::atomic<int> collisions{0};

    task<> read(bool stay) {
        ++reading;
        if (writing != 0)
            ++collisions;
        if (stay)
            co_await weft::yield();
        --reading;
    }
    task<> write(bool stay) {
        if (++writing != 1 || reading != 0)
            ++collisions;
        if (stay)
            co_await weft::yield();
        --writing;
    }
};

task<> visits(library& l, int& count, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    for (const weft::tests::mixing_time t; !t.over() || count == 0;) {
        bool stay = d.below(3) == 0;
        switch (d.below(5)) {
        case 0:
            if (!co_await l.m.lock_for(d.moment()))
                continue;
            co_await l.write(stay);
            l.m.unlock();
            break;
        case 1:
            try {
                co_await weft::with_timeout(d.moment(), l.m.lock_shared());
            } catch (const weft::timeout_error&) {
                continue;
            }
            co_await l.read(stay);
            l.m.unlock_shared();
            break;
        case 2: {
            auto inside = [](library& at, bool is_long, bool writes) -> task<> {
                if (writes) {
                    auto held = co_await at.m.scoped();
                    co_await weft::shield(at.write(is_long));
                    co_await weft::yield();
                } else {
                    auto held = co_await at.m.scoped_shared();
                    co_await weft::shield(at.read(is_long));
                    co_await weft::yield();
                }
            };
            bool writes = d.below(2) == 0;
            static_cast<void>(
                co_await weft::as_result(weft::with_timeout(d.moment(), inside(l, stay, writes))));
            continue;
        }
        case 3:
            if (!co_await l.m.lock_shared_for(d.moment()))
                continue;
            co_await l.read(stay);
            l.m.unlock_shared();
            break;
        default:
            co_await l.m.lock();
            co_await l.write(stay);
            l.m.unlock();
            break;
        }
        ++count;
    }
}

} // namespace

TEST_CASE("shared_mutex: stops at random moments balance every lock", "[G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    library l;
    std::vector<int> counts(8, 0);
    std::vector<std::thread> threads;
    for (unsigned i = 6; i < 8; ++i)
        threads.emplace_back([&, i] { weft::sync_wait(visits(l, counts[i], seed, i)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned i = 0; i < 6; ++i) {
            auto there = weft::on(rt.get_loop(i % 2), visits(l, counts[i], seed, i));
            all.push_back(weft::as_task(std::move(there)));
        }
        co_await weft::when_all(std::move(all));
    });
    for (auto& t : threads)
        t.join();
    CHECK(l.collisions == 0);
    CHECK(l.m.waiting() == 0);
    CHECK(l.m.readers() == 0);
    CHECK_FALSE(l.m.locked());
}
