// SPDX-License-Identifier: MIT
// Primitives take no memory of the heap: neither when nobody waits, nor for who does.
#include "support/heap_count.hpp"
#include "support/io.hpp"
#include "support/report.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/detail/frame_pool.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/barrier.hpp>
#include <weft/sync/bounded_semaphore.hpp>
#include <weft/sync/capacity_limiter.hpp>
#include <weft/sync/channel.hpp>
#include <weft/sync/condition.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/latch.hpp>
#include <weft/sync/lifo_queue.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/priority_queue.hpp>
#include <weft/sync/queue.hpp>
#include <weft/sync/recursive_mutex.hpp>
#include <weft/sync/select.hpp>
#include <weft/sync/semaphore.hpp>
#include <weft/sync/shared_mutex.hpp>

#include <catch2/catch.hpp>

using namespace weft;
using namespace weft::tests;

namespace {

bool can_count() {
    bool can = allocations_are_counted() && WEFT_PLAIN_FRAMES == 0;
    if (!can)
        skip("a sanitizer does the allocating");
    return can;
}

/// How many allocations a thousand rounds make, when another thousand have gone before.
template <class Round>
task<std::uint64_t> allocations_of(Round round) {
    for (int i = 0; i < 1000; ++i)
        co_await round();
    std::uint64_t before = allocations();
    for (int i = 0; i < 1000; ++i)
        co_await round();
    co_return allocations() - before;
}

/// A round in which nobody waits, and one in which somebody does.
template <class Alone, class Together>
void make_none(Alone alone, Together together) {
    std::uint64_t n = run_within(patience, allocations_of(std::move(alone)));
    CHECK(n == 0);
    n = run_within(patience, allocations_of(std::move(together)));
    CHECK(n == 0);
}

template <class Lock>
task<> hold(Lock& lock) {
    co_await lock.lock();
    co_await yield();
    lock.unlock();
}

template <class Lock>
void locks_make_none() {
    Lock lock;
    make_none([&] { return hold(lock); },
              [&]() -> task<> { co_await when_all(hold(lock), hold(lock), hold(lock)); });
}

template <class Semaphore>
task<> use_permit(Semaphore& s) {
    auto permit = co_await s.scoped();
    co_await yield();
}

template <class Queue>
void queues_make_none() {
    Queue q(2);
    auto puts = [](Queue& to) -> task<> {
        for (int i = 0; i < 5; ++i)
            co_await to.put(i);
    };
    auto gets = [](Queue& from) -> task<> {
        for (int i = 0; i < 5; ++i)
            static_cast<void>(co_await from.get());
    };
    make_none(
        [&]() -> task<> {
            co_await q.put(1);
            static_cast<void>(co_await q.get());
        },
        [&]() -> task<> {
            co_await when_all(puts(q), gets(q)); // the one waits for room
            co_await when_all(gets(q), puts(q)); // the other for items
        });
}

} // namespace

TEST_CASE("allocations: locks make none, nor does who waits for one") {
    if (!can_count())
        return;
    locks_make_none<mutex>();
    locks_make_none<recursive_mutex>();
    locks_make_none<shared_mutex>();
}

TEST_CASE("allocations: semaphores and limiters make none, nor does who waits for them") {
    if (!can_count())
        return;
    semaphore s(1);
    make_none([&] { return use_permit(s); },
              [&]() -> task<> { co_await when_all(use_permit(s), use_permit(s)); });
    bounded_semaphore b(1);
    make_none([&] { return use_permit(b); },
              [&]() -> task<> { co_await when_all(use_permit(b), use_permit(b)); });
    capacity_limiter l(1);
    make_none([&] { return use_permit(l); },
              [&]() -> task<> { co_await when_all(use_permit(l), use_permit(l)); });
}

TEST_CASE("allocations: events, latches, barriers and conditions make none, nor do their waiters") {
    if (!can_count())
        return;
    event e;
    auto waits = [](event& for_it) -> task<> { co_await for_it.wait(); };
    make_none(
        [&]() -> task<> {
            e.set();
            co_await e.wait();
        },
        [&]() -> task<> {
            e.clear();
            auto sets = [](event& it) -> task<> {
                co_await yield();
                it.set();
            };
            co_await when_all(waits(e), waits(e), sets(e));
        });
    barrier<> meet(2);
    auto arrives = [](barrier<>& at) -> task<> {
        static_cast<void>(co_await at.arrive_and_wait());
    };
    auto latches = []() -> task<> {
        latch l(2);
        auto passes = [](latch& at) -> task<> { co_await at.arrive_and_wait(); };
        co_await when_all(passes(l), passes(l));
    };
    make_none(latches, [&]() -> task<> { co_await when_all(arrives(meet), arrives(meet)); });
    mutex m;
    condition changed(m);
    auto notified = [](mutex& lock, condition& c) -> task<> {
        auto held = co_await lock.scoped();
        co_await c.wait();
    };
    auto notifies = [](mutex& lock, condition& c) -> task<> {
        co_await yield();
        auto held = co_await lock.scoped();
        c.notify_all();
    };
    make_none([&] { return hold(m); },
              [&]() -> task<> {
                  co_await when_all(notified(m, changed), notified(m, changed),
                                    notifies(m, changed));
              });
}

TEST_CASE("allocations: queues with a bound make none, nor does who waits for them") {
    if (!can_count())
        return;
    queues_make_none<queue<int>>();
    queues_make_none<lifo_queue<int>>();
    queues_make_none<priority_queue<int>>();
}

TEST_CASE("allocations: a choice between several lines makes none") {
    if (!can_count())
        return;
    queue<int> a(1);
    queue<int> b(1);
    auto chooses = [&]() -> task<> {
        auto first = co_await select(a.get(), b.get());
        static_cast<void>(first);
    };
    auto puts = [&]() -> task<> { co_await b.put(1); };
    make_none(
        [&]() -> task<> {
            co_await puts();
            co_await chooses();
        },
        [&]() -> task<> { co_await when_all(chooses(), puts()); });
}
