// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/error.hpp>
#include <weft/sync/queue.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
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

task<> put_and_note(weft::queue<int>& q, int item, std::vector<int>& order) {
    co_await q.put(item);
    order.push_back(item);
}

task<> get_and_note(weft::queue<int>& q, std::vector<int>& got) {
    int item = co_await q.get();
    got.push_back(item);
}

// Notes who got which item: 100 * who + item.
task<> get_as(weft::queue<int>& q, int who, std::vector<int>& got) {
    int item = co_await q.get();
    got.push_back(100 * who + item);
}

template <class T>
task<T> get_one(weft::queue<T>& q) {
    co_return co_await q.get();
}

template <class T>
task<> put_one(weft::queue<T>& q, T item) {
    co_await q.put(std::move(item));
}

task<int> get_within(weft::queue<int>& q, weft::duration d) { co_return co_await q.get_for(d); }

task<> put_within(weft::queue<int>& q, int item, weft::duration d) { co_await q.put_for(item, d); }

task<> join(weft::queue<int>& q, bool& joined) {
    co_await q.join();
    joined = true;
}

// Whether it ends with that error. In a group, where an error that leaves would stop the others.
template <class Error, class T>
task<bool> fails(task<T> t) {
    try {
        static_cast<void>(co_await std::move(t));
    } catch (const Error&) {
        co_return true;
    }
    co_return false;
}

std::vector<int> drain(weft::queue<int>& q) {
    std::vector<int> all;
    while (auto item = q.try_get())
        all.push_back(*item);
    return all;
}

// Counts how many there are. Its moves fail when they are told to.
struct fragile {
    explicit fragile(int n) : number(n) { ++alive; }
    fragile(fragile&& other) : number(other.number) {
        if (moves_left > 0) {
            --moves_left;
            if (moves_left == 0)
                throw std::runtime_error("a move failed");
        }
        other.number = -1;
        ++alive;
    }
    fragile& operator=(fragile&&) = delete;
    ~fragile() { --alive; }

    int number;
    static inline int moves_left = 0; // the last of them fails; 0: none does
    static inline int alive = 0;
};

struct alignas(256) wide {
    explicit wide(int n) noexcept : number(n) {}
    wide(wide&& other) noexcept : number(other.is_aligned() ? other.number : -1) {}
    wide& operator=(wide&&) = delete;
    [[nodiscard]] bool is_aligned() const {
        return reinterpret_cast<std::uintptr_t>(this) % alignof(wide) == 0;
    }
    int number;
};

} // namespace

TEST_CASE("queue: gives the items in the order in which they were put", "[Q-01]") {
    weft::queue<int> q;
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        for (int i = 0; i < 3; ++i)
            co_await q.put(i);
        for (int i = 0; i < 3; ++i)
            co_await get_and_note(q, got);
    });
    CHECK(got == std::vector<int>{0, 1, 2});
}

TEST_CASE("queue: without a bound it takes whatever is put, and gives memory back", "[Q-01]") {
    weft::queue<int> q;
    CHECK(q.capacity() == 0);
    int taken = 0;
    int put = 0;
    bool right = true;
    // Grows from many places within its rings, and shrinks again.
    for (int many : {100'000, 1, 17, 5'000, 40'000, 0}) {
        while (put - taken < many)
            right = q.try_put(put++) && right;
        CHECK_FALSE(q.full());
        while (put - taken > many / 3)
            right = q.try_get() == taken++ && right;
    }
    CHECK(right);
    CHECK(q.empty());
    CHECK_FALSE(q.try_get());
}

TEST_CASE("queue: with a bound it is full when that many items are in it", "[Q-01][Q-04]") {
    for (std::size_t capacity : {1u, 2u, 3u, 16u, 1000u, 300'000u}) {
        weft::queue<std::size_t> q(capacity);
        CHECK(q.capacity() == capacity);
        for (std::size_t round = 0; round < 3; ++round) {
            bool right = true;
            for (std::size_t i = 0; i < capacity; ++i)
                right = right && !q.full() && q.size() == i && q.try_put(i) && !q.empty();
            CHECK(right);
            CHECK(q.full());
            CHECK_FALSE(q.try_put(0u));
            CHECK(q.size() == capacity);
            for (std::size_t i = 0; i < capacity; ++i)
                right = right && q.try_get() == i;
            CHECK(right);
            CHECK(q.empty());
        }
    }
    CHECK_THROWS_AS(weft::queue<int>(std::size_t{1} << 31), std::invalid_argument);
    CHECK_THROWS_AS(weft::queue<int>(~std::size_t{0}), std::invalid_argument);
}

TEST_CASE("queue: who puts waits while it is full", "[Q-02]") {
    weft::queue<int> q(2);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await put_and_note(q, 1, order);
        co_await put_and_note(q, 2, order);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(put_and_note(q, 3, order));
            g.spawn(put_and_note(q, 4, order));
            co_await until([&] { return q.putting() == 2; });
            CHECK(q.size() == 2);
            CHECK(q.try_get() == 1);
            CHECK(q.putting() == 1); // its item is in already
            CHECK(q.full());
            CHECK(order.size() == 2); // nobody runs inside of try_get
            co_await until([&] { return order.size() == 3; });
            CHECK(q.try_get() == 2);
        });
    });
    CHECK(order == std::vector<int>{1, 2, 3, 4});
    CHECK(drain(q) == std::vector<int>{3, 4});
}

TEST_CASE("queue: try_put says at once whether the item is in, and leaves it if not",
          "[Q-02][G-01]") {
    weft::queue<std::unique_ptr<int>> q(1);
    auto item = std::make_unique<int>(7);
    CHECK(q.try_put(std::move(item)));
    item = std::make_unique<int>(8);
    CHECK_FALSE(q.try_put(std::move(item)));
    REQUIRE(item);
    CHECK(*item == 8);
    auto got = q.try_get();
    REQUIRE(got);
    CHECK(**got == 7);
    CHECK_FALSE(q.try_get());
}

TEST_CASE("queue: a put with a deadline gives up with queue_full", "[Q-02][G-01][G-02][G-03]") {
    weft::queue<int> q(1);
    on_a_loop([&]() -> task<> {
        co_await q.put_for(1, 1h);
        const auto begin = std::chrono::steady_clock::now();
        CHECK_THROWS_AS(co_await q.put_for(2, 3ms), weft::queue_full);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        CHECK_THROWS_AS(co_await q.put_until(3, begin), weft::queue_full);
        CHECK_THROWS_AS(co_await q.put_for(4, 0ns), weft::queue_full);
        CHECK_THROWS_AS(q.put_for(5, -1ns), std::invalid_argument);
        CHECK_THROWS_AS(q.put_for(5, weft::duration::min()), std::invalid_argument);
        CHECK(q.putting() == 0);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(put_within(q, 6, weft::tests::patience));
            co_await until([&] { return q.putting() == 1; });
            CHECK(q.try_get() == 1);
        });
        CHECK(q.try_get() == 6);
        co_await q.put_for(7, 0ns);
        CHECK_THROWS_AS(co_await q.put_until(8, weft::time_point::min()), weft::queue_full);
    });
    CHECK(drain(q) == std::vector<int>{7}); // those that were too late aren't in it
}

TEST_CASE("queue: who gets waits while it is empty, and an item goes straight to it", "[Q-03]") {
    weft::queue<int> q(1);
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(get_and_note(q, got));
            g.spawn(get_and_note(q, got));
            co_await until([&] { return q.getting() == 2; });
            CHECK(q.try_put(1));
            CHECK(q.empty());
            CHECK(q.getting() == 1);
            CHECK_FALSE(q.try_get()); // it is the other one's
            CHECK(got.empty());       // nobody runs inside of try_put
            co_await q.put(2);
            CHECK(q.empty());
        });
    });
    CHECK(got == std::vector<int>{1, 2});
}

TEST_CASE("queue: a get with a deadline gives up with queue_empty", "[Q-03][G-01][G-02][G-03]") {
    weft::queue<int> q;
    on_a_loop([&]() -> task<> {
        const auto begin = std::chrono::steady_clock::now();
        CHECK_THROWS_AS(co_await q.get_for(3ms), weft::queue_empty);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        CHECK_THROWS_AS(co_await q.get_until(begin), weft::queue_empty);
        CHECK_THROWS_AS(co_await q.get_for(0ns), weft::queue_empty);
        CHECK_THROWS_AS(q.get_for(-1ns), std::invalid_argument);
        CHECK_THROWS_AS(q.get_for(weft::duration::min()), std::invalid_argument);
        CHECK(q.getting() == 0);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waiting = g.spawn(get_within(q, weft::tests::patience));
            co_await until([&] { return q.getting() == 1; });
            co_await q.put(1);
            int got = co_await waiting.join();
            CHECK(got == 1);
        });
        co_await q.put(2);
        co_await q.put(3);
        int got = co_await q.get_for(0ns);
        CHECK(got == 2);
        got = co_await q.get_until(weft::never);
        CHECK(got == 3);
    });
    CHECK(q.empty());
}

TEST_CASE("queue: those who wait are served as they came, and nobody overtakes", "[G-06]") {
    weft::queue<int> q(1);
    on_a_loop([&]() -> task<> {
        std::vector<int> got;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 1; i <= 3; ++i) {
                g.spawn(get_as(q, i, got));
                co_await until([&] { return q.getting() == static_cast<std::size_t>(i); });
            }
            for (int i = 1; i <= 4; ++i)
                CHECK(q.try_put(i));
            co_await get_as(q, 4, got);
        });
        CHECK(std::vector<int>{404, 101, 202, 303} == got); // the one that was there runs first

        std::vector<int> order;
        CHECK(q.try_put(0));
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 1; i <= 3; ++i) {
                g.spawn(put_and_note(q, i, order));
                co_await until([&] { return q.putting() == static_cast<std::size_t>(i); });
            }
            for (int i = 0; i < 3; ++i) {
                CHECK(q.try_get() == i);
                CHECK_FALSE(q.try_put(9)); // the room is taken by the next one who waited
            }
        });
        CHECK(order == std::vector<int>{1, 2, 3});
        CHECK(q.try_get() == 3);
    });
}

TEST_CASE("queue: size, empty and full are looks, from anywhere", "[Q-04][G-14]") {
    weft::queue<int> q(2);
    CHECK(q.size() == 0);
    CHECK(q.empty());
    CHECK_FALSE(q.full());
    CHECK(q.try_put(1));
    std::thread([&] {
        CHECK(q.size() == 1);
        CHECK_FALSE(q.empty());
        CHECK_FALSE(q.full());
        CHECK(q.try_put(2));
    }).join();
    CHECK(q.size() == 2);
    CHECK(q.full());
}

TEST_CASE("queue: join waits until every item that was put is done", "[Q-05]") {
    weft::queue<int> q;
    on_a_loop([&]() -> task<> {
        co_await q.join(); // nothing was put
        bool joined[2] = {};
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await q.put(1);
            co_await q.put(2);
            CHECK(q.unfinished() == 2);
            g.spawn(join(q, joined[0]));
            g.spawn(join(q, joined[1]));
            co_await until([&] { return q.joining() == 2; });
            CHECK(q.try_get() == 1);
            CHECK(q.try_get() == 2);
            CHECK(q.unfinished() == 2); // got isn't done
            q.task_done();
            CHECK(q.unfinished() == 1);
            for (int i = 0; i < 3; ++i)
                co_await weft::yield();
            CHECK_FALSE(joined[0]);
            q.task_done();
            CHECK(q.joining() == 0);
        });
        CHECK(joined[0]);
        CHECK(joined[1]);
        co_await q.join();
    });
}

TEST_CASE("queue: items that went straight to who waited count for join too", "[Q-05]") {
    weft::queue<int> q(1);
    std::vector<int> got;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(get_and_note(q, got));
            co_await until([&] { return q.getting() == 1; });
            co_await q.put(1);
            CHECK(q.unfinished() == 1);
            co_await until([&] { return got.size() == 1; });
            q.task_done();
            CHECK(q.unfinished() == 0);

            co_await q.put(2);
            g.spawn(put_and_note(q, 3, order));
            co_await until([&] { return q.putting() == 1; });
            CHECK(q.unfinished() == 1); // who waits for room has put nothing
            CHECK(q.try_get() == 2);
            CHECK(q.unfinished() == 2);
            CHECK(q.try_get() == 3);
            q.task_done();
            q.task_done();
        });
        co_await q.join();
    });
}

TEST_CASE("queue: one task_done too many is an error and changes nothing", "[Q-05][G-09]") {
    weft::queue<int> q;
    CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
    CHECK(q.try_put(1));
    CHECK(q.try_get() == 1);
    q.task_done();
    CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
    CHECK(q.unfinished() == 0);
    CHECK(q.try_put(2));
    CHECK(q.unfinished() == 1);
}

TEST_CASE("queue: a join with a deadline tells whether all was done", "[Q-05][G-01][G-04]") {
    weft::queue<int> q;
    on_a_loop([&]() -> task<> {
        bool done = co_await q.join_for(1h);
        CHECK(done);
        co_await q.put(1);
        const auto begin = std::chrono::steady_clock::now();
        done = co_await q.join_for(3ms);
        CHECK_FALSE(done);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        done = co_await q.join_until(begin);
        CHECK_FALSE(done);
        done = co_await q.join_for(-1ns);
        CHECK_FALSE(done);
        CHECK(q.joining() == 0);
        CHECK(q.try_get() == 1);
        q.task_done();
        done = co_await q.join_for(-1ns);
        CHECK(done);
        done = co_await q.join_until(weft::never);
        CHECK(done);
    });
}

TEST_CASE("queue: an item that can't be moved leaves the queue as it was", "[Q-06]") {
    for (int failing = 1; failing <= 4; ++failing) { // the n-th move on the way out
        CAPTURE(failing);
        weft::queue<fragile> q(2);
        REQUIRE(q.try_put(fragile(1)));
        REQUIRE(q.try_put(fragile(2)));
        fragile::moves_left = failing;
        on_a_loop([&]() -> task<> {
            try {
                static_cast<void>(co_await get_one(q));
            } catch (const std::runtime_error&) {
            }
        });
        fragile::moves_left = 0;
        // Only the first is a move out of the queue.
        CHECK(q.size() == (failing == 1 ? 2 : 1));
        CHECK(q.try_get()->number == (failing == 1 ? 1 : 2));
        while (q.try_get())
            ;
        CHECK(fragile::alive == 0);
    }
    for (int failing = 1; failing <= 4; ++failing) {
        CAPTURE(failing);
        weft::queue<fragile> q(2);
        REQUIRE(q.try_put(fragile(1)));
        bool failed = false;
        fragile::moves_left = failing; // on the way in
        on_a_loop([&]() -> task<> {
            try {
                fragile f(2);
                co_await q.put(std::move(f));
            } catch (const std::runtime_error&) {
                failed = true;
            }
        });
        fragile::moves_left = 0;
        CHECK(q.size() == (failed ? 1 : 2));
        CHECK(q.unfinished() == (failed ? 1 : 2));
        CHECK(q.try_get()->number == 1);
        CHECK(q.try_put(fragile(3)));
        CHECK(q.try_get()->number == (failed ? 3 : 2));
        while (q.try_get())
            ;
        CHECK(fragile::alive == 0);
    }
}

TEST_CASE(
    "queue: who waits for room learns that its item couldn't be moved, and the next is let in",
    "[Q-06][Q-11]") {
    weft::queue<fragile> q(1);
    on_a_loop([&]() -> task<> {
        CHECK(q.try_put(fragile(1)));
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto second = g.spawn(fails<std::runtime_error>(put_one(q, fragile(2))));
            co_await until([&] { return q.putting() == 1; });
            g.spawn(put_one(q, fragile(3)));
            co_await until([&] { return q.putting() == 2; });
            {
                fragile::moves_left = 2; // that of the second into the queue
                auto got = q.try_get();
                fragile::moves_left = 0;
                CHECK(got->number == 1);
            }
            CHECK(q.putting() == 0);
            bool failed = co_await second.join();
            CHECK(failed);
        });
        CHECK(q.size() == 1);
        CHECK(q.try_get()->number == 3);
    });
    CHECK(fragile::alive == 0);
}

TEST_CASE("queue: holds what can only be moved, what is large and what is aligned", "[Q-01]") {
    on_a_loop([&]() -> task<> {
        weft::queue<std::unique_ptr<std::string>> pointers(1);
        co_await pointers.put(std::make_unique<std::string>("text"));
        auto p = co_await pointers.get();
        CHECK(*p == "text");

        weft::queue<std::string> left_behind; // destroyed with items
        for (int i = 0; i < 100; ++i)
            co_await left_behind.put(std::string(100, 'x'));
    });

    weft::queue<wide> aligned;
    for (int i = 0; i < 100; ++i)
        CHECK(aligned.try_put(i));
    for (int i = 0; i < 100; ++i)
        CHECK(aligned.try_get()->number == i);
}

TEST_CASE("queue: after shutdown nothing is put, and what is left is got", "[Q-07]") {
    weft::queue<int> q(2);
    on_a_loop([&]() -> task<> {
        co_await q.put(1);
        co_await q.put(2);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto putting = g.spawn(fails<weft::queue_shut_down>(put_one(q, 3)));
            co_await until([&] { return q.putting() == 1; });
            CHECK_FALSE(q.is_shutdown());
            q.shutdown();
            CHECK(q.is_shutdown());
            bool failed = co_await putting.join();
            CHECK(failed);
        });
        CHECK_THROWS_AS(co_await q.put(4), weft::queue_shut_down);
        CHECK_THROWS_AS(co_await q.put_for(4, 1h), weft::queue_shut_down);
        CHECK_THROWS_AS(co_await q.put_for(4, 0ns), weft::queue_shut_down);
        CHECK_THROWS_AS(q.try_put(4), weft::queue_shut_down);
        int got = co_await q.get();
        CHECK(got == 1);
        CHECK_THROWS_AS(q.try_put(4), weft::queue_shut_down); // although there is room
        CHECK(q.try_get() == 2);
        CHECK_THROWS_AS(co_await q.get(), weft::queue_shut_down);
        CHECK_THROWS_AS(co_await q.get_for(1h), weft::queue_shut_down);
        CHECK_THROWS_AS(co_await q.get_for(0ns), weft::queue_shut_down);
        CHECK_THROWS_AS(q.try_get(), weft::queue_shut_down);
    });
}

TEST_CASE("queue: who waits for an item that can't come any more learns it", "[Q-07]") {
    weft::queue<int> q;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto a = g.spawn(fails<weft::queue_shut_down>(get_one(q)));
            auto b = g.spawn(fails<weft::queue_shut_down>(get_within(q, weft::tests::patience)));
            co_await until([&] { return q.getting() == 2; });
            q.shutdown();
            bool failed = co_await a.join();
            CHECK(failed);
            failed = co_await b.join();
            CHECK(failed);
        });
    });
}

TEST_CASE("queue: an immediate shutdown throws away what is left, as if it were done", "[Q-08]") {
    auto shared = std::make_shared<int>(5);
    weft::queue<std::shared_ptr<int>> q(3);
    on_a_loop([&]() -> task<> {
        for (int i = 0; i < 3; ++i)
            co_await q.put(shared);
        static_cast<void>(co_await q.get());
        co_await q.put(shared);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto putting = g.spawn(fails<weft::queue_shut_down>(put_one(q, shared)));
            co_await until([&] { return q.putting() == 1; });
            CHECK(q.unfinished() == 4);
            q.shutdown(true);
            CHECK(q.empty());
            CHECK(q.unfinished() == 1); // the one that was taken
            bool failed = co_await putting.join();
            CHECK(failed);
        });
        CHECK(shared.use_count() == 1);
        CHECK_THROWS_AS(q.try_get(), weft::queue_shut_down);
        bool done = co_await q.join_for(1ms);
        CHECK_FALSE(done);
        q.task_done();
        co_await q.join();
    });
}

TEST_CASE("queue: an immediate shutdown lets those go on who wait in join and get", "[Q-08]") {
    weft::queue<int> q;
    on_a_loop([&]() -> task<> {
        bool joined = false;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 40; ++i) // more than a ring
                co_await q.put(i);
            g.spawn(join(q, joined));
            co_await until([&] { return q.joining() == 1; });
            q.shutdown(true);
            co_await until([&] { return joined; });
        });
        CHECK(q.unfinished() == 0);
        CHECK_THROWS_AS(co_await q.get(), weft::queue_shut_down);

        weft::queue<int> other;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto getting = g.spawn(fails<weft::queue_shut_down>(get_one(other)));
            co_await until([&] { return other.getting() == 1; });
            other.shutdown(true);
            bool failed = co_await getting.join();
            CHECK(failed);
        });
    });
}

TEST_CASE("queue: shutdown may be repeated and made immediate, but not taken back", "[Q-09]") {
    weft::queue<int> q;
    CHECK(q.try_put(1));
    CHECK(q.try_put(2));
    CHECK(q.try_put(3));
    CHECK(q.try_get() == 1);
    q.shutdown();
    q.shutdown();
    CHECK(q.is_shutdown());
    CHECK(q.size() == 2);
    CHECK(q.try_get() == 2);
    q.task_done(); // of items taken before and after
    CHECK(q.unfinished() == 2);
    q.shutdown(true);
    CHECK(q.empty());
    CHECK(q.unfinished() == 1);
    q.shutdown(true);
    q.shutdown();
    CHECK(q.is_shutdown());
    CHECK_THROWS_AS(q.try_put(4), weft::queue_shut_down);
    q.task_done();
    CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
}

TEST_CASE("queue: a get that is stopped takes no item, and the others keep their order",
          "[Q-11][G-05]") {
    weft::queue<int> q;
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            std::vector<weft::task_handle<>> waiting;
            for (int i = 0; i < 5; ++i) {
                waiting.push_back(g.spawn(get_as(q, i, got)));
                co_await until([&] { return q.getting() == static_cast<std::size_t>(i) + 1; });
            }
            waiting[0].cancel();
            waiting[2].cancel();
            waiting[4].cancel();
            CHECK(q.getting() == 2);
            for (int i = 0; i < 3; ++i)
                CHECK(q.try_put(i));
        });
    });
    CHECK(got == std::vector<int>{100, 301});
    CHECK(drain(q) == std::vector<int>{2});
}

TEST_CASE("queue: a put that is stopped adds no item, and the others keep their order",
          "[Q-11][G-05]") {
    weft::queue<std::shared_ptr<int>> q(1);
    std::vector<std::shared_ptr<int>> items;
    for (int i = 0; i < 6; ++i)
        items.push_back(std::make_shared<int>(i));
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await q.put(items[5]);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            std::vector<weft::task_handle<>> waiting;
            for (std::size_t i = 0; i < 5; ++i) {
                waiting.push_back(g.spawn(put_one(q, items[i])));
                co_await until([&] { return q.putting() == i + 1; });
            }
            for (std::size_t i : {0u, 2u, 4u})
                waiting[i].cancel();
            CHECK(q.putting() == 2);
            for (std::size_t i : {0u, 2u, 4u})
                static_cast<void>(co_await weft::as_result(waiting[i].join()));
            for (std::size_t i : {0u, 2u, 4u})
                CHECK(items[i].use_count() == 1); // destroyed with the put
            while (auto item = q.try_get())
                got.push_back(**item);
        });
    });
    CHECK(got == std::vector<int>{5, 1, 3});
}

TEST_CASE("queue: who was given an item when the stop comes goes on with it", "[Q-11][G-05][P3]") {
    weft::queue<int> q;
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waiting = g.spawn(get_and_note(q, got));
            co_await until([&] { return q.getting() == 1; });
            CHECK(q.try_put(1));
            waiting.cancel();
        });
    });
    CHECK(got == std::vector<int>{1});
}

TEST_CASE("queue: a task that is being stopped gets what is there, but doesn't wait",
          "[Q-11][G-05]") {
    weft::queue<int> q(2);
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        CHECK(q.try_put(1));
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto stays = [](weft::queue<int>& from, std::vector<int>& into) -> task<> {
                while (!weft::stop_requested())
                    co_await weft::shield(weft::yield());
                co_await get_and_note(from, into);
                co_await get_and_note(from, into);
            };
            auto one = g.spawn(stays(q, got));
            co_await weft::yield();
            one.cancel();
            static_cast<void>(co_await weft::as_result(one.join()));
        });
    });
    CHECK(got == std::vector<int>{1});
    CHECK(q.getting() == 0);
}

TEST_CASE("queue: a loser of when_any that got an item has it in its result", "[Q-11][P3]") {
    weft::queue<int> a;
    weft::queue<int> b;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto both = [](weft::queue<int>& x, weft::queue<int>& y) -> task<int> {
                auto first = co_await weft::when_any(x.get(), y.get());
                int sum = 0;
                if (std::get<0>(first.results()).has_value())
                    sum += std::get<0>(first.results()).value();
                if (std::get<1>(first.results()).has_value())
                    sum += std::get<1>(first.results()).value();
                co_return sum;
            };
            auto racing = g.spawn(both(a, b));
            co_await until([&] { return a.getting() + b.getting() == 2; });
            CHECK(a.try_put(1));
            CHECK(b.try_put(2));
            int sum = co_await racing.join();
            CHECK(sum == 3);

            racing = g.spawn(both(a, b));
            co_await until([&] { return a.getting() + b.getting() == 2; });
            CHECK(b.try_put(4));
            sum = co_await racing.join();
            CHECK(sum == 4);
            CHECK(a.getting() == 0);
        });
    });
}

TEST_CASE("queue: a task that finds it never empty or full still lets others run", "[P7]") {
    weft::queue<int> q(1000);
    int seen = 0;
    bool over = false;
    on_a_loop([&]() -> task<> {
        // One task only, so nothing but its own turns lets the other one count.
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto counts = [](int& n, const bool& end) -> task<> {
                while (!end) {
                    ++n;
                    co_await weft::yield();
                }
            };
            g.spawn(counts(seen, over));
            for (int i = 0; i < 1000; ++i)
                co_await q.put(i);
            CHECK(seen >= 3);
            seen = 0;
            for (int i = 0; i < 1000; ++i) {
                int item = co_await q.get();
                REQUIRE(item == i);
            }
            CHECK(seen >= 3);
            over = true;
        });
    });
}

TEST_CASE("queue: tasks of several loops and threads share it, and each item is got once",
          "[Q-12][G-07][G-14]") {
    for (std::size_t capacity : {0u, 1u, 2u, 64u}) {
        CAPTURE(capacity);
        constexpr int producers = 5;
        constexpr int each = 3000;
        weft::queue<int> q(capacity);
        std::atomic<int> strays{0}; // went on elsewhere than they began
        std::vector<std::vector<int>> got(5);

        auto produces = [&](int who) -> task<> {
            const auto home = std::this_thread::get_id();
            for (int i = 0; i < each; ++i) {
                if (i % 5 == 0) {
                    while (!q.try_put(who * each + i))
                        co_await weft::yield();
                } else {
                    co_await q.put(who * each + i);
                }
                strays += home != std::this_thread::get_id();
            }
        };
        auto consumes = [&](std::vector<int>& into) -> task<> {
            const auto home = std::this_thread::get_id();
            try {
                while (true) {
                    int item = co_await q.get();
                    into.push_back(item);
                    strays += home != std::this_thread::get_id();
                }
            } catch (const weft::queue_shut_down&) {
            }
        };
        std::thread puts([&] { weft::sync_wait(produces(4)); });
        std::thread gets([&] { weft::sync_wait(consumes(got[4])); });
        on_loops(2, [&](weft::runtime& rt) -> task<> {
            weft::loop& other = rt.get_loop(1);
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(consumes(got[0]));
                g.spawn(consumes(got[1]));
                g.spawn(weft::as_task(weft::on(other, consumes(got[2]))));
                g.spawn(weft::as_task(weft::on(other, consumes(got[3]))));
                co_await weft::when_all(produces(0), produces(1), weft::on(other, produces(2)),
                                        weft::on(other, produces(3)));
                puts.join();
                q.shutdown();
            });
        });
        gets.join();

        CHECK(strays == 0);
        std::vector<int> times(producers * each, 0);
        bool in_order = true;
        for (const auto& items : got) {
            std::vector<int> last(producers, -1);
            for (int item : items) {
                ++times[static_cast<std::size_t>(item)];
                int& before = last[static_cast<std::size_t>(item / each)];
                in_order = in_order && before < item;
                before = item;
            }
        }
        CHECK(in_order); // of one producer, as seen by one consumer
        CHECK(std::count(times.begin(), times.end(), 1) == producers * each);
        CHECK(q.unfinished() == producers * each);
    }
}

TEST_CASE("queue: what was put is got although shutdown comes at any moment", "[Q-07][Q-12]") {
    for (int round = 0; round < 200; ++round) {
        weft::queue<int> q(3);
        int put = 0;
        int got = 0;
        std::thread producer([&] {
            try {
                while (true) {
                    weft::sync_wait(q.put(put));
                    ++put;
                }
            } catch (const weft::queue_shut_down&) {
            }
        });
        std::thread ends([&] {
            until_here([&] { return q.unfinished() > static_cast<std::size_t>(round % 7); });
            q.shutdown();
        });
        try {
            while (true) {
                int item = weft::sync_wait(q.get());
                REQUIRE(item == got);
                ++got;
            }
        } catch (const weft::queue_shut_down&) {
        }
        producer.join();
        ends.join();
        REQUIRE(got == put);
    }
}

TEST_CASE("queue: it may be destroyed as soon as the last item was handed over") {
    for (int i = 0; i < 300; ++i) {
        auto q = std::make_unique<weft::queue<int>>(1);
        std::thread other([at = q.get()] {
            until_here([&] { return at->getting() == 1; });
            static_cast<void>(at->try_put(1));
        });
        weft::sync_wait(q->get());
        q.reset();
        other.join();
    }
}

namespace {

using put_until_op = weft::queue<int>::timed_put_op;

// An operation where something else was before: what it forgets to set is not zero.
class used_place {
public:
    explicit used_place(weft::queue<int>& q, int item, weft::time_point deadline) {
        std::memset(bytes_, 0x5a, sizeof bytes_);
        op_ = ::new (static_cast<void*>(bytes_)) put_until_op(q.put_until(item, deadline));
    }
    used_place(const used_place&) = delete;
    used_place& operator=(const used_place&) = delete;
    ~used_place() { op_->~put_until_op(); }
    [[nodiscard]] put_until_op& op() noexcept { return *op_; }

private:
    alignas(put_until_op) std::byte bytes_[sizeof(put_until_op)];
    put_until_op* op_;
};

task<> awaits(put_until_op& op, bool& done) {
    co_await op;
    done = true;
}

task<> blocks_until(weft::time_point t) {
    while (weft::clock::now() <= t)
        std::this_thread::yield();
    co_return;
}

} // namespace

TEST_CASE("queue: whoever lets others run has its item before a deadline or stop comes", "[G-05]") {
    for (bool stops : {false, true}) {
        CAPTURE(stops);
        weft::queue<int> q(1000);
        while (q.size() < 255) // the next one ends the turn of whoever puts it
            REQUIRE(q.try_put(1));
        const weft::time_point soon = weft::clock::now() + 20ms;
        used_place put(q, 2, soon);
        bool done = false;
        auto all = [&](weft::task_group& g) -> task<> {
            weft::task_handle<> puts = g.spawn(awaits(put.op(), done));
            // More than a loop resumes before it looks at its timers.
            g.spawn(blocks_until(stops ? weft::time_point::min() : soon));
            for (int i = 0; i < 1000; ++i)
                g.spawn(blocks_until(weft::time_point::min()));
            co_await weft::yield();
            if (stops)
                puts.cancel();
        };
        on_a_loop([&]() -> task<> { co_await weft::with_task_group(std::ref(all)); });
        REQUIRE(done);
        REQUIRE(q.size() == 256);
    }
}

namespace {

// An item that is counted, wherever it is.
class counted {
public:
    explicit counted(int n) noexcept : number_(n) { ++alive; }
    counted(counted&& other) noexcept : number_(std::exchange(other.number_, 0)) { ++alive; }
    counted& operator=(counted&&) = delete;
    ~counted() { --alive; }
    [[nodiscard]] int number() const noexcept { return number_; }
    static inline std::atomic<long> alive{0};

private:
    int number_;
};

struct mixer {
    explicit mixer(std::size_t capacity) : q(capacity) {}
    weft::queue<counted> q;
    std::atomic<long> put{0}, put_sum{0}; // what went in, as its producer knows
    std::atomic<long> got{0}, got_sum{0};
    std::atomic<bool> over{false};

    void note_put(int n) {
        ++put;
        put_sum += n;
    }
    void note_got(int n) {
        ++got;
        got_sum += n;
        q.task_done();
    }
};

task<> mix_puts(mixer& m, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    int n = 0;
    for (const weft::tests::mixing_time t; !t.over() || n == 0;) {
        ++n;
        switch (d.below(5)) {
        case 0:
            if (m.q.try_put(counted(n)))
                m.note_put(n);
            break;
        case 1:
            try {
                co_await m.q.put_for(counted(n), d.moment());
                m.note_put(n);
            } catch (const weft::queue_full&) {
            }
            break;
        case 2:
        case 3: {
            auto puts = [](mixer& at, int item) -> task<> {
                co_await at.q.put(counted(item));
                at.note_put(item);
            };
            auto in_time = weft::with_timeout(d.moment(), puts(m, n));
            static_cast<void>(co_await weft::as_result(std::move(in_time)));
            break;
        }
        default:
            co_await m.q.put(counted(n));
            m.note_put(n);
            break;
        }
    }
}

task<> mix_gets(mixer& m, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    while (!m.over || !m.q.empty()) {
        switch (d.below(4)) {
        case 0:
            if (auto item = m.q.try_get())
                m.note_got(item->number());
            else
                co_await weft::yield();
            break;
        case 1:
            try {
                counted item = co_await m.q.get_for(d.moment());
                m.note_got(item.number());
            } catch (const weft::queue_empty&) {
            }
            break;
        case 2: {
            auto gets = [](mixer& at) -> task<> {
                counted item = co_await at.q.get();
                at.note_got(item.number());
            };
            auto in_time = weft::with_timeout(d.moment(), gets(m));
            static_cast<void>(co_await weft::as_result(std::move(in_time)));
            break;
        }
        default: {
            auto first = co_await weft::when_any(m.q.get(), weft::sleep_for(d.moment()));
            if (auto& item = std::get<0>(first.results()); item.has_value())
                m.note_got(item.value().number());
            break;
        }
        }
    }
}

} // namespace

TEST_CASE("queue: stops at random moments balance every item", "[Q-11][Q-12][G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    for (std::size_t capacity : {1u, 5u, 0u}) {
        CAPTURE(seed, capacity);
        counted::alive = 0;
        {
            mixer m(capacity);
            std::thread puts([&] { weft::sync_wait(mix_puts(m, seed, 6)); });
            std::thread gets([&] { weft::sync_wait(mix_gets(m, seed, 7)); });
            on_loops(2, [&](weft::runtime& rt) -> task<> {
                weft::loop& other = rt.get_loop(1);
                co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                    g.spawn(mix_gets(m, seed, 0));
                    g.spawn(mix_gets(m, seed, 1));
                    g.spawn(weft::as_task(weft::on(other, mix_gets(m, seed, 2))));
                    co_await weft::when_all(mix_puts(m, seed, 3), mix_puts(m, seed, 4),
                                            weft::on(other, mix_puts(m, seed, 5)));
                    puts.join();
                    m.over = true;
                });
            });
            gets.join();
            CHECK(m.put > 0);
            CHECK(m.got == m.put);
            CHECK(m.got_sum == m.put_sum);
            CHECK(m.q.empty());
            CHECK(m.q.unfinished() == 0);
            CHECK(m.q.getting() + m.q.putting() == 0);
        }
        CHECK(counted::alive == 0);
    }
}
