// SPDX-License-Identifier: MIT
#include <weft/runtime/cancellation.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"
#include "support/io.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using weft::as_result;
using weft::finally;
using weft::shield;
using weft::task;
using weft::with_stop_token;
using weft::tests::at_end;
using weft::tests::counted;
using weft::tests::run_within;
using weft::tests::stray_errors;
using namespace std::chrono_literals;
using strings = std::vector<std::string>;

namespace {

task<> turns(int n) {
    for (int i = 0; i < n; ++i)
        co_await weft::yield();
}
task<int> gives(int n) {
    co_await weft::yield();
    co_return n;
}
task<int> fails() {
    co_await weft::yield();
    throw std::runtime_error("the body's");
}
task<int> never_ends() {
    co_await weft::sleep_for(1h);
    co_return 1;
}
task<int> gives_when_stopped(int n) {
    auto r = co_await as_result(weft::sleep_for(1h));
    co_return r.stopped() ? n : -1;
}
task<int> fails_when_stopped() {
    auto r = co_await as_result(weft::sleep_for(1h));
    throw std::runtime_error(r.stopped() ? "the body's" : "not stopped");
}

/// Starts a task, lets it get to where it waits, and stops it. Gives whether it ended by that.
template <class A>
task<bool> stop(A a) {
    auto h = weft::spawn(std::move(a));
    co_await turns(5);
    h.cancel();
    auto r = co_await as_result(h.join());
    co_return h.stopped();
}

} // namespace

TEST_CASE("cancellation: a stop is no exception, and nothing on the way can swallow it",
          "[AIO-TASK-02]") {
    run_within(10s, []() -> task<> {
        strings order;
        auto innermost = [&]() -> task<> {
            at_end e([&] {
                order.emplace_back(std::uncaught_exceptions() == 0 && !std::current_exception()
                                       ? "innermost"
                                       : "an exception is on its way");
            });
            while (true) {
                try {
                    co_await weft::sleep_for(1h);
                } catch (...) {
                    order.emplace_back("caught");
                }
            }
        };
        auto inner = [&]() -> task<> {
            at_end made_first([&] { order.emplace_back("inner, made first"); });
            at_end made_last([&] { order.emplace_back("inner, made last"); });
            try {
                co_await innermost();
            } catch (...) {
                order.emplace_back("caught");
            }
            order.emplace_back("went on");
        };
        auto outer = [&](std::unique_ptr<at_end>) -> task<> {
            at_end local([&] { order.emplace_back("outer"); });
            try {
                co_await inner();
            } catch (...) {
                order.emplace_back("caught");
            }
        };
        auto argument = std::make_unique<at_end>([&] { order.emplace_back("outer's argument"); });
        bool stopped = co_await stop(outer(std::move(argument)));
        CHECK(stopped);
        CHECK(order == strings{"innermost", "inner, made last", "inner, made first", "outer",
                               "outer's argument"});
    }());
}

TEST_CASE("cancellation: a stop passes every scope from the inside out") {
    run_within(10s, []() -> task<> {
        strings order;
        auto leaf = [&](const char* name) -> task<> {
            at_end e([&order, name] { order.emplace_back(name); });
            co_await weft::sleep_for(1h);
        };
        auto in_group = [&](weft::task_group& g) -> task<> {
            at_end e([&] { order.emplace_back("body"); });
            g.spawn(leaf("child"));
            co_await weft::with_timeout(1h, leaf("in the timeout"));
        };
        auto outer = [&]() -> task<> {
            at_end e([&] { order.emplace_back("outer"); });
            co_await weft::with_task_group(in_group);
        };
        bool stopped = co_await stop(outer());
        CHECK(stopped);
        REQUIRE(order.size() == 4);
        auto at = [&](const char* s) { return std::find(order.begin(), order.end(), s); };
        CHECK(at("in the timeout") < at("body"));
        CHECK(at("child") < at("outer"));
        CHECK(order.back() == "outer");
    }());
}

TEST_CASE("cancellation: a result that is there when the stop comes is delivered", "[P3]") {
    run_within(10s, []() -> task<> {
        auto ends = weft::make_pipe();
        std::string seen;
        bool went_on = false;
        auto reads = [&]() -> task<> {
            std::byte b[8];
            std::size_t n = co_await ends.first.read_some(b);
            seen = weft::as_text(std::span(b).first(n));
            co_await weft::yield();
            went_on = true;
        };
        co_await weft::write_all(ends.second, weft::as_bytes("kept"));
        auto h = weft::spawn(reads());
        // Until the byte count is there, and the task is about to go on with it.
        while (weft::this_loop().in_flight() == 0)
            co_await weft::yield();
        while (weft::this_loop().in_flight() != 0)
            co_await weft::yield();
        h.cancel();
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK(seen == "kept");
        CHECK_FALSE(went_on);
        CHECK_FALSE(r.has_value());
    }());
}

TEST_CASE("cancellation: what was stopped in time takes nothing", "[P3]") {
    run_within(10s, []() -> task<> {
        auto ends = weft::make_pipe();
        auto reads = [&]() -> task<> {
            std::byte b[8];
            std::size_t n = co_await ends.first.read_some(b);
            static_cast<void>(n);
        };
        bool stopped = co_await stop(reads());
        CHECK(stopped);
        co_await weft::write_all(ends.second, weft::as_bytes("kept"));
        std::byte b[8];
        std::size_t n = co_await ends.first.read_some(b);
        CHECK(weft::as_text(std::span(b).first(n)) == "kept");
    }());
}

TEST_CASE("cancellation: a task sees whether its stop was asked", "[AIO-TASK-02]") {
    CHECK_FALSE(weft::stop_requested());
    run_within(10s, []() -> task<> {
        strings seen;
        auto notes = [&](const char* where) {
            seen.push_back(std::string(where) + (weft::stop_requested() ? ": yes" : ": no"));
        };
        auto in_shield = [&]() -> task<> {
            co_await turns(8);
            notes("in a shield");
        };
        auto cleans_up = [&]() -> task<> {
            notes("cleaning up");
            co_return;
        };
        auto body = [&]() -> task<> {
            notes("before");
            co_await shield(in_shield());
            notes("after");
            at_end e([&] { notes("in a destructor"); });
            co_await finally(weft::as_task(weft::yield()), cleans_up);
        };
        bool stopped = co_await stop(body());
        CHECK(stopped);
        CHECK(seen == strings{"before: no", "in a shield: no", "after: yes", "cleaning up: no",
                              "in a destructor: yes"});
        CHECK_FALSE(weft::stop_requested());
    }());
}

TEST_CASE("cancellation: a checkpoint suspends only a task that is to stop") {
    run_within(10s, []() -> task<> {
        int steps = 0;
        weft::task_handle<>* self = nullptr;
        auto computes = [&]() -> task<> {
            for (int i = 0; i < 10; ++i) {
                co_await weft::checkpoint();
                if (++steps == 3)
                    self->cancel();
            }
        };
        auto h = weft::spawn(computes());
        self = &h;
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK(steps == 3);
        CHECK_FALSE(r.has_value());

        // Without a stop nobody else gets a turn.
        bool others_ran = false;
        auto runs = [&]() -> task<> {
            others_ran = true;
            co_return;
        };
        auto other = weft::spawn(runs());
        for (int i = 0; i < 1000; ++i)
            co_await weft::checkpoint();
        CHECK_FALSE(others_ran);
        co_await weft::yield();
        CHECK(others_ran);
    }());
}

TEST_CASE("cancellation: a stop that was noticed can't be taken back", "[AIO-TASK-03]") {
    run_within(10s, []() -> task<> {
        std::stop_source unused;
        auto in_scope = [&](int which) -> task<int> {
            auto cleans_up = [] { return turns(5); };
            auto body = weft::as_task(finally(never_ends(), cleans_up));
            if (which == 0)
                return body;
            if (which == 1)
                return weft::as_task(with_stop_token(unused.get_token(), std::move(body)));
            if (which == 2)
                return weft::as_task(weft::with_timeout(1h, std::move(body)));
            return weft::as_task(finally(std::move(body), cleans_up));
        };
        for (int which = 0; which < 4; ++which) {
            auto h = weft::spawn(in_scope(which));
            co_await turns(5);
            h.cancel();
            co_await turns(3); // it is cleaning up
            CHECK_FALSE(h.done());
            CHECK(h.uncancel() == 0);
            auto r = co_await as_result(h.join());
            CHECK(h.stopped());
            CHECK_FALSE(r.has_value());
        }
    }());
}

// --- shield -------------------------------------------------------------------------------------

TEST_CASE("shield: a stop from outside doesn't reach what runs in it, and holds after it",
          "[AIO-GATH-04]") {
    run_within(10s, []() -> task<> {
        strings order;
        auto protected_part = [&]() -> task<int> {
            co_await turns(8);
            order.emplace_back("inner went on");
            co_return 3;
        };
        auto body = [&]() -> task<> {
            try {
                int n = co_await shield(protected_part());
                order.push_back("gave " + std::to_string(n));
            } catch (...) {
                order.emplace_back("caught");
            }
            co_await weft::yield();
            order.emplace_back("went on");
        };
        auto h = weft::spawn(body());
        co_await turns(3);
        h.cancel();
        h.cancel();
        CHECK_FALSE(h.done());
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK_FALSE(r.has_value());
        CHECK(order == strings{"inner went on", "gave 3"});
    }());
}

TEST_CASE("shield: gives value and error, and a stop before it means that nothing starts",
          "[AIO-GATH-04]") {
    run_within(10s, []() -> task<> {
        int n = co_await shield(gives(4));
        CHECK(n == 4);
        auto r = co_await as_result(shield(fails()));
        CHECK_THROWS_WITH(r.value(), "the body's");
        bool ran = false;
        weft::task_handle<>* self = nullptr;
        auto part = [&]() -> task<> {
            ran = true;
            co_return;
        };
        auto body = [&]() -> task<> {
            self->cancel();
            co_await shield(part());
        };
        auto h = weft::spawn(body());
        self = &h;
        auto ended = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK_FALSE(ended.has_value());
        CHECK_FALSE(ran);
    }());
}

TEST_CASE("shield: a stop of what is in it passes through", "[AIO-GATH-04]") {
    run_within(10s, []() -> task<> {
        // A task of its own that somebody else stops.
        auto h = weft::spawn(never_ends());
        auto stops = [&]() -> task<> {
            co_await turns(3);
            h.cancel();
        };
        auto other = weft::spawn(stops());
        auto a = co_await as_result(shield(h.join()));
        CHECK_THROWS_AS(a.value(), weft::cancelled_error);
        // A stop that is asked inside.
        std::stop_source source;
        auto asks = [&]() -> task<> {
            source.request_stop();
            co_await weft::sleep_for(1h);
        };
        auto b = co_await as_result(shield(with_stop_token(source.get_token(), asks())));
        CHECK_THROWS_AS(b.value(), weft::cancelled_error);
        bool timed_out = false;
        try {
            co_await shield(weft::with_timeout(1ms, never_ends()));
        } catch (const weft::timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        co_await other.join();
    }());
}

TEST_CASE("shield: a deadline outside waits for the end, and the result wins",
          "[AIO-GATH-04][P3]") {
    run_within(10s, []() -> task<> {
        auto gives_late = [](weft::timeout_scope& t) -> task<bool> {
            co_await shield(weft::sleep_for(102ms));
            co_return t.expired();
        };
        bool late = co_await weft::with_timeout(100ms, gives_late);
        CHECK(late);
    }());
}

// --- finally ------------------------------------------------------------------------------------

TEST_CASE("finally: cleans up after a value, an error and a stop") {
    run_within(10s, []() -> task<> {
        strings order;
        auto cleans_up = [&]() -> task<> {
            co_await turns(3); // it may wait
            order.emplace_back("cleaned up");
        };
        int n = co_await finally(gives(2), cleans_up);
        CHECK(n == 2);
        CHECK(order == strings{"cleaned up"});

        order.clear();
        auto r = co_await as_result(finally(fails(), cleans_up));
        CHECK_THROWS_WITH(r.value(), "the body's");
        CHECK(order == strings{"cleaned up"});

        order.clear();
        auto body = [&]() -> task<> {
            at_end e([&] { order.emplace_back("the body's frame"); });
            co_await weft::sleep_for(1h);
            order.emplace_back("the body went on");
        };
        auto around = [&]() -> task<> {
            at_end e([&] { order.emplace_back("the frame around"); });
            co_await finally(body(), cleans_up);
            order.emplace_back("went on");
        };
        bool stopped = co_await stop(around());
        CHECK(stopped);
        CHECK(order == strings{"the body's frame", "cleaned up", "the frame around"});

        // Whatever can be awaited has a clean-up.
        order.clear();
        co_await finally(weft::yield(), cleans_up);
        int object = 0;
        auto refers = [](int& o) -> task<int&> { co_return o; };
        int& same = co_await finally(refers(object), cleans_up);
        CHECK(&same == &object);
        auto makes = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
        auto p = co_await finally(makes(), cleans_up);
        CHECK(*p == 7);
        CHECK(order == strings{"cleaned up", "cleaned up", "cleaned up"});
    }());
}

TEST_CASE("finally: cleans up although the stop came before it") {
    run_within(10s, []() -> task<> {
        strings order;
        weft::task_handle<>* self = nullptr;
        auto body = [&]() -> task<> {
            order.emplace_back("the body began");
            co_await weft::yield();
            order.emplace_back("the body went on");
        };
        auto cleans_up = [&]() -> task<> {
            co_await turns(2);
            order.emplace_back("cleaned up");
        };
        auto around = [&]() -> task<> {
            self->cancel();
            co_await finally(body(), cleans_up);
            order.emplace_back("went on");
        };
        auto h = weft::spawn(around());
        self = &h;
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK_FALSE(r.has_value());
        CHECK(order == strings{"the body began", "cleaned up"});
    }());
}

TEST_CASE("finally: a task that never began has nothing to clean up") {
    run_within(10s, []() -> task<> {
        bool cleaned_up = false;
        int live = 0;
        auto body = [&](std::unique_ptr<counted>) -> task<> { co_return; };
        auto cleans_up = [&]() -> task<> {
            cleaned_up = true;
            co_return;
        };
        auto around = [&]() -> task<> {
            co_await finally(body(std::make_unique<counted>(live)), cleans_up);
        };
        auto h = weft::spawn(around());
        h.cancel(); // before its turn
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK_FALSE(r.has_value());
        {
            auto dropped = finally(body(std::make_unique<counted>(live)), cleans_up);
            CHECK(live == 1);
        }
        CHECK(live == 0);
        CHECK_FALSE(cleaned_up);
    }());
}

TEST_CASE("finally: nested clean-ups run from the inside out, on every way out") {
    run_within(10s, []() -> task<> {
        strings order;
        auto cleans_up = [&](const char* what) {
            return [&order, what]() -> task<> {
                co_await weft::yield();
                order.emplace_back(what);
            };
        };
        auto nested = [&](task<int> t) -> task<int> {
            int n = co_await finally(
                finally(finally(std::move(t), cleans_up("first")), cleans_up("second")),
                cleans_up("third"));
            co_return n;
        };
        strings in_order{"first", "second", "third"};
        int n = co_await nested(gives(1));
        CHECK(n == 1);
        CHECK(order == in_order);
        order.clear();
        auto r = co_await as_result(nested(fails()));
        CHECK_THROWS_WITH(r.value(), "the body's");
        CHECK(order == in_order);
        order.clear();
        bool stopped = co_await stop(nested(never_ends()));
        CHECK(stopped);
        CHECK(order == in_order);
    }());
}

TEST_CASE("finally: a clean-up may have clean-ups, deadlines and children of its own") {
    run_within(10s, []() -> task<> {
        strings order;
        auto innermost = [&]() -> task<> {
            co_await weft::yield();
            order.emplace_back("clean-up of the clean-up");
        };
        auto cleans_up = [&]() -> task<> {
            int done = 0;
            auto child = [&]() -> task<> {
                co_await turns(2);
                ++done;
            };
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(child());
                g.spawn(child());
                co_return;
            });
            order.push_back(std::to_string(done) + " children");
            try {
                co_await weft::with_timeout(1ms, finally(never_ends(), innermost));
            } catch (const weft::timeout_error&) {
                order.emplace_back("timeout");
            }
        };
        bool stopped = co_await stop(finally(never_ends(), cleans_up));
        CHECK(stopped);
        CHECK(order == strings{"2 children", "clean-up of the clean-up", "timeout"});
    }());
}

TEST_CASE("finally: a stop during the clean-up waits, and a result that was there is delivered",
          "[P3]") {
    run_within(10s, []() -> task<> {
        strings order;
        auto cleans_up = [&]() -> task<> {
            order.emplace_back("begins to clean up");
            co_await turns(10);
            order.emplace_back("cleaned up");
        };
        auto around = [&](task<int> t) -> task<> {
            int n = co_await finally(std::move(t), cleans_up);
            order.push_back("got " + std::to_string(n));
            co_await weft::yield();
            order.emplace_back("went on");
        };
        auto h = weft::spawn(around(gives(6)));
        while (order.empty())
            co_await weft::yield();
        h.cancel();
        h.cancel();
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK_FALSE(r.has_value());
        CHECK(order == strings{"begins to clean up", "cleaned up", "got 6"});

        order.clear(); // a second request changes nothing for one that is stopping already
        auto g = weft::spawn(around(never_ends()));
        co_await turns(3);
        g.cancel();
        while (order.empty())
            co_await weft::yield();
        g.cancel();
        r = co_await as_result(g.join());
        CHECK(g.stopped());
        CHECK(order == strings{"begins to clean up", "cleaned up"});
    }());
}

TEST_CASE("finally: an error of the clean-up comes out unless something else does", "[P6]") {
    auto on_each_way_out = [](auto cleans_up) {
        stray_errors stray;
        run_within(10s, [](auto f) -> task<> {
            auto a = co_await as_result(finally(gives(1), f));
            CHECK_THROWS_WITH(a.value(), "the clean-up's");
            CHECK(stray_errors::texts().empty());
            auto b = co_await as_result(finally(fails(), f));
            CHECK_THROWS_WITH(b.value(), "the body's");
            CHECK(stray_errors::texts() == strings{"the clean-up's"});
            bool stopped = co_await stop(finally(never_ends(), f));
            CHECK(stopped);
            CHECK(stray_errors::texts() == strings{"the clean-up's", "the clean-up's"});
        }(cleans_up));
        CHECK(stray_errors::wheres() ==
              strings{"the clean-up of finally", "the clean-up of finally"});
    };
    SECTION("the task throws") {
        on_each_way_out([]() -> task<> {
            co_await turns(2);
            throw std::runtime_error("the clean-up's");
        });
    }
    SECTION("the function that makes it throws") {
        on_each_way_out([]() -> task<> { throw std::runtime_error("the clean-up's"); });
    }
}

TEST_CASE("finally: a clean-up that takes too long is stopped itself", "[P2][P6]") {
    stray_errors stray;
    run_within(20s, []() -> task<> {
        int live = 0;
        auto hangs = [&]() -> task<> {
            counted here(live);
            co_await weft::sleep_for(1h);
        };
        bool timed_out = false;
        try {
            co_await finally(gives(1), hangs, 1ms);
        } catch (const weft::timeout_error&) {
            timed_out = live == 0;
        }
        CHECK(timed_out);
        CHECK(stray_errors::texts().empty());
        auto r = co_await as_result(finally(fails(), hangs, 1ms));
        CHECK_THROWS_WITH(r.value(), "the body's");
        CHECK(stray_errors::texts().size() == 1);
        bool stopped = co_await stop(finally(never_ends(), hangs, 1ms));
        CHECK(stopped);
        CHECK(live == 0);
        REQUIRE(stray_errors::texts().size() == 2);
        CHECK_THAT(stray_errors::texts()[1], Catch::Contains("clean-up took longer"));
    }());
}

TEST_CASE("finally: a clean-up that ends by itself after its time says itself how", "[P3][P6]") {
    stray_errors stray;
    run_within(20s, []() -> task<> {
        auto just_late = []() -> task<> {
            auto r = co_await as_result(weft::sleep_for(1h));
            CHECK(r.stopped());
        };
        int n = co_await finally(gives(1), just_late, 1ms);
        CHECK(n == 1);
        auto late_and_fails = []() -> task<> {
            auto r = co_await as_result(weft::sleep_for(1h));
            throw std::runtime_error(r.stopped() ? "late" : "not stopped");
        };
        auto r = co_await as_result(finally(gives(1), late_and_fails, 1ms));
        CHECK_THROWS_WITH(r.value(), "late");
        // With all the time in the world there is no timer.
        auto in_time = []() -> task<> { co_await weft::sleep_for(1ms); };
        n = co_await finally(gives(2), in_time, weft::duration::max());
        CHECK(n == 2);
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("finally: a thousand clean-ups around one body that is stopped") {
    struct nest {
        static task<> around(int n, int& cleaned_up) {
            auto cleans_up = [&]() -> task<> {
                ++cleaned_up;
                co_return;
            };
            if (n == 0)
                co_await weft::sleep_for(1h);
            else
                co_await finally(around(n - 1, cleaned_up), cleans_up);
        }
    };
    run_within(20s, []() -> task<> {
        int cleaned_up = 0;
        bool stopped = co_await stop(nest::around(1000, cleaned_up));
        CHECK(stopped);
        CHECK(cleaned_up == 1000);
    }());
}

// --- with_stop_token ----------------------------------------------------------------------------

TEST_CASE("with_stop_token: a token that isn't used changes nothing") {
    run_within(10s, []() -> task<> {
        std::stop_source source;
        int a = co_await with_stop_token(source.get_token(), gives(1));
        CHECK(a == 1);
        int b = co_await with_stop_token(std::stop_token(), gives(2)); // one that can't be used
        CHECK(b == 2);
        auto c = co_await as_result(with_stop_token(source.get_token(), fails()));
        CHECK_THROWS_WITH(c.value(), "the body's");
        co_await with_stop_token(source.get_token(), weft::yield());
        source.request_stop(); // nobody listens any more
        co_await weft::yield();
    }());
}

TEST_CASE("with_stop_token: a stop through the token is a cancelled_error, after the body's end") {
    run_within(10s, []() -> task<> {
        for (int when = 0; when < 3; ++when) {
            std::stop_source source;
            int live = 0;
            auto body = [&]() -> task<> {
                counted here(live);
                if (when == 1)
                    source.request_stop(); // asked by the body itself
                co_await finally(never_ends(), [] { return turns(3); });
            };
            if (when == 0)
                source.request_stop(); // before it starts
            auto asks = [&]() -> task<> {
                co_await turns(3);
                source.request_stop(); // beside it
            };
            weft::task_handle<> other;
            if (when == 2)
                other = weft::spawn(asks());
            bool cancelled = false;
            try {
                co_await with_stop_token(source.get_token(), body());
            } catch (const weft::cancelled_error&) {
                cancelled = live == 0;
            }
            CHECK(cancelled);
            co_await weft::yield(); // this task wasn't stopped
        }
    }());
}

TEST_CASE("with_stop_token: the body's value or error after the stop wins", "[P3]") {
    run_within(10s, []() -> task<> {
        std::stop_source source;
        source.request_stop();
        auto ready = []() -> task<int> { co_return 1; };
        int a = co_await with_stop_token(source.get_token(), ready());
        CHECK(a == 1);
        int b = co_await with_stop_token(source.get_token(), gives_when_stopped(2));
        CHECK(b == 2);
        auto c = co_await as_result(with_stop_token(source.get_token(), fails_when_stopped()));
        CHECK_THROWS_WITH(c.value(), "the body's");
    }());
}

TEST_CASE("with_stop_token: a stop from outside stays one, also if the token is used as well") {
    run_within(10s, []() -> task<> {
        for (bool both : {false, true}) {
            std::stop_source source;
            bool went_on = false;
            auto body = [&]() -> task<> {
                try {
                    co_await with_stop_token(source.get_token(), never_ends());
                } catch (...) {
                    went_on = true;
                }
                went_on = true;
            };
            auto h = weft::spawn(body());
            co_await turns(3);
            if (both)
                source.request_stop();
            h.cancel();
            auto r = co_await as_result(h.join());
            CHECK(h.stopped());
            CHECK_FALSE(r.has_value());
            CHECK_FALSE(went_on);
        }
    }());
}

TEST_CASE("with_stop_token: nested, the one whose token was used reports") {
    run_within(10s, []() -> task<> {
        std::stop_source outer, inner;
        bool inner_reported = false;
        auto body = [&]() -> task<int> {
            try {
                co_await with_stop_token(inner.get_token(), never_ends());
            } catch (const weft::cancelled_error&) {
                inner_reported = true;
            }
            co_await weft::yield();
            co_return 1;
        };
        auto stops = [](std::stop_source s) -> task<> {
            co_await turns(3);
            s.request_stop();
        };
        auto a = weft::spawn(stops(inner));
        int n = co_await with_stop_token(outer.get_token(), body());
        CHECK(n == 1);
        CHECK(inner_reported);
        inner_reported = false;
        inner = std::stop_source();
        auto b = weft::spawn(stops(outer));
        auto r = co_await as_result(with_stop_token(outer.get_token(), body()));
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        CHECK_FALSE(inner_reported);
        co_await a.join();
        co_await b.join();
    }());
}

TEST_CASE("with_stop_token: another thread stops a loop that sleeps", "[P2]") {
    run_within(10s, []() -> task<> {
        std::stop_source source;
        std::atomic<bool> begun{false};
        auto body = [&]() -> task<> {
            begun.store(true);
            co_await weft::sleep_for(1h);
        };
        std::jthread other([&] {
            while (!begun.load())
                std::this_thread::yield();
            std::this_thread::sleep_for(1ms); // likely it sleeps by now
            source.request_stop();
        });
        auto r = co_await as_result(with_stop_token(source.get_token(), body()));
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
    }());
}

TEST_CASE("with_stop_token: racing with the body's end it is one or the other", "[P1][P3]") {
    constexpr int rounds = 500;
    std::uint64_t seed = weft::tests::seed();
    CAPTURE(seed);
    std::vector<std::stop_source> sources(rounds);
    std::atomic<int> begun{-1}, ready{-1};
    std::jthread asks([&](const std::stop_token& over) {
        std::mt19937_64 random(seed + 1);
        for (int i = 0; i < rounds; ++i) {
            ready.store(i, std::memory_order_release);
            while (begun.load(std::memory_order_acquire) < i) {
                if (over.stop_requested())
                    return;
                std::this_thread::yield();
            }
            for (auto spins = random() % 20'000; spins > 0; --spins)
                std::atomic_signal_fence(std::memory_order_seq_cst);
            sources[static_cast<std::size_t>(i)].request_stop();
        }
    });
    int live = 0;
    auto body = [&](int yields) -> task<int> {
        counted here(live);
        for (int i = 0; i < yields; ++i)
            co_await weft::yield();
        co_return yields;
    };
    auto races = [&]() -> task<> {
        std::mt19937_64 random(seed);
        for (int i = 0; i < rounds; ++i) {
            while (ready.load(std::memory_order_acquire) < i)
                co_await weft::sleep_for(10us);
            begun.store(i, std::memory_order_release);
            int yields = static_cast<int>(random() % 2000);
            auto token = sources[static_cast<std::size_t>(i)].get_token();
            auto r = co_await as_result(with_stop_token(token, body(yields)));
            CHECK(live == 0);
            if (r.has_value()) {
                CHECK(r.value() == yields);
            } else {
                CHECK(token.stop_requested());
                CHECK_THROWS_AS(r.value(), weft::cancelled_error);
            }
        }
    };
    run_within(60s, races());
}
