// SPDX-License-Identifier: MIT
// What is handed over in order, and what is not when two threads want it all the time.
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/bounded_semaphore.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/recursive_mutex.hpp>
#include <weft/sync/semaphore.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_loops;

namespace {

constexpr long enough = 3000;
constexpr unsigned tasks = 6; // half of them on each of two loops
using per_task = std::array<std::atomic<long>, tasks>;

auto take(weft::mutex& m) { return m.lock(); }
void give(weft::mutex& m) { m.unlock(); }
auto take(weft::recursive_mutex& m) { return m.lock(); }
void give(weft::recursive_mutex& m) { m.unlock(); }
auto take(weft::semaphore& s) { return s.acquire(); }
void give(weft::semaphore& s) { s.release(); }
auto take(weft::bounded_semaphore& s) { return s.acquire(); }
void give(weft::bounded_semaphore& s) { s.release(); }

/// `body(who)` on two loops, for each of the tasks.
template <class Body>
void compete(Body body) {
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<task<>> all;
        for (unsigned who = 0; who < tasks; ++who)
            all.push_back(weft::as_task(weft::on(rt.get_loop(who % 2), body(who))));
        co_await weft::when_all(std::move(all));
    });
}

bool past(std::chrono::steady_clock::time_point t) { return std::chrono::steady_clock::now() > t; }

template <class Lock>
task<> wants_it(Lock& l, per_task& had, unsigned who, std::chrono::steady_clock::time_point end) {
    for (bool over = false; !over;) {
        co_await take(l);
        long n = had[who].fetch_add(1, std::memory_order_relaxed) + 1;
        over =
            n % 64 == 0 && (past(end) || std::all_of(had.begin(), had.end(), [](const auto& other) {
                                return other.load(std::memory_order_relaxed) >= enough;
                            }));
        give(l);
    }
}

/// Knows whether it is in the order of coming that tasks are let through.
class witness {
public:
    /// With the lock. `waiting` for it are so many others; if that is all of them, they are before
    /// the caller when it comes again.
    void enters(unsigned who, std::size_t waiting) {
        ++entered_;
        if (entered_ < due_[who])
            ++overtaken;
        due_[who] = waiting == tasks - 1 ? entered_ + tasks : 0;
    }
    long overtaken = 0;

private:
    long entered_ = 0;
    std::array<long, tasks> due_{};
};

} // namespace

TEMPLATE_TEST_CASE("turnstile: two threads that want it all the time both get it, and each task",
                   "[G-06]", weft::mutex, weft::recursive_mutex, weft::semaphore,
                   weft::bounded_semaphore) {
    TestType l;
    per_task had{};
    const auto end = std::chrono::steady_clock::now() + weft::tests::patience;
    compete([&](unsigned who) { return wants_it(l, had, who, end); });
    CHECK_FALSE(past(end));
    for (const auto& n : had)
        CHECK(n.load() >= enough);
    CHECK(l.stats().waiting == 0);
    CHECK(l.stats().free == 1);
}

TEST_CASE("turnstile: what is held across an await is handed over in the order of coming, also "
          "after the lock was hot",
          "[G-06]") {
    weft::mutex m;
    witness seen;
    int phase = 0; // 1: sections suspend from here on; 2: nobody overtakes any more
    long sections = 0;
    const auto end = std::chrono::steady_clock::now() + weft::tests::patience;
    auto visits = [&](unsigned who) -> task<> {
        for (bool over = false; !over;) {
            co_await m.lock();
            seen.enters(who, m.waiting());
            if (phase == 0 && (seen.overtaken > 100 || past(end))) {
                CHECK(seen.overtaken > 100); // or else the rest shows little
                phase = 1;
            }
            if (phase != 0) {
                ++sections;
                co_await weft::yield();
            }
            if (phase == 1 && sections == 100) { // whoever was on the way by then has arrived
                phase = 2;
                seen.overtaken = 0;
            }
            over = sections > 3000;
            m.unlock();
        }
    };
    compete(visits);
    CHECK(phase == 2);
    CHECK(seen.overtaken == 0);
}

namespace {

struct guarded {
    weft::mutex lock;
    long visits = 0; // not atomic: the mutex guards it
};

// Most of the time short sections; in between it waits only for so long, or is stopped.
task<> visits_and_leaves(guarded& g, std::atomic<long>& count, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    auto visit = [&] {
        ++g.visits;
        ++count;
        g.lock.unlock();
    };
    auto visits_until_stopped = [&]() -> task<> {
        for (;;) {
            auto held = co_await g.lock.scoped();
            ++g.visits;
            ++count;
            held.reset();
            if (d.below(16) == 0)
                co_await weft::yield();
        }
    };
    for (const weft::tests::mixing_time m; !m.over();) {
        switch (d.below(4)) {
        case 0:
            if (co_await g.lock.lock_for(d.moment()))
                visit();
            break;
        case 1:
            static_cast<void>(
                co_await weft::as_result(weft::with_timeout(d.moment(), visits_until_stopped())));
            break;
        default:
            for (int i = 0; i < 200; ++i) {
                co_await g.lock.lock();
                visit();
            }
            break;
        }
    }
}

} // namespace

TEST_CASE("turnstile: stops and deadlines at random moments lose nothing of a hot lock",
          "[G-05][P3][G-14]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    guarded g;
    std::atomic<long> count{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] {
            for (const weft::tests::mixing_time m; !m.over();) {
                weft::sync_wait(g.lock.lock());
                ++g.visits;
                ++count;
                g.lock.unlock();
                // Not all the time: who isn't on a loop makes a lock cool down.
                for (long n = count + 1000 * (i + 1); count < n && !m.over();)
                    std::this_thread::yield();
            }
        });
    }
    compete([&](unsigned who) { return visits_and_leaves(g, count, seed, who); });
    for (auto& t : threads)
        t.join();
    CHECK(g.visits == count);
    CHECK(g.lock.waiting() == 0);
    CHECK_FALSE(g.lock.locked());
}
