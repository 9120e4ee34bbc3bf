// SPDX-License-Identifier: MIT
#include <weft/sync/broadcast.hpp>

#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/select.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::broadcast;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

using subscription = broadcast<int>::subscription;

task<> get_and_note(subscription& from, std::vector<int>& got) {
    auto one = co_await from.get();
    got.push_back(*one);
}

// Everything up to the end.
task<> get_all(subscription from, std::vector<int>& got, std::uint64_t& missed) {
    try {
        while (true) {
            auto one = co_await from.get();
            missed += one.missed();
            got.push_back(*one);
        }
    } catch (const weft::queue_shut_down&) {
    }
}

} // namespace

TEST_CASE("broadcast: every subscriber sees every item that is sent after it subscribed") {
    broadcast<int> b(10);
    CHECK(b.capacity() == 10);
    b.put(0); // nobody is there
    auto early = b.subscribe();
    b.put(1);
    auto late = b.subscribe();
    auto copy = early; // has seen the same
    b.put(2);
    CHECK(early.unseen() == 2);
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await get_and_note(early, got);
        co_await get_and_note(early, got);
        co_await get_and_note(copy, got);
        co_await get_and_note(late, got);
    });
    CHECK(got == std::vector<int>{1, 2, 1, 2});
    CHECK_FALSE(early.try_get());
    CHECK_FALSE(late.try_get());
    auto second = copy.try_get();
    REQUIRE(second);
    CHECK(**second == 2);
    CHECK(second->missed() == 0);
    CHECK(copy.unseen() == 0);
    CHECK_THROWS_AS(broadcast<int>(0), std::invalid_argument);
}

TEST_CASE("broadcast: who is too slow is told how many it has missed, and goes on with the rest") {
    broadcast<int> b(3);
    auto slow = b.subscribe();
    auto quick = b.subscribe();
    std::vector<int> got;
    std::uint64_t missed = 0;
    for (int i = 0; i < 10; ++i) {
        b.put(i);
        auto one = quick.try_get();
        REQUIRE(one);
        CHECK(**one == i);
        CHECK(one->missed() == 0);
    }
    CHECK(slow.unseen() == 10);
    on_a_loop([&]() -> task<> {
        auto one = co_await slow.get();
        CHECK(one.missed() == 7);
        CHECK(*one == 7);
        one = co_await slow.get();
        CHECK(one.missed() == 0); // told once
        CHECK(*one == 8);
        b.put(10);
        b.put(11);
        b.put(12);
        one = co_await slow.get();
        CHECK(one.missed() == 1);
        CHECK(*one == 10);
        b.shutdown();
        co_await get_all(slow, got, missed);
    });
    CHECK(got == std::vector<int>{11, 12});
    CHECK(missed == 0);
}

TEST_CASE("broadcast: who waits is woken by the next item, all of them by the same", "[G-07]") {
    broadcast<int> b(1);
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        auto first = b.subscribe();
        auto second = b.subscribe();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(get_and_note(first, got));
            g.spawn(get_and_note(second, got));
            co_await until([&] { return b.getting() == 2; });
            b.put(1);
            CHECK(b.getting() == 0);
            CHECK(got.empty()); // nobody runs inside of put
            b.put(2);           // too late for those two
        });
        CHECK(got == std::vector<int>{1, 1});
        auto one = first.try_get();
        REQUIRE(one);
        CHECK(**one == 2);
        CHECK(one->missed() == 0);
    });
}

TEST_CASE("broadcast: an item is shared, and freed when nobody needs it any more") {
    broadcast<std::shared_ptr<int>> b(2);
    auto content = std::make_shared<int>(1);
    auto reader = b.subscribe();
    b.put(content);
    CHECK(content.use_count() == 2);
    auto one = reader.try_get();
    REQUIRE(one);
    auto kept = one->share();
    one.reset();
    b.put(nullptr);
    b.put(nullptr);
    CHECK(content.use_count() == 2); // by the one who kept it
    CHECK(*kept == content);
    kept.reset();
    CHECK(content.use_count() == 1);
}

TEST_CASE("broadcast: after shutdown readers see what is kept, and then the end", "[G-09]") {
    broadcast<int> b(5);
    auto reader = b.subscribe();
    b.put(1);
    bool told = false;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = [](subscription s, bool& end) -> task<> {
                try {
                    static_cast<void>(co_await s.get());
                } catch (const weft::queue_shut_down&) {
                    end = true;
                }
            };
            g.spawn(waits(b.subscribe(), told));
            co_await until([&] { return b.getting() == 1; });
            CHECK_FALSE(b.is_shutdown());
            b.shutdown();
            b.shutdown();
            CHECK(b.is_shutdown());
        });
    });
    CHECK(told);
    CHECK_THROWS_AS(b.put(2), weft::queue_shut_down);
    auto one = reader.try_get();
    REQUIRE(one);
    CHECK(**one == 1);
    CHECK_THROWS_AS(reader.try_get(), weft::queue_shut_down);
}

TEST_CASE("broadcast: with a deadline a get gives up with queue_empty", "[G-01][G-03][G-04]") {
    broadcast<int> b(2);
    auto reader = b.subscribe();
    on_a_loop([&]() -> task<> {
        int empty = 0;
        auto gives_up = [&](auto get) -> task<> {
            try {
                static_cast<void>(co_await std::move(get));
            } catch (const weft::queue_empty&) {
                ++empty;
            }
        };
        const auto begin = weft::clock::now();
        co_await gives_up(reader.get_for(3ms));
        CHECK(weft::clock::now() - begin >= 3ms);
        co_await gives_up(reader.get_for(0ns));
        co_await gives_up(reader.get_for(-1ns));
        co_await gives_up(reader.get_until(begin));
        CHECK(empty == 4);
        CHECK(b.getting() == 0);
        b.put(1);
        auto one = co_await reader.get_for(0ns);
        CHECK(*one == 1);
        b.put(2);
        one = co_await reader.get_until(weft::never);
        CHECK(*one == 2);
    });
}

TEST_CASE("broadcast: a stopped get has seen nothing", "[G-05][P3]") {
    broadcast<int> b(2);
    auto reader = b.subscribe();
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(get_and_note(reader, got));
            co_await until([&] { return b.getting() == 1; });
            waits.cancel();
            CHECK(b.getting() == 0);
            co_await until([&] { return waits.done(); });
            b.put(1);
            waits = g.spawn(get_and_note(reader, got));
            co_await until([&] { return waits.done(); });
            CHECK(got == std::vector<int>{1});
            waits = g.spawn(get_and_note(reader, got));
            co_await until([&] { return b.getting() == 1; });
            b.put(2);
            waits.cancel(); // has it already
        });
    });
    CHECK(got == std::vector<int>{1, 2});
}

TEST_CASE("broadcast: takes part in a select, and what isn't chosen is seen later") {
    broadcast<int> b(4);
    weft::event e;
    auto reader = b.subscribe();
    on_a_loop([&]() -> task<> {
        b.put(1);
        e.set();
        auto first = co_await weft::select(e.wait(), reader.get());
        CHECK(first.index() == 0);
        CHECK(reader.unseen() == 1);
        e.clear();
        first = co_await weft::select(e.wait(), reader.get());
        REQUIRE(first.index() == 1);
        CHECK(*first.value<1>() == 1);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto either = [&]() -> task<> {
                auto next = co_await weft::select(e.wait(), reader.get());
                CHECK(next.index() == 0);
            };
            auto waits = g.spawn(either());
            co_await until([&] { return b.getting() == 1; });
            e.set();
            b.put(2); // it has gone to the event
            co_await waits.join();
        });
        auto one = reader.try_get();
        REQUIRE(one);
        CHECK(**one == 2);
    });
}

TEST_CASE("broadcast: a get whose select has been decided elsewhere sees nothing", "[P3]") {
    weft::detail::publication<int> items(2);
    items.publish(std::make_shared<const int>(1));
    std::uint64_t at = 0;
    broadcast<int>::get_op get(items, at);
    weft::detail::strand task_of_select;
    weft::detail::choice choice;
    get.take_part(task_of_select, choice);
    CHECK(choice.claim(&task_of_select)); // by some other operation, while this one lines up
    CHECK(get.line_up());
    CHECK(at == 0);
    CHECK(items.waiting() == 0);
}

TEST_CASE("broadcast: a reader that always finds something still lets others run", "[P7]") {
    broadcast<int> b(1000);
    auto reader = b.subscribe();
    for (int i = 0; i < 1000; ++i)
        b.put(i);
    int seen = 0;
    bool over = false;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto counts = [](int& n, const bool& end) -> task<> {
                while (!end) {
                    ++n;
                    co_await weft::yield();
                }
            };
            g.spawn(counts(seen, over));
            for (int i = 0; i < 1000; ++i) {
                auto one = co_await reader.get();
                REQUIRE(*one == i);
            }
            CHECK(seen >= 3);
            over = true;
        });
    });
}

TEST_CASE("broadcast: loops and threads send and read at once; nothing is lost untold",
          "[G-05][G-14][P3]") {
    const unsigned seed = weft::tests::new_seed();
    for (std::size_t capacity : {1u, 16u, 4096u}) {
        CAPTURE(seed, capacity);
        broadcast<int> b(capacity);
        std::atomic<int> sent{0};
        constexpr int readers = 5;
        std::vector<std::uint64_t> counted(readers, 0);
        std::atomic<bool> in_order{true};
        auto sends = [&](int who) -> task<> {
            int n = 0;
            for (const weft::tests::mixing_time t; !t.over(); ++sent) {
                b.put(who + 2 * n);
                if (++n % 3 == 0)
                    co_await weft::yield();
            }
        };
        // Some of the waits are stopped.
        auto reads = [&](unsigned who, subscription s) -> task<> {
            weft::tests::dice d(seed, who);
            int last[2] = {-1, -1};
            auto one = [&]() -> task<> {
                auto item = co_await s.get();
                counted[who] += 1 + item.missed();
                int& before = last[*item % 2];
                if (*item <= before)
                    in_order = false;
                before = *item;
            };
            try {
                while (true) {
                    if (d.below(3) == 0) {
                        auto in_time = weft::with_timeout(d.moment(), one());
                        auto r = co_await weft::as_result(std::move(in_time));
                        if (b.is_shutdown() && s.unseen() == 0)
                            break;
                    } else {
                        co_await one();
                    }
                }
            } catch (const weft::queue_shut_down&) {
            }
        };
        std::vector<subscription> all(readers, b.subscribe());
        std::thread outside([&] { weft::sync_wait(reads(4, all[4])); });
        on_loops(2, [&](weft::runtime& rt) -> task<> {
            weft::loop& other = rt.get_loop(1);
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(reads(0, all[0]));
                g.spawn(reads(1, all[1]));
                g.spawn(weft::as_task(weft::on(other, reads(2, all[2]))));
                g.spawn(weft::as_task(weft::on(other, reads(3, all[3]))));
                co_await weft::when_all(sends(0), weft::on(other, sends(1)));
                b.shutdown();
            });
        });
        outside.join();
        CHECK(sent > 0);
        CHECK(in_order);
        for (std::uint64_t n : counted)
            CHECK(n == static_cast<std::uint64_t>(sent));
        CHECK(b.getting() == 0);
    }
}
