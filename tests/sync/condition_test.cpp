// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/condition.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

template <class Lock>
struct room {
    Lock lock;
    weft::condition changed{lock};
    std::vector<int> order;

    task<> wait_and_note(int who) {
        auto held = co_await lock.scoped();
        co_await changed.wait();
        order.push_back(who);
    }
    // Returns when so many wait; the lock is free or somebody else's then.
    task<> until_waiting(std::size_t n) {
        auto so_many = [this, n] { return changed.waiting() == n; };
        co_await until(so_many);
    }
    task<> notify(std::size_t n) {
        auto held = co_await lock.scoped();
        changed.notify(n);
    }
};

using plain_room = room<weft::mutex>;
using recursive_room = room<weft::recursive_mutex>;

} // namespace

TEST_CASE("condition: has a lock of its own, or shares one", "[T-COND-01]") {
    weft::condition alone;
    CHECK(alone.try_lock());
    CHECK(alone.try_lock()); // which is recursive
    CHECK(alone.locked());
    alone.notify();
    alone.unlock();
    CHECK(alone.locked());
    alone.unlock();
    CHECK_FALSE(alone.locked());
    CHECK_THROWS_AS(alone.unlock(), weft::state_error);

    weft::mutex m;
    weft::condition a(m);
    weft::condition b(m);
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await a.lock();
        CHECK(m.locked());
        CHECK(b.locked());
        CHECK_FALSE(b.try_lock());
        bool passed = co_await b.lock_for(1ms);
        CHECK_FALSE(passed);
        b.unlock();
        CHECK_FALSE(m.locked());
        {
            auto held = co_await b.scoped();
            CHECK(m.locked());
            CHECK_FALSE(a.try_scoped());
        }
        CHECK_FALSE(m.locked());
        auto waits = [&](weft::condition& c, int who) -> task<> {
            auto held = co_await c.scoped();
            co_await c.wait();
            order.push_back(who);
        };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(waits(a, 1));
            g.spawn(waits(b, 2));
            co_await until([&] { return a.waiting() == 1 && b.waiting() == 1; });
            {
                auto held = co_await m.scoped();
                b.notify(); // those of the other one don't notice
            }
            co_await until([&] { return order.size() == 1; });
            CHECK(a.waiting() == 1);
            auto held = co_await m.scoped();
            a.notify_all();
        });
    });
    CHECK(order == std::vector<int>{2, 1});
}

TEST_CASE("condition: who waits or notifies must have the lock", "[T-COND-02][T-COND-04][G-09]") {
    weft::mutex m;
    weft::condition c(m);
    CHECK_THROWS_AS(c.notify(), weft::state_error);
    CHECK_THROWS_AS(c.notify_all(), weft::state_error);
    CHECK_THROWS_AS(weft::sync_wait(c.wait()), weft::state_error);
    CHECK_THROWS_AS(weft::sync_wait(c.wait_for(1ms)), weft::state_error);
    auto is_so = [] { return true; };
    CHECK_THROWS_AS(weft::sync_wait(c.wait(is_so)), weft::state_error);
    CHECK_THROWS_AS(weft::sync_wait(c.wait_for(1ms, is_so)), weft::state_error);
    on_a_loop([&]() -> task<> {
        auto held = co_await m.scoped();
        auto wrong = [&]() -> task<> {
            CHECK_THROWS_AS(c.notify(), weft::state_error); // another task has it
            CHECK_THROWS_AS(co_await c.wait(), weft::state_error);
        };
        co_await weft::when_all(wrong(), wrong());
        CHECK(m.locked());
    });
    CHECK(c.waiting() == 0);
}

TEMPLATE_TEST_CASE("condition: a wait gives the lock back, and has it again", "[T-COND-02]",
                   weft::mutex, weft::recursive_mutex) {
    room<TestType> r;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(r.wait_and_note(1));
            co_await r.until_waiting(1);
            CHECK_FALSE(r.lock.locked());
            {
                auto held = co_await r.lock.scoped();
                r.changed.notify();
                CHECK(r.changed.waiting() == 0);
                CHECK(r.lock.waiting() == 1); // it stands in line for the lock
                for (int i = 0; i < 3; ++i)
                    co_await weft::yield();
                CHECK(r.order.empty());
            }
            co_await until([&] { return r.order.size() == 1; });
        });
        CHECK_FALSE(r.lock.locked());

        // In time or not, the lock is had again.
        auto held = co_await r.lock.scoped();
        for (auto d : {2ms, 0ms, -1ms}) {
            bool notified = co_await r.changed.wait_for(d);
            CHECK_FALSE(notified);
            CHECK(r.lock.locked());
            CHECK_NOTHROW(r.changed.notify()); // it is noted whose it is
        }
        bool notified = co_await r.changed.wait_until(weft::time_point::min());
        CHECK_FALSE(notified);
    });
    CHECK_FALSE(r.lock.locked());
    CHECK(r.changed.waiting() == 0);
}

TEST_CASE("condition: who waits no time at all lets others have the lock", "[T-COND-02]") {
    plain_room r;
    bool done = false;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            co_await r.lock.lock();
            g.spawn(
                [](plain_room& at, bool& d) -> task<> {
                    auto held = co_await at.lock.scoped();
                    d = true;
                },
                std::ref(r), std::ref(done));
            const auto end = std::chrono::steady_clock::now() + weft::tests::patience;
            while (!done && std::chrono::steady_clock::now() < end)
                co_await r.changed.wait_for(0ns);
            CHECK(done);
            r.lock.unlock();
        });
    });
}

TEST_CASE("condition: a wait with a deadline tells whether it was notified",
          "[T-COND-02][G-02][G-03]") {
    plain_room r;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(
                [](plain_room& at) -> task<bool> {
                    auto held = co_await at.lock.scoped();
                    co_return co_await at.changed.wait_for(weft::tests::patience);
                },
                std::ref(r));
            co_await r.until_waiting(1);
            co_await r.notify(1);
            bool notified = co_await waits.join();
            CHECK(notified);
        });
        auto held = co_await r.lock.scoped();
        const auto begin = std::chrono::steady_clock::now();
        bool notified = co_await r.changed.wait_until(begin + 3ms);
        CHECK_FALSE(notified);
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
    });
}

TEST_CASE("condition: who was notified before its deadline counts as notified", "[T-COND-02]") {
    plain_room r;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(
                [](plain_room& at) -> task<bool> {
                    auto held = co_await at.lock.scoped();
                    co_return co_await at.changed.wait_for(5ms);
                },
                std::ref(r));
            co_await r.until_waiting(1);
            co_await r.lock.lock();
            r.changed.notify();
            co_await weft::sleep_for(10ms); // the deadline passes while it waits for the lock
            CHECK_FALSE(waits.done());
            r.lock.unlock();
            bool notified = co_await waits.join();
            CHECK(notified);
        });
    });
}

TEST_CASE("condition: a predicate is asked under the lock, at once and after each notification",
          "[T-COND-03]") {
    plain_room r;
    int asked = 0;
    bool so = false;
    on_a_loop([&]() -> task<> {
        auto is_so = [&] {
            CHECK(r.lock.locked_here());
            ++asked;
            return so;
        };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(
                [](plain_room& at, auto ask) -> task<> {
                    auto held = co_await at.lock.scoped();
                    co_await at.changed.wait(ask);
                },
                std::ref(r), is_so);
            co_await r.until_waiting(1);
            CHECK(asked == 1);
            co_await r.notify(1);
            co_await until([&] { return asked == 2 && r.changed.waiting() == 1; });
            CHECK_FALSE(waits.done());
            so = true;
            co_await r.notify(1);
            co_await waits.join();
            CHECK(asked == 3);
        });
        auto held = co_await r.lock.scoped();
        co_await r.changed.wait(is_so); // is so already
        CHECK(asked == 4);
    });
}

TEST_CASE("condition: a wait for a predicate has one deadline, and gives what it said at last",
          "[T-COND-03][G-02][G-04]") {
    plain_room r;
    bool so = false;
    auto is_so = [&] { return so; };
    on_a_loop([&]() -> task<> {
        auto held = co_await r.lock.scoped();
        bool last = co_await r.changed.wait_for(0ns, is_so);
        CHECK_FALSE(last);
        last = co_await r.changed.wait_for(-1h, is_so);
        CHECK_FALSE(last);
        // What comes in between doesn't put the end off.
        held.reset();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(
                [](plain_room& at, auto ask) -> task<bool> {
                    auto h = co_await at.lock.scoped();
                    co_return co_await at.changed.wait_for(20ms, ask);
                },
                std::ref(r), is_so);
            const auto end = std::chrono::steady_clock::now() + weft::tests::patience;
            while (!waits.done() && std::chrono::steady_clock::now() < end) {
                co_await r.notify(1);
                co_await weft::sleep_for(1ms);
            }
            last = co_await waits.join();
            CHECK_FALSE(last);
        });
        held = co_await r.lock.scoped();
        so = true;
        last = co_await r.changed.wait_until(weft::time_point::min(), is_so);
        CHECK(last);
        // So at the very end, although nobody said so.
        int asked = 0;
        last = co_await r.changed.wait_for(2ms, [&asked] { return ++asked == 2; });
        CHECK(last);
    });
}

TEST_CASE("condition: notify lets so many go on who wait now, first come, first served",
          "[T-COND-04][G-06]") {
    plain_room r;
    on_a_loop([&]() -> task<> {
        co_await r.notify(5); // nobody is there, and nothing is stored
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 5; ++i) {
                g.spawn(r.wait_and_note(i));
                co_await r.until_waiting(static_cast<std::size_t>(i) + 1);
            }
            co_await r.notify(0);
            CHECK(r.changed.waiting() == 5);
            co_await r.notify(2);
            CHECK(r.changed.waiting() == 3);
            co_await until([&] { return r.order.size() == 2; });
            co_await weft::yield();
            CHECK(r.order.size() == 2);
            co_await r.notify(1);
            co_await until([&] { return r.order.size() == 3; });
            co_await r.notify(100);
        });
    });
    CHECK(r.order == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("condition: notify_all reaches who waits at the call, and nobody else", "[T-COND-05]") {
    plain_room r;
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::thread thread([&] { weft::sync_wait(r.wait_and_note(0)); });
        co_await r.until_waiting(1);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(weft::on(rt.get_loop(1), r.wait_and_note(1)));
            co_await r.until_waiting(2);
            g.spawn(r.wait_and_note(2));
            co_await r.until_waiting(3);
            co_await r.lock.lock();
            r.changed.notify_all();
            CHECK(r.changed.waiting() == 0);
            CHECK(r.lock.waiting() == 3);
            CHECK(r.order.empty());
            auto late = g.spawn(r.wait_and_note(3)); // comes after them
            co_await until([&] { return r.lock.waiting() == 4; });
            r.lock.unlock();
            co_await r.until_waiting(1);
            CHECK(r.order == std::vector<int>{0, 1, 2});
            CHECK_FALSE(late.done());
            co_await r.notify(1);
        });
        thread.join();
    });
    CHECK(r.order == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("condition: all levels of a recursive mutex are given back, and had again",
          "[T-RLOCK-03]") {
    recursive_room r;
    on_a_loop([&]() -> task<> {
        auto a = co_await r.lock.scoped();
        auto b = co_await r.lock.scoped();
        auto c = co_await r.lock.scoped();
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(r.notify(1)); // needs the lock
            bool notified = co_await r.changed.wait_for(weft::tests::patience);
            CHECK(notified);
        });
        CHECK(r.lock.depth() == 3);
        bool notified = co_await r.changed.wait_for(1ms);
        CHECK_FALSE(notified);
        CHECK(r.lock.depth() == 3);
        notified = co_await r.changed.wait_for(0ms);
        CHECK_FALSE(notified);
        CHECK(r.lock.depth() == 3);
        // Stopped in the middle: its levels are there when its frames are destroyed.
        auto stopped = co_await weft::as_result(weft::with_timeout(1ms, r.changed.wait()));
        CHECK(stopped.error());
        CHECK(r.lock.depth() == 3);
    });
    CHECK_FALSE(r.lock.locked());
}

namespace {

// Notes whether the lock is there when its frame is destroyed.
struct look_at_end {
    weft::mutex& lock;
    int& with_lock;
    explicit look_at_end(weft::mutex& m, int& n) noexcept : lock(m), with_lock(n) {}
    look_at_end(const look_at_end&) = delete;
    look_at_end& operator=(const look_at_end&) = delete;
    ~look_at_end() {
        if (lock.locked_here())
            ++with_lock;
    }
};

task<> wait_and_look(plain_room& r, int& with_lock) {
    auto held = co_await r.lock.scoped();
    look_at_end at_end(r.lock, with_lock);
    co_await r.changed.wait();
    r.order.push_back(1);
}

} // namespace

TEST_CASE("condition: who is stopped has the lock again before it ends", "[T-COND-06][G-05]") {
    plain_room r;
    int with_lock = 0;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            // With the lock free,
            auto first = g.spawn(wait_and_look(r, with_lock));
            co_await r.until_waiting(1);
            first.cancel();
            co_await until([&] { return first.done(); });
            CHECK(with_lock == 1);
            CHECK_FALSE(r.lock.locked());
            // and with somebody else having it.
            auto second = g.spawn(wait_and_look(r, with_lock));
            co_await r.until_waiting(1);
            co_await r.lock.lock();
            second.cancel();
            CHECK(r.changed.waiting() == 0);
            CHECK(r.lock.waiting() == 1);
            for (int i = 0; i < 5; ++i)
                co_await weft::yield();
            CHECK_FALSE(second.done());
            r.lock.unlock();
            co_await until([&] { return second.done(); });
            CHECK(with_lock == 2);
        });
    });
    CHECK(r.order.empty());
    CHECK_FALSE(r.lock.locked());
}

TEST_CASE("condition: a deadline that comes with a stop doesn't disturb it", "[T-COND-06]") {
    plain_room r;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(
                [](plain_room& at) -> task<> {
                    auto held = co_await at.lock.scoped();
                    co_await at.changed.wait_for(3ms);
                    at.order.push_back(1);
                },
                std::ref(r));
            co_await r.until_waiting(1);
            co_await r.lock.lock();
            waits.cancel();
            co_await weft::sleep_for(6ms);
            r.lock.unlock();
            co_await until([&] { return waits.done(); });
            CHECK(waits.stopped());
            // And the other way round: the deadline was there first.
            auto again = g.spawn(
                [](plain_room& at) -> task<> {
                    auto held = co_await at.lock.scoped();
                    co_await at.changed.wait_for(1ms);
                    at.order.push_back(1);
                },
                std::ref(r));
            co_await r.until_waiting(1);
            co_await r.lock.lock();
            co_await until([&] { return r.lock.waiting() == 1; });
            again.cancel();
            r.lock.unlock();
            co_await until([&] { return again.done(); });
            CHECK(again.stopped());
        });
    });
    CHECK(r.order.empty());
    CHECK_FALSE(r.lock.locked());
}

TEST_CASE("condition: a notification that a stopped one had goes to the next", "[T-COND-06]") {
    plain_room r;
    int with_lock = 0;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(wait_and_look(r, with_lock));
            co_await r.until_waiting(1);
            g.spawn(r.wait_and_note(2));
            co_await r.until_waiting(2);
            auto third = g.spawn(r.wait_and_note(3));
            co_await r.until_waiting(3);
            co_await r.lock.lock();
            r.changed.notify(); // the first one's
            CHECK(r.changed.waiting() == 2);
            first.cancel();
            CHECK(r.changed.waiting() == 1);
            r.lock.unlock();
            co_await until([&] { return r.order.size() == 1; });
            CHECK(first.stopped());
            CHECK(with_lock == 1);
            third.cancel(); // had none: nothing is handed on
        });
    });
    CHECK(r.order == std::vector<int>{2});
    CHECK_FALSE(r.lock.locked());
}

TEST_CASE("condition: who has the lock again when the stop comes goes on", "[T-COND-06][P3]") {
    plain_room r;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(r.wait_and_note(1));
            co_await r.until_waiting(1);
            auto second = g.spawn(r.wait_and_note(2));
            co_await r.until_waiting(2);
            co_await r.lock.lock();
            r.changed.notify();
            r.lock.unlock(); // from here on the first one has it
            first.cancel();
            CHECK(r.changed.waiting() == 1);
            co_await until([&] { return r.order.size() == 1; });
            second.cancel();
        });
    });
    CHECK(r.order == std::vector<int>{1});
}

TEST_CASE("condition: may be destroyed as soon as the last one is out of wait") {
    for (int i = 0; i < 300; ++i) {
        auto r = std::make_unique<plain_room>();
        std::thread other([at = r.get()] {
            until_here([&] { return at->changed.waiting() == 1; });
            weft::sync_wait(at->notify(1));
        });
        weft::sync_wait(r->wait_and_note(1));
        other.join();
        r.reset();
    }
}

namespace {

struct shelf {
    weft::mutex lock;
    weft::condition filled{lock};
    weft::condition emptied{lock};
    int items = 0; // not atomic: the mutex guards it
    long put = 0;
    long taken = 0;
    static constexpr int room = 3;
};

// Whoever is stopped or late in a wait has moved nothing. As each notification is for one item or
// one gap, a single one that got lost would hang the rest.
task<> puts(shelf& s, long n, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    for (long i = 0; i < n;) {
        auto attempt = [](shelf& at, unsigned how, std::chrono::microseconds m) -> task<bool> {
            auto held = co_await at.lock.scoped();
            auto is_room = [&at] { return at.items < shelf::room; };
            if (how == 0) {
                if (!co_await at.emptied.wait_for(m, is_room))
                    co_return false;
            } else {
                co_await at.emptied.wait(is_room);
            }
            ++at.items;
            ++at.put;
            at.filled.notify();
            co_return true;
        };
        unsigned how = d.below(3);
        if (how == 1) {
            auto r = co_await weft::as_result(
                weft::with_timeout(d.moment(), attempt(s, how, d.moment())));
            i += r.error() ? 0 : 1;
        } else {
            bool moved = co_await attempt(s, how, d.moment());
            i += moved ? 1 : 0;
        }
    }
}

task<> takes(shelf& s, long n, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    for (long i = 0; i < n;) {
        auto attempt = [](shelf& at, unsigned how, std::chrono::microseconds m) -> task<bool> {
            auto held = co_await at.lock.scoped();
            auto is_item = [&at] { return at.items > 0; };
            if (how == 0) {
                if (!co_await at.filled.wait_for(m, is_item))
                    co_return false;
            } else {
                co_await at.filled.wait(is_item);
            }
            --at.items;
            ++at.taken;
            at.emptied.notify();
            co_return true;
        };
        unsigned how = d.below(3);
        if (how == 1) {
            auto r = co_await weft::as_result(
                weft::with_timeout(d.moment(), attempt(s, how, d.moment())));
            i += r.error() ? 0 : 1;
        } else {
            bool moved = co_await attempt(s, how, d.moment());
            i += moved ? 1 : 0;
        }
    }
}

} // namespace

TEST_CASE("condition: with stops at random moments no notification gets lost",
          "[T-COND-06][G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    shelf s;
    constexpr long each = 400;
    std::vector<std::thread> threads;
    threads.emplace_back([&] { weft::sync_wait(puts(s, each, seed, 0)); });
    threads.emplace_back([&] { weft::sync_wait(takes(s, each, seed, 1)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned i = 2; i < 6; ++i) {
            weft::loop& l = rt.get_loop(i / 2 % 2);
            task<> work = i % 2 == 0 ? puts(s, each, seed, i) : takes(s, each, seed, i);
            all.push_back(weft::as_task(weft::on(l, std::move(work))));
        }
        co_await weft::when_all(std::move(all));
    });
    for (auto& t : threads)
        t.join();
    CHECK(s.items == 0);
    CHECK(s.put == 3 * each);
    CHECK(s.taken == 3 * each);
    CHECK_FALSE(s.lock.locked());
    CHECK(s.lock.waiting() == 0);
}
