// SPDX-License-Identifier: MIT
#include <weft/executors/spawn_on.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/sync/event.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
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

context_var<int> number("number", 0);

// Runs a loop while `body(runtime)` runs on a plain thread.
template <class Body>
void beside(Body body) {
    runtime rt;
    event over;
    std::thread plain([&] {
        try {
            body(rt);
        } catch (...) {
            FAIL_CHECK("the thread threw");
        }
        over.set();
    });
    rt.run([](event& e) -> task<> { co_await e.wait(); }(over));
    plain.join();
}

struct sets_at_end {
    explicit sets_at_end(std::atomic<bool>& f) : flag(f) {}
    sets_at_end(const sets_at_end&) = delete;
    sets_at_end& operator=(const sets_at_end&) = delete;
    ~sets_at_end() { flag = true; }
    std::atomic<bool>& flag;
};

} // namespace

TEST_CASE("spawn_on: a plain thread has a task run on a loop and blocks for its result",
          "[AIO-THR-03]") {
    beside([](runtime& rt) {
        auto works = [](int n) -> task<std::unique_ptr<int>> {
            co_await yield();
            static_cast<void>(this_loop()); // or it would throw
            co_return std::make_unique<int>(n + number.get());
        };
        future<std::unique_ptr<int>> f;
        {
            auto here = number.scoped(2);
            f = spawn_on(rt, works(40));
        }
        CHECK(*std::move(f).get() == 42);
        auto fails = []() -> task<> {
            co_await yield();
            throw std::out_of_range("from the loop");
        };
        CHECK_THROWS_AS(spawn_on(rt.get_loop(0), fails()).get(), std::out_of_range);
        int here = 0;
        auto refers = [&here]() -> task<int&> { co_return here; };
        CHECK(&spawn_on(rt, refers()).get() == &here);
    });
}

TEST_CASE("spawn_on: cancelling the future cancels the task", "[AIO-THR-03]") {
    stray_errors strays;
    beside([](runtime& rt) {
        std::atomic<bool> began{false};
        std::atomic<bool> unwound{false};
        auto sleeps = [&]() -> task<int> {
            sets_at_end at_end(unwound);
            began = true;
            co_await sleep_for(24h);
            co_return 1;
        };
        SECTION("by cancel, at once") {
            future<int> f = spawn_on(rt, sleeps());
            weft::tests::until_here([&] { return began.load(); });
            CHECK(f.cancel());
            CHECK_THROWS_AS(f.get(), cancelled_error);
            weft::tests::until_here([&] { return unwound.load(); });
        }
        SECTION("by a wish, with the task's end") {
            future<int> f = spawn_on(rt, sleeps());
            f.request_stop();
            f.request_stop();
            CHECK_THROWS_AS(f.get(), cancelled_error);
            CHECK(unwound == began);
        }
        SECTION("of a task that goes on and fails, the error is nobody's") {
            auto stubborn = [&]() -> task<int> {
                began = true;
                while (!stop_requested())
                    co_await shield(yield());
                throw std::runtime_error("too late");
            };
            future<int> f = spawn_on(rt, stubborn());
            weft::tests::until_here([&] { return began.load(); });
            CHECK(f.cancel());
            weft::tests::until_here([] { return stray_errors::count() == 1; });
            CHECK(stray_errors::texts()[0] == "too late");
        }
    });
}

TEST_CASE("spawn_on: the end of the loop ends the futures", "[P1][P23][AIO-THR-04]") {
    std::optional<runtime> rt(std::in_place);
    auto sleeps = []() -> task<int> {
        co_await sleep_for(24h);
        co_return 1;
    };
    future<int> f = spawn_on(*rt, sleeps());
    future<int> g = spawn_on(*rt, sleeps());
    SECTION("closed before anything ran") { rt->close(); }
    SECTION("after a run") {
        rt->run([]() -> task<> { co_await yield(); }());
        rt->close();
    }
    CHECK(f.done());
    CHECK(g.done());
    if (!f.cancelled())
        CHECK_THROWS_AS(f.get(), state_error);
    CHECK_THROWS_AS(spawn_on(*rt, sleeps()), state_error);
    rt.reset();
    static_cast<void>(g.cancel()); // harmless
    if (!g.cancelled())
        CHECK_THROWS_AS(g.get(), state_error);
}

TEST_CASE("spawn_on: cancels at any moment, while the loop runs and while it ends", "[P1][P3]") {
    for (int round = 0; round < 100; ++round) {
        auto rt = std::make_unique<runtime>();
        auto works = []() -> task<int> {
            co_await yield();
            co_await yield();
            co_return 1;
        };
        std::vector<future<int>> fs;
        for (int i = 0; i < 8; ++i)
            fs.push_back(spawn_on(*rt, works()));
        std::thread canceller([&] {
            for (const future<int>& f : fs)
                static_cast<void>(f.cancel());
        });
        if (round % 2 == 0)
            rt->run([]() -> task<> { co_await yield(); }());
        canceller.join();
        rt.reset();
        for (const future<int>& f : fs) {
            CHECK(f.done());
            if (!f.cancelled())
                static_cast<void>(f.exception());
        }
    }
}
