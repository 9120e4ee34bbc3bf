// SPDX-License-Identifier: MIT
#include <weft/executors/thread_pool.hpp>

#include <weft/executors/cpus.hpp>
#include <weft/executors/on_pool.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include "executors/gate.hpp"
#include "runtime/stray_errors.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <numeric>
#include <poll.h>
#include <random>
#include <sched.h>
#include <set>
#include <sys/resource.h>
#include <thread>

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::gate;

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

duration cpu_time() {
    rusage u{};
    ::getrusage(RUSAGE_SELF, &u);
    return std::chrono::seconds(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           std::chrono::microseconds(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

} // namespace

TEST_CASE("thread_pool: functions run on other threads, and their results come back") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        auto here = std::this_thread::get_id();
        auto there = co_await pool.call([] { return std::this_thread::get_id(); });
        CHECK(there != here);
        CHECK(std::this_thread::get_id() == here);
        int five = co_await pool.call(std::plus<>(), 2, 3);
        CHECK(five == 5);
        // What can only be moved, and what is only referred to.
        auto grown = co_await pool.call(
            [](std::unique_ptr<int> p) {
                ++*p;
                return p;
            },
            std::make_unique<int>(1));
        CHECK(*grown == 2);
        int target = 0;
        int& same = co_await pool.call([&target]() -> int& { return target; });
        CHECK(&same == &target);
        co_await pool.call([](int& n) { n = 7; }, std::ref(target));
        CHECK(target == 7);
        co_await pool.shutdown();
    }());
}

TEST_CASE("thread_pool: exceptions come back as they were") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        co_await fails_with<std::out_of_range>(pool.call([] { throw std::out_of_range("x"); }));
        co_await fails_with<int>(pool.call([]() -> std::string { throw 5; }));
        int one = co_await pool.call([] { return 1; });
        CHECK(one == 1);
    }());
}

TEST_CASE("thread_pool: threads are started when they are needed, and idle ones are used first",
          "[CF-TPE-02]") {
    run([]() -> task<> {
        thread_pool pool({.threads = 4});
        CHECK(pool.size() == 4);
        CHECK(pool.statistics().threads == 0);
        for (int i = 0; i != 20; ++i) {
            co_await pool.call([] {});
            co_await eventually([&] { return pool.statistics().idle == 1; });
        }
        CHECK(pool.statistics().threads == 1);

        gate g;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 10; ++i)
                group.spawn(pool.call([&g] { g.pass(); }));
            co_await eventually([&] { return g.arrived == 4; });
            auto s = pool.statistics();
            CHECK(s.threads == 4);
            CHECK(s.idle == 0);
            CHECK(s.queued == 6);
            g.open();
        });
        CHECK(pool.statistics().begun == 30);
        CHECK(pool.statistics().threads == 4);
    }());
}

TEST_CASE("thread_pool: calls begin in the order of their submission", "[CF-TPE-02]") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        std::vector<int> order;
        std::vector<task<>> all;
        for (int i = 0; i != 1000; ++i)
            all.push_back(as_task(pool.call([&order, i] { order.push_back(i); })));
        co_await when_all(std::move(all));
        CHECK(std::is_sorted(order.begin(), order.end()));
        CHECK(order.size() == 1000);
    }());
}

TEST_CASE("thread_pool: its size is that of the CPUs it may use, or what it is told if that is one",
          "[CF-TPE-01]") {
    CHECK(thread_pool().size() == usable_cpus());
    CHECK(thread_pool({.threads = 3}).size() == 3);
    for (int n : {0, -1, 1 << 20})
        CHECK_THROWS_AS(thread_pool({.threads = n}), std::invalid_argument);
}

TEST_CASE("thread_pool: its threads are called after it and numbered", "[CF-TPE-01]") {
    gate g;
    auto names = [&g](thread_pool& pool, int n) {
        std::vector<future<std::string>> all;
        for (int i = 0; i != n; ++i) // each on a thread of its own
            all.push_back(pool.submit([&g] {
                g.pass();
                char name[16] = {};
                ::pthread_getname_np(::pthread_self(), name, sizeof name);
                return std::string(name);
            }));
        while (g.arrived < n)
            std::this_thread::yield();
        g.open();
        std::set<std::string> found;
        for (auto& f : all)
            found.insert(f.get());
        return found;
    };
    SECTION("by the name that it was given") {
        thread_pool pool({.threads = 2, .name = "crunch"});
        CHECK(names(pool, 2) == std::set<std::string>{"crunch_0", "crunch_1"});
    }
    SECTION("which is cut, and not the number") {
        thread_pool pool({.threads = 1, .name = "a name that is too long"});
        CHECK(names(pool, 1) == std::set<std::string>{"a name that i_0"});
    }
    SECTION("or by one with a number of its own") {
        thread_pool one({.threads = 1});
        thread_pool two({.threads = 1});
        std::string first = *names(one, 1).begin();
        std::string second = *names(two, 1).begin();
        CHECK(first.starts_with("weft-pool-"));
        CHECK(first.ends_with("_0"));
        CHECK(second.ends_with("_0"));
        CHECK(first != second);
    }
}

TEST_CASE("thread_pool: a function that waits holds its thread, and what is behind it has no turn",
          "[CF-TPE-04]") {
    thread_pool pool({.threads = 1});
    future<int> second;
    gate g;
    future<bool> first = pool.submit([&] {
        g.pass();
        try {
            second.get_for(1ms);
            return false;
        } catch (const timeout_error&) {
            return second.state() == future_state::pending;
        }
    });
    second = pool.submit([] { return 2; });
    g.open();
    CHECK(first.get());
    CHECK(second.get() == 2);
}

TEST_CASE("thread_pool: what is more urgent goes first, and nobody waits for ever") {
    gate g;
    thread_pool pool({.threads = 1});
    future<> holds = pool.submit([&g] { g.pass(); });
    while (g.arrived == 0)
        std::this_thread::yield();
    std::string order; // the one thread's
    std::vector<future<>> all;
    auto note = [&order](char c) { order += c; };
    for (int i = 0; i != 3; ++i) {
        all.push_back(pool.submit({.priority = task_priority::low}, note, 'l'));
        all.push_back(pool.submit(note, 'n'));
    }
    for (int i = 0; i != 40; ++i)
        all.push_back(pool.submit({.priority = task_priority::high}, note, 'h'));
    g.open();
    for (auto& f : all)
        f.get();
    auto urgent = [](std::size_t n) { return std::string(n, 'h'); };
    std::string expected = urgent(16);
    expected += "nl";
    expected += urgent(15);
    expected += "nl";
    expected += urgent(9);
    expected += "nl";
    CHECK(order == expected);
    holds.get();
    SECTION("a call, a task and a withdrawal have their priority, too") {
        run([](thread_pool& p) -> task<> {
            gate again;
            auto busy = spawn(p.call([&again] { again.pass(); }));
            co_await eventually([&] { return again.arrived == 1; });
            std::string turns;
            auto task_of = [](std::string& to) -> task<> {
                to += 't';
                co_return;
            };
            auto low = spawn(p.call({.priority = task_priority::low}, [&turns] { turns += 'l'; }));
            auto gone =
                spawn(p.call({.priority = task_priority::high}, [&turns] { turns += 'g'; }));
            auto high = spawn(on(p, task_priority::high, task_of(turns)));
            co_await eventually([&] { return p.statistics().queued == 3; });
            gone.cancel();
            again.open();
            co_await low.join();
            co_await high.join();
            co_await busy.join();
            CHECK(turns == "tl");
        }(pool));
    }
}

TEST_CASE("thread_pool: what says that it blocks gets extra threads, which go when they are idle") {
    gate g; // outlives those who wait at it
    thread_pool pool({.threads = 1, .blocking_threads = 2, .blocking_idle = 1ms});
    auto waits = [&g] {
        g.pass();
        return std::this_thread::get_id();
    };
    std::vector<future<std::thread::id>> all;
    for (int i = 0; i != 3; ++i)
        all.push_back(pool.submit({.blocks = true}, waits));
    while (g.arrived < 2)
        std::this_thread::yield();
    CHECK(pool.submit([] { return 1; }).get() == 1); // the pool's own thread computes meanwhile
    CHECK(pool.statistics().threads == 1);
    CHECK(pool.statistics().blocking == 2);
    CHECK(pool.statistics().queued == 1); // one more than may block
    CHECK(all[2].cancel());
    SECTION("they end") {
        g.open();
        CHECK(all[0].get() != all[1].get());
        time_point end = now() + patience;
        while (pool.statistics().blocking != 0 && now() < end)
            std::this_thread::yield();
        CHECK(pool.statistics().blocking == 0);
        CHECK(pool.submit({.blocks = true}, [] { return 2; }).get() == 2); // and come again
    }
    SECTION("a shutdown waits for them") {
        future<> opens = pool.submit([&g] { g.open(); });
        sync_wait(pool.shutdown());
        CHECK(all[0].done());
        CHECK(all[1].done());
        CHECK_THROWS_AS(pool.submit({.blocks = true}, [] {}), state_error);
    }
    SECTION("a stopped call is withdrawn, or asked") {
        run([](thread_pool& p, gate& opens) -> task<> {
            bool ran = false;
            auto waiting = p.call({.blocks = true}, [&ran] { ran = true; });
            co_await fails_with<timeout_error>(with_timeout(1ms, std::move(waiting)));
            opens.open();
            std::atomic<bool> begun = false;
            auto polite = [&begun](std::stop_token stop) {
                begun = true;
                while (!stop.stop_requested())
                    ::poll(nullptr, 0, 1);
            };
            auto t = spawn(p.call({.blocks = true}, polite));
            co_await eventually([&] { return begun.load(); });
            t.cancel();
            co_await fails_with<cancelled_error>(t.join());
            CHECK_FALSE(ran);
        }(pool, g));
    }
    SECTION("the end of the pool asks them, and fails what waits") {
        auto mine =
            std::make_unique<thread_pool>(thread_pool_options{.threads = 1, .blocking_threads = 1});
        std::atomic<bool> begun = false;
        future<bool> runs = mine->submit({.blocks = true}, [&begun](std::stop_token stop) {
            begun = true;
            while (!stop.stop_requested())
                ::poll(nullptr, 0, 1);
            return true;
        });
        while (!begun)
            std::this_thread::yield();
        future<> never_runs = mine->submit({.blocks = true}, [] {});
        mine.reset();
        CHECK(runs.get());
        CHECK_THROWS_AS(never_runs.get(), ipc::pool_terminated);
        g.open();
    }
}

TEST_CASE("thread_pool: options that make no sense are refused, the others reach the threads",
          "[T-MOD-07]") {
    CHECK_THROWS_AS(thread_pool({.stack_size = 1024}), std::invalid_argument);
    CHECK_THROWS_AS(thread_pool({.blocking_threads = 0}), std::invalid_argument);
    const int bad[] = {-1};
    CHECK_THROWS_AS(thread_pool({.cpus = bad}), std::invalid_argument);
    cpu_set_t allowed;
    REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    int cpu = 0;
    while (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed))
        ++cpu;
    const int here[] = {cpu};
    auto count = [] {
        cpu_set_t set;
        ::sched_getaffinity(0, sizeof set, &set);
        return CPU_COUNT(&set);
    };
    thread_pool pinned({.cpus = here});
    CHECK(pinned.size() == 1);
    CHECK(pinned.submit(count).get() == 1);
    CHECK(pinned.submit([] { return ::sched_getcpu(); }).get() == cpu);
    auto stack = [] {
        pthread_attr_t a;
        std::size_t bytes = 0;
        ::pthread_getattr_np(::pthread_self(), &a);
        ::pthread_attr_getstacksize(&a, &bytes);
        ::pthread_attr_destroy(&a);
        return bytes;
    };
    const std::size_t wanted = std::size_t{1} << 20;
    thread_pool small({.threads = 1, .stack_size = wanted});
    CHECK(small.submit(stack).get() == wanted);
    CHECK(small.submit({.blocks = true}, stack).get() == wanted);
}

TEST_CASE("thread_pool: that calls starve is reported, once until one begins", "[P6]") {
    weft::tests::stray_errors strays;
    thread_pool pool({.threads = 1, .name = "busy", .starving_after = 1ms});
    gate g;
    future<> holds = pool.submit([&g] { g.pass(); });
    while (g.arrived == 0)
        std::this_thread::yield();
    future<> waits = pool.submit([] {});
    time_point end = now() + patience;
    while (strays.count() == 0 && now() < end)
        std::this_thread::yield();
    g.open();
    waits.get();
    REQUIRE(strays.count() == 1);
    CHECK(strays.texts().front().find("1 calls wait") != std::string::npos);
    CHECK(strays.wheres().front() == "busy");
}

TEST_CASE("thread_pool: a queued call that is stopped is withdrawn at once") {
    run([]() -> task<> {
        gate g;
        thread_pool pool({.threads = 1});
        bool ran = false;
        auto busy = spawn(pool.call([&g] { g.pass(); }));
        co_await eventually([&] { return g.arrived == 1; });
        // It would wait until the gate is opened.
        co_await fails_with<timeout_error>(with_timeout(10ms, pool.call([&ran] { ran = true; })));
        CHECK(pool.statistics().queued == 0);
        g.open();
        co_await busy.join();
        co_await pool.shutdown();
        CHECK_FALSE(ran);
    }());
}

TEST_CASE("thread_pool: a running function is asked through its token, and awaited") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        std::atomic<bool> begun = false, ended = false;
        auto polite = [&](std::stop_token stop, int n) {
            begun = true;
            while (!stop.stop_requested())
                ::poll(nullptr, 0, 1);
            ::poll(nullptr, 0, 20);
            ended = true;
            return n;
        };
        auto t = spawn(pool.call(polite, 5));
        co_await eventually([&] { return begun.load(); });
        t.cancel();
        co_await fails_with<cancelled_error>(t.join());
        CHECK(ended); // the frame, and what the function refers to, waited
        CHECK(t.stopped());
    }());
}

TEST_CASE("thread_pool: a function without a token is awaited, and delivers", "[P3]") {
    run([]() -> task<> {
        gate g;
        thread_pool pool({.threads = 1});
        int delivered = 0;
        auto body = [&]() -> task<> {
            auto call = [&g] {
                g.pass();
                return 5;
            };
            delivered = co_await pool.call(call);
            co_await sleep_for(1h); // the stop comes here
        };
        auto t = spawn(body());
        co_await eventually([&] { return g.arrived == 1; });
        t.cancel();
        co_await yield();
        CHECK_FALSE(t.done());
        g.open();
        co_await fails_with<cancelled_error>(t.join());
        CHECK(delivered == 5);
    }());
}

TEST_CASE("thread_pool: an error in a call that is being stopped is seen, unless it says stopped",
          "[P6]") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        std::atomic<int> begun = 0;
        auto fail = [&begun](std::stop_token stop, bool politely) {
            ++begun;
            while (!stop.stop_requested())
                ::poll(nullptr, 0, 1);
            if (politely)
                throw cancelled_error();
            throw std::out_of_range("in the middle");
        };
        auto loud = spawn(pool.call(fail, false));
        co_await eventually([&] { return begun == 1; });
        loud.cancel();
        co_await fails_with<std::out_of_range>(loud.join());
        auto polite = spawn(pool.call(fail, true));
        co_await eventually([&] { return begun == 2; });
        polite.cancel();
        co_await fails_with<cancelled_error>(polite.join());
        CHECK(polite.stopped());
    }());
}

TEST_CASE("thread_pool: shutdown finishes what was accepted and refuses the rest") {
    run([]() -> task<> {
        thread_pool pool({.threads = 2});
        std::atomic<int> ran = 0;
        std::vector<task_handle<>> all;
        for (int i = 0; i != 50; ++i)
            all.push_back(spawn(pool.call([&ran] { ++ran; })));
        co_await yield();
        co_await pool.shutdown();
        CHECK(ran == 50);
        CHECK(pool.statistics().threads == 0);
        co_await fails_with<state_error>(pool.call([] {}));
        co_await pool.shutdown();
        for (auto& h : all)
            co_await h.join();
    }());
}

TEST_CASE("thread_pool: a stopped wait for the end doesn't hold the end up") {
    run([]() -> task<> {
        gate g;
        thread_pool pool({.threads = 1});
        auto busy = spawn(pool.call([&g] { g.pass(); }));
        co_await eventually([&] { return g.arrived == 1; });
        co_await fails_with<timeout_error>(with_timeout(10ms, pool.shutdown()));
        co_await fails_with<state_error>(pool.call([] {}));
        g.open();
        co_await pool.shutdown();
        co_await busy.join();
    }());
}

TEST_CASE("thread_pool: destruction fails what waits, asks what runs, and waits for it", "[P1]") {
    run([]() -> task<> {
        auto pool = std::make_unique<thread_pool>(thread_pool_options{.threads = 1});
        std::atomic<bool> begun = false, ended = false, ran = false;
        auto polite = [&](std::stop_token stop) {
            begun = true;
            while (!stop.stop_requested())
                ::poll(nullptr, 0, 1);
            ended = true;
        };
        auto running = spawn(pool->call(polite));
        co_await eventually([&] { return begun.load(); });
        auto queued = spawn(pool->call([&ran] { ran = true; }));
        co_await eventually([&] { return pool->statistics().queued == 1; });
        pool.reset();
        CHECK(ended);
        co_await fails_with<ipc::pool_terminated>(queued.join());
        co_await fails_with<ipc::pool_terminated>(running.join());
        CHECK_FALSE(ran);
    }());
}

TEST_CASE("thread_pool: tasks of any loop and plain threads use the same pool") {
    thread_pool pool({.threads = 2});
    int from_here = sync_wait(pool.call(std::plus<>(), 20, 22));
    CHECK(from_here == 42);
    runtime rt({.loops = 3});
    std::atomic<int> right = 0, at_home = 0; // CHECK is for one thread
    rt.run([&](runtime& r, thread_pool& p) -> task<> {
        auto many = [&](loop& home, thread_pool& threads) -> task<> {
            for (int i = 0; i != 500; ++i) {
                int next = co_await threads.call([i] { return i + 1; }); // coroutine-lint: an int
                right += next == i + 1 ? 1 : 0;
                at_home += &this_loop() == &home ? 1 : 0;
            }
        };
        co_await when_all(many(r.get_loop(0), p), on(r.get_loop(1), many(r.get_loop(1), p)),
                          on(r.get_loop(2), many(r.get_loop(2), p)));
    }(rt, pool));
    CHECK(right == 1500);
    CHECK(at_home == 1500);
}

TEST_CASE("thread_pool: its threads take no signals of the program") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        auto mask = co_await pool.call([] {
            sigset_t s;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &s);
            return s;
        });
        for (int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD})
            CHECK(::sigismember(&mask, s) == 1);
        for (int s : {SIGSEGV, SIGFPE, SIGILL, SIGBUS})
            CHECK(::sigismember(&mask, s) == 0);
    }());
}

TEST_CASE("thread_pool: an idle pool and an idle loop use no CPU") {
    run([]() -> task<> {
        gate g;
        thread_pool pool({.threads = 4});
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 4; ++i)
                group.spawn(pool.call([&g] { g.pass(); }));
            co_await eventually([&] { return g.arrived == 4; });
            g.open();
        });
        co_await eventually([&] { return pool.statistics().idle == 4; });
        duration before = cpu_time();
        co_await sleep_for(1s);
        CHECK(cpu_time() - before < 100ms);
    }());
}

TEST_CASE("thread_pool: each call has one outcome while calls are stopped at random", "[P1][P3]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    runtime rt({.loops = 2});
    rt.run([](runtime& r, unsigned first_seed) -> task<> {
        thread_pool pool({.threads = 3});
        std::atomic<int> ran = 0, begun = 0, delivered = 0, gone = 0;
        struct witness {
            explicit witness(std::atomic<int>& g) : gone(g) {}
            witness(const witness&) = delete;
            witness& operator=(const witness&) = delete;
            ~witness() { ++gone; }
            std::atomic<int>& gone;
        };
        auto one = [&](unsigned kind) -> task<> {
            ++begun;
            witness w(gone);
            auto plain = [&ran](int n) {
                ++ran;
                return n;
            };
            auto polite = [&ran](std::stop_token stop, int n) {
                ++ran;
                for (int i = 0; i != 3 && !stop.stop_requested(); ++i)
                    std::this_thread::yield();
                return n;
            };
            int n = kind % 2 == 0 ? co_await pool.call(plain, 3)   // coroutine-lint: ints only
                                  : co_await pool.call(polite, 3); // coroutine-lint: ints only
            delivered += n == 3 ? 1 : 0;
        };
        auto storm = [&](unsigned s) -> task<> {
            std::mt19937 random(s);
            co_await with_task_group([&](task_group& g) -> task<> {
                std::vector<task_handle<>> handles;
                for (int i = 0; i != 20'000; ++i) {
                    handles.push_back(g.spawn(one(static_cast<unsigned>(random()))));
                    if (random() % 3 == 0)
                        handles[random() % handles.size()].cancel();
                    if (random() % 8 == 0)
                        co_await yield();
                }
            });
        };
        co_await when_all(storm(first_seed), on(r.get_loop(1), storm(first_seed + 1)));
        CHECK(gone == begun);
        CHECK(delivered > 1000);
        CHECK(delivered <= ran);
        auto s = pool.statistics();
        CHECK(s.queued == 0);
        CHECK(static_cast<int>(s.begun) == ran);
        co_await pool.shutdown();
    }(rt, seed));
}
