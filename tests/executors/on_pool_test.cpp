// SPDX-License-Identifier: MIT
#include <weft/executors/on_pool.hpp>

#include <weft/executors/pool_tasks.hpp>
#include <weft/executors/thread_local_slot.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/task_trace.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/mutex.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <thread>

namespace {

using namespace weft;
using ipc::pool_terminated;
using namespace std::chrono_literals;

task<long> fibonacci(int n) {
    if (n < 2)
        co_return n;
    auto [a, b] = co_await when_all(fibonacci(n - 1), fibonacci(n - 2));
    co_return a + b;
}

task<long> count_leaves(int depth, int width) {
    if (depth == 0)
        co_return 1;
    std::vector<task<long>> children;
    for (int i = 0; i < width; ++i)
        children.push_back(count_leaves(depth - 1, width));
    std::vector<long> counts = co_await when_all(std::move(children));
    long sum = 0;
    for (long n : counts)
        sum += n;
    co_return sum;
}

task<> count_in_place(int depth, long& count) {
    std::array<task<>, 4> children;
    std::array<long, 4> counts{};
    if (depth == 0) {
        count = 1;
        co_return;
    }
    for (std::size_t i = 0; i < children.size(); ++i)
        children[i] = count_in_place(depth - 1, counts[i]);
    co_await when_all(std::span(children));
    count = counts[0] + counts[1] + counts[2] + counts[3];
}

// Awaits some of an array's tasks in place, then some of which one fails.
task<> await_in_place() {
    std::array<task<int>, 4> tasks;
    auto give = [](int n) -> task<int> {
        if (n < 0)
            throw std::out_of_range("as asked");
        co_return n;
    };
    for (std::size_t i = 0; i < 3; ++i)
        tasks[i] = give(static_cast<int>(i));
    std::vector<int> got = co_await when_all(std::span(tasks).first(3));
    CHECK(got == std::vector<int>{0, 1, 2});
    CHECK(std::none_of(tasks.begin(), tasks.end(), [](auto& t) { return static_cast<bool>(t); }));
    tasks[0] = give(1);
    tasks[1] = give(-1);
    tasks[2] = give(2);
    tasks[3] = give(3);
    bool failed = false;
    try {
        static_cast<void>(co_await when_all(std::span(tasks)));
    } catch (const std::out_of_range&) {
        failed = true;
    }
    CHECK(failed);
    CHECK(std::none_of(tasks.begin(), tasks.end(), [](auto& t) { return static_cast<bool>(t); }));
    std::vector<int> nothing = co_await when_all(std::span(tasks).first(0));
    CHECK(nothing.empty());
}

task<std::thread::id> this_thread() { co_return std::this_thread::get_id(); }

// Far beyond what anything takes that isn't broken, also with sanitizers on a busy machine.
constexpr auto patience = 40s;

template <class Condition>
task<> eventually(Condition condition) {
    time_point end = now() + patience;
    while (!condition()) {
        REQUIRE(now() < end);
        co_await sleep_for(1ms);
    }
}

template <class E, class A>
task<> fails_with(A a) {
    bool failed = false;
    try {
        static_cast<void>(co_await as_task(std::move(a)));
    } catch (const E&) {
        failed = true;
    }
    CHECK(failed);
}

// Computes until it is stopped, or for so long that it counts as never.
std::atomic<int> never_stopped{0};
task<> compute(std::atomic<int>& begun) {
    ++begun;
    auto end = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < end)
        co_await checkpoint();
    ++never_stopped;
}

task<> wait_for(event& e, std::atomic<int>& begun) {
    ++begun;
    co_await e.wait();
}

context_var<int> level{"level", 0};

struct counted {
    explicit counted(std::atomic<int>& a) noexcept : alive(a) { ++alive; }
    counted(const counted& other) noexcept : alive(other.alive) { ++alive; }
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
    std::atomic<int>& alive;
};

} // namespace

TEST_CASE("on_pool: tasks run there, fork there, and their results come home") {
    for (unsigned threads : {1u, 2u, 4u}) {
        CAPTURE(threads);
        run([](unsigned n) -> task<> {
            thread_pool pool({.threads = n});
            auto home = std::this_thread::get_id();
            auto there = co_await on(pool, this_thread());
            CHECK(there != home);
            CHECK(std::this_thread::get_id() == home);
            long f = co_await on(pool, fibonacci(20));
            CHECK(f == 6765);
            long leaves = co_await on(pool, count_leaves(4, 8));
            CHECK(leaves == 4096);
            co_await on(pool, count_in_place(5, leaves));
            CHECK(leaves == 1024);
            auto [a, b] = co_await when_all(on(pool, fibonacci(15)), on(pool, fibonacci(16)));
            CHECK(a == 610);
            CHECK(b == 987);
            co_await pool.shutdown();
            co_await fails_with<state_error>(on(pool, fibonacci(1)));
        }(threads));
    }
}

TEST_CASE("on_pool: forks where the kernel makes no other thread pass a fence") {
    using detail::std_atomics;
    std_atomics::prepare_fences();
    const bool real = std::exchange(std_atomics::fences_reach_all, false);
    run([]() -> task<> {
        thread_pool pool({.threads = 3});
        for (int round = 0; round < 10; ++round) {
            long f = co_await on(pool, fibonacci(18));
            CHECK(f == 2584);
        }
    }());
    std_atomics::fences_reach_all = real;
}

TEST_CASE("on_pool: tasks of an array are awaited in place, and gone afterwards, as on a loop") {
    run([]() -> task<> {
        co_await await_in_place();
        long leaves = 0;
        co_await count_in_place(3, leaves);
        CHECK(leaves == 64);
        thread_pool pool({.threads = 2});
        for (int round = 0; round < 20; ++round)
            co_await on(pool, await_in_place());
    }());
}

TEST_CASE("on_pool: children run on other threads, and the parent goes on when all have ended") {
    run([]() -> task<> {
        thread_pool pool({.threads = 3});
        // Each waits for the others to be there, so each needs a thread.
        std::atomic<int> here{0};
        auto meet = [](std::atomic<int>& n) -> task<std::thread::id> {
            ++n;
            auto end = std::chrono::steady_clock::now() + patience;
            while (n.load() < 3 && std::chrono::steady_clock::now() < end)
                std::this_thread::yield();
            co_return std::this_thread::get_id();
        };
        auto all = [](auto& f, std::atomic<int>& n) -> task<std::size_t> {
            auto [a, b, c] = co_await when_all(f(n), f(n), f(n));
            co_return std::set<std::thread::id>({a, b, c}).size();
        };
        auto threads = co_await on(pool, all(meet, here));
        CHECK(threads == 3);
    }());
}

TEST_CASE("on_pool: a deep chain of forks and awaits needs no deep stack") {
    struct chain {
        static task<int> of(int n) {
            if (n == 0)
                co_return 0;
            auto [a, b] = co_await when_all(of(n - 1), plain(n % 3));
            co_return a + b;
        }
        static task<int> plain(int n) {
            if (n == 0)
                co_return 1;
            int below = co_await plain(n - 1);
            co_return below;
        }
    };
    thread_pool pool({.threads = 2});
    CHECK(sync_wait(on(pool, chain::of(100'000))) == 100'000);
}

TEST_CASE("on_pool: the first error comes out when all have ended, and stops the others") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        std::atomic<int> begun{0}, alive{0};
        auto fail = [](std::atomic<int>& others) -> task<> {
            auto end = std::chrono::steady_clock::now() + patience;
            while (others.load() == 0 && std::chrono::steady_clock::now() < end)
                std::this_thread::yield();
            throw std::out_of_range("x");
            co_return;
        };
        auto both = [](auto& f, std::atomic<int>& n, std::atomic<int>& left) -> task<> {
            counted here(left);
            co_await when_all(f(n), compute(n));
        };
        co_await fails_with<std::out_of_range>(on(pool, both(fail, begun, alive)));
        CHECK(begun.load() == 1);
        CHECK(alive.load() == 0);
        SECTION("also those that wait for something") {
            event unset;
            auto wait = [](auto& f, std::atomic<int>& n, event& e) -> task<> {
                co_await when_all(wait_for(e, n), f(n), wait_for(e, n));
            };
            begun = 0;
            co_await fails_with<std::out_of_range>(on(pool, wait(fail, begun, unset)));
        }
        SECTION("the scope above goes on") {
            auto above = [](auto& inner, auto& f, std::atomic<int>& n,
                            std::atomic<int>& left) -> task<long> {
                auto r = co_await as_result(inner(f, n, left));
                CHECK_FALSE(r.has_value());
                long five = co_await fibonacci(5);
                co_await checkpoint();
                co_return five;
            };
            begun = 0;
            long five = co_await on(pool, above(both, fail, begun, alive));
            CHECK(five == 5);
        }
    }());
}

TEST_CASE("on_pool: a stop reaches what computes, what waits and what has no turn yet", "[P3]") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        std::atomic<int> begun{0}, alive{0};
        event unset;
        auto all = [](std::atomic<int>& n, std::atomic<int>& left, event& e) -> task<> {
            counted here(left);
            co_await when_all(wait_for(e, n), compute(n), compute(n), wait_for(e, n));
        };
        auto t = spawn(on(pool, all(begun, alive, unset)));
        co_await eventually([&] { return begun.load() >= 2; });
        auto queued = spawn(on(pool, this_thread()));
        t.cancel();
        co_await fails_with<cancelled_error>(t.join());
        CHECK(alive.load() == 0);
        queued.cancel();
        static_cast<void>(co_await as_result(queued.join()));
        // The pool is as good as new.
        long f = co_await on(pool, fibonacci(10));
        CHECK(f == 55);
        co_await fails_with<timeout_error>(with_timeout(10ms, on(pool, compute(begun))));
    }());
}

TEST_CASE("on_pool: tasks on a pool wait for primitives, and for what runs on a loop") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        mutex m;
        int sum = 0;
        auto add = [](mutex& lock, int& to) -> task<> {
            for (int i = 0; i < 200; ++i) {
                auto held = co_await lock.scoped();
                ++to;
            }
        };
        auto many = [](auto& f, mutex& lock, int& to) -> task<> {
            co_await when_all(f(lock, to), f(lock, to), f(lock, to));
        };
        co_await when_all(on(pool, many(add, m, sum)), add(m, sum));
        CHECK(sum == 800);

        auto ask_home = [](loop& home) -> task<bool> {
            auto here = std::this_thread::get_id();
            auto there = co_await on(home, this_thread());
            co_return here == std::this_thread::get_id() && here != there;
        };
        bool came_back = co_await on(pool, ask_home(this_loop()));
        CHECK(came_back);
    }());
}

TEST_CASE("on_pool: a task that waits for others of a full pool lets them run", "[CF-TPE-04]") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        auto asks = [](thread_pool& p) -> task<long> {
            long a = co_await on(p, fibonacci(10));
            int b = co_await p.submit([] { return 100; });
            int c = co_await p.call([] { return 1000; });
            co_return a + b + c;
        };
        auto [a, b, c] =
            co_await when_all(on(pool, asks(pool)), on(pool, asks(pool)), on(pool, asks(pool)));
        CHECK(a == 1155);
        CHECK(b == 1155);
        CHECK(c == 1155);
    }());
}

TEST_CASE(
    "on_pool: what a thread keeps for itself is not the task's after an await; what a context "
    "keeps is",
    "[T-LOCAL-04]") {
    struct moving {
        static task<> stays(std::atomic<bool>& stolen) {
            time_point end = now() + patience;
            while (!stolen && now() < end)
                std::this_thread::yield();
            co_return;
        }
        // Ends after the other one's thread has left their parent: it runs something else then.
        static task<> moves(thread_pool& pool, std::atomic<bool>& stolen) {
            stolen = true;
            pool.submit([] {}).get();
            co_return;
        }
        static task<bool> parent(thread_pool& pool, thread_local_slot<int>& of_thread) {
            of_thread.get() = 7;
            level.set(7);
            auto before = std::this_thread::get_id();
            std::atomic<bool> stolen{false};
            co_await when_all(stays(stolen), moves(pool, stolen));
            bool elsewhere = std::this_thread::get_id() != before;
            co_return elsewhere&& of_thread.find() == nullptr&& level.get() == 7;
        }
    };
    run([]() -> task<> {
        thread_local_slot<int> of_thread;
        thread_pool pool({.threads = 2});
        bool right = co_await on(pool, moving::parent(pool, of_thread));
        CHECK(right);
    }());
}

TEST_CASE("on_pool: a task there sleeps and has timeouts") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        event unset;
        auto sleeps = []() -> task<bool> {
            auto here = std::this_thread::get_id();
            time_point begin = now();
            co_await sleep_for(2ms);
            co_return now() - begin >= 2ms && std::this_thread::get_id() == here;
        };
        auto [a, b, c] = co_await when_all(on(pool, sleeps()), on(pool, sleeps()),
                                           on(pool, fibonacci(10))); // side by side
        CHECK(a);
        CHECK(b);
        CHECK(c == 55);
        auto waits = [](event& e) -> task<int> {
            bool set = co_await e.wait_for(1ms);
            int ends = set ? 0 : 1;
            try {
                co_await with_timeout(1ms, e.wait());
            } catch (const timeout_error&) {
                ++ends;
            }
            long f = co_await with_timeout(1h, fibonacci(5));
            co_return ends + static_cast<int>(f);
        };
        int ends = co_await on(pool, waits(unset));
        CHECK(ends == 7);
        // Stopped while it sleeps: at once, and nothing of it is left.
        std::atomic<int> begun{0};
        auto sleeps_long = [](std::atomic<int>& n) -> task<> {
            ++n;
            co_await sleep_for(1h);
        };
        auto t = spawn(on(pool, sleeps_long(begun)));
        co_await eventually([&] { return begun == 1; });
        t.cancel();
        co_await fails_with<cancelled_error>(t.join());
        co_await pool.shutdown();
    }());
}

TEST_CASE("on_pool: what belongs to a loop is refused with an error that says so") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        auto reads = []() -> task<> {
            auto [reader, writer] = make_pipe();
            std::byte b{};
            static_cast<void>(co_await reader.read_some(std::span(&b, 1)));
        };
        co_await fails_with<state_error>(on(pool, reads()));
        auto clean = [](std::atomic<int>& n) -> task<> {
            auto clean_up = [&n]() -> task<> {
                ++n;
                co_return;
            };
            co_await finally(as_task(yield()), clean_up);
        };
        std::atomic<int> cleaned{0};
        co_await on(pool, clean(cleaned));
        CHECK(cleaned.load() == 1);
    }());
}

TEST_CASE("on_pool: the children of all scopes run on the pool's threads, at once") {
    // Each waits, on its thread, for the others to be there.
    struct meeting {
        std::atomic<int> here{0};
        task<int> come(int wanted) {
            ++here;
            time_point end = now() + patience;
            while (here < wanted && now() < end)
                std::this_thread::yield();
            co_return here < wanted ? 0 : 1;
        }
    };
    run([]() -> task<> {
        thread_pool pool({.threads = 3});
        auto grouped = []() -> task<int> {
            meeting m;
            auto here = std::this_thread::get_id();
            int met = 0;
            co_await with_task_group([&](task_group& g) -> task<> {
                std::vector<task_handle<int>> all;
                for (int i = 0; i < 3; ++i)
                    all.push_back(g.spawn(m.come(3)));
                for (auto& h : all)
                    met += co_await h.join();
            });
            co_return std::this_thread::get_id() == here ? met : -1;
        };
        int met = co_await on(pool, grouped());
        CHECK(met == 3);
        auto settled = []() -> task<int> {
            meeting m;
            auto [a, b] = co_await when_all_settled(m.come(2), m.come(2));
            co_return a.value() + b.value();
        };
        met = co_await on(pool, settled());
        CHECK(met == 2);
        auto within = []() -> task<int> { // forks below a scope
            meeting m;
            auto both = [](meeting& at) -> task<int> {
                auto [a, b] = co_await when_all(at.come(2), at.come(2));
                co_return a + b;
            };
            int n = co_await shield(both(m));
            meeting again;
            n += co_await with_timeout(1h, both(again));
            co_return n;
        };
        met = co_await on(pool, within());
        CHECK(met == 4);
    }());
}

TEST_CASE("on_pool: a scope's first end stops those that compute, also on its own thread") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2}); // for one that computes and one that doesn't
        std::atomic<int> begun{0}, alive{0};
        auto slow = [](std::atomic<int>& count, std::atomic<int>& left) -> task<> {
            counted here(left);
            co_await compute(count);
        };
        auto quick = [](std::atomic<int>& others, bool fails) -> task<int> {
            time_point end = now() + patience;
            while (others == 0 && now() < end)
                std::this_thread::yield();
            if (fails)
                throw std::out_of_range("x");
            co_return 7;
        };
        auto races = [](auto& s, auto& q, std::atomic<int>& n, std::atomic<int>& left,
                        bool swapped) -> task<int> { // so that it is each one's turn to stay
            if (swapped) {
                auto first = co_await when_any(s(n, left), q(n, false));
                co_return first.index() == 1 ? first.template value<1>() : 0;
            }
            auto first = co_await when_any(q(n, false), s(n, left));
            co_return first.index() == 0 ? first.template value<0>() : 0;
        };
        auto fails = [](auto& s, auto& q, std::atomic<int>& n, std::atomic<int>& left) -> task<> {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(s(n, left));
                g.spawn(q(n, true));
                co_return;
            });
        };
        auto late = [](auto& s, std::atomic<int>& n, std::atomic<int>& left) -> task<> {
            co_await with_timeout(1ms, when_all(s(n, left), s(n, left), s(n, left)));
        };
        for (int i = 0; i < 20; ++i) {
            begun = 0;
            int seven = co_await on(pool, races(slow, quick, begun, alive, i % 2 == 0));
            CHECK(seven == 7);
            CHECK(alive == 0);
            begun = 0;
            co_await fails_with<exception_group>(on(pool, fails(slow, quick, begun, alive)));
            CHECK(alive == 0);
            co_await fails_with<timeout_error>(on(pool, late(slow, begun, alive)));
            CHECK(alive == 0);
        }
        CHECK(never_stopped == 0);
    }());
}

TEST_CASE("on_pool: a group takes children from its body only, and says so") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        auto outer = []() -> task<int> {
            std::atomic<int> refused{0};
            co_await with_task_group([&](task_group& g) -> task<> {
                auto child = [](task_group& of, std::atomic<int>& n) -> task<> {
                    try {
                        of.spawn(as_task(yield()));
                    } catch (const state_error&) {
                        ++n;
                    }
                    co_return;
                };
                g.spawn(child(g, refused));
                g.spawn(child(g, refused));
                co_return;
            });
            co_return refused.load();
        };
        int refused = co_await on(pool, outer());
        CHECK(refused == 2);
    }());
}

TEST_CASE("on_pool: deadlines above are seen on the pool, in children and below scopes") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        auto seen = []() -> task<time_point> { co_return current_deadline(); };
        time_point none = co_await on(pool, seen());
        CHECK(none == never);
        const time_point d = deadline_after(1h);
        auto all = [](auto& f) -> task<std::vector<time_point>> {
            std::vector<time_point> found{current_deadline()};
            auto [a, b] = co_await when_all(f(), f());
            auto [c, e] = co_await when_all_settled(f(), f());
            for (time_point t : {a, b, c.value(), e.value()})
                found.push_back(t);
            co_return found;
        };
        auto from_home = co_await with_deadline(d, on(pool, all(seen)));
        CHECK(from_home == std::vector<time_point>(5, d));
        auto below = [](auto& f, auto& g, time_point when) -> task<std::vector<time_point>> {
            std::vector<time_point> found = co_await with_deadline(when, f(g));
            co_return found;
        };
        auto from_there = co_await on(pool, below(all, seen, d));
        CHECK(from_there == std::vector<time_point>(5, d));
        auto shielded = [](auto& f) -> task<time_point> {
            time_point t = co_await shield(f());
            co_return t;
        };
        time_point t = co_await with_deadline(d, on(pool, shielded(seen)));
        CHECK(t == never);
    }());
}

TEST_CASE("on_pool: context variables travel along; what a child sets is its own") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        level.set(1);
        auto child = [](int n) -> task<int> {
            int before = level.get();
            level.set(n);
            co_await yield();
            co_return before * 1000 + level.get();
        };
        auto parent = [](auto& f) -> task<bool> {
            int outside = level.get();
            auto token = level.set(7);
            auto [a, b, c] = co_await when_all(f(10), f(20), f(30));
            bool kept = level.get() == 7 && a == 7010 && b == 7020 && c == 7030;
            level.reset(token); // it is still the context in which that was set
            co_return kept&& outside == 1 && level.get() == 1;
        };
        for (int i = 0; i < 100; ++i) {
            bool right = co_await on(pool, parent(child));
            CHECK(right);
        }
        CHECK(level.get() == 1);
    }());
}

TEST_CASE("on_pool: what its tasks wait for can be seen, on each thread") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        CHECK(capture_tasks(pool).empty()); // no thread yet
        event unset;
        std::atomic<int> begun{0};
        auto waits = [](event& e, std::atomic<int>& n) -> task<> {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(wait_for(e, n)).set_name("child");
                co_await wait_for(e, n);
            });
        };
        auto t = spawn(on(pool, waits(unset, begun)));
        co_await eventually([&] { return begun == 2; });
        // Of the child there are two: in the tree of its group, and where it runs.
        std::string text;
        std::size_t tasks = 0;
        auto seen = [&] {
            text.clear();
            tasks = 0;
            for (const task_tree& thread : capture_tasks(pool)) {
                text += thread.answered ? to_string(thread) : "";
                tasks += thread.tasks.size();
            }
            return tasks == 4 && text.find("waits for event") != text.npos;
        };
        co_await eventually(seen);
        CAPTURE(text);
        CHECK(text.find("waits for task_group") != text.npos);
        CHECK(text.find("child, started at") != text.npos);
        CHECK(text.find("waits for a thread of the pool") != text.npos);
        CHECK(text.find("on_pool_test.cpp") != text.npos);
        unset.set();
        co_await t.join();
        co_await eventually([&] { // that is, as soon as the child's thread has swept
            auto idle = [](const task_tree& thread) { return thread.tasks.empty(); };
            return std::ranges::all_of(capture_tasks(pool), idle);
        });
        co_await pool.shutdown();
        CHECK(capture_tasks(pool).empty());
    }());
}

TEST_CASE("on_pool: tasks there are traced as on a loop", "[T-MOD-06]") {
    static std::atomic<int> started, resumed, suspended, ended;
    started = resumed = suspended = ended = 0;
    set_task_trace_hook([](const task_event& e) noexcept {
        switch (e.what) {
        case task_event::start:
            ++started;
            break;
        case task_event::resume:
            ++resumed;
            break;
        case task_event::suspend:
            ++suspended;
            break;
        case task_event::end:
            ++ended;
            break;
        }
    });
    run([]() -> task<> {
        thread_pool pool({.threads = 3});
        auto work = []() -> task<long> {
            long sum = co_await fibonacci(16);
            co_await yield();
            co_await with_task_group([&](task_group& g) -> task<> {
                for (int i = 0; i < 10; ++i)
                    g.spawn(fibonacci(10));
                co_return;
            });
            co_return sum;
        };
        auto [a, b] = co_await when_all(on(pool, work()), on(pool, work()));
        CHECK(a == 987);
        CHECK(b == 987);
        co_await pool.shutdown();
    }());
    set_task_trace_hook(nullptr);
    CHECK(started == ended);
    CHECK(started >=
          25); // the main task and its parts, two tasks with two groups, ten children each
    CHECK(started + resumed == suspended + ended);
}

TEST_CASE("on_pool: destroying the pool stops its tasks, and says so", "[P1][P23]") {
    run([]() -> task<> {
        auto pool = std::make_unique<thread_pool>(thread_pool_options{.threads = 2});
        std::atomic<int> begun{0};
        event unset;
        auto a = spawn(on(*pool, compute(begun)));
        auto b = spawn(on(*pool, wait_for(unset, begun)));
        co_await eventually([&] { return begun.load() == 2; });
        auto full = spawn(on(*pool, compute(begun)));
        co_await yield();
        co_await yield();
        pool.reset();
        co_await fails_with<pool_terminated>(a.join());
        co_await fails_with<pool_terminated>(b.join());
        co_await fails_with<pool_terminated>(full.join());
    }());
}

TEST_CASE("on_pool: each task has one outcome while tasks are stopped at random", "[P1][P3][P23]") {
    auto seed = std::random_device()();
    CAPTURE(seed);
    run([](unsigned from) -> task<> {
        std::mt19937 random(from);
        std::atomic<int> alive{0}, ends{0};
        mutex m;
        event unset;
        struct work {
            static task<long> of(int n, std::uint32_t bits, std::atomic<int>& left, mutex& lock,
                                 event& e, std::atomic<int>& count) {
                counted here(left);
                if (n == 0) {
                    if (bits % 7 == 0) {
                        auto held = co_await lock.scoped();
                        co_await yield();
                    }
                    if (bits % 251 == 0)
                        throw std::out_of_range("random");
                    if (bits % 241 == 0)
                        co_await e.wait();
                    co_await checkpoint();
                    co_return 1;
                }
                std::uint32_t x = bits * 1664525u + 1013904223u;
                auto [a, b, c] = co_await when_all(of(n - 1, x >> 3, left, lock, e, count),
                                                   of(n - 1, x >> 5, left, lock, e, count),
                                                   of(n - 1, x >> 7, left, lock, e, count));
                co_return a + b + c;
            }
            static task<> top(thread_pool& pool, std::uint32_t bits, std::atomic<int>& left,
                              mutex& lock, event& e, std::atomic<int>& count) {
                try {
                    long n = co_await on(pool, of(4, bits, left, lock, e, count));
                    CHECK(n == 81);
                } catch (const std::out_of_range&) {
                    ++count;
                } catch (const pool_terminated&) {
                    ++count;
                }
            }
        };
        for (int round = 0; round < 20; ++round) {
            auto pool = std::make_unique<thread_pool>(thread_pool_options{.threads = 3});
            std::vector<task_handle<>> tasks;
            for (int i = 0; i < 20; ++i)
                tasks.push_back(spawn(
                    work::top(*pool, static_cast<std::uint32_t>(random()), alive, m, unset, ends)));
            for (auto& t : tasks) {
                if (random() % 3 == 0)
                    co_await yield();
                t.cancel();
            }
            if (round % 3 == 0) {
                pool.reset();
            } else {
                for (auto& t : tasks)
                    static_cast<void>(co_await as_result(t.join()));
                long f = co_await on(*pool, fibonacci(12));
                CHECK(f == 144);
            }
            for (auto& t : tasks)
                static_cast<void>(co_await as_result(t.join()));
            CHECK(alive.load() == 0);
        }
    }(seed));
}
