// SPDX-License-Identifier: MIT
// What must hold for every queue with a bound, whatever the order in which it gives its items back.
// Each check is a function of the kind of queue, so that a test of that kind names it.
//
//     TEST_CASE("lifo_queue: who puts waits while it is full", "[Q-02]") {
//         weft::tests::who_puts_waits<weft::lifo_queue<int>>();
//     }
//
// Threads:      the thread that runs the test, and those that a check starts.
// Cancellation: none. Errors: none of its own. Cost: none. Source: none.
#pragma once
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

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace weft::tests {

using namespace std::chrono_literals;

template <class Queue>
std::vector<int> drain(Queue& q) {
    std::vector<int> all;
    while (auto item = q.try_get())
        all.push_back(*item);
    return all;
}

template <class Queue>
task<> put_and_note(Queue& q, int item, std::vector<int>& order) {
    co_await q.put(item);
    order.push_back(item);
}

template <class Queue>
task<> get_and_note(Queue& q, std::vector<int>& got) {
    int item = co_await q.get();
    got.push_back(item);
}

// The error of a wait that fails with it.
template <class Error, class Op>
task<bool> fails_with(Op op) {
    bool so = false;
    try {
        static_cast<void>(co_await std::move(op));
    } catch (const Error&) {
        so = true;
    }
    co_return so;
}

template <class Queue> // of std::size_t
void is_full_at_its_capacity() {
    for (std::size_t capacity : {1u, 2u, 3u, 16u, 1000u, 300'000u}) {
        Queue q(capacity);
        CHECK(q.capacity() == capacity);
        for (int round = 0; round < 2; ++round) {
            bool right = true;
            for (std::size_t i = 0; i < capacity; ++i)
                right = right && !q.full() && q.size() == i && q.try_put(i) && !q.empty();
            CHECK(right);
            CHECK(q.full());
            CHECK_FALSE(q.try_put(std::size_t{0}));
            CHECK(q.size() == capacity);
            std::size_t sum = 0;
            for (std::size_t i = 0; i < capacity; ++i)
                sum += q.try_get().value_or(0);
            CHECK(sum == capacity * (capacity - 1) / 2);
            CHECK(q.empty());
            CHECK_FALSE(q.try_get());
        }
    }
    CHECK_THROWS_AS(Queue(std::size_t{1} << 31), std::invalid_argument);
    CHECK_THROWS_AS(Queue(~std::size_t{0}), std::invalid_argument);
    Queue unbounded;
    CHECK(unbounded.capacity() == 0);
    bool right = true;
    for (std::size_t n : {100'000u, 10u, 5000u}) {
        for (std::size_t i = 0; i < n; ++i)
            right = right && unbounded.try_put(i) && !unbounded.full();
        CHECK(unbounded.size() == n);
        std::size_t sum = 0;
        for (std::size_t i = 0; i < n; ++i)
            sum += unbounded.try_get().value_or(0);
        right = right && sum == n * (n - 1) / 2;
        CHECK(unbounded.empty());
    }
    CHECK(right);
}

template <class Queue>
void who_puts_waits() {
    Queue q(2);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await put_and_note(q, 1, order);
        co_await put_and_note(q, 2, order);
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(put_and_note(q, 3, order));
            co_await until([&] { return q.putting() == 1; });
            g.spawn(put_and_note(q, 4, order));
            co_await until([&] { return q.putting() == 2; });
            CHECK_FALSE(q.try_put(9)); // nobody overtakes
            CHECK(q.size() == 2);
            CHECK(q.try_get());
            CHECK(q.putting() == 1); // its item is in already
            CHECK(q.full());
            CHECK(order.size() == 2); // nobody runs inside of try_get
            co_await until([&] { return order.size() == 3; });
            CHECK(q.try_get());
        });
    });
    CHECK(order == std::vector<int>{1, 2, 3, 4});
    CHECK(q.size() == 2);
    drain(q);
}

template <class Queue>
void who_gets_waits() {
    Queue q(1);
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(get_and_note(q, got));
            co_await until([&] { return q.getting() == 1; });
            g.spawn(get_and_note(q, got));
            co_await until([&] { return q.getting() == 2; });
            CHECK(q.try_put(1));
            CHECK(q.empty()); // it went straight to the first
            CHECK(q.getting() == 1);
            CHECK_FALSE(q.try_get());
            CHECK(got.empty());
            co_await q.put(2);
            CHECK(q.empty());
        });
    });
    CHECK(got == std::vector<int>{1, 2});
}

template <class Queue>
void deadlines_give_up() {
    Queue q(1);
    on_a_loop([&]() -> task<> {
        const auto begin = clock::now();
        bool empty = co_await fails_with<queue_empty>(q.get_for(3ms));
        CHECK(empty);
        CHECK(clock::now() - begin >= 3ms);
        empty = co_await fails_with<queue_empty>(q.get_until(begin));
        CHECK(empty);
        empty = co_await fails_with<queue_empty>(q.get_for(0ns));
        CHECK(empty);
        CHECK_THROWS_AS(q.get_for(-1ns), std::invalid_argument);
        CHECK(q.getting() == 0);

        co_await q.put_for(1, 1h);
        bool full = co_await fails_with<queue_full>(q.put_for(2, 3ms));
        CHECK(full);
        full = co_await fails_with<queue_full>(q.put_until(3, begin));
        CHECK(full);
        full = co_await fails_with<queue_full>(q.put_for(4, 0ns));
        CHECK(full);
        CHECK_THROWS_AS(q.put_for(5, -1ns), std::invalid_argument);
        CHECK(q.putting() == 0);
        int item = co_await q.get_for(0ns);
        CHECK(item == 1);
        co_await q.put_for(6, 0ns);
        item = co_await q.get_until(never);
        CHECK(item == 6);
    });
    CHECK(q.empty());
}

template <class Queue>
void join_waits_until_all_is_done() {
    Queue q;
    CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
    on_a_loop([&]() -> task<> {
        co_await q.join(); // nothing was put
        bool done = co_await q.join_for(0ns);
        CHECK(done);
        bool joined = false;
        auto joins = [&]() -> task<> {
            co_await q.join();
            joined = true;
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            std::vector<int> got;
            g.spawn(get_and_note(q, got)); // one that goes straight to who waits counts too
            co_await until([&] { return q.getting() == 1; });
            co_await q.put(1);
            co_await q.put(2);
            CHECK(q.unfinished() == 2);
            g.spawn(joins());
            co_await until([&] { return q.joining() == 1; });
            CHECK(q.try_get() == 2);
            q.task_done();
            done = co_await q.join_for(1ms);
            CHECK_FALSE(done);
            CHECK_FALSE(joined);
            q.task_done();
            co_await until([&] { return joined; });
            CHECK(got == std::vector<int>{1});
        });
        CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
    });
}

template <class Queue>
void shutdown_lets_the_rest_out() {
    Queue q(2);
    on_a_loop([&]() -> task<> {
        CHECK(q.try_put(1));
        CHECK(q.try_put(2));
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(fails_with<queue_shut_down>(q.put(3)));
            co_await until([&] { return q.putting() == 1; });
            CHECK_FALSE(q.is_shutdown());
            q.shutdown();
            q.shutdown(); // again changes nothing
            CHECK(q.is_shutdown());
            bool told = co_await waits.join();
            CHECK(told);
            told = co_await fails_with<queue_shut_down>(q.put(4));
            CHECK(told);
            CHECK_THROWS_AS(q.try_put(5), queue_shut_down);
            CHECK(q.size() == 2);
            int sum = co_await q.get();
            sum += q.try_get().value_or(0);
            CHECK(sum == 3);
            told = co_await fails_with<queue_shut_down>(q.get());
            CHECK(told);
            CHECK_THROWS_AS(q.try_get(), queue_shut_down);
            q.task_done(); // still works for what was got before
            q.task_done();
            co_await q.join();
        });
    });
    Queue waited_for;
    on_a_loop([&]() -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(fails_with<queue_shut_down>(waited_for.get()));
            co_await until([&] { return waited_for.getting() == 1; });
            waited_for.shutdown();
            bool told = co_await waits.join();
            CHECK(told);
        });
    });
}

template <class Queue> // of std::shared_ptr<int>
void immediate_shutdown_throws_the_rest_away() {
    auto item = std::make_shared<int>(1);
    Queue q(2);
    on_a_loop([&]() -> task<> {
        CHECK(q.try_put(item));
        CHECK(q.try_put(item));
        co_await with_task_group([&](task_group& g) -> task<> {
            auto taken = q.try_get();
            CHECK(taken.has_value());
            co_await q.put(item);
            auto waits = g.spawn(fails_with<queue_shut_down>(q.put(item)));
            auto joins = g.spawn(as_task(q.join()));
            co_await until([&] { return q.putting() == 1 && q.joining() == 1; });
            q.shutdown(); // a normal one first
            CHECK(q.size() == 2);
            q.shutdown(true);
            CHECK(q.empty());
            bool told = co_await waits.join();
            CHECK(told);
            CHECK(q.unfinished() == 1);
            CHECK_FALSE(joins.done());
            q.task_done(); // of the one that had been taken
            co_await joins.join();
            CHECK_THROWS_AS(q.try_get(), queue_shut_down);
        });
        CHECK(item.use_count() == 1);
    });
}

template <class Queue> // of std::shared_ptr<int>
void who_is_stopped_leaves_no_trace() {
    on_a_loop([&]() -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            Queue q(1);
            auto gets = [](Queue& from, int& sum) -> task<> {
                auto item = co_await from.get();
                sum += *item;
            };
            auto puts = [](Queue& to, std::shared_ptr<int> item) -> task<> {
                co_await to.put(std::move(item));
            };
            int first = 0, second = 0, third = 0;
            auto a = g.spawn(gets, std::ref(q), std::ref(first));
            auto b = g.spawn(gets, std::ref(q), std::ref(second));
            auto c = g.spawn(gets, std::ref(q), std::ref(third));
            co_await until([&] { return q.getting() == 3; });
            b.cancel();
            CHECK(q.getting() == 2);
            CHECK(q.try_put(std::make_shared<int>(1)));
            a.cancel(); // too late: it has been given one
            CHECK(q.try_put(std::make_shared<int>(2)));
            co_await until([&] { return a.done() && b.done() && c.done(); });
            CHECK(first == 1);
            CHECK(second == 0);
            CHECK(third == 2);

            auto kept = std::make_shared<int>(3);
            CHECK(q.try_put(std::make_shared<int>(4)));
            auto d = g.spawn(puts, std::ref(q), kept);
            auto e = g.spawn(puts, std::ref(q), std::make_shared<int>(5));
            co_await until([&] { return q.putting() == 2; });
            d.cancel();
            CHECK(q.putting() == 1);
            co_await until([&] { return d.done(); });
            CHECK(kept.use_count() == 1); // destroyed with the put
            CHECK(**q.try_get() == 4);
            CHECK(**q.try_get() == 5);
            co_await until([&] { return e.done(); });
        });
    });
}

// An item that is counted, wherever it is.
class counted_item {
public:
    explicit counted_item(int n) noexcept : number_(n) { ++alive; }
    counted_item(counted_item&& other) noexcept : number_(std::exchange(other.number_, 0)) {
        ++alive;
    }
    counted_item& operator=(counted_item&&) = delete;
    ~counted_item() { --alive; }
    [[nodiscard]] int number() const noexcept { return number_; }
    friend bool operator<(const counted_item& a, const counted_item& b) noexcept {
        return a.number_ < b.number_;
    }
    static inline std::atomic<long> alive{0};

private:
    int number_;
};

template <class Queue> // of counted_item
struct queue_mixer {
    explicit queue_mixer(std::size_t capacity) : q(capacity) {}
    Queue q;
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

    static task<> put_one(queue_mixer& m, int n) {
        co_await m.q.put(counted_item(n));
        m.note_put(n);
    }
    static task<> get_one(queue_mixer& m) {
        counted_item item = co_await m.q.get();
        m.note_got(item.number());
    }
    static task<> puts(queue_mixer& m, unsigned seed, unsigned who) {
        dice d(seed, who);
        int n = 0;
        for (const mixing_time t; !t.over() || n == 0;) {
            ++n;
            switch (d.below(4)) {
            case 0:
                if (m.q.try_put(counted_item(n)))
                    m.note_put(n);
                break;
            case 1:
                try {
                    co_await m.q.put_for(counted_item(n), d.moment());
                    m.note_put(n);
                } catch (const queue_full&) {
                }
                break;
            case 2: {
                auto in_time = with_timeout(d.moment(), put_one(m, n));
                static_cast<void>(co_await as_result(std::move(in_time)));
                break;
            }
            default:
                co_await put_one(m, n);
                break;
            }
        }
    }
    static task<> gets(queue_mixer& m, unsigned seed, unsigned who) {
        dice d(seed, who);
        while (!m.over || !m.q.empty()) {
            switch (d.below(4)) {
            case 0:
                if (auto item = m.q.try_get())
                    m.note_got(item->number());
                else
                    co_await yield();
                break;
            case 1:
                try {
                    counted_item item = co_await m.q.get_for(d.moment());
                    m.note_got(item.number());
                } catch (const queue_empty&) {
                }
                break;
            case 2: {
                auto in_time = with_timeout(d.moment(), get_one(m));
                static_cast<void>(co_await as_result(std::move(in_time)));
                break;
            }
            default: {
                auto first = co_await when_any(m.q.get(), sleep_for(d.moment()));
                if (auto& item = std::get<0>(first.results()); item.has_value())
                    m.note_got(item.value().number());
                break;
            }
            }
        }
    }
};

template <class Queue> // of counted_item
void stops_at_random_moments_balance() {
    using mixer = queue_mixer<Queue>;
    const unsigned seed = new_seed();
    for (std::size_t capacity : {1u, 5u, 0u}) {
        CAPTURE(seed, capacity);
        counted_item::alive = 0;
        {
            mixer m(capacity);
            std::thread puts([&] { sync_wait(mixer::puts(m, seed, 6)); });
            std::thread gets([&] { sync_wait(mixer::gets(m, seed, 7)); });
            on_loops(2, [&](runtime& rt) -> task<> {
                loop& other = rt.get_loop(1);
                co_await with_task_group([&](task_group& g) -> task<> {
                    g.spawn(mixer::gets(m, seed, 0));
                    g.spawn(as_task(on(other, mixer::gets(m, seed, 2))));
                    co_await when_all(mixer::puts(m, seed, 3), on(other, mixer::puts(m, seed, 5)));
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
        CHECK(counted_item::alive == 0);
    }
}

} // namespace weft::tests
