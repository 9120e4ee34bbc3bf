// SPDX-License-Identifier: MIT
#include <weft/sync/watch.hpp>

#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::watch;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

using subscription = watch<int>::subscription;

task<> next_and_note(subscription& from, std::vector<int>& got) {
    auto value = co_await from.next();
    got.push_back(*value);
}

} // namespace

TEST_CASE("watch: has a value from the beginning, and then the latest") {
    watch<std::string> w("first");
    auto before = w.get();
    CHECK(*before == "first");
    w.set("second");
    CHECK(*w.get() == "second");
    CHECK(*before == "first"); // who holds one keeps it
}

TEST_CASE("watch: a subscription sees changes after its making, and only the latest of them") {
    watch<int> w(1);
    auto s = w.subscribe();
    CHECK_FALSE(s.has_changed());
    CHECK(s.try_next() == nullptr);
    for (int i = 2; i < 300; ++i)
        w.set(i);
    CHECK(s.has_changed());
    auto copy = s;
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await next_and_note(s, got);
        CHECK_FALSE(s.has_changed());
        CHECK(copy.has_changed());
        co_await next_and_note(copy, got);
    });
    CHECK(got == std::vector<int>{299, 299});
    w.set(299); // equal, but set
    CHECK(s.has_changed());
    auto value = s.try_next();
    REQUIRE(value != nullptr);
    CHECK(*value == 299);
}

TEST_CASE("watch: everybody who waits for a change is woken by it", "[G-07]") {
    watch<int> w(1);
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        auto first = w.subscribe();
        auto second = w.subscribe();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(next_and_note(first, got));
            g.spawn(next_and_note(second, got));
            co_await until([&] { return w.waiting() == 2; });
            w.set(2);
            CHECK(w.waiting() == 0);
            CHECK(got.empty()); // nobody runs inside of set
        });
        CHECK(got == std::vector<int>{2, 2});
        CHECK_FALSE(first.has_changed());
    });
}

TEST_CASE("watch: after shutdown the last value is seen, and then the end", "[G-09]") {
    watch<int> w(1);
    auto behind = w.subscribe();
    w.set(2);
    auto waits = w.subscribe();
    bool told = false;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto until_end = [&]() -> task<> {
                try {
                    static_cast<void>(co_await waits.next());
                } catch (const weft::queue_shut_down&) {
                    told = true;
                }
            };
            g.spawn(until_end());
            co_await until([&] { return w.waiting() == 1; });
            w.shutdown();
            w.shutdown();
        });
        CHECK(told);
        auto value = co_await behind.next();
        CHECK(*value == 2);
    });
    CHECK(w.is_shutdown());
    CHECK_THROWS_AS(behind.try_next(), weft::queue_shut_down);
    CHECK_THROWS_AS(w.set(3), weft::queue_shut_down);
    CHECK(*w.get() == 2);
}

TEST_CASE("watch: with a deadline a wait gives null if nothing changes", "[G-01][G-04]") {
    watch<int> w(1);
    auto s = w.subscribe();
    on_a_loop([&]() -> task<> {
        const auto begin = weft::clock::now();
        auto value = co_await s.next_for(3ms);
        CHECK(value == nullptr);
        CHECK(weft::clock::now() - begin >= 3ms);
        value = co_await s.next_for(-1ns);
        CHECK(value == nullptr);
        value = co_await s.next_until(begin);
        CHECK(value == nullptr);
        CHECK(w.waiting() == 0);
        w.set(2);
        value = co_await s.next_for(0ns);
        REQUIRE(value != nullptr);
        CHECK(*value == 2);
        w.set(3);
        value = co_await s.next_until(weft::never);
        REQUIRE(value != nullptr);
        CHECK(*value == 3);
    });
}

TEST_CASE("watch: a stopped wait has seen nothing", "[G-05][P3]") {
    watch<int> w(1);
    auto s = w.subscribe();
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(next_and_note(s, got));
            co_await until([&] { return w.waiting() == 1; });
            waits.cancel();
            CHECK(w.waiting() == 0);
            co_await until([&] { return waits.done(); });
            w.set(2);
            CHECK(s.has_changed());
            waits = g.spawn(next_and_note(s, got));
            co_await until([&] { return waits.done(); });
            waits = g.spawn(next_and_note(s, got));
            co_await until([&] { return w.waiting() == 1; });
            w.set(3);
            waits.cancel(); // has it already
        });
    });
    CHECK(got == std::vector<int>{2, 3});
}

TEST_CASE("watch: values are freed when nobody needs them any more") {
    auto content = std::make_shared<int>(1);
    {
        watch<std::shared_ptr<int>> w(content);
        auto held = w.get();
        for (int i = 0; i < 10; ++i)
            w.set(content);
        CHECK(content.use_count() == 3); // ours, the latest, and the one that is held
        held.reset();
        CHECK(content.use_count() == 2);
    }
    CHECK(content.use_count() == 1);
}

TEST_CASE("watch: threads and loops set and wait at once; values never go back, the last is seen",
          "[G-05][G-14][P3]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    watch<int> w(0);
    std::atomic<bool> forward{true};
    std::vector<int> last(4, 0);
    auto follows = [&](unsigned who, subscription s) -> task<> {
        weft::tests::dice d(seed, who);
        auto one = [&]() -> task<> {
            auto value = co_await s.next();
            if (*value <= last[who])
                forward = false;
            last[who] = *value;
        };
        try {
            while (true) {
                if (d.below(2) == 0) {
                    auto in_time = weft::with_timeout(d.moment(), one());
                    static_cast<void>(co_await weft::as_result(std::move(in_time)));
                    if (w.is_shutdown() && !s.has_changed())
                        break;
                } else {
                    co_await one();
                }
            }
        } catch (const weft::queue_shut_down&) {
        }
    };
    int final_value = 0;
    std::vector<subscription> all(4, w.subscribe());
    std::thread outside([&] { weft::sync_wait(follows(3, all[3])); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(follows(0, all[0]));
            g.spawn(follows(1, all[1]));
            g.spawn(weft::as_task(weft::on(rt.get_loop(1), follows(2, all[2]))));
            for (const weft::tests::mixing_time t; !t.over() || final_value == 0;) {
                w.set(++final_value);
                if (final_value % 3 == 0)
                    co_await weft::yield();
            }
            w.shutdown();
        });
    });
    outside.join();
    CHECK(forward);
    for (int value : last)
        CHECK(value == final_value);
    CHECK(w.waiting() == 0);
}
