// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/sync/queue_items.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/priority_queue.hpp>
#include <weft/sync/queue.hpp>
#include <weft/sync/simple_queue.hpp>

#include <catch2/catch.hpp>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

TEST_CASE("queue_items: get_some takes what is there, one at least and so many at most") {
    on_a_loop([]() -> task<> {
        weft::queue<int> q;
        for (int i = 0; i < 5; ++i)
            REQUIRE(q.try_put(i));
        auto some = co_await weft::get_some(q, 3);
        CHECK(some == std::vector<int>{0, 1, 2});
        some = co_await weft::get_some(q, 100);
        CHECK(some == std::vector<int>{3, 4});
        auto waits = weft::spawn(weft::get_some(q, 100));
        co_await until([&] { return q.getting() == 1; });
        REQUIRE(q.try_put(7));
        some = co_await waits.join();
        CHECK(some == std::vector<int>{7});
        auto none = co_await weft::as_result(weft::get_some(q, 0));
        CHECK_THROWS_AS(none.value(), std::invalid_argument);
    });
}

TEST_CASE("queue_items: get_some gives what is left at the end, and then says so", "[Q-07]") {
    on_a_loop([]() -> task<> {
        weft::queue<int> q;
        REQUIRE(q.try_put(1));
        REQUIRE(q.try_put(2));
        q.shutdown();
        auto some = co_await weft::get_some(q, 10);
        CHECK(some == std::vector<int>{1, 2});
        auto after = co_await weft::as_result(weft::get_some(q, 10));
        CHECK_THROWS_AS(after.value(), weft::queue_shut_down);
    });
}

TEST_CASE("queue_items: put_all waits for room, and a stop leaves what was put") {
    on_a_loop([]() -> task<> {
        weft::queue<std::unique_ptr<int>> q(2);
        std::vector<std::unique_ptr<int>> items;
        for (int i = 0; i < 4; ++i)
            items.push_back(std::make_unique<int>(i));
        auto puts = weft::spawn(weft::put_all(q, std::move(items)));
        co_await until([&] { return q.putting() == 1; });
        CHECK(q.full());
        CHECK(**q.try_get() == 0);
        co_await until([&] { return q.putting() == 1; });
        puts.cancel();
        static_cast<void>(co_await weft::as_result(puts.join()));
        CHECK(**q.try_get() == 1);
        CHECK(**q.try_get() == 2);
        CHECK(q.empty());
    });
}

TEST_CASE("queue_items: items_of gives each item until the queue has ended", "[Q-07]") {
    on_loops(2, [](weft::runtime& rt) -> task<> {
        weft::queue<int> q(10);
        auto puts = [](weft::queue<int>& to) -> task<> {
            std::vector<int> numbers(1000);
            std::iota(numbers.begin(), numbers.end(), 0);
            co_await weft::put_all(to, std::move(numbers));
            to.shutdown();
        };
        auto reads = [](weft::queue<int>& from, std::vector<int>& into) -> task<> {
            auto items = weft::items_of(from);
            while (auto item = co_await items.next())
                into.push_back(*item);
        };
        std::vector<int> one;
        std::vector<int> other;
        co_await weft::when_all(puts(q), reads(q, one), weft::on(rt.get_loop(1), reads(q, other)));
        CHECK(one.size() + other.size() == 1000);
        CHECK(std::accumulate(one.begin(), one.end(), 0) +
                  std::accumulate(other.begin(), other.end(), 0) ==
              999 * 500);
    });
}

TEST_CASE("queue_items: works with whatever has a queue's members") {
    on_a_loop([]() -> task<> {
        weft::simple_queue<int> simple;
        simple.put(1);
        simple.put(2);
        auto some = co_await weft::get_some(simple, 5);
        CHECK(some == std::vector<int>{1, 2});
        weft::priority_queue<int> sorted;
        auto numbers = std::vector<int>{3, 1, 2};
        co_await weft::put_all(sorted, std::move(numbers));
        some = co_await weft::get_some(sorted, 5);
        CHECK(some == std::vector<int>{1, 2, 3});
    });
}
