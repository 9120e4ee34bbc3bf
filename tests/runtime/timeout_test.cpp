// SPDX-License-Identifier: MIT
#include <weft/runtime/timeout.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"
#include "support/io.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/promise.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

using weft::task;
using weft::timeout_error;
using weft::timeout_scope;
using weft::wait_for;
using weft::with_deadline;
using weft::with_timeout;
using weft::tests::at_end;
using weft::tests::counted;
using weft::tests::run_within;
using weft::tests::stray_errors;
using namespace std::chrono_literals;

namespace {

task<> sleeps(int& live) {
    counted here(live);
    co_await weft::sleep_for(1h);
}
task<int> gives(int n) {
    co_await weft::yield();
    co_return n;
}
task<int> fails() {
    co_await weft::yield();
    throw std::runtime_error("own");
}
// Once it was stopped it still takes a few turns.
task<> lingers(int& live) {
    counted here(live);
    auto turns = []() -> task<> {
        for (int i = 0; i < 5; ++i)
            co_await weft::yield();
    };
    co_await weft::finally(weft::as_task(weft::sleep_for(1h)), turns);
}
// The stop becomes a value or an error of its own.
task<int> gives_when_stopped(int n) {
    auto r = co_await weft::as_result(weft::sleep_for(1h));
    co_return r.stopped() ? n : -1;
}
task<int> fails_when_stopped() {
    auto r = co_await weft::as_result(weft::sleep_for(1h));
    throw std::runtime_error(r.stopped() ? "own, when stopped" : "own, not stopped");
}

/// What an awaitable does, in a word or two.
template <class A>
task<std::string> outcome(A a) {
    auto r = co_await weft::as_result(std::move(a));
    if (r.stopped())
        co_return "stopped";
    if (r.has_value())
        co_return "value";
    try {
        r.value();
    } catch (const timeout_error&) {
        co_return "timeout";
    } catch (const std::exception& e) {
        co_return e.what();
    }
    co_return "?";
}

} // namespace

TEST_CASE("timeout: what ends in time is as if there were none", "[AIO-TMO-01]") {
    run_within(10s, []() -> task<> {
        int n = co_await with_timeout(1h, gives(7));
        CHECK(n == 7);
        int m = co_await with_deadline(weft::now() + 1h, gives(8));
        CHECK(m == 8);
        co_await with_timeout(1h, weft::yield());
        auto own = co_await outcome(with_timeout(1h, fails()));
        CHECK(own == "own");
        int object = 0;
        auto refers = [](int& o) -> task<int&> { co_return o; };
        int& same = co_await with_timeout(1h, refers(object));
        CHECK(&same == &object);
        auto makes = [](timeout_scope&) -> task<std::unique_ptr<int>> {
            co_return std::make_unique<int>(9);
        };
        auto p = co_await with_timeout(1h, makes);
        CHECK(*p == 9);
    }());
}

TEST_CASE("timeout: at the deadline the body is stopped and awaited, then timeout_error comes",
          "[AIO-TMO-01][G-03][P24]") {
    run_within(10s, []() -> task<> {
        int live = 0;
        bool went_on = false;
        auto body = [&]() -> task<> {
            co_await lingers(live);
            went_on = true;
        };
        auto scoped = [&](timeout_scope&) -> task<> { return body(); };
        for (int form = 0; form < 4; ++form) {
            weft::time_point deadline = weft::now() + 2ms;
            bool timed_out = false;
            try {
                switch (form) {
                case 0:
                    co_await with_deadline(deadline, body());
                    break;
                case 1:
                    co_await with_timeout(2ms, body());
                    break;
                case 2:
                    co_await with_deadline(deadline, scoped);
                    break;
                default:
                    co_await with_timeout(2ms, scoped);
                }
            } catch (const timeout_error&) {
                timed_out = true;
                CHECK(live == 0);
                CHECK(weft::now() >= deadline);
            }
            CHECK(timed_out);
        }
        CHECK_FALSE(went_on);
        co_await weft::yield(); // nothing of the stop is left to the task that asked
    }());
}

TEST_CASE("timeout: the deadline is counted from the call, not from the await", "[AIO-TMO-01]") {
    run_within(10s, []() -> task<> {
        int live = 0;
        auto op = with_timeout(3ms, sleeps(live));
        co_await weft::sleep_for(4ms);
        int before = live;
        auto r = co_await outcome(std::move(op));
        CHECK(r == "timeout");
        CHECK(before == 0);
        CHECK(live == 0);
    }());
}

TEST_CASE("timeout: a body may have no deadline", "[AIO-TMO-01]") {
    run_within(10s, []() -> task<> {
        auto body = [](timeout_scope& t) -> task<int> {
            CHECK(t.when() == weft::never);
            co_await weft::sleep_for(2ms);
            CHECK_FALSE(t.expired());
            co_return 1;
        };
        int a = co_await with_deadline(weft::never, body);
        CHECK(a == 1);
        int b = co_await with_timeout(weft::duration::max(), body);
        CHECK(b == 1);
    }());
}

TEST_CASE("timeout: a zero or past deadline comes at the first suspension", "[AIO-TMO-02]") {
    run_within(10s, []() -> task<> {
        int steps = 0;
        bool went_on = false;
        auto ready = [&]() -> task<int> {
            ++steps;
            co_return 1;
        };
        auto body = [&]() -> task<> {
            steps += co_await ready();
            steps += co_await ready(); // awaits that don't suspend
            co_await weft::yield();
            went_on = true;
        };
        auto a = co_await outcome(with_timeout(0ms, body()));
        CHECK(a == "timeout");
        CHECK(steps == 4);
        auto b = co_await outcome(with_timeout(-1h, body()));
        CHECK(b == "timeout");
        CHECK(steps == 8);
        auto c = co_await outcome(with_deadline(weft::now() - 1ns, body()));
        CHECK(c == "timeout");
        CHECK(steps == 12);
        auto d = co_await outcome(with_deadline(weft::time_point::min(), body()));
        CHECK(d == "timeout");
        CHECK(steps == 16);
        CHECK_FALSE(went_on);
    }());
}

TEST_CASE("timeout: a body that never suspends ends normally, however late it is", "[AIO-TMO-02]") {
    run_within(10s, []() -> task<> {
        auto ready = [](int n) -> task<int> { co_return n; };
        auto body = [&](int n) -> task<int> {
            int m = co_await ready(n);
            co_return m;
        };
        int a = co_await with_timeout(0ms, body(3));
        CHECK(a == 3);
        int b = co_await with_deadline(weft::time_point::min(), body(4));
        CHECK(b == 4);
        auto throws = []() -> task<> {
            throw std::runtime_error("own");
            co_return;
        };
        auto c = co_await outcome(with_timeout(-1s, throws()));
        CHECK(c == "own");
        auto late = [](weft::time_point until) -> task<int> {
            while (weft::now() < until) { // the deadline passes meanwhile
            }
            co_return 5;
        };
        int d = co_await with_timeout(1ms, late(weft::now() + 2ms));
        CHECK(d == 5);
    }());
}

TEST_CASE("timeout: a deadline that passes while the body computes comes when it suspends",
          "[AIO-TMO-02][P7]") {
    run_within(10s, []() -> task<> {
        auto computes = [](weft::time_point until) {
            while (weft::now() < until) {
            }
        };
        bool went_on = false;
        auto then_waits = [&](weft::time_point until) -> task<> {
            computes(until);
            co_await weft::sleep_for(1h);
            went_on = true;
        };
        auto a = co_await outcome(with_timeout(1ms, then_waits(weft::now() + 2ms)));
        CHECK(a == "timeout");
        // One that is always ready keeps the loop from its timers for a batch.
        int turns = 0;
        auto stays_ready = [&](weft::time_point until) -> task<> {
            computes(until);
            for (; turns < 1000; ++turns)
                co_await weft::yield();
            went_on = true;
        };
        auto b = co_await outcome(with_timeout(1ms, stays_ready(weft::now() + 2ms)));
        CHECK(b == "timeout");
        CHECK(turns <= 256);
        CHECK_FALSE(went_on);
    }());
}

TEST_CASE("timeout: a deadline can be moved both ways, and taken away", "[AIO-TMO-03]") {
    run_within(10s, []() -> task<> {
        weft::time_point begin = weft::now();
        auto later = [&](timeout_scope& t) -> task<int> {
            CHECK(t.when() == begin + 100ms);
            t.reschedule(begin + 1h);
            CHECK(t.when() == begin + 1h);
            co_await weft::sleep_until(begin + 102ms);
            CHECK_FALSE(t.expired());
            co_return 1;
        };
        int a = co_await with_deadline(begin + 100ms, later);
        CHECK(a == 1);

        begin = weft::now();
        auto taken_away = [&](timeout_scope& t) -> task<int> {
            t.reschedule(weft::never);
            CHECK(t.when() == weft::never);
            co_await weft::sleep_until(begin + 102ms);
            co_return 2;
        };
        int b = co_await with_deadline(begin + 100ms, taken_away);
        CHECK(b == 2);

        begin = weft::now();
        auto earlier = [&](timeout_scope& t) -> task<> {
            t.reschedule(begin + 2ms);
            co_await weft::sleep_for(1h);
        };
        auto c = co_await outcome(with_timeout(1h, earlier));
        CHECK(c == "timeout");
        CHECK(weft::now() >= begin + 2ms);

        auto given = [](timeout_scope& t) -> task<> {
            t.reschedule(weft::now() + 1ms);
            co_await weft::sleep_for(1h);
        };
        auto d = co_await outcome(with_deadline(weft::never, given));
        CHECK(d == "timeout");

        bool went_on = false;
        auto to_the_past = [&](timeout_scope& t) -> task<> {
            co_await weft::yield();
            t.reschedule(weft::now());
            CHECK(t.expired());
            went_on = true; // until the next suspension
            co_await weft::yield();
            went_on = false;
        };
        auto e = co_await outcome(with_timeout(1h, to_the_past));
        CHECK(e == "timeout");
        CHECK(went_on);
    }());
}

TEST_CASE("timeout: another task may move the deadline of a body that waits", "[AIO-TMO-03]") {
    run_within(10s, []() -> task<> {
        for (bool to_the_past : {true, false}) {
            timeout_scope* scope = nullptr;
            auto body = [&](timeout_scope& t) -> task<> {
                scope = &t;
                co_await weft::sleep_for(1h);
            };
            auto h = weft::spawn(outcome(with_timeout(1h, body)));
            while (scope == nullptr)
                co_await weft::yield();
            weft::time_point when = weft::now() + (to_the_past ? -1ms : 1ms);
            scope->reschedule(when);
            std::string r = co_await h.join();
            CHECK(r == "timeout");
            CHECK(weft::now() >= when);
        }
    }());
}

TEST_CASE("timeout: a deadline is moved a thousand times and comes once", "[AIO-TMO-03][P24]") {
    std::uint64_t seed = weft::tests::seed();
    CAPTURE(seed);
    run_within(20s, [](std::uint64_t s) -> task<> {
        std::mt19937_64 random(s);
        weft::time_point last;
        auto body = [&](timeout_scope& t) -> task<> {
            for (int i = 0; i < 1000; ++i) {
                last = weft::now() + std::chrono::milliseconds(500 + random() % 1000);
                t.reschedule(last);
                if (random() % 4 == 0)
                    co_await weft::yield();
            }
            last = weft::now() + 1ms;
            t.reschedule(last);
            co_await weft::sleep_for(1h);
        };
        auto r = co_await outcome(with_timeout(1h, body));
        CHECK(r == "timeout");
        CHECK(weft::now() >= last);
    }(seed));
}

TEST_CASE("timeout: outside of its body, and once it has come, a deadline can't be moved",
          "[AIO-TMO-03][G-09]") {
    run_within(10s, []() -> task<> {
        timeout_scope* scope = nullptr;
        auto before = [&](timeout_scope& t) -> task<> { // no coroutine: the body is still to come
            CHECK_THROWS_AS(t.reschedule(weft::never), weft::state_error);
            CHECK_FALSE(t.expired());
            scope = &t;
            return weft::as_task(weft::yield());
        };
        bool refused = false;
        try { // the scope lives until the end of this expression
            co_await with_timeout(1h, before), scope->reschedule(weft::never);
        } catch (const weft::state_error&) {
            refused = true;
        }
        CHECK(refused);

        int refusals = 0;
        auto expired = [&](timeout_scope& t) -> task<> {
            at_end cleans_up([&] {
                CHECK(t.expired());
                CHECK_THROWS_AS(t.reschedule(weft::never), weft::state_error);
                ++refusals;
            });
            co_await weft::sleep_for(1h);
        };
        auto r = co_await outcome(with_timeout(1ms, expired));
        CHECK(r == "timeout");
        CHECK(refusals == 1);
    }());
}

TEST_CASE("timeout: expired tells whether the deadline came before the body's end",
          "[AIO-TMO-03]") {
    run_within(10s, []() -> task<> {
        timeout_scope* scope = nullptr;
        auto survives = [&](timeout_scope& t) -> task<bool> {
            scope = &t;
            CHECK_FALSE(t.expired());
            int n = co_await gives_when_stopped(1);
            co_return n == 1 && t.expired();
        };
        bool both = (co_await with_timeout(100ms, survives)) && scope->expired();
        CHECK(both);
        auto in_time = [&](timeout_scope& t) -> task<bool> {
            scope = &t;
            co_await weft::yield();
            co_return true;
        };
        bool neither = (co_await with_timeout(1h, in_time)) && !scope->expired();
        CHECK(neither);
    }());
}

TEST_CASE("timeout: a stop from outside stays a stop", "[AIO-TMO-04]") {
    run_within(10s, []() -> task<> {
        int live = 0;
        bool went_on = false;
        auto body = [&]() -> task<> {
            try {
                co_await with_timeout(1h, lingers(live));
            } catch (...) {
                went_on = true;
            }
            went_on = true;
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        co_await weft::yield();
        CHECK(live == 1);
        h.cancel();
        auto r = co_await outcome(h.join());
        CHECK(r == weft::cancelled_error().what());
        CHECK(h.stopped());
        CHECK(live == 0);
        CHECK_FALSE(went_on);
    }());
}

TEST_CASE("timeout: with a deadline and a stop from outside, in either order, it is a stop",
          "[AIO-TMO-04]") {
    run_within(10s, []() -> task<> {
        for (bool deadline_first : {true, false}) {
            int live = 0;
            bool went_on = false;
            timeout_scope* scope = nullptr;
            auto inner = [&](timeout_scope& t) -> task<> {
                scope = &t;
                return lingers(live);
            };
            auto body = [&]() -> task<> {
                try {
                    co_await with_timeout(1h, inner);
                } catch (...) {
                    went_on = true;
                }
                went_on = true;
            };
            auto h = weft::spawn(body());
            while (live == 0)
                co_await weft::yield();
            if (deadline_first) {
                scope->reschedule(weft::time_point::min());
                co_await weft::yield(); // it is cleaning up
                CHECK(live == 1);
                h.cancel();
            } else {
                h.cancel();
                CHECK(live == 1);
                scope->reschedule(weft::time_point::min());
                CHECK(scope->expired());
            }
            auto r = co_await outcome(h.join());
            CHECK(r == weft::cancelled_error().what());
            CHECK(h.stopped());
            CHECK(live == 0);
            CHECK_FALSE(went_on);
        }
    }());
}

TEST_CASE("timeout: the body's own error or value at the deadline is what comes out",
          "[AIO-TMO-04][P3]") {
    run_within(10s, []() -> task<> {
        auto a = co_await outcome(with_timeout(1ms, fails_when_stopped()));
        CHECK(a == "own, when stopped");
        int b = co_await with_timeout(1ms, gives_when_stopped(6));
        CHECK(b == 6);
        // The group's error, too, and a child's that fails because of the stop.
        auto group = [](weft::task_group& g) -> task<> {
            g.spawn(fails_when_stopped());
            co_await weft::sleep_for(1h);
        };
        bool grouped = false;
        try {
            co_await with_timeout(100ms, weft::with_task_group(group));
        } catch (const weft::exception_group& e) {
            grouped = e.contains<std::runtime_error>() && e.errors().size() == 1;
        }
        CHECK(grouped);
    }());
}

TEST_CASE("timeout: of nested deadlines the one that came reports, and the outer goes on",
          "[AIO-TMO-05]") {
    run_within(10s, []() -> task<> {
        std::vector<std::string> order;
        auto outer = [&](timeout_scope& o) -> task<int> {
            for (int i = 0; i < 3; ++i) {
                timeout_scope* in = nullptr;
                auto inner = [&](timeout_scope& t) -> task<> {
                    in = &t;
                    co_await weft::sleep_for(1h);
                };
                try {
                    co_await with_timeout(1ms, inner);
                    order.emplace_back("inner ended");
                } catch (const timeout_error&) {
                    order.emplace_back(o.expired() ? "outer expired" : "inner");
                }
                co_await weft::yield(); // the inner stop is over
            }
            co_await weft::sleep_for(1ms);
            co_return 1;
        };
        int n = co_await with_timeout(1h, outer);
        CHECK(n == 1);
        CHECK(order == std::vector<std::string>{"inner", "inner", "inner"});
    }());
}

TEST_CASE("timeout: when the outer deadline comes, inner scopes don't report it", "[AIO-TMO-05]") {
    run_within(10s, []() -> task<> {
        int live = 0;
        std::vector<std::string> order;
        auto innermost = [&](timeout_scope& t) -> task<> {
            at_end e([&] { order.emplace_back(t.expired() ? "innermost expired" : "innermost"); });
            co_await lingers(live);
        };
        auto inner = [&](timeout_scope& t) -> task<> {
            at_end e([&] { order.emplace_back(t.expired() ? "inner expired" : "inner"); });
            try {
                co_await with_timeout(1h, innermost);
            } catch (...) {
                order.emplace_back("caught");
            }
            order.emplace_back("went on");
        };
        auto outer = [&](timeout_scope& t) -> task<> {
            at_end e([&] { order.emplace_back(t.expired() ? "outer expired" : "outer"); });
            try {
                co_await with_timeout(1h, inner);
            } catch (...) {
                order.emplace_back("caught");
            }
            order.emplace_back("went on");
        };
        auto r = co_await outcome(with_timeout(100ms, outer));
        CHECK(r == "timeout");
        CHECK(order == std::vector<std::string>{"innermost", "inner", "outer expired"});
        CHECK(live == 0);
    }());
}

TEST_CASE("timeout: an inner timeout_error that nobody catches passes through the outer scope",
          "[AIO-TMO-05]") {
    run_within(10s, []() -> task<> {
        timeout_scope* scope = nullptr;
        int live = 0;
        auto outer = [&](timeout_scope& t) -> task<bool> {
            scope = &t;
            auto r = co_await outcome(with_timeout(1ms, sleeps(live)));
            CHECK(r == "timeout");
            CHECK_FALSE(t.expired());
            co_await with_timeout(1ms, sleeps(live));
            co_return false;
        };
        auto r = co_await outcome(with_timeout(1h, outer));
        CHECK(r == "timeout");
        CHECK(live == 0);
    }());
}

TEST_CASE("timeout: when both come at once, the outer one reports", "[AIO-TMO-05]") {
    run_within(10s, []() -> task<> {
        for (bool outer_first : {true, false}) {
            int live = 0;
            bool inner_reported = false;
            timeout_scope* out = nullptr;
            timeout_scope* in = nullptr;
            auto inner = [&](timeout_scope& t) -> task<> {
                in = &t;
                return lingers(live);
            };
            auto outer = [&](timeout_scope& t) -> task<> {
                out = &t;
                try {
                    co_await with_timeout(1h, inner);
                } catch (const timeout_error&) {
                    inner_reported = true;
                }
            };
            auto h = weft::spawn(outcome(with_timeout(1h, outer)));
            while (live == 0)
                co_await weft::yield();
            (outer_first ? out : in)->reschedule(weft::time_point::min());
            (outer_first ? in : out)->reschedule(weft::time_point::min());
            CHECK(in->expired());
            CHECK(out->expired());
            std::string r = co_await h.join();
            CHECK(r == "timeout");
            CHECK_FALSE(inner_reported);
            CHECK(live == 0);
        }
    }());
}

TEST_CASE("timeout: a thousand deadlines around one body", "[AIO-TMO-05]") {
    struct nest {
        static task<> around(int n, int& live, int& passed) {
            counted here(live);
            if (n == 0)
                co_await weft::sleep_for(1h);
            else
                co_await with_timeout(1h, around(n - 1, live, passed));
            ++passed;
        }
    };
    run_within(20s, []() -> task<> {
        int live = 0, passed = 0;
        auto r = co_await outcome(with_timeout(100ms, nest::around(1000, live, passed)));
        CHECK(r == "timeout");
        CHECK(live == 0);
        CHECK(passed == 0);
    }());
}

TEST_CASE("timeout: wait_for stops what takes too long, and waits for its end", "[AIO-TMO-06]") {
    run_within(10s, []() -> task<> {
        int live = 0;
        bool timed_out = false;
        weft::time_point deadline = weft::now() + 1ms;
        try {
            co_await wait_for(lingers(live), 1ms);
        } catch (const timeout_error&) {
            timed_out = live == 0;
        }
        CHECK(timed_out);
        CHECK(weft::now() >= deadline);
        int n = co_await wait_for(gives(3), 1h);
        CHECK(n == 3);
        int m = co_await wait_for(gives(4), weft::duration::max());
        CHECK(m == 4);
        auto own = co_await outcome(wait_for(fails(), 1h));
        CHECK(own == "own");
    }());
}

TEST_CASE("timeout: wait_for's body wins with an error of its own, or a value, after the stop",
          "[AIO-TMO-06][P3]") {
    run_within(10s, []() -> task<> {
        auto a = co_await outcome(wait_for(fails_when_stopped(), 1ms));
        CHECK(a == "own, when stopped");
        int b = co_await wait_for(gives_when_stopped(5), 1ms);
        CHECK(b == 5);
    }());
}

TEST_CASE("timeout: wait_for without time doesn't start a task, but destroys it", "[AIO-TMO-06]") {
    run_within(10s, []() -> task<> {
        bool ran = false;
        int live = 0;
        auto body = [&](std::unique_ptr<counted>) -> task<int> {
            ran = true;
            co_return 1;
        };
        auto a = co_await outcome(wait_for(body(std::make_unique<counted>(live)), 0ms));
        CHECK(a == "timeout");
        auto b = co_await outcome(wait_for(body(std::make_unique<counted>(live)), -1h));
        CHECK(b == "timeout");
        auto c = co_await outcome(
            wait_for(body(std::make_unique<counted>(live)), weft::duration::min()));
        CHECK(c == "timeout");
        CHECK_FALSE(ran);
        CHECK(live == 0);
        int d = co_await wait_for(body(std::make_unique<counted>(live)), 1h);
        CHECK(d == 1);
        CHECK(ran);
    }());
}

TEST_CASE("timeout: wait_for without time gives the result that is there already",
          "[AIO-TMO-06][P3]") {
    stray_errors stray;
    run_within(10s, []() -> task<> {
        auto ended = weft::spawn(gives(1));
        auto failed = weft::spawn(fails());
        auto stopped = weft::spawn(weft::sleep_for(1h));
        auto running = weft::spawn(gives_when_stopped(1));
        stopped.cancel();
        while (!ended.done() || !failed.done() || !stopped.done())
            co_await weft::yield();
        int a = co_await wait_for(ended.join(), 0ms);
        CHECK(a == 1);
        int b = co_await wait_for(ended.join(), -1h);
        CHECK(b == 1);
        auto c = co_await outcome(wait_for(failed.join(), 0ms));
        CHECK(c == "own");
        auto d = co_await weft::as_result(wait_for(stopped.join(), 0ms));
        CHECK_THROWS_AS(d.value(), weft::cancelled_error);
        // One that isn't there yet isn't waited for, and goes on.
        auto e = co_await outcome(wait_for(running.join(), 0ms));
        CHECK(e == "timeout");
        auto f = co_await outcome(wait_for(running.join(), 1ms));
        CHECK(f == "timeout");
        CHECK_FALSE(running.done());
        CHECK(running.cancelling() == 0);
        running.cancel();
        int g = co_await running.join();
        CHECK(g == 1);
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("timeout: wait_for with time left gives what a promise gets in time", "[AIO-TMO-06]") {
    run_within(10s, []() -> task<> {
        weft::async_promise<int> p;
        auto a = co_await outcome(wait_for(p.wait(), 0ms));
        CHECK(a == "timeout");
        auto b = co_await outcome(wait_for(p.wait(), 1ms));
        CHECK(b == "timeout");
        p.set_value(4);
        int c = co_await wait_for(p.wait(), 0ms);
        CHECK(c == 4);
    }());
}

TEST_CASE("timeout: who runs under deadlines sees the earliest, up to a shield") {
    CHECK(weft::current_deadline() == weft::never);
    weft::run([]() -> task<> {
        auto look = []() -> task<weft::time_point> {
            co_await weft::yield();
            co_return weft::current_deadline();
        };
        const auto outer = weft::deadline_after(1h);
        const auto inner = weft::deadline_after(2h);
        auto t = co_await with_deadline(inner, look());
        CHECK(t == inner);
        t = co_await with_deadline(outer, with_deadline(inner, look()));
        CHECK(t == outer);
        t = co_await with_deadline(inner, with_deadline(outer, look()));
        CHECK(t == outer);
        t = co_await with_deadline(outer, weft::shield(with_deadline(inner, look())));
        CHECK(t == inner);
        auto moves = [&](weft::timeout_scope& scope) -> task<weft::time_point> {
            scope.reschedule(inner);
            co_return weft::current_deadline();
        };
        t = co_await with_deadline(outer, moves);
        CHECK(t == inner);
    }());
}

TEST_CASE("timeout: extreme times saturate", "[P24][T-MOD-08]") {
    using seconds = std::chrono::duration<double>;
    static constexpr double infinite = std::numeric_limits<double>::infinity();
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();
    run_within(20s, []() -> task<> {
        auto short_one = []() -> task<int> {
            co_await weft::sleep_for(1ms);
            co_return 1;
        };
        int a = co_await with_timeout(std::chrono::hours::max(), short_one());
        int b = co_await with_timeout(std::chrono::years::max(), short_one());
        int c = co_await with_timeout(std::chrono::nanoseconds::max(), short_one());
        int d = co_await with_timeout(seconds(infinite), short_one());
        int e = co_await with_timeout(seconds(std::numeric_limits<double>::max()), short_one());
        int f = co_await wait_for(short_one(), std::chrono::hours::max());
        CHECK(a + b + c + d + e + f == 6);

        auto g = co_await outcome(with_timeout(std::chrono::hours::min(), short_one()));
        CHECK(g == "timeout");
        auto h = co_await outcome(with_timeout(weft::duration::min(), short_one()));
        CHECK(h == "timeout");
        auto i = co_await outcome(with_timeout(seconds(-infinite), short_one()));
        CHECK(i == "timeout");
        auto j = co_await outcome(with_timeout(seconds(none), short_one()));
        CHECK(j == "timeout");
        auto k = co_await outcome(wait_for(short_one(), std::chrono::years::min()));
        CHECK(k == "timeout");
    }());
}

TEST_CASE("timeout: among many none is early, and each comes once", "[P24]") {
    std::uint64_t seed = weft::tests::seed();
    CAPTURE(seed);
    run_within(20s, [](std::uint64_t s) -> task<> {
        std::mt19937_64 random(s);
        int live = 0, early = 0, timeouts = 0;
        auto one = [&](std::chrono::microseconds after) -> task<> {
            weft::time_point deadline = weft::now() + after;
            try {
                co_await with_deadline(deadline, sleeps(live));
            } catch (const timeout_error&) {
                ++timeouts;
                early += weft::now() < deadline ? 1 : 0;
            }
        };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 0; i < 2000; ++i)
                g.spawn(one(std::chrono::microseconds(random() % 20'000)));
            co_return;
        });
        CHECK(timeouts == 2000);
        CHECK(early == 0);
        CHECK(live == 0);
    }(seed));
}
