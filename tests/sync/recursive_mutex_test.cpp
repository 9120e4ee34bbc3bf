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
#include <weft/sync/recursive_mutex.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
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

task<> note_and_unlock(weft::recursive_mutex& m, std::vector<int>& order, int who) {
    co_await m.lock();
    order.push_back(who);
    m.unlock();
}

task<bool> try_to_lock(weft::recursive_mutex& m) {
    bool passed = m.try_lock();
    if (passed)
        m.unlock();
    co_return passed;
}

task<std::string> error_of_unlock(weft::recursive_mutex& m) {
    try {
        m.unlock();
    } catch (const weft::state_error& e) {
        co_return e.what();
    }
    co_return "";
}

task<std::size_t> nested(weft::recursive_mutex& m, int levels) {
    auto held = co_await m.scoped();
    if (levels == 1)
        co_return m.depth();
    co_return co_await nested(m, levels - 1);
}

} // namespace

TEST_CASE("recursive_mutex: who has it locks it again at once, others wait", "[T-RLOCK-01]") {
    weft::recursive_mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            g.spawn(note_and_unlock(m, order, 1));
            co_await until([&] { return m.waiting() == 1; });
            co_await m.lock(); // although somebody waits
            CHECK(m.depth() == 2);
            std::size_t depth = co_await nested(m, 5);
            CHECK(depth == 7);
            CHECK(m.depth() == 2);
            m.unlock();
            CHECK(m.waiting() == 1);
            m.unlock();
            CHECK(m.waiting() == 0);
            CHECK(order.empty());
        });
    });
    CHECK(order == std::vector<int>{1});
    CHECK_FALSE(m.locked());
}

TEST_CASE("recursive_mutex: it belongs to the task, on whichever loop that goes on",
          "[T-RLOCK-01]") {
    weft::recursive_mutex m;
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await m.lock();
        bool passed = co_await weft::on(rt.get_loop(1), try_to_lock(m));
        CHECK(passed);
        std::size_t depth = co_await weft::on(rt.get_loop(1), nested(m, 3));
        CHECK(depth == 4);
        depth = co_await weft::with_timeout(1h, nested(m, 2));
        CHECK(depth == 3);
        depth = co_await weft::shield(nested(m, 1));
        CHECK(depth == 2);
        // What runs beside the task is somebody else, also on its own thread.
        auto beside = co_await weft::when_all(try_to_lock(m), weft::yield());
        CHECK_FALSE(std::get<0>(beside));
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto child = g.spawn(try_to_lock(m));
            bool other = co_await child.join();
            CHECK_FALSE(other);
            CHECK(m.depth() == 1); // the body is the task itself
        });
        m.unlock();
        // Locked there, and unlocked here.
        co_await weft::on(rt.get_loop(1), m.lock());
        CHECK(m.depth() == 1);
        m.unlock();
    });
    CHECK_FALSE(m.locked());
}

TEST_CASE("recursive_mutex: the thread of another owner's loop isn't the owner", "[T-RLOCK-01]") {
    weft::recursive_mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto owner = g.spawn(
                [](weft::recursive_mutex& l) -> task<> {
                    auto held = co_await l.scoped();
                    co_await weft::sleep_for(1h);
                },
                std::ref(m));
            co_await until([&] { return m.locked(); });
            CHECK_FALSE(m.try_lock());
            CHECK(m.depth() == 0);
            owner.cancel();
        });
    });
    CHECK_FALSE(m.locked());
    CHECK(m.try_lock()); // a plain thread is an owner, too
    CHECK(m.try_lock());
    std::thread([&] { CHECK_FALSE(m.try_lock()); }).join();
    CHECK(weft::sync_wait(nested(m, 1)) == 3);
    m.unlock();
    m.unlock();
    CHECK_FALSE(m.locked());
}

TEST_CASE("recursive_mutex: a function that the owner's loop runs isn't the owner",
          "[T-RLOCK-01]") {
    weft::recursive_mutex m;
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        bool ran = false;
        bool passed = true;
        weft::this_loop().post([&] {
            passed = m.try_lock();
            ran = true;
        });
        co_await until([&] { return ran; });
        CHECK_FALSE(passed);
        CHECK(m.depth() == 1);
        m.unlock();
    });
    CHECK_FALSE(m.locked());
}

TEST_CASE("recursive_mutex: only its owner may unlock it", "[T-RLOCK-02][G-09]") {
    weft::recursive_mutex m;
    CHECK_THROWS_AS(m.unlock(), weft::state_error);
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        co_await m.lock();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto other = g.spawn(error_of_unlock(m));
            other.set_name("intruder");
            std::string text = co_await other.join();
            CHECK_THAT(text, Catch::Contains("task intruder"));
        });
        std::string text;
        std::thread([&] { text = weft::sync_wait(error_of_unlock(m)); }).join();
        CHECK_FALSE(text.empty());
        CHECK(m.depth() == 2);
        m.unlock();
        CHECK(m.locked());
        m.unlock();
        CHECK_FALSE(m.locked());
        CHECK_THROWS_AS(m.unlock(), weft::state_error);
    });
    CHECK(m.try_lock());
    m.unlock();
}

TEST_CASE("recursive_mutex: a task that has ended isn't taken for a new one", "[T-RLOCK-02]") {
    weft::recursive_mutex m;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(weft::as_task(m.lock())); // ends with the lock
            co_await first.join();
            first = weft::task_handle<>();
            // These get the memory that the first one had.
            for (int i = 0; i < 10; ++i) {
                auto other = g.spawn(try_to_lock(m));
                bool passed = co_await other.join();
                CHECK_FALSE(passed);
            }
        });
    });
    CHECK(m.locked());
}

TEST_CASE("recursive_mutex: tries and waits with a deadline, at any depth",
          "[T-RLOCK-04][G-01][G-03][G-04]") {
    weft::recursive_mutex m;
    CHECK_FALSE(m.locked());
    bool passed = true;
    on_a_loop([&]() -> task<> {
        passed = co_await m.lock_for(0ns);
        CHECK(passed);
        passed = co_await m.lock_for(-1ns);
        CHECK(passed);
        passed = co_await m.lock_until(weft::time_point::min());
        CHECK(passed);
        CHECK(m.try_lock());
        CHECK(m.depth() == 4);
        CHECK(m.locked());
        std::thread([&] {
            CHECK_FALSE(weft::sync_wait(m.lock_for(2ms)));
            CHECK_FALSE(weft::sync_wait(m.lock_for(0ns)));
            CHECK_FALSE(weft::sync_wait(m.scoped_for(1ms)));
            CHECK_FALSE(m.try_scoped());
        }).join();
        CHECK(m.waiting() == 0);
        for (int i = 0; i < 4; ++i)
            m.unlock();
        auto a = co_await m.scoped_until(weft::never);
        auto b = co_await m.scoped_for(1ms);
        auto c = m.try_scoped();
        CHECK(m.depth() == 3);
        a.reset(); // in any order
        CHECK(m.depth() == 2);
    });
    CHECK_FALSE(m.locked());
}

TEST_CASE("recursive_mutex: who is stopped while waiting leaves no trace", "[G-05][G-06]") {
    weft::recursive_mutex m;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await m.lock();
            std::vector<weft::task_handle<>> waiting;
            for (int i = 0; i < 4; ++i) {
                waiting.push_back(g.spawn(note_and_unlock(m, order, i)));
                co_await until([&] { return m.waiting() == static_cast<std::size_t>(i) + 1; });
            }
            waiting[0].cancel();
            waiting[2].cancel();
            m.unlock();
            waiting[1].cancel(); // has it already, and goes on
        });
    });
    CHECK(order == std::vector<int>{1, 3});
    CHECK_FALSE(m.locked());
}

TEST_CASE("recursive_mutex: guards give it back on every way out", "[G-08]") {
    weft::recursive_mutex m;
    on_a_loop([&]() -> task<> {
        auto fails = [](weft::recursive_mutex& l) -> task<> {
            auto a = co_await l.scoped();
            auto b = co_await l.scoped();
            co_await weft::yield();
            throw std::runtime_error("inside");
        };
        CHECK_THROWS_AS(co_await fails(m), std::runtime_error);
        CHECK_FALSE(m.locked());
        auto stays = [](weft::recursive_mutex& l) -> task<> {
            auto a = co_await l.scoped();
            auto b = co_await l.scoped();
            co_await weft::sleep_for(1h);
        };
        auto stopped = co_await weft::as_result(weft::with_timeout(1ms, stays(m)));
        CHECK(stopped.error());
        CHECK_FALSE(m.locked());
        // The guard of one that lost a race is dropped by who raced it.
        auto now = []() -> task<> { co_return; };
        {
            auto first = co_await weft::when_any(now(), m.scoped());
            CHECK(first.index() == 0);
        }
        CHECK_FALSE(m.locked());
    });
}

TEST_CASE("recursive_mutex: stops at random moments balance every level", "[G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    weft::recursive_mutex m;
    long visits = 0; // not atomic: the mutex guards it
    long expected = 0;
    std::vector<long> counts(6, 0);
    auto uses = [&](unsigned who) -> task<> {
        weft::tests::dice d(seed, who);
        for (const weft::tests::mixing_time t; !t.over() || counts[who] == 0;) {
            unsigned levels = 1 + d.below(3);
            unsigned have = 0;
            try {
                for (; have < levels; ++have) {
                    if (d.below(2) == 0)
                        co_await weft::with_timeout(d.moment(), m.lock());
                    else if (!co_await m.lock_for(d.moment()))
                        break;
                    if (d.below(4) == 0)
                        co_await weft::yield();
                }
            } catch (const weft::timeout_error&) { // has as many levels as before
            }
            if (m.depth() != have)
                throw std::logic_error("the depth isn't what was locked");
            if (have != 0) {
                ++visits;
                ++counts[who];
            }
            for (; have != 0; --have)
                m.unlock();
        }
    };
    std::thread other([&] { weft::sync_wait(uses(5)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned i = 0; i < 5; ++i)
            all.push_back(weft::as_task(weft::on(rt.get_loop(i % 2), uses(i))));
        co_await weft::when_all(std::move(all));
    });
    other.join();
    for (long n : counts)
        expected += n;
    CHECK(visits == expected);
    CHECK_FALSE(m.locked());
    CHECK(m.waiting() == 0);
}
