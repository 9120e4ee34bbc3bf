// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/introspect.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unhandled.hpp>
#include <weft/sync/timer.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

std::atomic<int> stray{0};

// Counts stray errors instead of printing them.
struct quiet {
    quiet() {
        stray = 0;
        before = weft::set_unhandled_error_hook([](const weft::unhandled_error&) { ++stray; });
    }
    quiet(const quiet&) = delete;
    quiet& operator=(const quiet&) = delete;
    ~quiet() { weft::set_unhandled_error_hook(before); }
    weft::unhandled_error_hook before;
};

} // namespace

TEST_CASE("timer: runs its function once, when the time is over and not before", "[T-TMR-01]") {
    int ran = 0;
    on_a_loop([&]() -> task<> {
        std::chrono::steady_clock::time_point at;
        weft::timer t(5ms, [&] {
            ++ran;
            at = std::chrono::steady_clock::now();
        });
        CHECK_FALSE(t.alive());
        CHECK_THROWS_AS(t.join(), weft::state_error);
        co_await weft::sleep_for(1ms);
        CHECK(ran == 0); // nothing runs before the start
        const auto begin = std::chrono::steady_clock::now();
        t.start();
        CHECK(t.alive());
        CHECK_THROWS_AS(t.start(), weft::state_error);
        CHECK(ran == 0);
        co_await t.join();
        CHECK(ran == 1);
        CHECK(at - begin >= 5ms);
        CHECK_FALSE(t.alive());
        CHECK_FALSE(t.cancel());
        co_await t.join(); // any number of times
        co_await weft::sleep_for(12ms);
        CHECK(ran == 1);
    });
}

TEST_CASE("timer: no time at all means at once, but not inside of start", "[T-TMR-01]") {
    for (auto d : {0ns, -5ns, weft::duration::min()}) {
        bool ran = false;
        on_a_loop([&]() -> task<> {
            weft::timer t(d, [&] { ran = true; });
            t.start();
            CHECK_FALSE(ran);
            co_await t.join();
            CHECK(ran);
        });
    }
}

TEST_CASE("timer: a coroutine is awaited", "[T-TMR-01]") {
    on_a_loop([&]() -> task<> {
        bool begun = false;
        bool ended = false;
        weft::timer t(1ms, [&]() -> task<> {
            begun = true;
            co_await weft::sleep_for(2ms);
            ended = true;
        });
        t.start();
        co_await until([&] { return begun; });
        CHECK(t.running());
        CHECK_FALSE(t.cancel()); // too late: it goes on
        co_await t.join();
        CHECK(ended);
    });
}

TEST_CASE("timer: cancel keeps the function from running, at any time before", "[T-TMR-02]") {
    int ran = 0;
    auto counts = [&] { ++ran; };
    on_a_loop([&]() -> task<> {
        weft::timer before_start(0ns, counts);
        CHECK(before_start.cancel());
        before_start.start();
        co_await before_start.join();

        weft::timer waiting(1h, counts);
        waiting.start();
        co_await weft::yield();
        CHECK(waiting.cancel());
        CHECK_FALSE(waiting.cancel()); // twice does no harm
        bool over = co_await waiting.join_for(weft::tests::patience);
        CHECK(over);

        weft::timer at_once(1h, counts);
        at_once.start();
        CHECK(at_once.cancel()); // its task hasn't begun
        co_await at_once.join();

        weft::timer never_started(0ns, counts);
        static_cast<void>(never_started);
        co_await weft::sleep_for(2ms);
        CHECK(ran == 0);
    });
    CHECK(ran == 0);
}

TEST_CASE("timer: join returns promptly after a cancel from another thread",
          "[T-TMR-02][T-TMR-03]") {
    bool ran = false;
    on_a_loop([&]() -> task<> {
        weft::timer t(1h, [&] { ran = true; });
        t.start();
        bool over = co_await t.join_for(1ms);
        CHECK_FALSE(over);
        std::thread other([&] { CHECK(t.cancel()); });
        co_await t.join();
        other.join();
    });
    CHECK_FALSE(ran);
}

TEST_CASE("timer: is started on a loop by whomever, and joined by plain threads", "[T-TMR-03]") {
    weft::loop* ran_on = nullptr;
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::timer t(1ms, [&] { ran_on = &weft::this_loop(); });
        std::thread other([&] {
            CHECK_THROWS_AS(t.start(), weft::state_error); // runs no loop
            t.start_on(rt.get_loop(1));
            weft::sync_wait(t.join());
            CHECK(ran_on != nullptr);
        });
        co_await weft::sleep_for(1ms);
        other.join();
        CHECK(ran_on == &rt.get_loop(1));
    });
}

TEST_CASE("timer: has a name in dumps", "[T-TMR-03]") {
    on_a_loop([&]() -> task<> {
        weft::timer t(1h, [] {}, {.name = "egg timer"});
        t.start();
        co_await weft::yield();
        CHECK_THAT(weft::to_string(weft::capture_tasks()), Catch::Contains("egg timer"));
        t.cancel();
        co_await t.join();
    });
}

TEST_CASE("timer: one that repeats does so until it is cancelled", "[T-TMR-02]") {
    CHECK_THROWS_AS(weft::timer(0ns, [] {}, {.repeats = true}), std::invalid_argument);
    std::vector<std::chrono::steady_clock::time_point> ran;
    on_a_loop([&]() -> task<> {
        weft::timer t(2ms, [&] { ran.push_back(std::chrono::steady_clock::now()); },
                      {.repeats = true});
        const auto begin = std::chrono::steady_clock::now();
        t.start();
        co_await until([&] { return ran.size() >= 4; });
        CHECK(t.alive());
        CHECK(t.cancel());
        co_await t.join();
        const std::size_t n = ran.size();
        for (std::size_t i = 0; i < n; ++i)
            CHECK(ran[i] - begin >= (i + 1) * 2ms); // never early, and none twice
        co_await weft::sleep_for(5ms);
        CHECK(ran.size() == n);
    });
}

TEST_CASE("timer: one that repeats may be cancelled by its own function", "[T-TMR-02]") {
    int ran = 0;
    on_a_loop([&]() -> task<> {
        weft::timer* self = nullptr;
        weft::timer t(1ms,
                      [&] {
                          if (++ran == 3)
                              CHECK(self->cancel());
                      },
                      {.repeats = true});
        self = &t;
        t.start();
        co_await t.join();
        CHECK(ran == 3);
    });
}

TEST_CASE("timer: what the function throws is reported, and one that repeats goes on") {
    quiet hook;
    int ran = 0;
    on_a_loop([&]() -> task<> {
        weft::timer once(1ms, [&] { throw std::runtime_error("once"); });
        once.start();
        co_await once.join();
        CHECK(stray == 1);
        weft::timer again(1ms,
                          [&]() -> task<> {
                              ++ran;
                              co_await weft::yield();
                              throw std::runtime_error("again");
                          },
                          {.repeats = true});
        again.start();
        co_await until([&] { return ran >= 3; });
        again.cancel();
        co_await again.join();
        CHECK(stray == 1 + ran);
    });
}

TEST_CASE("timer: one that is destroyed, and one whose loop ends, don't run") {
    int ran = 0;
    on_a_loop([&]() -> task<> {
        {
            weft::timer t(2ms, [&] { ++ran; });
            t.start();
            co_await weft::yield();
            weft::timer moved = std::move(t);
            CHECK(moved.alive());
        }
        co_await weft::sleep_for(5ms);
        CHECK(ran == 0);
    });
    std::unique_ptr<weft::timer> outlives;
    on_a_loop([&]() -> task<> {
        outlives = std::make_unique<weft::timer>(1h, [&] { ++ran; });
        outlives->start();
        co_return;
    });
    CHECK_FALSE(outlives->alive());
    weft::sync_wait(outlives->join());
    CHECK(ran == 0);
}

TEST_CASE("timer: cancel and the function never both happen, and never neither", "[T-TMR-02]") {
    for (int i = 0; i < 100; ++i) {
        std::atomic<int> ran{0};
        bool cancelled = false;
        on_a_loop([&]() -> task<> {
            weft::timer t(50us, [&] { ++ran; });
            t.start();
            std::thread other([&, i] {
                std::this_thread::sleep_for(std::chrono::microseconds(i));
                cancelled = t.cancel();
            });
            co_await t.join();
            other.join();
        });
        CHECK(ran == (cancelled ? 0 : 1));
    }
}
