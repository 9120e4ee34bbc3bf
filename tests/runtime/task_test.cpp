// SPDX-License-Identifier: MIT
#include <weft/runtime/task.hpp>

#include "runtime/counted.hpp"

#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using weft::task;
using weft::tests::at_end;
using weft::tests::counted;
using namespace std::chrono_literals;

namespace {

task<int> ready(int n) { co_return n; }
task<int> later(int n) {
    co_await weft::yield();
    co_return n;
}
task<int> counts_down(int n) {
    if (n == 0)
        co_return 0;
    int below = co_await counts_down(n - 1);
    co_return below + 1;
}
task<int> waits_below(int n, int& live) {
    counted here(live);
    if (n == 0) {
        co_await weft::sleep_for(1h);
        co_return 0;
    }
    int below = co_await waits_below(n - 1, live);
    co_return below + 1;
}

} // namespace

TEST_CASE("task: does nothing until it is awaited", "[AIO-TASK-01]") {
    int steps = 0, live = 0;
    static_assert(!std::is_copy_constructible_v<task<>>);
    auto body = [](int& n, std::unique_ptr<counted>) -> task<> {
        ++n;
        co_return;
    };
    {
        auto never_awaited = body(steps, std::make_unique<counted>(live));
        CHECK(static_cast<bool>(never_awaited));
        CHECK(live == 1);
    }
    CHECK(steps == 0);
    CHECK(live == 0);
    weft::run([](int& s) -> task<> {
        auto adds_one = [](int& n) -> task<> {
            ++n;
            co_return;
        };
        auto t = adds_one(s);
        co_await weft::yield();
        CHECK(s == 0);
        co_await std::move(t);
        CHECK(s == 1);
        CHECK_FALSE(static_cast<bool>(t));
    }(steps));
}

TEST_CASE("task: gives values, references and move-only objects") {
    weft::run([]() -> task<> {
        int a = co_await ready(1);
        int b = co_await later(2);
        CHECK(a == 1);
        CHECK(b == 2);

        int object = 0;
        auto refers = [](int& o) -> task<int&> { co_return o; };
        int& ref = co_await refers(object);
        CHECK(&ref == &object);
        auto looks = [](int& o) -> task<const int&> { co_return o; };
        const int& view = co_await looks(object);
        CHECK(&view == &object);

        auto makes = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
        std::unique_ptr<int> p = co_await makes();
        CHECK(*p == 7);

        auto converts = []() -> task<std::string> { co_return "text"; };
        std::string s = co_await converts();
        CHECK(s == "text");
    }());
}

TEST_CASE("task: an exception comes out of the await, from wherever it was thrown") {
    weft::run([]() -> task<> {
        for (bool waits : {false, true}) {
            auto throws = [](bool w) -> task<int> {
                if (w)
                    co_await weft::yield();
                throw std::runtime_error("out");
            };
            auto passes = [&](bool w) -> task<int> {
                int n = co_await throws(w);
                co_return n;
            };
            std::string seen;
            try {
                co_await passes(waits);
            } catch (const std::runtime_error& e) {
                seen = e.what();
            }
            CHECK(seen == "out");
        }
    }());
}

TEST_CASE("task: whatever is thrown is that task's error, even what is no std::exception") {
    weft::run([]() -> task<> {
        auto throws = []() -> task<> {
            throw 42;
            co_return;
        };
        int caught = 0;
        try {
            co_await throws();
        } catch (int n) {
            caught = n;
        }
        CHECK(caught == 42);
    }());
}

TEST_CASE("task: a value whose destructor follows an exception is destroyed once") {
    static int live;
    live = 0;
    struct value {
        value() { ++live; }
        value(value&&) noexcept { ++live; }
        ~value() { --live; }
    };
    struct throws_at_end {
        throws_at_end() = default;
        throws_at_end(const throws_at_end&) = delete;
        throws_at_end& operator=(const throws_at_end&) = delete;
        ~throws_at_end() noexcept(false) { throw std::runtime_error("out"); }
    };
    weft::run([]() -> task<> {
        auto body = []() -> task<value> {
            throws_at_end last;
            co_return value();
        };
        bool threw = false;
        try {
            co_await body();
        } catch (const std::runtime_error&) {
            threw = true;
        }
        CHECK(threw);
    }());
    CHECK(live == 0);
}

TEST_CASE("task: a moved task is the same coroutine, an overwritten one is destroyed") {
    int live = 0;
    auto body = [](int& l, std::unique_ptr<counted> c) -> task<int> {
        static_cast<void>(c);
        co_return l;
    };
    auto a = body(live, std::make_unique<counted>(live));
    auto b = body(live, std::make_unique<counted>(live));
    CHECK(live == 2);
    a = std::move(b);
    CHECK(live == 1);
    CHECK_FALSE(static_cast<bool>(b));
    int n = weft::run(std::move(a));
    CHECK(n == 1);
    CHECK(live == 0);
}

TEST_CASE("task: one that has no coroutine ends the program that runs or awaits it") {
    auto awaits = [](task<> t) -> task<> { co_await std::move(t); };
    for (bool inside : {false, true}) {
        pid_t child = ::fork();
        if (child == 0) {
            const rlimit no_core{0, 0};
            ::setrlimit(RLIMIT_CORE, &no_core);
            std::signal(SIGABRT, SIG_DFL);
            std::signal(SIGSEGV, SIG_DFL);
            ::close(STDERR_FILENO); // of the message
            weft::run(inside ? awaits(task<>()) : task<>());
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CAPTURE(inside);
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGABRT);
    }
}

TEST_CASE("task: a million ready awaits in a row take no stack") {
    weft::run([]() -> task<> {
        long sum = 0;
        for (int i = 0; i < 1'000'000; ++i)
            sum += co_await ready(1);
        CHECK(sum == 1'000'000);
    }());
}

TEST_CASE("task: a chain of 100,000 ready tasks takes no stack") {
    CHECK(weft::run(counts_down(100'000)) == 100'000);
}

TEST_CASE("task: a chain of 100,000 tasks is stopped at its leaf, and every frame ends", "[P23]") {
    weft::run([]() -> task<> {
        int live = 0;
        auto h = weft::spawn(waits_below(100'000, live));
        co_await weft::yield();
        CHECK(live == 100'001);
        h.cancel();
        co_await weft::yield();
        CHECK(h.stopped());
        CHECK(live == 0);
    }());
}

TEST_CASE("task: a chain of 100,000 tasks comes back from its leaf") {
    struct chain {
        static task<int> below(int n) {
            if (n == 0) {
                co_await weft::yield();
                co_return 0;
            }
            int r = co_await below(n - 1);
            co_return r + 1;
        }
    };
    CHECK(weft::run(chain::below(100'000)) == 100'000);
}

TEST_CASE("task: a stop destroys frames from the inside out, and no handler sees it",
          "[AIO-TASK-02]") {
    weft::run([]() -> task<> {
        std::vector<std::string> order;
        bool caught = false;
        auto inner = [&]() -> task<> {
            at_end e([&] { order.emplace_back("inner"); });
            try {
                co_await weft::sleep_for(1h);
            } catch (...) {
                caught = true;
            }
            order.emplace_back("went on");
        };
        auto outer = [&]() -> task<> {
            at_end e([&] { order.emplace_back("outer"); });
            at_end first([&] { order.emplace_back("outer, last made"); });
            try {
                co_await inner();
            } catch (...) {
                caught = true;
            }
        };
        auto h = weft::spawn(outer());
        co_await weft::yield();
        h.cancel();
        co_await weft::yield();
        CHECK_FALSE(caught);
        CHECK(order == std::vector<std::string>{"inner", "outer, last made", "outer"});
    }());
}

TEST_CASE("task: what can be awaited can be made a task") {
    static_assert(weft::awaitable<task<int>>);
    static_assert(weft::awaitable<weft::detail::sleep_op>);
    static_assert(!weft::awaitable<int>);
    static_assert(std::is_same_v<weft::await_result_t<task<int>>, int>);
    static_assert(std::is_same_v<weft::task_result_t<weft::detail::yield_op>, void>);
    weft::run([]() -> task<> {
        auto t = weft::as_task(weft::yield());
        co_await std::move(t);
        int n = co_await weft::as_task(ready(3));
        CHECK(n == 3);
    }());
}
