// SPDX-License-Identifier: MIT
#include <weft/executors/executor.hpp>

#include <weft/executors/thread_pool.hpp>
#include <weft/executors/wait.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "executors/gate.hpp"
#include "runtime/stray_errors.hpp"
#include "sync/patience.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::gate;
using weft::tests::until;
using weft::tests::until_here;

context_var<std::string> user("user");

struct fails_to_copy {
    fails_to_copy() = default;
    fails_to_copy(const fails_to_copy&) { throw std::runtime_error("can't be copied"); }
    void operator()() const {}
};

// How a future ended, by one letter: value, error, cancelled, pending.
char how(const future<int>& f) {
    if (!f.done())
        return 'p';
    if (f.cancelled())
        return 'c';
    return f.exception() == nullptr ? 'v' : 'e';
}
std::string how(const std::vector<future<int>>& fs) {
    std::string text;
    for (const future<int>& f : fs)
        text += how(f);
    return text;
}

template <class E>
bool is(const std::exception_ptr& e) {
    try {
        std::rethrow_exception(e);
    } catch (const E&) {
        return true;
    } catch (...) {
        return false;
    }
}

bool refuses(thread_pool& pool) {
    try {
        static_cast<void>(pool.submit([] {}));
        return false;
    } catch (const state_error&) {
        return true;
    }
}

} // namespace

TEST_CASE("executor: what is submitted begins at once, and its future gets all that comes of it",
          "[CF-EXE-01]") {
    thread_pool pool({.threads = 2});
    SECTION("results of all kinds") {
        CHECK(pool.submit(std::plus<>(), 2, 3).get() == 5);
        int target = 0;
        CHECK(&pool.submit([&target]() -> int& { return target; }).get() == &target);
        pool.submit([](int& n) { n = 7; }, std::ref(target)).get();
        CHECK(target == 7);
        auto grown = pool.submit(
            [](std::unique_ptr<int> p) {
                ++*p;
                return p;
            },
            std::make_unique<int>(1));
        CHECK(*std::move(grown).get() == 2);
        CHECK_THROWS_AS(pool.submit([] { throw std::out_of_range("x"); }).get(), std::out_of_range);
    }
    SECTION("although nobody waits") {
        std::atomic<bool> ran{false};
        {
            future<> dropped = pool.submit([&] { ran = true; });
        }
        until_here([&] { return ran.load(); });
    }
    SECTION("it can't be cancelled while it runs, and what waits behind it can") {
        gate g;
        thread_pool one({.threads = 1});
        future<int> runs = one.submit([&] {
            g.pass();
            return 1;
        });
        until_here([&] { return g.arrived == 1; });
        CHECK(runs.running());
        auto kept = std::make_shared<int>(1);
        std::weak_ptr<int> argument = kept;
        future<int> waits =
            one.submit([](const std::shared_ptr<int>& p) { return *p; }, std::move(kept));
        CHECK(waits.state() == future_state::pending);
        CHECK_FALSE(runs.cancel());
        CHECK(waits.cancel());
        CHECK(argument.expired()); // not kept until its turn
        g.open();
        CHECK(runs.get() == 1);
    }
    SECTION("a function of the pool may block for another one's result") {
        future<int> inner = pool.submit([] { return 1; });
        CHECK(pool.submit([inner] { return inner.get() + 1; }).get() == 2);
        auto nested = [&pool] { return pool.submit([] { return 3; }).get(); };
        CHECK(pool.submit(nested).get() == 3);
    }
    SECTION("what can't be copied in is not submitted") {
        const fails_to_copy f;
        CHECK_THROWS_WITH(pool.submit(f), "can't be copied");
    }
    SECTION("a function that says it was cancelled is") {
        future<> f = pool.submit([] { throw cancelled_error(); });
        sync_wait(f.wait());
        CHECK(f.cancelled());
    }
    SECTION("after the shutdown it is refused") {
        sync_wait(pool.shutdown());
        CHECK(refuses(pool));
    }
}

TEST_CASE("executor: variables, deadline and the wish to stop go with the work",
          "[AIO-THR-01][AIO-THR-02]") {
    run([]() -> task<> {
        thread_pool pool({.threads = 1});
        {
            auto here = user.scoped("ann");
            auto there = pool.submit([] {
                std::string seen = user.get_or("nobody");
                user.set("changed"); // in a copy
                return seen;
            });
            std::string seen = co_await std::move(there);
            CHECK(seen == "ann");
            seen = co_await pool.call([] { return user.get(); });
            CHECK(seen == "ann");
            CHECK(user.get() == "ann");
        }
        std::string none = co_await pool.submit([] { return user.get_or(std::string("nobody")); });
        CHECK(none == "nobody"); // nothing stays with the thread

        auto when = [] { return current_deadline(); };
        time_point t = co_await pool.submit(when);
        CHECK(t == never);
        const time_point d = deadline_after(1h);
        auto nested = [&]() -> task<time_point> {
            auto outer = [&pool, when] { return pool.submit(when); }; // from within the pool
            auto inner = co_await with_deadline(deadline_after(2h), pool.submit(outer));
            co_return co_await std::move(inner);
        };
        t = co_await with_deadline(d, nested());
        CHECK(t == d);

        // Stopped while it runs: asked, not waited for.
        gate g;
        std::atomic<bool> asked{false};
        auto obeys = [&](std::stop_token stop) {
            g.pass();
            asked = stop.stop_requested();
            return 1;
        };
        auto waits = [](future<int> f) -> task<int> { co_return co_await std::move(f); };
        task_handle<int> h = spawn(waits(pool.submit(obeys)));
        co_await until([&] { return g.arrived == 1; });
        // Stopped before it begins: it never will.
        std::atomic<bool> began{false};
        task_handle<int> second = spawn(waits(pool.submit([&] {
            began = true;
            return 2;
        })));
        co_await yield();
        h.cancel();
        second.cancel();
        co_await until([&] { return h.done() && second.done(); });
        CHECK(h.stopped());
        g.open();
        co_await pool.shutdown();
        CHECK(asked);
        CHECK_FALSE(began);
    }());
}

TEST_CASE("executor: a shutdown lets accepted work finish, or cancels what has not begun",
          "[CF-EXE-06]") {
    std::optional<thread_pool> pool(std::in_place, thread_pool_options{.threads = 1});
    gate g;
    std::vector<future<int>> fs;
    for (int i = 0; i < 4; ++i)
        fs.push_back(pool->submit([&g, i] {
            g.pass();
            return i;
        }));
    until_here([&] { return g.arrived == 1; });

    SECTION("waiting for all of it, several times") {
        std::thread opens([&] { g.open(); });
        sync_wait(pool->shutdown({}));
        CHECK(how(fs) == "vvvv");
        CHECK(pool->statistics().threads == 0);
        sync_wait(pool->shutdown({.cancel_pending = true}));
        sync_wait(pool->shutdown({.wait = false}));
        CHECK(how(fs) == "vvvv");
        opens.join();
    }
    SECTION("without waiting") {
        sync_wait(pool->shutdown({.wait = false}));
        CHECK(refuses(*pool));
        CHECK(how(fs) == "pppp");
        g.open();
        CHECK(sync_wait(wait(fs)).not_done().empty());
        CHECK(how(fs) == "vvvv");
    }
    SECTION("what runs finishes, the rest is cancelled") {
        std::thread opens([&] {
            until_here([&] { return how(fs) == "pccc"; });
            g.open();
        });
        sync_wait(pool->shutdown({.cancel_pending = true}));
        CHECK(how(fs) == "vccc");
        opens.join();
    }
    SECTION("without waiting either") {
        sync_wait(pool->shutdown({.wait = false, .cancel_pending = true}));
        CHECK(how(fs) == "pccc"); // now, although the thread is busy
        g.open();
        CHECK(sync_wait(wait(fs)).not_done().empty());
        CHECK(how(fs) == "vccc");
    }
    SECTION("a pool that is destroyed leaves nothing pending") {
        std::thread opens([&] { // once the destructor has taken the others
            until_here([&] { return how(fs) == "peee"; });
            g.open();
        });
        pool.reset();
        opens.join();
        CHECK(how(fs) == "veee");
        CHECK(is<weft::ipc::pool_terminated>(fs[3].exception()));
    }
}

TEST_CASE("executor: the end of a scope waits for all its work, whichever way it is left",
          "[CF-EXE-07]") {
    run([]() -> task<> {
        std::atomic<int> done{0};
        auto work = [&done] {
            std::this_thread::yield();
            ++done;
        };
        auto body = [&work](thread_pool& pool, bool fails) -> task<int> {
            for (int i = 0; i < 20; ++i)
                static_cast<void>(pool.submit(work));
            if (fails)
                throw std::runtime_error("left early");
            co_return 1;
        };
        thread_pool one({.threads = 2});
        int result = co_await with_shutdown(one, body(one, false));
        CHECK(result == 1);
        CHECK(done == 20);
        thread_pool two({.threads = 2});
        std::string what;
        try {
            co_await with_shutdown(two, body(two, true));
        } catch (const std::runtime_error& e) {
            what = e.what();
        }
        CHECK(what == "left early");
        CHECK(done == 40);
        CHECK(refuses(two));
    }());
}

TEST_CASE("executor: what is submitted while it is shut down runs or is refused",
          "[CF-EXE-08][P1][P23]") {
    for (int round = 0; round < 50; ++round) {
        std::optional<thread_pool> pool(std::in_place, thread_pool_options{.threads = 2});
        std::atomic<int> ran{0};
        std::atomic<bool> go{false};
        std::vector<std::vector<future<int>>> accepted(2);
        std::vector<std::thread> submitters;
        for (auto& mine : accepted)
            submitters.emplace_back([&] {
                go.wait(false);
                try {
                    for (int i = 0; i < 200; ++i)
                        mine.push_back(pool->submit([&ran] { return ++ran; }));
                } catch (const state_error&) {
                    return;
                }
            });
        go = true;
        go.notify_all();
        const bool drops = round % 2 == 1;
        sync_wait(pool->shutdown({.cancel_pending = drops}));
        for (std::thread& t : submitters)
            t.join();
        std::size_t values = 0;
        std::size_t cancelled = 0;
        for (const auto& mine : accepted) {
            for (const future<int>& f : mine) {
                values += how(f) == 'v' ? 1 : 0;
                cancelled += how(f) == 'c' ? 1 : 0;
            }
        }
        CHECK(values == static_cast<std::size_t>(ran));
        CHECK(values + cancelled == accepted[0].size() + accepted[1].size());
        if (!drops)
            CHECK(cancelled == 0);
    }
}

TEST_CASE("executor: each thread of a pool is initialised before it runs anything", "[CF-TPE-03]") {
    static thread_local bool ready = false;
    std::atomic<int> calls{0};
    thread_pool pool({.threads = 2}, [&calls] {
        ++calls;
        ready = true;
    });
    std::vector<future<int>> fs;
    for (int i = 0; i < 50; ++i)
        fs.push_back(pool.submit([] { return ready ? 1 : 0; }));
    int sum = 0;
    for (const future<int>& f : fs)
        sum += f.get();
    CHECK(sum == 50);
    sync_wait(pool.shutdown());
    CHECK(calls >= 1);
    CHECK(calls <= 2); // once a thread
}

TEST_CASE("executor: while a thread is initialised, others are started for what comes, and no more",
          "[CF-TPE-02][CF-TPE-03]") {
    std::atomic<int> here{0};
    int wanted = 2;
    thread_pool pool({.threads = 4}, [&] { // each waits for the other
        ++here;
        time_point end = now() + 10s;
        while (here < wanted && now() < end)
            std::this_thread::yield();
    });
    SECTION("two calls, two threads") {
        future<> a = pool.submit([] {});
        future<> b = pool.submit([] {});
        a.get();
        b.get();
        CHECK(here == 2);
        CHECK(pool.statistics().threads == 2);
    }
    SECTION("one call, one thread") {
        wanted = 1;
        pool.submit([] {}).get();
        CHECK(pool.statistics().threads == 1);
    }
}

TEST_CASE("executor: an initialiser that fails breaks the pool", "[CF-TPE-03][CF-EXE-01][P9]") {
    gate g;
    thread_pool pool({.threads = 2}, [&g] {
        g.pass();
        throw std::runtime_error("no licence");
    });
    std::vector<future<int>> fs;
    for (int i = 0; i < 5; ++i)
        fs.push_back(pool.submit([i] { return i; }));
    auto calls = [&pool]() -> task<int> { co_return co_await pool.call([] { return 1; }); };
    g.open();
    CHECK(sync_wait(wait(fs)).not_done().empty());
    for (const future<int>& f : fs) {
        CHECK(is<broken_thread_pool>(f.exception()));
        CHECK(describe(f.exception()).find("no licence") != std::string::npos);
    }
    CHECK_THROWS_AS(pool.submit([] {}), broken_thread_pool);
    CHECK_THROWS_AS(sync_wait(calls()), broken_thread_pool);
    sync_wait(pool.shutdown()); // nothing is left to wait for
    CHECK(pool.statistics().begun == 0);
}

TEST_CASE("executor: errors form a tree", "[CF-ERR-01]") {
    std::exception_ptr pool = std::make_exception_ptr(broken_thread_pool("x"));
    CHECK(is<broken_executor>(pool));
    CHECK(is<error>(pool));
    CHECK_FALSE(is<broken_process_pool>(pool));
    CHECK(is<broken_executor>(std::make_exception_ptr(broken_process_pool("x"))));
    CHECK(is<error>(std::make_exception_ptr(timeout_error())));
    CHECK(is<error>(std::make_exception_ptr(state_error("x"))));
    CHECK_FALSE(is<error>(std::make_exception_ptr(cancelled_error())));
    // Each waiter gets one of its own.
    promise<> p;
    future<> f = p.get_future();
    p.set_error(broken_thread_pool("y"));
    CHECK(f.exception() != f.exception());
    CHECK(is<broken_thread_pool>(f.exception()));
}
