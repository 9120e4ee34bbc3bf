// SPDX-License-Identifier: MIT
#include <weft/sync/lifo_queue.hpp>

#include "sync/queue_family.hpp"

#include <catch2/catch.hpp>

#include <functional>
#include <stdexcept>

using weft::lifo_queue;
using weft::task;
using weft::tests::counted_item;

TEST_CASE("lifo_queue: gives back what was put last", "[Q-06]") {
    lifo_queue<int> q;
    std::vector<int> got;
    weft::tests::on_a_loop([&]() -> task<> {
        co_await q.put(1);
        co_await q.put(2);
        co_await weft::tests::get_and_note(q, got);
        co_await q.put(3);
        co_await q.put(4);
        for (int i = 0; i < 3; ++i)
            co_await weft::tests::get_and_note(q, got);
    });
    CHECK(got == std::vector<int>{2, 4, 3, 1});
    // Through all of its blocks of memory, up and down.
    int next = 0;
    std::vector<int> expected;
    bool right = true;
    for (std::size_t many : {1000u, 3u, 70'000u, 15u, 17u, 0u, 40u, 0u}) {
        while (expected.size() < many) {
            right = q.try_put(next) && right;
            expected.push_back(next++);
        }
        while (expected.size() > many) {
            right = q.try_get() == expected.back() && right;
            expected.pop_back();
        }
    }
    CHECK(right);
    CHECK(q.empty());
}

TEST_CASE("lifo_queue: with a bound it is full when that many items are in it", "[Q-01][Q-04]") {
    weft::tests::is_full_at_its_capacity<lifo_queue<std::size_t>>();
}
TEST_CASE("lifo_queue: who puts waits while it is full", "[Q-02][G-06]") {
    weft::tests::who_puts_waits<lifo_queue<int>>();
}
TEST_CASE("lifo_queue: who gets waits while it is empty", "[Q-03][G-06]") {
    weft::tests::who_gets_waits<lifo_queue<int>>();
}
TEST_CASE("lifo_queue: with a deadline a wait gives up", "[Q-02][Q-03][G-01][G-03]") {
    weft::tests::deadlines_give_up<lifo_queue<int>>();
}
TEST_CASE("lifo_queue: join waits until every item is done", "[Q-05]") {
    weft::tests::join_waits_until_all_is_done<lifo_queue<int>>();
}
TEST_CASE("lifo_queue: shutdown ends the puts, and lets out what is left", "[Q-07][Q-09]") {
    weft::tests::shutdown_lets_the_rest_out<lifo_queue<int>>();
}
TEST_CASE("lifo_queue: immediate shutdown throws away what is left", "[Q-08][Q-09]") {
    weft::tests::immediate_shutdown_throws_the_rest_away<lifo_queue<std::shared_ptr<int>>>();
}
TEST_CASE("lifo_queue: who is stopped leaves no trace", "[Q-11][G-05][P3]") {
    weft::tests::who_is_stopped_leaves_no_trace<lifo_queue<std::shared_ptr<int>>>();
}
TEST_CASE("lifo_queue: stops at random moments balance every item",
          "[Q-11][Q-12][G-05][P3][G-14]") {
    weft::tests::stops_at_random_moments_balance<lifo_queue<counted_item>>();
}

namespace {

struct fragile {
    explicit fragile(int n) : number(n) { ++alive; }
    fragile(fragile&& other) : number(other.number) {
        if (fails)
            throw std::runtime_error("a move failed");
        ++alive;
    }
    fragile& operator=(fragile&&) = delete;
    ~fragile() { --alive; }
    int number;
    static inline bool fails = false;
    static inline int alive = 0;
};

} // namespace

TEST_CASE("lifo_queue: an item that can't be moved leaves the queue as it was", "[Q-06]") {
    {
        lifo_queue<fragile> q(3);
        REQUIRE(q.try_put(fragile(1)));
        REQUIRE(q.try_put(fragile(2)));
        fragile third(3);
        fragile::fails = true;
        CHECK_THROWS_AS(q.try_put(std::move(third)), std::runtime_error);
        CHECK_THROWS_AS(q.try_get(), std::runtime_error);
        fragile::fails = false;
        CHECK(q.size() == 2);
        CHECK(q.try_get()->number == 2);
        CHECK(q.try_put(std::move(third)));
        CHECK(q.try_get()->number == 3);
        CHECK(q.try_get()->number == 1);
        CHECK(q.unfinished() == 3);
    }
    CHECK(fragile::alive == 0);
}
