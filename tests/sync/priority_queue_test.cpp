// SPDX-License-Identifier: MIT
#include <weft/sync/priority_queue.hpp>

#include "sync/queue_family.hpp"

#include <catch2/catch.hpp>

#include <functional>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>

using weft::priority_queue;
using weft::task;
using weft::tests::counted_item;

TEST_CASE("priority_queue: gives back the smallest item", "[Q-06]") {
    priority_queue<int> q;
    std::vector<int> got;
    weft::tests::on_a_loop([&]() -> task<> {
        for (int n : {5, 1, 4, 1, 3})
            co_await q.put(n);
        for (int i = 0; i < 3; ++i)
            co_await weft::tests::get_and_note(q, got);
        co_await q.put(2);
        co_await q.put(9);
        for (int i = 0; i < 4; ++i)
            co_await weft::tests::get_and_note(q, got);
    });
    CHECK(got == std::vector<int>{1, 1, 3, 2, 4, 5, 9});
}

TEST_CASE("priority_queue: whatever is put and got, it is what a sorted list would give",
          "[Q-06]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    std::mt19937 random(seed);
    priority_queue<int> q;
    std::priority_queue<int, std::vector<int>, std::greater<>> expected;
    bool right = true;
    for (int round = 0; round < 60; ++round) {
        // Up to somewhere, down to somewhere, and now and then to nothing.
        std::size_t top = expected.size() + random() % 3000;
        int spread = round % 3 == 0 ? 4 : 1'000'000;
        while (expected.size() < top) {
            int n = static_cast<int>(random() % static_cast<unsigned>(spread));
            right = q.try_put(n) && right;
            expected.push(n);
        }
        std::size_t bottom = round % 4 == 0 ? 0 : random() % (expected.size() + 1);
        while (expected.size() > bottom) {
            right = q.try_get() == expected.top() && right;
            expected.pop();
        }
        right = right && q.size() == expected.size();
    }
    CHECK(right);
}

TEST_CASE("priority_queue: the comparison says which one comes first", "[Q-06]") {
    priority_queue<std::string, std::greater<>> last_first;
    for (const char* word : {"b", "c", "a"})
        CHECK(last_first.try_put(word)); // made there
    CHECK(last_first.try_get() == "c");
    CHECK(last_first.try_get() == "b");
    auto distance = [from = 10](int a, int b) { return std::abs(a - from) < std::abs(b - from); };
    priority_queue<int, decltype(distance)> nearest(0, distance);
    for (int n : {1, 12, 9, 30})
        CHECK(nearest.try_put(n));
    CHECK(weft::tests::drain(nearest) == std::vector<int>{9, 12, 1, 30});
}

TEST_CASE("priority_queue: the item of who waits for room takes its place in the order",
          "[Q-02][Q-06]") {
    priority_queue<int> q(2);
    std::vector<int> order;
    weft::tests::on_a_loop([&]() -> task<> {
        CHECK(q.try_put(5));
        CHECK(q.try_put(6));
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(weft::tests::put_and_note(q, 7, order));
            co_await weft::tests::until([&] { return q.putting() == 1; });
            g.spawn(weft::tests::put_and_note(q, 1, order));
            co_await weft::tests::until([&] { return q.putting() == 2; });
            CHECK(q.try_get() == 5); // lets in the first who waited, not the most urgent
            CHECK(q.try_get() == 6);
            CHECK(q.try_get() == 1);
            CHECK(q.try_get() == 7);
        });
    });
    CHECK(order == std::vector<int>{7, 1});
}

TEST_CASE("priority_queue: with a bound it is full when that many items are in it",
          "[Q-01][Q-04]") {
    weft::tests::is_full_at_its_capacity<priority_queue<std::size_t>>();
}
TEST_CASE("priority_queue: who puts waits while it is full", "[Q-02][G-06]") {
    weft::tests::who_puts_waits<priority_queue<int>>();
}
TEST_CASE("priority_queue: who gets waits while it is empty", "[Q-03][G-06]") {
    weft::tests::who_gets_waits<priority_queue<int>>();
}
TEST_CASE("priority_queue: with a deadline a wait gives up", "[Q-02][Q-03][G-01][G-03]") {
    weft::tests::deadlines_give_up<priority_queue<int>>();
}
TEST_CASE("priority_queue: join waits until every item is done", "[Q-05]") {
    weft::tests::join_waits_until_all_is_done<priority_queue<int>>();
}
TEST_CASE("priority_queue: shutdown ends the puts, and lets out what is left", "[Q-07][Q-09]") {
    weft::tests::shutdown_lets_the_rest_out<priority_queue<int>>();
}
TEST_CASE("priority_queue: immediate shutdown throws away what is left", "[Q-08][Q-09]") {
    weft::tests::immediate_shutdown_throws_the_rest_away<priority_queue<std::shared_ptr<int>>>();
}
TEST_CASE("priority_queue: who is stopped leaves no trace", "[Q-11][G-05][P3]") {
    weft::tests::who_is_stopped_leaves_no_trace<priority_queue<std::shared_ptr<int>>>();
}
TEST_CASE("priority_queue: stops at random moments balance every item",
          "[Q-11][Q-12][G-05][P3][G-14]") {
    weft::tests::stops_at_random_moments_balance<priority_queue<counted_item>>();
}

namespace {

// Fails in the n-th comparison or move from now on.
struct fragile {
    explicit fragile(int n) : number(n) { ++alive; }
    fragile(fragile&& other) : number(other.number) {
        count_down("move");
        ++alive;
    }
    fragile& operator=(fragile&&) = delete;
    ~fragile() { --alive; }
    friend bool operator<(const fragile& a, const fragile& b) {
        count_down("comparison");
        return a.number < b.number;
    }
    static void count_down(const char* what) {
        if (left == 0)
            return;
        --left;
        if (left == 0)
            throw std::runtime_error(what);
    }
    int number;
    static inline int left = 0;
    static inline int alive = 0;
};

std::vector<int> numbers(priority_queue<fragile>& q) {
    std::vector<int> all;
    while (auto item = q.try_get())
        all.push_back(item->number);
    return all;
}

} // namespace

TEST_CASE("priority_queue: a comparison or move that fails leaves the queue as it was", "[Q-06]") {
    const std::vector<int> before{1, 2, 3, 4, 5, 6, 7, 8};
    auto fill = [](priority_queue<fragile>& q) {
        for (int n : {8, 3, 5, 1, 7, 2, 6, 4})
            REQUIRE(q.try_put(fragile(n)));
    };
    int failed_puts = 0, failed_gets = 0;
    for (int failing = 1; failing < 12; ++failing) {
        CAPTURE(failing);
        {
            priority_queue<fragile> q;
            fill(q);
            fragile item(0); // would go all the way up
            fragile::left = failing;
            bool failed = false;
            try {
                static_cast<void>(q.try_put(std::move(item)));
            } catch (const std::runtime_error&) {
                failed = true;
            }
            fragile::left = 0;
            failed_puts += failed ? 1 : 0;
            CHECK(q.size() == (failed ? 8u : 9u));
            std::vector<int> all = numbers(q);
            if (!failed)
                all.erase(all.begin());
            CHECK(all == before);
        }
        CHECK(fragile::alive == 0);
        {
            priority_queue<fragile> q;
            fill(q);
            bool failed = false;
            int first = 0;
            fragile::left = failing;
            try {
                auto item = q.try_get();
                first = item->number;
            } catch (const std::runtime_error&) {
                failed = true;
            }
            fragile::left = 0;
            failed_gets += failed ? 1 : 0;
            if (q.size() == 8)
                CHECK(failed);
            else // it was taken, and lost on the way out if a later move failed
                CHECK((failed || first == 1));
            std::vector<int> all = numbers(q);
            if (all.size() == 7)
                all.insert(all.begin(), 1);
            CHECK(all == before);
        }
        CHECK(fragile::alive == 0);
    }
    CHECK(failed_puts > 3);
    CHECK(failed_gets > 3);
}
