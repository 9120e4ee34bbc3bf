// SPDX-License-Identifier: MIT
#include <weft/executors/future.hpp>

#include <weft/ipc/error_registry.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/select.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/stray_errors.hpp"
#include "sync/patience.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::stray_errors;
using weft::tests::until;

static_assert(awaitable<future<int>> && awaitable<future<>&> && awaitable<future<int&>>);
static_assert(std::is_same_v<await_result_t<future<int>>, int>);
static_assert(std::is_same_v<await_result_t<const future<int>&>, const int&>);

// What a future gives, as text, whichever way it is asked.
template <class F>
std::string said(F ask) {
    try {
        return std::to_string(ask());
    } catch (const timeout_error&) {
        return "timeout";
    } catch (const cancelled_error&) {
        return "cancelled";
    } catch (const state_error&) {
        return "state";
    } catch (const std::exception& e) {
        return e.what();
    }
}

template <class A>
task<std::string> awaited(A a) {
    std::string text;
    try {
        text = std::to_string(co_await a());
    } catch (const timeout_error&) {
        text = "timeout";
    } catch (const cancelled_error&) {
        text = "cancelled";
    } catch (const std::exception& e) {
        text = e.what();
    }
    co_return text;
}

bool refused(const std::function<void()>& f) {
    try {
        f();
        return false;
    } catch (const state_error&) {
        return true;
    }
}

// An error that can be changed, of a type that the registry knows.
struct mutable_error : std::runtime_error {
    using std::runtime_error::runtime_error;
    int notes = 0;
};
const bool known = weft::ipc::register_error<mutable_error>();

context_var<int> request("request", 0);

void blocks_with_all_outcomes() {
    promise<int> p;
    future<int> f = p.get_future();
    CHECK(said([&] { return f.get_for(1ms); }) == "timeout");
    CHECK(said([&] { return f.get_until(time_point::min()); }) == "timeout");
    CHECK(said([&] { return f.exception(deadline_after(1ms)) == nullptr; }) == "timeout");
    CHECK(f.state() == future_state::pending); // unaffected
    p.set_value(3);
    CHECK(said([&] { return f.get(); }) == "3");
    CHECK(said([&] { return f.get(); }) == "3");
    CHECK(f.exception() == nullptr);

    promise<int> failing;
    future<int> failed = failing.get_future();
    failing.set_error(std::out_of_range("no such thing"));
    CHECK(said([&] { return failed.get(); }) == "no such thing");
    CHECK(describe(failed.exception()) == "no such thing");

    promise<int> unneeded;
    future<int> cancelled = unneeded.get_future();
    CHECK(cancelled.cancel());
    CHECK(said([&] { return cancelled.get(); }) == "cancelled");
    CHECK(said([&] { return cancelled.exception() == nullptr; }) == "cancelled");
}

task<> awaits_with_all_outcomes() {
    promise<int> p;
    future<int> f = p.get_future();
    std::string text1 = co_await awaited([&] { return f.result_for(1ms); });
    CHECK(text1 == "timeout");
    bool done = co_await f.wait_until(time_point::min());
    CHECK_FALSE(done);
    CHECK(f.state() == future_state::pending);
    p.set_value(3);
    auto read = [&]() -> task<int> { co_return co_await f; };
    std::string text2 = co_await awaited(read);
    CHECK(text2 == "3");
    std::string text3 = co_await awaited([&] { return f.result_until(time_point::min()); });
    CHECK(text3 == "3");
    done = co_await f.wait_for(0s);
    CHECK(done);

    promise<int> failing;
    future<int> failed = failing.get_future();
    failing.set_error(std::out_of_range("no such thing"));
    auto read_failed = [&]() -> task<int> { co_return co_await failed; };
    std::string text4 = co_await awaited(read_failed);
    CHECK(text4 == "no such thing");

    promise<int> unneeded;
    future<int> cancelled = unneeded.get_future();
    CHECK(cancelled.cancel());
    auto read_cancelled = [&]() -> task<int> { co_return co_await cancelled; };
    std::string text5 = co_await awaited(read_cancelled);
    CHECK(text5 == "cancelled");
}

} // namespace

TEST_CASE("future: it is pending, running, cancelled or finished, and ends once",
          "[CF-FUT-01][CF-FUT-02][CF-FUT-06][CF-FUT-07][P1]") {
    promise<int> p;
    future<int> f = p.get_future();
    CHECK(f.state() == future_state::pending);
    CHECK_FALSE(f.running());
    CHECK_FALSE(f.done());

    SECTION("what was begun can't be cancelled, and finishes") {
        CHECK(p.start());
        CHECK(f.state() == future_state::running);
        CHECK(f.running());
        CHECK_FALSE(f.done());
        CHECK_FALSE(f.cancel());
        CHECK(refused([&] { p.start(); })); // begun twice
        p.set_value(1);
        CHECK(f.state() == future_state::finished);
        CHECK(f.done());
        CHECK_FALSE(f.running());
        CHECK_FALSE(f.cancelled());
        CHECK_FALSE(f.cancel());
        CHECK(refused([&] { p.start(); }));
        CHECK(refused([&] { p.set_value(2); }));
        CHECK(refused([&] { p.set_error(std::runtime_error("late")); }));
        CHECK(f.get() == 1); // the first is kept
        CHECK(f.exception() == nullptr);
        CHECK(refused([&] { static_cast<void>(p.get_future()); }));
    }
    SECTION("what was not begun is cancelled, for good") {
        CHECK(f.cancel());
        CHECK(f.cancelled());
        CHECK(f.done());
        CHECK(f.cancel()); // it is
        CHECK_FALSE(p.start());
        CHECK_FALSE(p.start());
        CHECK(refused([&] { p.set_value(2); }));
        CHECK(refused([&] { p.set_error(std::runtime_error("late")); }));
        CHECK(f.cancelled());
    }
    SECTION("a result needs no start") {
        p.set_error(std::runtime_error("at once"));
        CHECK(f.state() == future_state::finished);
        CHECK(describe(f.exception()) == "at once");
    }
    SECTION("a result that can't be moved in leaves it open") {
        struct fragile {
            explicit fragile(bool breaks) {
                if (breaks)
                    throw std::runtime_error("broken");
            }
        };
        promise<fragile> q;
        future<fragile> g = q.get_future();
        CHECK_THROWS_WITH(q.set_value(true), "broken");
        CHECK(g.state() == future_state::pending);
        q.set_value(false);
        CHECK(g.done());
    }
    SECTION("a promise that goes ends it") {
        bool begun = GENERATE(false, true);
        if (begun)
            CHECK(p.start());
        {
            promise<int> gone = std::move(p);
        }
        CHECK(f.cancelled());
        CHECK(said([&] { return f.get(); }) == "cancelled");
    }
}

TEST_CASE("future: value, error, cancellation and timeout come out, awaited and blocking",
          "[CF-FUT-03][CF-ERR-01]") {
    blocks_with_all_outcomes();
    run(awaits_with_all_outcomes());
}

TEST_CASE("future: any number of tasks and threads get the result, as often as they ask",
          "[CF-FUT-04]") {
    promise<std::string> p;
    future<std::string> f = p.get_future();
    std::vector<std::thread> threads;
    std::atomic<int> right{0};
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([f, &right] {
            for (int k = 0; k < 2; ++k)
                right += f.get() == "long enough for the heap" ? 1 : 0;
        });
    runtime rt({.loops = 2});
    rt.run([](runtime& r, future<std::string> g, promise<std::string>& to,
              std::atomic<int>& n) -> task<> {
        auto reads = [](future<std::string> h, std::atomic<int>& count) -> task<> {
            const std::string& first = co_await h;
            const std::string& second = co_await h;
            count += &first == &second && first == "long enough for the heap" ? 2 : 0;
        };
        task_handle<> here = spawn(reads(g, n));
        auto sets = [](promise<std::string>& q) -> task<> {
            q.set_value("long enough for the heap");
            co_return;
        };
        auto there = on(r.get_loop(1), reads(g, n));
        task_handle<> elsewhere = spawn(std::move(there));
        co_await yield();
        co_await on(r.get_loop(1), sets(to));
        co_await here.join();
        co_await elsewhere.join();
        std::string taken = co_await std::move(g); // others have it too: a copy
        n += taken == "long enough for the heap" ? 1 : 0;
    }(rt, f, p, right));
    for (std::thread& t : threads)
        t.join();
    CHECK(right == 11);
    CHECK(f.get() == "long enough for the heap");
}

TEST_CASE("future: who waits gets an error of its own", "[CF-FUT-04]") {
    promise<> p;
    future<> f = p.get_future();
    p.set_error(mutable_error("one of many"));
    auto note = [&](int expected) {
        try {
            f.get();
        } catch (mutable_error& e) {
            CHECK(e.notes == expected);
            CHECK(std::string(e.what()) == "one of many");
            ++e.notes;
        }
    };
    note(0);
    note(0); // what the first one wrote isn't there
    CHECK(f.exception() != f.exception());

    SECTION("what is nested inside comes along") {
        promise<> q;
        future<> g = q.get_future();
        try {
            try {
                throw std::out_of_range("inside");
            } catch (...) {
                std::throw_with_nested(mutable_error("outside"));
            }
        } catch (...) {
            q.set_error(std::current_exception());
        }
        std::string inside;
        try {
            g.get();
        } catch (const mutable_error& e) {
            try {
                std::rethrow_if_nested(e);
            } catch (const std::out_of_range& i) {
                inside = i.what();
            }
        }
        CHECK(inside == "inside");
    }
    SECTION("of a type that nobody knows it is the same one") {
        promise<> q;
        future<> g = q.get_future();
        q.set_error(std::make_exception_ptr(7));
        CHECK(g.exception() == g.exception());
        CHECK_THROWS_AS(g.get(), int);
    }
}

TEST_CASE("future: an rvalue gives the result away", "[CF-FUT-04]") {
    promise<std::unique_ptr<int>> p;
    future<std::unique_ptr<int>> f = p.get_future();
    future<std::unique_ptr<int>> other = f;
    p.set_value(std::make_unique<int>(5));
    CHECK(refused([&] { static_cast<void>(std::move(f).get()); })); // the other could ask, too
    CHECK_FALSE(f);
    std::unique_ptr<int> five = std::move(other).get();
    CHECK(*five == 5);

    promise<std::vector<std::unique_ptr<int>>> many;
    auto all = many.get_future();
    many.set_value(std::vector<std::unique_ptr<int>>(3));
    CHECK(std::move(all).get().size() == 3);

    promise<int&> q;
    int n = 1;
    q.set_value(n);
    promise<int&> r;
    future<int&> g = r.get_future();
    r.set_value(n);
    CHECK(&g.get() == &n);
    CHECK(&std::move(g).get() == &n);
    run([]() -> task<> {
        promise<std::unique_ptr<int>> to;
        future<std::unique_ptr<int>> from = to.get_future();
        to.set_value(std::make_unique<int>(6));
        std::unique_ptr<int> six = co_await std::move(from);
        CHECK(*six == 6);
        promise<std::unique_ptr<int>> to_late;
        to_late.start();
        future<std::unique_ptr<int>> late = to_late.get_future();
        std::thread t(
            [q = std::move(to_late)]() mutable { q.set_value(std::make_unique<int>(7)); });
        std::unique_ptr<int> seven = co_await std::move(late).result_for(40s);
        CHECK(*seven == 7);
        t.join();
    }());
}

TEST_CASE("future: callbacks are called once each, in order, where it ends", "[CF-FUT-05][P6]") {
    stray_errors strays;
    std::vector<std::string> calls;
    std::thread::id where;
    {
        promise<int> p;
        future<int> f = p.get_future();
        auto note = [&](std::string name) {
            return [&calls, &where, name](const future<int>& g) {
                calls.push_back(name + (g.cancelled() ? "-" : std::to_string(g.get())) +
                                std::to_string(request.get()));
                where = std::this_thread::get_id();
            };
        };
        context with_request = copy_context();
        with_request.run([&] {
            request.set(8);
            f.on_done(note("a"));
        });
        f.on_done([](const future<int>&) { throw std::runtime_error("a bad callback"); });
        f.on_done(note("b"));
        CHECK(calls.empty());
        SECTION("when there is a result") {
            std::thread t([&] { p.set_value(1); });
            auto id = t.get_id();
            t.join();
            CHECK(calls == std::vector<std::string>{"a18", "b10"});
            CHECK(where == id);
            f.on_done(note("c")); // at once, here
            CHECK(calls.back() == "c10");
            CHECK(where == std::this_thread::get_id());
        }
        SECTION("when it is cancelled") {
            f.cancel();
            f.cancel();
            CHECK(calls == std::vector<std::string>{"a-8", "b-0"});
        }
        CHECK(strays.texts() == std::vector<std::string>{"a bad callback"});
    }
    CHECK(strays.texts().size() == 1);
    CHECK(strays.wheres()[0] == "a callback of a future");
}

TEST_CASE("future: who waits is told at the cancel, not when the work's turn comes",
          "[CF-FUT-08][CF-FUT-02]") {
    promise<int> p; // which nobody works for
    future<int> f = p.get_future();
    std::string there;
    std::thread plain([&there, f] { there = said([&] { return f.get(); }); });
    run([](future<int> g) -> task<> {
        auto reads = [](future<int> h) -> task<int> { co_return co_await h; };
        task_handle<int> waits = spawn(reads(g));
        co_await yield();
        CHECK_FALSE(waits.done());
        CHECK(g.cancel());
        auto join = [&]() { return waits.join(); };
        std::string text6 = co_await awaited(join);
        CHECK(text6 == "cancelled");
    }(f));
    plain.join();
    CHECK(there == "cancelled");
}

TEST_CASE("future: a stopped task leaves it alone, unless nobody else could ask for the result",
          "[CF-FUT-03][AIO-THR-02]") {
    run([]() -> task<> {
        promise<int> p;
        future<int> f = p.get_future();
        auto reads = [](const future<int>& g) -> task<int> { co_return co_await g; };
        task_handle<int> h = spawn(reads(f));
        co_await yield();
        h.cancel();
        co_await until([&] { return h.done(); });
        CHECK(h.stopped());
        CHECK(f.state() == future_state::pending);
        auto bounded = [](future<int> g) -> task<int> {
            co_return co_await with_timeout(1ms, std::move(g));
        };
        // A copy: the other one can still ask.
        std::string text7 = co_await awaited([&] { return bounded(f); });
        CHECK(text7 == "timeout");
        CHECK(f.state() == future_state::pending);

        // The last one. The promise sees that nobody waits.
        std::string text8 = co_await awaited([&] { return bounded(std::move(f)); });
        CHECK(text8 == "timeout");
        CHECK_FALSE(p.start());

        // Stopped before it came to waiting.
        promise<int> q;
        auto takes = [](future<int> g) -> task<int> { co_return co_await std::move(g); };
        auto never_begins = [&](future<int> g) -> task<> {
            task_handle<int> t = spawn(takes(std::move(g)));
            t.cancel();
            co_await until([&] { return t.done(); });
        };
        co_await never_begins(q.get_future());
        bool wanted = q.start();
        CHECK(wanted); // the future went with the frame that never ran, as any other
        q.set_value(1);
    }());
}

TEST_CASE("future: blocking a thread that runs a loop is refused", "[P2]") {
    run([]() -> task<> {
        promise<int> p;
        future<int> f = p.get_future();
        CHECK(refused([&] { f.get(); }));
        CHECK(refused([&] { static_cast<void>(f.exception()); }));
        CHECK(said([&] { return f.get_for(0s); }) == "timeout"); // doesn't wait
        p.set_value(1);
        CHECK(f.get() == 1);
        co_return;
    }());
}

TEST_CASE("future: an error that nobody asked for is reported once", "[P6]") {
    stray_errors strays;
    auto fails = [] {
        promise<> p;
        future<> f = p.get_future();
        p.set_error(std::runtime_error("unseen"));
        return f;
    };
    {
        future<> f = fails();
    }
    CHECK(strays.texts() == std::vector<std::string>{"unseen"});
    {
        future<> f = fails();
        future<> copy = f;
        CHECK_THROWS_WITH(copy.get(), "unseen");
    }
    {
        future<> f = fails();
        CHECK(f.exception() != nullptr);
    }
    CHECK_THROWS_WITH(fails().get(), "unseen");
    CHECK(strays.texts().size() == 1);
    {
        promise<> p; // all futures are gone before the end
        static_cast<void>(p.get_future());
        p.set_error(std::runtime_error("unseen too"));
    }
    CHECK(strays.texts().size() == 2);
}

TEST_CASE("future: it can be one of several that a task selects from", "[P3]") {
    run([]() -> task<> {
        promise<int> p;
        future<int> f = p.get_future();
        event e;
        e.set();
        auto first = co_await select(f.wait(), e.wait());
        CHECK(first.index() == 1);
        e.clear();
        std::thread t([&] { p.set_value(4); });
        auto second = co_await select(e.wait(), f.wait());
        CHECK(second.index() == 1);
        CHECK(f.get() == 4);
        t.join();
    }());
}
