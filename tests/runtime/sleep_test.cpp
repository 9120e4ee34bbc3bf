// SPDX-License-Identifier: MIT
#include <weft/runtime/sleep.hpp>

#include "runtime/counted.hpp"

#include <weft/runtime/loop.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

using weft::duration;
using weft::task;
using weft::time_point;
using weft::tests::counted;
using namespace std::chrono_literals;

namespace {

using seconds = std::chrono::duration<double>;
constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr double none = std::numeric_limits<double>::quiet_NaN();

template <class T>
T run_within(std::chrono::seconds limit, task<T> t) {
    return weft::run(weft::as_task(weft::with_timeout(limit, std::move(t))));
}

// Writes its letter, waits, and so on.
template <class Wait>
task<> writes(std::string& to, char letter, Wait wait) {
    for (int i = 0; i < 3; ++i) {
        to += letter;
        co_await wait();
    }
}

// What three tasks write that take turns with such a wait.
template <class Wait>
std::string taking_turns(Wait wait) {
    std::string text;
    auto main = [&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (char c : std::string("abc"))
                g.spawn(writes<Wait>, std::ref(text), c, wait);
            co_return;
        });
    };
    run_within(20s, main());
    return text;
}

task<> turns(int n) {
    for (int i = 0; i < n; ++i)
        co_await weft::yield();
}

} // namespace

TEST_CASE("sleep: zero or less lets all others run once, no more and no less", "[AIO-TASK-05]") {
    const std::string once = "abcabcabc";
    CHECK(taking_turns([] { return weft::yield(); }) == once);
    CHECK(taking_turns([] { return weft::sleep_for(0ms); }) == once);
    CHECK(taking_turns([] { return weft::sleep_for(-1ms); }) == once);
    CHECK(taking_turns([] { return weft::sleep_for(seconds(-0.0)); }) == once);
    CHECK(taking_turns([] { return weft::sleep_for(seconds(-infinite)); }) == once);
    CHECK(taking_turns([] { return weft::sleep_for(std::chrono::hours::min()); }) == once);
    CHECK(taking_turns([] { return weft::sleep_for(duration::min()); }) == once);
    // One beside the other, in the order in which they came.
    std::string text;
    auto main = [&]() -> task<> {
        auto zero = [] { return weft::sleep_for(0s); };
        auto one_turn = [] { return weft::yield(); };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(writes<decltype(zero)>, std::ref(text), 'a', zero);
            g.spawn(writes<decltype(one_turn)>, std::ref(text), 'b', one_turn);
            co_return;
        });
    };
    run_within(20s, main());
    CHECK(text == "ababab");
}

TEST_CASE("sleep: a duration that is no number is refused", "[AIO-TASK-05]") {
    CHECK_THROWS_AS(weft::sleep_for(seconds(none)), std::invalid_argument);
    CHECK_THROWS_AS(weft::sleep_for(seconds(-none)), std::invalid_argument);
    CHECK_THROWS_AS(weft::sleep_for(std::chrono::duration<float>(static_cast<float>(none))),
                    std::invalid_argument);
    bool refused = false;
    auto main = [&]() -> task<> {
        try {
            co_await weft::sleep_for(seconds(none));
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        co_await weft::sleep_for(1us); // and the task goes on
    };
    run_within(20s, main());
    CHECK(refused);
}

TEST_CASE("sleep: a stop ends it at once, and its timer with it", "[AIO-TASK-05]") {
    int live = 0;
    auto sleeps = [&](auto how_long) -> task<> {
        counted here(live);
        co_await weft::sleep_for(how_long);
    };
    auto main = [&]() -> task<> {
        for (int round = 0; round < 1000; ++round) {
            auto h = weft::spawn(sleeps(1h));
            co_await weft::yield();
            CHECK(live == 1);
            h.cancel();
            co_await turns(3);
            CHECK(h.stopped());
        }
        CHECK(live == 0);
        // In any order, so that timers leave from everywhere in the heap.
        std::vector<weft::task_handle<>> all;
        for (int i = 0; i < 300; ++i)
            all.push_back(weft::spawn(sleeps(std::chrono::minutes(1 + i * 37 % 300))));
        co_await weft::yield();
        CHECK(live == 300);
        for (std::size_t i = 0; i < 300; ++i)
            all[i * 7 % 300].cancel();
        co_await turns(3);
        CHECK(live == 0);
        // Of what is stopped while it yields, the end of the yield came first.
        auto yields = weft::spawn(sleeps(0ms));
        co_await weft::yield();
        yields.cancel();
        co_await turns(3);
        CHECK(yields.done());
        CHECK(live == 0);
    };
    run_within(20s, main());
}

TEST_CASE("sleep: never ends early, and who is due first goes on first", "[P24]") {
    int early = 0, late = 0;
    std::vector<int> order;
    auto one = [&](time_point due, int n) -> task<> {
        late += weft::now() >= due ? 1 : 0;
        co_await weft::sleep_until(due);
        early += weft::now() < due ? 1 : 0;
        order.push_back(n);
    };
    auto main = [&]() -> task<> {
        // Once more if we were held up for so long that some were due before they slept.
        for (auto ahead = 10ms; ahead < 10s; ahead *= 4) {
            order.clear();
            late = 0;
            time_point begin = weft::now() + ahead;
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                for (int i = 0; i < 40; ++i) {
                    int n = i * 13 % 40;
                    g.spawn(one(begin + std::chrono::milliseconds(n), n));
                }
                co_return;
            });
            if (late == 0)
                break;
        }
        // A part of a nanosecond is a nanosecond.
        time_point before = weft::now();
        co_await weft::sleep_for(std::chrono::duration<double, std::nano>(1'000'000.5));
        early += weft::now() - before < 1'000'001ns ? 1 : 0;
    };
    run_within(20s, main());
    CHECK(early == 0);
    REQUIRE(late == 0);
    REQUIRE(order.size() == 40);
    bool sorted = true;
    for (int n = 0; n < 40; ++n)
        sorted = sorted && order[static_cast<std::size_t>(n)] == n;
    CHECK(sorted);
}

TEST_CASE("sleep: until a time that has passed it only lets others run") {
    std::string text;
    auto main = [&]() -> task<> {
        auto past = [] { return weft::sleep_until(weft::now() - 1h); };
        auto begin = [] { return weft::sleep_until(time_point()); };
        auto first = [] { return weft::sleep_until(time_point::min()); };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(writes<decltype(past)>, std::ref(text), 'a', past);
            g.spawn(writes<decltype(begin)>, std::ref(text), 'b', begin);
            g.spawn(writes<decltype(first)>, std::ref(text), 'c', first);
            co_return;
        });
    };
    run_within(20s, main());
    CHECK(text.size() == 9);
}

TEST_CASE("sleep: what is too long for the clock lasts for ever", "[AIO-TASK-05][P24][T-MOD-08]") {
    int live = 0, ended = 0;
    auto sleeps = [&](auto op) -> task<> {
        counted here(live);
        co_await std::move(op);
        ++ended;
    };
    auto main = [&]() -> task<> {
        std::vector<weft::task_handle<>> all;
        all.push_back(weft::spawn(sleeps(weft::sleep_for(std::chrono::hours::max()))));
        all.push_back(weft::spawn(sleeps(weft::sleep_for(std::chrono::years::max()))));
        all.push_back(weft::spawn(sleeps(weft::sleep_for(duration::max()))));
        all.push_back(weft::spawn(sleeps(weft::sleep_for(seconds(infinite)))));
        all.push_back(weft::spawn(sleeps(weft::sleep_for(seconds(1e300)))));
        all.push_back(weft::spawn(sleeps(weft::sleep_until(weft::never))));
        co_await weft::yield();
        // The loop parks until the next timer of an hour that comes, and isn't woken by those.
        auto parks = weft::this_loop().statistics().parks;
        co_await weft::sleep_for(10ms);
        CHECK(weft::this_loop().statistics().parks < parks + 5);
        CHECK(live == 6);
        for (auto& h : all)
            h.cancel();
        co_await turns(3);
        CHECK(live == 0);
    };
    run_within(20s, main());
    CHECK(ended == 0);
}
