// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/barrier.hpp>
#include <weft/sync/event.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

// What became of those who came: their numbers, and who was told that it is broken.
struct log_book {
    std::vector<std::size_t> indices;
    int broken = 0;

    template <class Barrier>
    task<> arrive(Barrier& b) {
        try {
            std::size_t i = co_await b.arrive_and_wait();
            indices.push_back(i);
        } catch (const weft::broken_barrier&) {
            ++broken;
        }
    }
    template <class Barrier>
    task<> arrive_within(Barrier& b, weft::duration d) {
        try {
            std::size_t i = co_await b.arrive_and_wait_for(d);
            indices.push_back(i);
        } catch (const weft::broken_barrier&) {
            ++broken;
        }
    }
};

} // namespace

TEST_CASE("barrier: is for one party at least", "[T-BAR-01][G-09]") {
    CHECK_THROWS_AS(weft::barrier(0), std::invalid_argument);
    CHECK_THROWS_AS(weft::barrier(-1), std::invalid_argument);
    weft::barrier alone(1);
    CHECK(alone.parties() == 1);
    CHECK(weft::sync_wait(alone.arrive_and_wait()) == 0);
    CHECK(weft::sync_wait(alone.arrive_and_wait_for(0ns)) == 0);
    int acted = 0;
    weft::barrier acts(1, [&] { ++acted; });
    CHECK(weft::sync_wait(acts.arrive_and_wait()) == 0);
    CHECK(weft::sync_wait(acts.arrive_and_wait_for(-1ns)) == 0);
    CHECK(acted == 2);
}

TEST_CASE("barrier: lets all go together, each with its own number", "[T-BAR-02][G-06]") {
    weft::barrier b(4);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (std::size_t i = 0; i < 3; ++i) {
                g.spawn(book.arrive(b));
                co_await until([&] { return b.waiting() == i + 1; });
                CHECK(book.indices.empty());
            }
            std::size_t last = co_await b.arrive_and_wait();
            CHECK(last == 3);
            CHECK(b.waiting() == 0);
            CHECK(book.indices.empty()); // nobody runs inside of the arrival
        });
    });
    CHECK(book.indices == std::vector<std::size_t>{0, 1, 2});
}

TEST_CASE("barrier: cycle after cycle, from two loops and threads", "[T-BAR-03][T-BAR-02][G-14]") {
    constexpr int parties = 5;
    constexpr int cycles = 300;
    std::atomic<int> cycle{0};
    std::atomic<int> wrong{0};
    std::vector<std::atomic<int>> came(cycles);
    auto check = [&](auto& b, auto act) -> task<> {
        for (int i = 0; i < cycles; ++i) {
            ++came[static_cast<std::size_t>(i)];
            std::size_t index = co_await b.arrive_and_wait();
            if (came[static_cast<std::size_t>(i)] != parties || index >= parties)
                ++wrong; // somebody hasn't come, and we go on
            act();
        }
    };
    auto runs = [&](auto& b, auto act) {
        for (auto& n : came)
            n = 0;
        std::thread thread([&] { weft::sync_wait(check(b, act)); });
        on_loops(2, [&](weft::runtime& rt) -> task<> {
            weft::loop& other = rt.get_loop(1);
            co_await weft::when_all(check(b, act), check(b, act), weft::on(other, check(b, act)),
                                    weft::on(other, check(b, act)));
        });
        thread.join();
    };
    weft::barrier plain(parties);
    runs(plain, [] {});
    CHECK(wrong == 0);
    weft::barrier acts(parties, [&] {
        if (came[static_cast<std::size_t>(cycle)] != parties)
            ++wrong;
        ++cycle;
    });
    runs(acts, [&] {
        if (cycle == 0)
            ++wrong;
    });
    CHECK(cycle == cycles);
    CHECK(wrong == 0);
    cycle = 0;
    auto awaits = [&]() -> task<> {
        int before = cycle;
        co_await weft::yield(); // others come meanwhile: they belong to the next cycle
        if (cycle != before || came[static_cast<std::size_t>(before)] != parties)
            ++wrong;
        cycle = before + 1;
    };
    weft::barrier acts_later(parties, awaits);
    runs(acts_later, [] {});
    CHECK(cycle == cycles);
    CHECK(wrong == 0);
    CHECK(acts_later.waiting() == 0);
}

TEST_CASE("barrier: the numbers of a cycle are all different", "[T-BAR-02]") {
    weft::barrier b(3);
    for (int round = 0; round < 50; ++round) {
        std::vector<std::size_t> indices(3);
        std::vector<std::thread> threads;
        for (auto& i : indices)
            threads.emplace_back([&b, &i] { i = weft::sync_wait(b.arrive_and_wait()); });
        for (auto& t : threads)
            t.join();
        std::sort(indices.begin(), indices.end());
        CHECK(indices == std::vector<std::size_t>{0, 1, 2});
    }
}

TEST_CASE("barrier: the action runs once, before anybody goes on", "[T-BAR-04]") {
    log_book book;
    int acted = 0;
    std::size_t went_before = 0;
    weft::barrier b(3, [&] {
        ++acted;
        went_before = book.indices.size();
    });
    on_a_loop([&]() -> task<> {
        for (int cycle = 1; cycle <= 2; ++cycle) {
            book.indices.clear();
            co_await weft::when_all(book.arrive(b), book.arrive(b), book.arrive(b));
            CHECK(acted == cycle);
            CHECK(went_before == 0);
            CHECK(book.indices.size() == 3);
        }
    });
}

TEST_CASE("barrier: while an action is awaited nobody goes on, and nobody new is counted",
          "[T-BAR-04][T-BAR-03][T-BAR-08]") {
    weft::event finish;
    int begun = 0;
    auto action = [&]() -> task<> {
        ++begun;
        co_await finish.wait();
    };
    weft::barrier b(2, action);
    log_book first;
    log_book second;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(first.arrive(b));
            g.spawn(first.arrive(b));
            co_await until([&] { return begun == 1; });
            for (int i = 0; i < 4; ++i)
                g.spawn(second.arrive(b)); // two cycles
            for (int i = 0; i < 5; ++i)
                co_await weft::yield();
            CHECK(first.indices.empty());
            CHECK(b.waiting() == 0);
            CHECK(begun == 1);
            finish.set();
        });
    });
    CHECK(first.indices.size() == 2);
    CHECK(second.indices.size() == 4);
    CHECK(begun == 3);
    CHECK_FALSE(b.broken());
}

TEST_CASE("barrier: an action that throws breaks it, and its party gets the error", "[T-BAR-04]") {
    bool fails = true;
    auto sync_action = [&] {
        if (fails)
            throw std::runtime_error("action");
    };
    auto async_action = [&]() -> task<> {
        co_await weft::yield();
        sync_action();
    };
    auto tries = [&](auto& b) {
        log_book book;
        fails = true;
        on_a_loop([&]() -> task<> {
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(book.arrive(b));
                g.spawn(book.arrive(b));
                co_await until([&] { return b.waiting() == 2; });
                CHECK_THROWS_AS(co_await b.arrive_and_wait(), std::runtime_error);
                CHECK(b.broken());
            });
            CHECK(book.broken == 2);
            CHECK_THROWS_AS(co_await b.arrive_and_wait(), weft::broken_barrier);
            fails = false;
            b.reset();
            co_await weft::when_all(book.arrive(b), book.arrive(b), book.arrive(b));
            CHECK(book.indices.size() == 3);
        });
    };
    weft::barrier sync_barrier(3, sync_action);
    tries(sync_barrier);
    weft::barrier async_barrier(3, async_action);
    tries(async_barrier);
}

TEST_CASE("barrier: an action that is stopped breaks it", "[T-BAR-04]") {
    bool begun = false;
    auto action = [&]() -> task<> {
        begun = true;
        co_await weft::sleep_for(1h);
    };
    weft::barrier b(2, action);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(book.arrive(b));
            co_await until([&] { return b.waiting() == 1; });
            auto last = g.spawn(book.arrive(b));
            co_await until([&] { return begun; });
            last.cancel();
        });
    });
    CHECK(book.broken == 1);
    CHECK(book.indices.empty());
    CHECK(b.broken());
}

TEST_CASE("barrier: a deadline breaks it for all", "[T-BAR-05][G-02][G-03]") {
    weft::barrier b(3);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(book.arrive(b));
            co_await until([&] { return b.waiting() == 1; });
            const auto begin = std::chrono::steady_clock::now();
            CHECK_THROWS_AS(co_await b.arrive_and_wait_for(3ms), weft::broken_barrier);
            CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
            CHECK(b.broken());
        });
        CHECK(book.broken == 1);
        CHECK_THROWS_AS(co_await b.arrive_and_wait_for(1h), weft::broken_barrier);
        b.reset();
        // In time, nothing breaks.
        co_await weft::when_all(book.arrive_within(b, weft::tests::patience),
                                book.arrive_within(b, weft::tests::patience), book.arrive(b));
        CHECK(book.indices.size() == 3);
    });
}

TEST_CASE("barrier: no time at all breaks it at once, but not for the last to come",
          "[T-BAR-05][G-04]") {
    for (auto d : {0ns, -1ns, weft::duration::min()}) {
        weft::barrier b(2);
        log_book book;
        on_a_loop([&]() -> task<> {
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(book.arrive(b));
                co_await until([&] { return b.waiting() == 1; });
                std::size_t last = co_await b.arrive_and_wait_for(d);
                CHECK(last == 1);
            });
            CHECK(book.indices.size() == 1);
            CHECK_THROWS_AS(co_await b.arrive_and_wait_for(d), weft::broken_barrier);
            CHECK(b.broken());
            b.reset();
            CHECK_THROWS_AS(co_await b.arrive_and_wait_until(weft::time_point::min()),
                            weft::broken_barrier);
            CHECK(b.broken());
        });
    }
}

TEST_CASE("barrier: may be made with a deadline for each wait", "[T-BAR-05][T-BAR-01]") {
    weft::barrier b(2, weft::no_action(), 2ms);
    CHECK_THROWS_AS(weft::sync_wait(b.arrive_and_wait()), weft::broken_barrier);
    CHECK(b.broken());
    b.reset();
    int acted = 0;
    weft::barrier acts(2, [&] { ++acted; }, 2ms);
    CHECK_THROWS_AS(weft::sync_wait(acts.arrive_and_wait()), weft::broken_barrier);
    CHECK(acted == 0);
}

TEST_CASE("barrier: a cycle that is complete isn't broken by a deadline", "[T-BAR-05]") {
    weft::event finish;
    bool begun = false;
    auto action = [&]() -> task<> {
        begun = true;
        co_await finish.wait();
    };
    weft::barrier b(2, action);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(book.arrive_within(b, 5ms));
            co_await until([&] { return b.waiting() == 1 || b.broken(); });
            if (b.broken()) // a slow machine: once more, without the deadline
                co_return;
            g.spawn(book.arrive(b));
            co_await until([&] { return begun || b.broken(); });
            co_await weft::sleep_for(10ms);
            finish.set();
        });
        if (begun) {
            CHECK(book.indices.size() == 2);
            CHECK_FALSE(b.broken());
        }
    });
}

TEST_CASE("barrier: abort breaks it for those who wait and those who come", "[T-BAR-06]") {
    weft::barrier b(3);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(book.arrive(b));
            g.spawn(book.arrive_within(b, 1h));
            co_await until([&] { return b.waiting() == 2; });
            b.abort();
            CHECK(b.broken());
            CHECK(b.waiting() == 0);
            b.abort();
        });
        CHECK(book.broken == 2);
        co_await book.arrive(b);
        CHECK(book.broken == 3);
    });
}

TEST_CASE("barrier: abort or reset while the action runs", "[T-BAR-06][T-BAR-07]") {
    for (bool resets : {false, true}) {
        weft::event finish;
        int begun = 0;
        auto action = [&]() -> task<> {
            ++begun;
            co_await finish.wait();
        };
        weft::barrier b(2, action);
        log_book book;
        log_book next;
        on_a_loop([&]() -> task<> {
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(book.arrive(b));
                g.spawn(book.arrive(b));
                co_await until([&] { return begun == 1; });
                g.spawn(next.arrive(b));
                g.spawn(next.arrive(b));
                for (int i = 0; i < 3; ++i)
                    co_await weft::yield();
                if (resets)
                    b.reset();
                else
                    b.abort();
                co_await until([&] { return book.broken == 1; });
                CHECK(begun == 1); // never two actions at once
                finish.set();
            });
            CHECK(book.broken == 2); // the acting one, too
            CHECK(b.broken() != resets);
            CHECK(next.broken == (resets ? 0 : 2));
            CHECK(next.indices.size() == (resets ? 2 : 0));
            CHECK(begun == (resets ? 2 : 1));
        });
    }
}

TEST_CASE("barrier: reset makes it empty, and leaves those alone who were let go", "[T-BAR-07]") {
    weft::barrier b(2);
    log_book book;
    log_book gone;
    on_a_loop([&]() -> task<> {
        b.reset(); // nobody is there
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(gone.arrive(b));
            co_await until([&] { return b.waiting() == 1; });
            co_await b.arrive_and_wait();
            b.reset(); // the other one hasn't run yet
        });
        CHECK(gone.indices.size() == 1);
        CHECK(gone.broken == 0);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(book.arrive(b));
            co_await until([&] { return b.waiting() == 1; });
            b.reset();
            CHECK_FALSE(b.broken());
            CHECK(b.waiting() == 0);
        });
        CHECK(book.broken == 1);
        co_await weft::when_all(book.arrive(b), book.arrive(b));
        CHECK(book.indices.size() == 2);
        b.abort();
        b.reset();
        co_await weft::when_all(book.arrive(b), book.arrive(b));
        CHECK(book.indices.size() == 4);
    });
}

TEST_CASE("barrier: says how many it is for, how many wait, and whether it is broken",
          "[T-BAR-08]") {
    weft::barrier b(3);
    log_book book;
    CHECK(b.parties() == 3);
    CHECK(b.waiting() == 0);
    CHECK_FALSE(b.broken());
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(book.arrive(b));
            g.spawn(book.arrive(b));
            co_await until([&] { return b.waiting() == 2; });
            co_await b.arrive_and_wait();
            CHECK(b.waiting() == 0);
        });
    });
}

TEST_CASE("barrier: who is stopped hasn't come, and breaks nothing", "[T-BAR-09][G-05]") {
    weft::barrier b(3);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(book.arrive(b));
            auto second = g.spawn(book.arrive_within(b, 1h));
            co_await until([&] { return b.waiting() == 2; });
            first.cancel();
            CHECK(b.waiting() == 1);
            CHECK_FALSE(b.broken());
            g.spawn(book.arrive(b));
            co_await until([&] { return b.waiting() == 2; });
            co_await b.arrive_and_wait();
            second.cancel(); // has been let go
        });
    });
    std::sort(book.indices.begin(), book.indices.end());
    CHECK(book.indices == std::vector<std::size_t>{0, 1});
    CHECK(book.broken == 0);
}

TEST_CASE("barrier: who is stopped while the action runs, or comes early, breaks nothing",
          "[T-BAR-09]") {
    weft::event finish;
    int begun = 0;
    auto action = [&]() -> task<> {
        ++begun;
        co_await finish.wait();
    };
    weft::barrier b(2, action);
    log_book book;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(book.arrive(b));
            co_await until([&] { return b.waiting() == 1; });
            g.spawn(book.arrive(b));
            co_await until([&] { return begun == 1; });
            auto early = g.spawn(book.arrive(b));
            for (int i = 0; i < 3; ++i)
                co_await weft::yield();
            first.cancel();
            early.cancel();
            co_await until([&] { return first.done() && early.done(); });
            finish.set();
        });
        CHECK(book.indices == std::vector<std::size_t>{1}); // its number stays
        CHECK_FALSE(b.broken());
        CHECK(b.waiting() == 0);
    });
}

TEST_CASE("barrier: may be destroyed as soon as everybody was let go") {
    for (int i = 0; i < 300; ++i) {
        auto b = std::make_unique<weft::barrier<>>(2);
        std::thread other([at = b.get()] {
            until_here([&] { return at->waiting() == 1; });
            weft::sync_wait(at->arrive_and_wait());
        });
        weft::sync_wait(b->arrive_and_wait());
        b.reset();
        other.join();
    }
}

TEST_CASE("barrier: stops at random moments lose no cycle", "[T-BAR-09][G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    constexpr int parties = 3;
    constexpr int cycles = 150;
    // Without an action, where a stop comes before its cycle is complete or is late: so each party
    // knows in how many it was.
    weft::barrier b(parties);
    auto comes = [&](unsigned who) -> task<> {
        weft::tests::dice d(seed, who);
        for (int i = 0; i < cycles;) {
            auto arrival = [](auto& at) -> task<> { co_await at.arrive_and_wait(); };
            if (d.below(2) == 0) {
                auto r = co_await weft::as_result(weft::with_timeout(d.moment(), arrival(b)));
                i += r.error() ? 0 : 1;
            } else {
                co_await arrival(b);
                ++i;
            }
        }
    };
    std::thread other([&] { weft::sync_wait(comes(2)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        co_await weft::when_all(comes(0), weft::on(rt.get_loop(1), comes(1)));
    });
    other.join();
    CHECK(b.waiting() == 0);
    CHECK_FALSE(b.broken());
}
