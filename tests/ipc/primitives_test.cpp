// SPDX-License-Identifier: MIT
// The primitives of sync/ and their namesakes between processes mean the same: one test for both.
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/ipc/barrier.hpp>
#include <weft/ipc/bounded_semaphore.hpp>
#include <weft/ipc/condition.hpp>
#include <weft/ipc/event.hpp>
#include <weft/ipc/mutex.hpp>
#include <weft/ipc/recursive_mutex.hpp>
#include <weft/ipc/semaphore.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/detail/futex.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/barrier.hpp>
#include <weft/sync/bounded_semaphore.hpp>
#include <weft/sync/condition.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/recursive_mutex.hpp>
#include <weft/sync/semaphore.hpp>

#include "support/audit.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::until;

namespace {

const weft::tests::resident_thread futex_threads{"weft-futex"};

std::atomic<int> actions{0};
struct counts_actions {
    void operator()() const noexcept { ++actions; }
};
struct fails {
    void operator()() const { throw std::runtime_error("the action failed"); }
};

struct in_a_process {
    using mutex = weft::mutex;
    using recursive_mutex = weft::recursive_mutex;
    using semaphore = weft::semaphore;
    using bounded_semaphore = weft::bounded_semaphore;
    using event = weft::event;
    using condition = weft::condition;
    template <class Action = weft::no_action>
    using barrier = weft::barrier<Action>;
    using broken_barrier = weft::broken_barrier;
};
struct between_processes {
    using mutex = weft::ipc::mutex;
    using recursive_mutex = weft::ipc::recursive_mutex;
    using semaphore = weft::ipc::semaphore;
    using bounded_semaphore = weft::ipc::bounded_semaphore;
    using event = weft::ipc::event;
    using condition = weft::ipc::condition;
    template <class Action = weft::ipc::no_action>
    using barrier = weft::ipc::barrier<Action>;
    using broken_barrier = weft::ipc::broken_barrier;
};
#define WEFT_TESTS_BOTH_WORLDS in_a_process, between_processes

// Catch's macros are kept out of the templates: they take the compiler most of the time.
void check(bool so, const char* what) {
    INFO(what);
    CHECK(so);
}

template <class E, class F>
bool throws(F f) {
    try {
        f();
    } catch (const E&) {
        return true;
    }
    return false;
}

// Between processes it is nearly first come, first served: who looks for itself, as each does now
// and then, may line up anew, behind others.
template <class P>
constexpr bool keeps_order =
    std::is_same_v<P, weft::mutex> || std::is_same_v<P, weft::recursive_mutex> ||
    std::is_same_v<P, weft::semaphore> || std::is_same_v<P, weft::bounded_semaphore>;

template <class P>
task<> hold_and_note(P& p, std::vector<int>& order, int who) {
    auto held = co_await p.scoped();
    order.push_back(who);
}

// Four line up behind whoever has it, the second is stopped, the rest get it one after the other.
template <class P, class Release>
task<> one_after_the_other(P& p, Release release) {
    std::vector<int> order;
    co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
        weft::task_handle<> stopped;
        for (int i = 0; i < 4; ++i) {
            auto h = g.spawn(hold_and_note(p, order, i));
            co_await until([&] { return p.waiting() == static_cast<std::size_t>(i) + 1; });
            if (i == 1)
                stopped = std::move(h);
        }
        stopped.cancel();
        co_await until([&] { return stopped.done() && p.waiting() == 3; });
        check(order.empty(), "nobody has it yet");
        release();
    });
    if (!keeps_order<P>)
        std::sort(order.begin(), order.end());
    check(order == std::vector<int>{0, 2, 3}, "first come, first served, but for who was stopped");
    check(!p.locked(), "it is free again");
}

} // namespace

TEMPLATE_TEST_CASE("both worlds: a mutex", "[MP-SYNC-01][MP-SYNC-02][MP-SYNC-03][MP-SYNC-04][G-05]",
                   WEFT_TESTS_BOTH_WORLDS) {
    typename TestType::mutex m;
    on_a_loop([&]() -> task<> {
        check(!m.locked() && !m.locked_here(), "it begins free");
        co_await m.lock();
        check(m.locked() && m.locked_here(), "it is locked here");
        check(!m.try_lock() && !m.try_scoped(), "it isn't recursive");
        bool has = co_await m.lock_for(-1s);
        check(!has, "no time: it only tries");
        has = co_await m.lock_for(2ms);
        check(!has, "with a deadline it waits, in vain");
        auto late = co_await m.scoped_until(weft::time_point::min());
        check(!late, "a deadline that has passed");
        bool refused = false;
        try {
            co_await m.lock();
        } catch (const std::system_error& e) {
            refused = e.code() == std::errc::resource_deadlock_would_occur;
        }
        check(refused, "who has it can't wait for it");
        co_await one_after_the_other(m, [&] { m.unlock(); });
        check(throws<weft::state_error>([&] { m.unlock(); }), "it is unlocked once");
        {
            auto held = m.try_scoped();
            check(static_cast<bool>(held) && m.locked(), "a guard has it");
        }
        has = co_await m.lock_for(1h);
        check(has, "it is free");
    });
    check(m.locked(), "whoever has it may have ended");
    m.unlock();
}

TEMPLATE_TEST_CASE("both worlds: a recursive mutex", "[MP-SYNC-01][MP-SYNC-03][MP-SYNC-04][G-05]",
                   WEFT_TESTS_BOTH_WORLDS) {
    typename TestType::recursive_mutex m;
    on_a_loop([&]() -> task<> {
        co_await m.lock();
        check(m.try_lock(), "once more");
        {
            auto held = co_await m.scoped();
            check(m.depth() == 3, "three levels");
        }
        check(m.depth() == 2, "two levels");
        bool other = true;
        bool refused = false;
        auto elsewhere = [&]() -> task<> {
            other = m.try_lock();
            refused = throws<weft::state_error>([&] { m.unlock(); });
            co_return;
        };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(elsewhere());
            co_return;
        });
        check(!other && refused, "another task doesn't have it");
        co_await one_after_the_other(m, [&] {
            m.unlock();
            check(m.locked(), "one level is left");
            m.unlock();
        });
    });
    check(throws<weft::state_error>([&] { m.unlock(); }), "who hasn't locked it can't unlock it");
}

TEMPLATE_TEST_CASE("both worlds: a semaphore", "[MP-SYNC-01][MP-SYNC-02][MP-SYNC-04][G-05]",
                   WEFT_TESTS_BOTH_WORLDS) {
    using semaphore = typename TestType::semaphore;
    check(throws<std::invalid_argument>([] { semaphore s(-1); }), "no less than no permit");
    semaphore s(2);
    on_a_loop([&]() -> task<> {
        co_await s.acquire();
        check(s.value() == 1 && !s.locked(), "one is left");
        check(s.try_acquire() && s.locked(), "none is left");
        bool has = co_await s.acquire_for(0s);
        check(!has, "no time: it only tries");
        has = co_await s.acquire_for(2ms);
        check(!has && s.value() == 0, "it waits in vain");
        co_await one_after_the_other(s, [&] { s.release(); });
        check(s.value() == 1, "one came back");
        s.release();
        check(throws<std::invalid_argument>([&] { s.release(0); }), "one at least");
        check(throws<weft::limit_error>([&] { s.release(semaphore::max()); }), "up to max()");
        check(s.value() == 2, "which changed nothing");

        // Each permit lets one more through, whoever waits.
        check(s.try_acquire() && s.try_acquire(), "both");
        std::atomic<int> through{0};
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto passes = [&]() -> task<> {
                co_await s.acquire();
                ++through;
            };
            for (int i = 0; i < 5; ++i)
                g.spawn(passes());
            co_await until([&] { return s.waiting() == 5; });
            s.release(3);
            co_await until([&] { return through == 3 && s.waiting() == 2; });
            check(s.value() == 0, "three of five");
            s.release(4);
        });
        check(s.value() == 2, "two are left over");
    });
}

TEMPLATE_TEST_CASE("both worlds: a bounded semaphore", "[MP-SYNC-01][MP-SYNC-03][MP-SYNC-04]",
                   WEFT_TESTS_BOTH_WORLDS) {
    typename TestType::bounded_semaphore s(2);
    on_a_loop([&]() -> task<> {
        check(throws<std::invalid_argument>([&] { s.release(); }), "nobody took one");
        co_await s.acquire();
        check(throws<std::invalid_argument>([&] { s.release(2); }), "one too many");
        check(s.value() == 1 && s.initial_value() == 2, "which changed nothing");
        {
            auto held = co_await s.scoped();
            check(s.locked(), "none is left");
            auto none = co_await s.scoped_for(1ms);
            check(!none, "in vain");
            co_await one_after_the_other(s, [&] { s.release(); });
        }
        check(s.value() == 2, "all are back");
    });
}

TEMPLATE_TEST_CASE("both worlds: an event", "[MP-SYNC-01][MP-SYNC-02][G-05]",
                   WEFT_TESTS_BOTH_WORLDS) {
    typename TestType::event e;
    on_a_loop([&]() -> task<> {
        check(!e.is_set(), "it begins unset");
        bool set = co_await e.wait_for(1ms);
        check(!set, "in vain");
        std::atomic<int> through{0};
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto passes = [&]() -> task<> {
                co_await e.wait();
                ++through;
            };
            auto stopped = g.spawn(passes());
            for (int i = 0; i < 3; ++i)
                g.spawn(passes());
            co_await until([&] { return e.waiting() == 4; });
            stopped.cancel();
            co_await until([&] { return stopped.done() && e.waiting() == 3; });
            e.set();
            e.clear();
        });
        check(through == 3, "set and clear at once still release everyone who waited");
        set = co_await e.wait_for(0s);
        check(!set && !e.is_set(), "and it is unset");
        e.set();
        e.set();
        co_await e.wait();
        set = co_await e.wait_until(weft::time_point::min());
        check(set, "it is set");
    });
}

namespace {

template <class World>
struct mailbox {
    typename World::mutex lock;
    typename World::condition changed{lock};
    int letters = 0;
};

template <class Box>
task<> take_a_letter(Box& box, int& taken) {
    auto held = co_await box.lock.scoped();
    co_await box.changed.wait([&] { return box.letters != 0; });
    --box.letters;
    ++taken;
}

template <class Box>
task<> waits_once(Box& box, std::vector<int>& order, int who) {
    auto held = co_await box.lock.scoped();
    co_await box.changed.wait();
    order.push_back(who);
}

} // namespace

TEMPLATE_TEST_CASE("both worlds: a condition", "[MP-SYNC-01][MP-SYNC-05][G-05]",
                   WEFT_TESTS_BOTH_WORLDS) {
    mailbox<TestType> box;
    on_a_loop([&]() -> task<> {
        check(throws<weft::state_error>([&] { box.changed.notify(); }), "notify needs the lock");
        bool refused = false;
        try {
            co_await box.changed.wait();
        } catch (const weft::state_error&) {
            refused = true;
        }
        check(refused, "and so does wait");
        std::vector<int> order;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            {
                auto held = co_await box.lock.scoped();
                box.changed.notify(7); // is for nobody
            }
            weft::task_handle<> stopped;
            for (int i = 0; i < 5; ++i) {
                auto h = g.spawn(waits_once(box, order, i));
                co_await until(
                    [&] { return box.changed.waiting() == static_cast<std::size_t>(i) + 1; });
                if (i == 1)
                    stopped = std::move(h);
            }
            stopped.cancel();
            co_await until([&] { return stopped.done(); });
            check(box.changed.waiting() == 4 && !box.lock.locked(), "one less");
            {
                auto held = co_await box.lock.scoped();
                box.changed.notify(2);
                check(box.changed.waiting() == 2, "two are on their way");
                for (int i = 0; i < 20; ++i)
                    co_await weft::yield();
                check(order.empty(), "but not before the notifier lets go");
            }
            co_await until([&] { return order.size() == 2; });
            auto held = co_await box.lock.scoped();
            check(order.size() == 2, "no more than it said");
            box.changed.notify_all();
        });
        std::sort(order.begin(), order.end());
        check(order == std::vector<int>{0, 2, 3, 4}, "each once");

        auto held = co_await box.lock.scoped();
        bool told = co_await box.changed.wait_for(1ms);
        check(!told && box.lock.locked_here(), "in vain, and it has the lock again");
        told = co_await box.changed.wait_for(1ms, [] { return false; });
        check(!told, "what the predicate says");
    });
    int taken = 0;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 3; ++i)
                g.spawn(take_a_letter(box, taken));
            co_await until([&] { return box.changed.waiting() == 3; });
            for (int i = 0; i < 3; ++i) {
                auto held = co_await box.lock.scoped();
                ++box.letters;
                box.changed.notify();
            }
        });
    });
    check(taken == 3 && box.letters == 0, "each letter is taken");

    // With a recursive mutex of its own, of which all levels are given back.
    typename TestType::condition own;
    on_a_loop([&]() -> task<> {
        auto waits = [&]() -> task<> {
            auto outer = co_await own.scoped();
            auto inner = co_await own.scoped();
            co_await own.wait();
            inner.reset();
            check(own.locked(), "and has them again");
        };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(waits());
            co_await until([&] { return own.waiting() == 1; });
            auto held = co_await own.scoped();
            own.notify();
        });
        check(!own.locked(), "all levels are back");
    });
}

namespace {

template <class Error, class Arrival>
task<> arrives_in_vain(Arrival a, int& broken) {
    try {
        co_await std::move(a);
    } catch (const Error&) {
        ++broken;
    }
}

template <class Barrier>
task<> arrives(Barrier& b, std::vector<std::size_t>& numbers) {
    std::size_t n = co_await b.arrive_and_wait();
    numbers.push_back(n);
}

template <class Error, class Barrier>
task<> breaks_and_is_reset(Barrier& b) {
    for (int how = 0; how < 3; ++how) {
        int broken = 0;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 2; ++i)
                g.spawn(arrives_in_vain<Error>(b.arrive_and_wait(), broken));
            co_await until([&] { return b.waiting() == 2; });
            if (how == 0)
                b.abort();
            else if (how == 1)
                b.reset();
            else
                co_await arrives_in_vain<Error>(b.arrive_and_wait_for(-1s), broken);
        });
        check(broken == (how == 2 ? 3 : 2), "who waits is told");
        check(b.broken() == (how != 1) && b.waiting() == 0, "broken, but by a reset");
        if (how != 1)
            co_await arrives_in_vain<Error>(b.arrive_and_wait(), broken);
        check(broken == (how == 0 ? 3 : how == 1 ? 2 : 4), "and who comes");
        b.reset();
    }
}

} // namespace

TEMPLATE_TEST_CASE("both worlds: a barrier", "[MP-SYNC-01][G-05]", WEFT_TESTS_BOTH_WORLDS) {
    using error = typename TestType::broken_barrier;
    using barrier = typename TestType::template barrier<>;
    check(throws<std::invalid_argument>([] { barrier b(0); }), "one party at least");
    barrier b(4);
    on_a_loop([&]() -> task<> {
        check(b.parties() == 4 && !b.broken(), "it is whole");
        for (int cycle = 0; cycle < 3; ++cycle) {
            std::vector<std::size_t> numbers;
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                auto stopped = g.spawn(arrives(b, numbers));
                for (std::size_t i = 2; i <= 3; ++i) {
                    g.spawn(arrives(b, numbers));
                    co_await until([&] { return b.waiting() == i; });
                }
                stopped.cancel();
                co_await until([&] { return stopped.done(); });
                check(b.waiting() == 2 && !b.broken(), "who is stopped hasn't come");
                for (int i = 0; i < 2; ++i)
                    g.spawn(arrives(b, numbers));
            });
            std::sort(numbers.begin(), numbers.end());
            check(numbers == std::vector<std::size_t>{0, 1, 2, 3}, "each has a number of its own");
        }
        co_await breaks_and_is_reset<error>(b);
    });

    typename TestType::template barrier<counts_actions> acting(2);
    typename TestType::template barrier<fails> failing(2);
    on_a_loop([&]() -> task<> {
        actions = 0;
        std::vector<std::size_t> numbers;
        for (int cycle = 1; cycle <= 3; ++cycle) {
            co_await weft::when_all(arrives(acting, numbers), arrives(acting, numbers));
            check(actions == cycle, "the action runs once a cycle");
        }
        int broken = 0;
        int failed = 0;
        auto fails_there = [&]() -> task<> {
            try {
                co_await failing.arrive_and_wait();
            } catch (const error&) {
                ++broken;
            } catch (const std::runtime_error&) {
                ++failed;
            }
        };
        co_await weft::when_all(fails_there(), fails_there());
        check(broken == 1 && failed == 1 && failing.broken(), "one sees why it broke");
    });
}

TEST_CASE("both worlds: without the ring's operation a thread waits for them", "[P22]") {
    weft::ipc::mutex m;
    weft::ipc::event e;
    auto body = [&]() -> task<> {
        co_await m.lock();
        co_await one_after_the_other(m, [&] { m.unlock(); });
        bool set = co_await e.wait_for(1ms);
        check(!set, "in vain");
    };
    weft::run(body(), {.features = ~weft::detail::ring_futexes});
}

TEST_CASE("both worlds: plain threads take turns with tasks") {
    weft::ipc::mutex m;
    weft::ipc::semaphore s(1);
    long by_lock = 0;
    long by_permit = 0;
    constexpr int rounds = 300;
    auto adds = [&]() -> task<> {
        for (int i = 0; i < rounds; ++i) {
            auto held = co_await m.scoped();
            ++by_lock;
            if (i % 16 == 0)
                co_await weft::yield();
        }
        for (int i = 0; i < rounds; ++i) {
            auto held = co_await s.scoped();
            ++by_permit;
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] { weft::sync_wait(adds()); });
    on_a_loop([&]() -> task<> { co_await weft::when_all(adds(), adds()); });
    for (auto& t : threads)
        t.join();
    CHECK(by_lock == 5 * rounds);
    CHECK(by_permit == 5 * rounds);
}
