// SPDX-License-Identifier: MIT
#include <weft/runtime/promise.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using weft::async_promise;
using weft::task;
using weft::tests::stray_errors;
using namespace std::chrono_literals;

TEST_CASE("promise: a result is set once", "[AIO-TASK-07]") {
    weft::run([]() -> task<> {
        async_promise<int> p;
        CHECK_FALSE(p.done());
        CHECK_THROWS_AS(p.value(), weft::state_error);
        p.set_value(7);
        CHECK(p.done());
        CHECK(p.value() == 7);
        CHECK_THROWS_AS(p.set_value(8), weft::state_error);
        CHECK_THROWS_AS(p.set_error(std::runtime_error("x")), weft::state_error);
        CHECK(p.value() == 7);

        async_promise<> q;
        q.set_error(std::runtime_error("out"));
        CHECK_THROWS_WITH(q.value(), "out");
        CHECK_THROWS_AS(q.set_value(), weft::state_error);
        co_return;
    }());
}

TEST_CASE("promise: many wait, first come first served, also after the end", "[AIO-TASK-07]") {
    weft::run([]() -> task<> {
        async_promise<std::string> p;
        std::vector<int> order;
        auto waits = [&](int n) -> task<> {
            const std::string& s = co_await p.wait();
            CHECK(s == "text");
            order.push_back(n);
        };
        auto a = weft::spawn(waits(1));
        auto b = weft::spawn(waits(2));
        auto c = weft::spawn(waits(3));
        co_await weft::yield();
        b.cancel();
        p.set_value("text");
        CHECK(order.empty()); // nobody runs from within
        co_await a.join();
        co_await c.join();
        co_await waits(4);
        CHECK(order == std::vector<int>{1, 3, 4});
        CHECK(b.stopped());
    }());
}

TEST_CASE("promise: an error comes out of every wait", "[AIO-TASK-07]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        async_promise<int> p;
        auto waits = [&]() -> task<int> {
            int n = co_await p.wait();
            co_return n;
        };
        auto sets = [&]() -> task<> {
            p.set_error(std::runtime_error("out"));
            co_return;
        };
        auto [a, b, c] = co_await weft::when_all_settled(waits(), waits(), sets());
        CHECK_THROWS_WITH(a.value(), "out");
        CHECK_THROWS_WITH(b.value(), "out");
        CHECK(c.has_value());
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("promise: cancel is true unless there is a result", "[AIO-TASK-07]") {
    weft::run([]() -> task<> {
        async_promise<int> p;
        auto w = weft::spawn(p.wait());
        co_await weft::yield();
        CHECK(p.cancel());
        CHECK(p.cancelled());
        CHECK_FALSE(p.cancel());
        CHECK_THROWS_AS(p.set_value(1), weft::state_error);
        CHECK_THROWS_AS(p.value(), weft::cancelled_error);
        auto r = co_await weft::as_result(w.join());
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        CHECK_FALSE(w.stopped()); // an error, which it may catch

        async_promise<int> q;
        q.set_value(1);
        CHECK_FALSE(q.cancel());
        CHECK_FALSE(q.cancelled());
    }());
}

TEST_CASE("promise: callbacks run on the loop, in order, never inline", "[AIO-TASK-07]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        async_promise<int> p;
        std::vector<int> order;
        p.when_done([&] { order.push_back(1); });
        p.when_done([&] {
            order.push_back(2);
            throw std::runtime_error("out");
        });
        p.when_done([&] { order.push_back(3); });
        p.set_value(1);
        CHECK(order.empty());
        p.when_done([&] { order.push_back(4); });
        CHECK(order.empty());
        co_await weft::yield();
        CHECK(order == std::vector<int>{1, 2, 3, 4});
    }());
    CHECK(stray.texts() == std::vector<std::string>{"out"});
}

TEST_CASE("promise: a callback runs in the context of its registration", "[CV-11]") {
    static weft::context_var<int> number("number", 0);
    weft::run([]() -> task<> {
        async_promise<> p;
        int seen = 0;
        number.set(1);
        p.when_done([&] {
            seen = number.get();
            number.set(9);
        });
        number.set(2);
        p.set_value();
        number.set(3);
        co_await weft::yield();
        CHECK(seen == 1);
        CHECK(number.get() == 3);
    }());
}

TEST_CASE("promise: when nobody is left who could set it, who waits is told", "[P1]") {
    weft::run([]() -> task<> {
        auto p = std::make_unique<async_promise<int>>();
        async_promise<int> copy = *p;
        auto w = weft::spawn(p->wait());
        bool called = false;
        p->when_done([&] { called = true; });
        co_await weft::yield();
        p.reset();
        co_await weft::yield();
        CHECK_FALSE(w.done()); // the copy could
        copy = async_promise<int>();
        auto r = co_await weft::as_result(w.join());
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        CHECK(called);
    }());
}

TEST_CASE("promise: a value stays for those who were woken, whatever happens to the promise") {
    weft::run([]() -> task<> {
        auto p = std::make_unique<async_promise<std::string>>();
        auto waits = [](weft::detail::promise_wait_op<std::string> op) -> task<std::string> {
            std::string s = co_await std::move(op);
            co_return s;
        };
        auto w = weft::spawn(waits(p->wait()));
        co_await weft::yield();
        p->set_value("a text that is too long for the object itself");
        p.reset();
        std::string s = co_await w.join();
        CHECK(s == "a text that is too long for the object itself");
    }());
}

TEST_CASE("promise: an error that nobody asked for is reported once", "[P6]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        {
            async_promise<int> p;
            p.set_error(std::runtime_error("unseen"));
        }
        {
            async_promise<int> p;
            p.set_error(std::runtime_error("seen"));
            CHECK_THROWS(p.value());
        }
        co_return;
    }());
    CHECK(stray.texts() == std::vector<std::string>{"unseen"});
}

TEST_CASE("promise: a stopped wait leaves it alone") {
    weft::run([]() -> task<> {
        async_promise<int> p;
        auto r = co_await weft::as_result(weft::with_timeout(1ms, p.wait()));
        CHECK_THROWS_AS(r.value(), weft::timeout_error);
        CHECK_FALSE(p.done());
        p.set_value(1);
        int n = co_await weft::wait_for(p.wait(), 0ns); // there is no need to wait
        CHECK(n == 1);
    }());
}
