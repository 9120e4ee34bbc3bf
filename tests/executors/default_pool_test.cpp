// SPDX-License-Identifier: MIT
#include <weft/executors/default_pool.hpp>

#include <weft/executors/cpus.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <thread>

#include "executors/exit_output.hpp"
#include "executors/gate.hpp"
#include "runtime/stray_errors.hpp"
#include "sync/patience.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::gate;
using weft::tests::stray_errors;
using weft::tests::until;

context_var<std::string> user("user", "nobody");

} // namespace

TEST_CASE("default_pool: made on first use, with the variables of who uses it",
          "[AIO-THR-01][AIO-THR-02]") {
    run([]() -> task<> {
        auto here = user.scoped("ann");
        auto seen = on_thread([](int n) { return user.get() + std::to_string(n); }, 7);
        std::string text = co_await std::move(seen);
        CHECK(text == "ann7");
        CHECK(default_pool()->size() == std::min(32u, usable_cpus() + 4));
        CHECK(default_pool() == default_pool());
        CHECK(default_pool()->statistics().begun == 1);
        thread_pool other({.threads = 1});
        auto where = [] { return std::this_thread::get_id(); };
        auto there = co_await run_on(other, where);
        auto again = co_await run_on(other, where);
        CHECK(there == again);
        CHECK(there != std::this_thread::get_id());
        CHECK(default_pool()->statistics().begun == 1);
        bool ended = co_await shutdown_default_pool();
        CHECK(ended);
    }());
}

TEST_CASE("default_pool: a stopped await cancels what has not begun, and drops the result else",
          "[AIO-THR-02]") {
    run([]() -> task<> {
        gate g;
        std::atomic<int> calls{0};
        thread_pool one({.threads = 1});
        auto waits = [&] {
            ++calls;
            g.pass();
            return 1;
        };
        auto awaits = [](future<int> f) -> task<int> { co_return co_await std::move(f); };
        task_handle<int> runs = spawn(awaits(run_on(one, waits)));
        task_handle<int> queued = spawn(awaits(run_on(one, waits)));
        co_await yield(); // both wait
        co_await until([&] { return g.arrived == 1; });
        runs.cancel();
        queued.cancel();
        co_await until([&] { return runs.done() && queued.done(); }); // while the function runs
        CHECK(runs.stopped());
        CHECK(queued.stopped());
        g.open();
        co_await one.shutdown();
        CHECK(calls == 1);
    }());
}

TEST_CASE("default_pool: its shutdown waits, but not longer than it is told", "[AIO-THR-04]") {
    stray_errors strays;
    run([]() -> task<> {
        bool ended = co_await shutdown_default_pool(); // there is none
        CHECK(ended);
        gate g;
        future<> f = on_thread([&] { g.pass(); });
        co_await until([&] { return g.arrived == 1; });
        ended = co_await shutdown_default_pool(deadline_after(5ms));
        CHECK_FALSE(ended);
        CHECK(stray_errors::wheres().size() == 1);
        CHECK_FALSE(f.done());
        auto next = on_thread([] { return 2; }); // on another pool
        int two = co_await std::move(next);
        CHECK(two == 2);
        ended = co_await shutdown_default_pool();
        CHECK(ended);
        g.open();
        co_await f;
    }());
    CHECK(stray_errors::wheres()[0] == "the shutdown of the default pool");
}

TEST_CASE("default_pool: the end of the program waits for what it has accepted", "[CF-EXE-07]") {
    CHECK(weft::tests::exit_output("pool") == std::string(80, '.'));
}
