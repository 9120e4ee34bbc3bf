// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/sync/condition.hpp>
#include <weft/sync/lock_cycles.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/recursive_mutex.hpp>

#include <catch2/catch.hpp>
#include <string>
#include <system_error>
#include <thread>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

struct watching {
    watching() { weft::detect_lock_cycles(true); }
    watching(const watching&) = delete;
    watching& operator=(const watching&) = delete;
    ~watching() { weft::detect_lock_cycles(false); }
};

// Locks one, and when `go` says so the other, too. Gives the text of the error, if there was one.
template <class First, class Second, class Go>
task<std::string> lock_both(First& first, Second& second, Go go) {
    auto a = co_await first.scoped();
    co_await until(go);
    try {
        auto b = co_await second.scoped();
    } catch (const std::system_error& e) {
        if (e.code() != std::errc::resource_deadlock_would_occur)
            throw;
        co_return e.what();
    }
    co_return "";
}

} // namespace

TEST_CASE("lock_cycles: who would close a circle is told who is in it") {
    watching on;
    weft::mutex a;
    weft::recursive_mutex b;
    weft::mutex c;
    std::string text;
    std::string other_text;
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        auto all_locked = [&] { return a.locked() && b.locked() && c.locked(); };
        auto first_waits = [&] { return b.waiting() == 1; };
        auto both_wait = [&] { return first_waits() && c.waiting() == 1; };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            // A task here waits for one on another loop, which waits for a thread, which waits for
            // the first one.
            auto first = g.spawn(lock_both(a, b, all_locked));
            first.set_name("first");
            auto second = g.spawn(weft::on(rt.get_loop(1), lock_both(b, c, first_waits)));
            second.set_name("second");
            std::thread third([&] { text = weft::sync_wait(lock_both(c, a, both_wait)); });
            other_text += co_await first.join(); // goes on because the third one gave up
            other_text += co_await second.join();
            third.join();
        });
    });
    CHECK(other_text.empty());
    CHECK_THAT(text, Catch::Contains("task sync_wait waits for a mutex") &&
                         Catch::Contains("task first waits for a recursive_mutex") &&
                         Catch::Contains("lock_cycles_test.cpp:"));
    CHECK_FALSE(a.locked());
    CHECK_FALSE(b.locked());
    CHECK_FALSE(c.locked());
}

TEST_CASE("lock_cycles: a circle through the lock of a condition") {
    watching on;
    weft::condition a;
    weft::mutex b;
    std::string text;
    on_loops(1, [&](weft::runtime&) -> task<> {
        auto all_locked = [&] { return a.locked() && b.locked(); };
        auto first_waits = [&] { return b.waiting() == 1; };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(lock_both(a, b, all_locked));
            auto second = g.spawn(lock_both(b, a, first_waits));
            text = co_await second.join();
        });
    });
    CHECK_THAT(text, Catch::Contains("condition"));
}

TEST_CASE("lock_cycles: long lines, deadlines and stopped waits are no circles") {
    watching on;
    weft::mutex a;
    weft::mutex b;
    std::string text;
    on_loops(1, [&](weft::runtime&) -> task<> {
        auto at_once = [] { return true; };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await b.lock();
            auto first = g.spawn(lock_both(a, b, at_once)); // has a, waits for b
            co_await until([&] { return b.waiting() == 1; });
            // With a deadline it ends by itself.
            bool passed = co_await a.lock_for(1ms);
            CHECK_FALSE(passed);
            // Who waited and was stopped doesn't wait any more.
            first.cancel();
            co_await until([&] { return first.done(); });
            co_await a.lock();
            a.unlock();
            // Nor does who has got what it waited for.
            auto second = g.spawn(lock_both(a, b, at_once));
            co_await until([&] { return b.waiting() == 1; });
            b.unlock();
            text = co_await second.join();
            CHECK(text.empty());
            co_await b.lock();
            co_await a.lock();
            b.unlock();
            a.unlock();
        });
    });
    CHECK_FALSE(a.locked());
    CHECK_FALSE(b.locked());
}

TEST_CASE("lock_cycles: it is off until somebody switches it on") {
    CHECK_FALSE(weft::detect_lock_cycles(true));
    CHECK(weft::detect_lock_cycles(false));
    CHECK_FALSE(weft::detect_lock_cycles(false));
    weft::mutex a;
    weft::mutex b;
    on_loops(1, [&](weft::runtime&) -> task<> {
        auto all_locked = [&] { return a.locked() && b.locked(); };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(lock_both(a, b, all_locked));
            auto second = g.spawn(lock_both(b, a, all_locked));
            co_await until([&] { return a.waiting() == 1 && b.waiting() == 1; });
            CHECK_FALSE(second.done());
            g.cancel(); // nobody else can help them
        });
    });
    CHECK_FALSE(a.locked());
}
