// SPDX-License-Identifier: MIT
#include <weft/sync/simple_queue.hpp>

#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/loop.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/sync/error.hpp>

#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::simple_queue;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

template <class T>
task<> get_and_note(simple_queue<T>& q, std::vector<T>& got) {
    T item = co_await q.get();
    got.push_back(std::move(item));
}

} // namespace

TEST_CASE("simple_queue: takes whatever is put, at once, and gives it back in order", "[Q-10]") {
    simple_queue<int> q;
    CHECK(q.empty());
    CHECK_FALSE(q.try_get());
    for (int i = 0; i < 100'000; ++i)
        q.put(i);
    CHECK(q.size() == 100'000);
    bool in_order = true;
    for (int i = 0; i < 100'000; ++i)
        in_order = in_order && q.try_get() == i;
    CHECK(in_order);
    CHECK(q.empty());
}

TEST_CASE("simple_queue: who gets waits while it is empty, first come first served",
          "[Q-10][G-06]") {
    simple_queue<int> q;
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (std::size_t i = 1; i <= 3; ++i) {
                g.spawn(get_and_note(q, got));
                co_await until([&] { return q.getting() == i; });
            }
            q.put(1);
            q.put(2);
            CHECK(q.getting() == 1);
            CHECK(q.empty()); // both have gone straight to who waited
            CHECK(got.empty());
            q.put(3);
        });
    });
    CHECK(got == std::vector<int>{1, 2, 3});
}

TEST_CASE("simple_queue: with a deadline a get gives up with queue_empty",
          "[Q-10][G-01][G-03][G-04]") {
    simple_queue<int> q;
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
        co_await gives_up(q.get_for(3ms));
        CHECK(weft::clock::now() - begin >= 3ms);
        co_await gives_up(q.get_for(0ns));
        co_await gives_up(q.get_until(begin));
        CHECK(empty == 3);
        CHECK_THROWS_AS(q.get_for(-1ns), std::invalid_argument);
        CHECK(q.getting() == 0);
        q.put(1);
        int item = co_await q.get_for(0ns);
        CHECK(item == 1);
    });
}

namespace {

// Says when it ends, in the queue that it was taken from.
class last_words {
public:
    last_words(simple_queue<std::unique_ptr<last_words>>& to, int n) noexcept
        : to_(&to), number_(n) {}
    last_words(const last_words&) = delete;
    last_words& operator=(const last_words&) = delete;
    ~last_words() {
        if (number_ > 1)
            to_->put(std::make_unique<last_words>(*to_, number_ - 1));
    }
    [[nodiscard]] int number() const noexcept { return number_; }

private:
    simple_queue<std::unique_ptr<last_words>>* to_;
    int number_;
};

// Puts a number into another queue when it is moved from, and again when that one is destroyed:
// in the middle of a get.
struct talks {
    explicit talks(simple_queue<int>& t) noexcept : to(&t) {}
    talks(talks&& other) noexcept : to(other.to) { other.was_moved = true; }
    talks& operator=(talks&&) = delete;
    ~talks() {
        if (was_moved)
            to->put(1);
    }
    simple_queue<int>* to;
    bool was_moved = false;
};

// The same into the queue that it is in.
struct echoes {
    echoes(simple_queue<echoes>& a, bool l) noexcept : at(&a), loud(l) {}
    echoes(echoes&& other) noexcept : at(other.at), loud(other.loud), in_queue(true) {
        other.gives = other.in_queue && other.loud;
        loud = loud && !other.gives;
    }
    echoes& operator=(echoes&&) = delete;
    ~echoes() {
        if (gives)
            at->put(echoes(*at, false));
    }
    simple_queue<echoes>* at;
    bool loud;
    bool in_queue = false;
    bool gives = false;
};

} // namespace

TEST_CASE("simple_queue: to put is allowed in posted functions, destructors, and within a get",
          "[Q-10][G-10]") {
    simple_queue<int> q;
    on_a_loop([&]() -> task<> {
        weft::this_loop().post([&] { q.put(7); });
        int item = co_await q.get();
        CHECK(item == 7);
    });

    simple_queue<std::unique_ptr<last_words>> words;
    words.put(std::make_unique<last_words>(words, 5));
    int heard = 0;
    while (auto word = words.try_get()) {
        ++heard;
        word.reset();
    }
    CHECK(heard == 5);

    simple_queue<talks> talking;
    talking.put(talks(q));
    while (q.try_get())
        ;
    REQUIRE(talking.try_get());
    CHECK_FALSE(q.empty());
    while (q.try_get())
        ;

    simple_queue<echoes> hall; // the destructor of an item that is taken puts one there
    hall.put(echoes(hall, true));
    CHECK(hall.size() == 1);
    REQUIRE(hall.try_get());
    CHECK(hall.size() == 1);
    REQUIRE(hall.try_get());
    CHECK(hall.empty());
}

TEST_CASE("simple_queue: a stopped get takes nothing", "[Q-10][Q-11][G-05]") {
    simple_queue<int> q;
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(get_and_note(q, got));
            auto second = g.spawn(get_and_note(q, got));
            co_await until([&] { return q.getting() == 2; });
            first.cancel();
            CHECK(q.getting() == 1);
            q.put(1);
            second.cancel(); // has it already
            co_await until([&] { return first.done() && second.done(); });
        });
    });
    CHECK(got == std::vector<int>{1});
}

TEST_CASE("simple_queue: threads and loops share it, and each item is got once",
          "[Q-10][Q-12][G-07][G-14]") {
    constexpr int producers = 4;
    constexpr int each = 5000;
    simple_queue<int> q;
    std::vector<std::vector<int>> got(3);
    auto consumes = [&](std::vector<int>& into) -> task<> {
        while (true) {
            int item = co_await q.get();
            if (item < 0)
                break;
            into.push_back(item);
        }
    };
    std::vector<std::thread> threads;
    for (int who = 0; who < producers; ++who) {
        threads.emplace_back([&, who] {
            for (int i = 0; i < each; ++i)
                q.put(who * each + i);
        });
    }
    std::thread gets([&] { weft::sync_wait(consumes(got[2])); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(consumes(got[0]));
            g.spawn(weft::as_task(weft::on(rt.get_loop(1), consumes(got[1]))));
            for (std::thread& t : threads)
                t.join();
            for (int i = 0; i < 3; ++i)
                q.put(-1);
            co_return;
        });
    });
    gets.join();
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
    CHECK(in_order);
    CHECK(std::count(times.begin(), times.end(), 1) == producers * each);
    CHECK(q.empty());
}
