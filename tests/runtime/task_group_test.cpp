// SPDX-License-Identifier: MIT
#include <weft/runtime/task_group.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using weft::task;
using weft::task_group;
using weft::with_task_group;
using weft::tests::at_end;
using weft::tests::counted;
using weft::tests::stray_errors;
using namespace std::chrono_literals;

namespace {

struct first_error : std::runtime_error {
    first_error() : runtime_error("first") {}
};
struct second_error : std::runtime_error {
    second_error() : runtime_error("second") {}
};

task<> sleeps(int& live) {
    counted here(live);
    co_await weft::sleep_for(1h);
}
template <class E>
task<> fails_after(int turns) {
    for (int i = 0; i < turns; ++i)
        co_await weft::yield();
    throw E();
}
task<int> gives(int n) {
    co_await weft::yield();
    co_return n;
}
// Throws when it is stopped, as far as a task can: its clean-up does.
template <class E>
task<> fails_when_stopped() {
    auto r = co_await weft::as_result(weft::sleep_for(1h));
    static_cast<void>(r);
    throw E();
}
// A few turns after it was stopped it is still there.
task<> lingers(int& live) {
    counted here(live);
    auto turns = []() -> task<> {
        for (int i = 0; i < 5; ++i)
            co_await weft::yield();
    };
    co_await weft::finally(weft::as_task(weft::sleep_for(1h)), turns);
}

} // namespace

TEST_CASE("task_group: waits for all its children, also those that children start", "[AIO-TG-01]") {
    weft::run([]() -> task<> {
        int done = 0;
        auto leaf = [&]() -> task<> {
            co_await weft::yield();
            ++done;
        };
        auto parent = [&](task_group& g) -> task<> {
            for (int i = 0; i < 3; ++i)
                co_await weft::yield(); // by now the body has long ended
            g.spawn(leaf());
            ++done;
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(leaf());
            g.spawn(parent(g));
            CHECK(g.size() == 2);
            co_return;
        });
        CHECK(done == 3);
    }());
}

TEST_CASE("task_group: gives the body's value, and children's by their handles", "[AIO-TG-01]") {
    weft::run([]() -> task<> {
        int n = co_await with_task_group([](task_group& g) -> task<int> {
            auto a = g.spawn(gives(1));
            auto b = g.spawn(gives(2));
            int x = co_await a.join();
            int y = co_await b.join();
            co_return x + y;
        });
        CHECK(n == 3);
        weft::task_handle<int> kept;
        co_await with_task_group([&](task_group& g) -> task<> {
            kept = g.spawn(gives(7));
            co_return;
        });
        int v = co_await kept.join(); // the handle may outlive the group
        CHECK(v == 7);
    }());
}

TEST_CASE("task_group: keeps what is called, and its arguments, for as long as it runs",
          "[AIO-TG-01]") {
    weft::run([]() -> task<> {
        std::vector<std::string> seen;
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < 3; ++i) {
                std::string text = "a text that is too long for the object itself, number ";
                text += std::to_string(i);
                auto notes = [&seen, text](const std::string& suffix) -> task<> {
                    co_await weft::yield();
                    seen.push_back(text + suffix);
                };
                g.spawn(notes, std::string("!"));
            }
            co_return;
        });
        REQUIRE(seen.size() == 3);
        CHECK(seen[2] == "a text that is too long for the object itself, number 2!");
    }());
}

TEST_CASE("task_group: the first failure stops the others and the body", "[AIO-TG-02]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        int live = 0;
        bool body_went_on = false;
        std::exception_ptr left;
        try {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(sleeps(live));
                g.spawn(fails_after<first_error>(3));
                co_await weft::sleep_for(1h);
                body_went_on = true;
            });
        } catch (...) {
            left = std::current_exception();
        }
        CHECK(live == 0);
        CHECK_FALSE(body_went_on);
        REQUIRE(left);
        try {
            std::rethrow_exception(left);
        } catch (const weft::exception_group& e) {
            CHECK(e.errors().size() == 1);
            CHECK(e.contains<first_error>());
        }
    }());
    CHECK(stray.texts().empty()); // each error was seen once, in the group
}

TEST_CASE("task_group: all errors come together, in the order of their coming", "[AIO-TG-02]") {
    weft::run([]() -> task<> {
        try {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(fails_when_stopped<second_error>());
                g.spawn(fails_after<first_error>(2));
                co_return;
            });
            FAIL("no error left the group");
        } catch (const weft::exception_group& e) {
            REQUIRE(e.errors().size() == 2);
            CHECK_THROWS_AS(std::rethrow_exception(e.errors()[0]), first_error);
            CHECK_THROWS_AS(std::rethrow_exception(e.errors()[1]), second_error);
            CHECK(std::string(e.what()).find("second") != std::string::npos);
        }
    }());
}

TEST_CASE("task_group: a child that is stopped alone disturbs nobody", "[AIO-TG-02]") {
    weft::run([]() -> task<> {
        int live = 0, done = 0;
        co_await with_task_group([&](task_group& g) -> task<> {
            auto h = g.spawn(sleeps(live));
            auto other = g.spawn(gives(1));
            co_await weft::yield();
            h.cancel();
            done = co_await other.join();
            auto r = co_await weft::as_result(h.join());
            CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        });
        CHECK(done == 1);
        CHECK(live == 0);
    }());
}

TEST_CASE("task_group: the body's error stops the children and is among the errors",
          "[AIO-TG-03]") {
    weft::run([]() -> task<> {
        int live = 0;
        try {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(sleeps(live));
                g.spawn(fails_when_stopped<second_error>());
                co_await weft::yield();
                throw first_error();
            });
            FAIL("no error left the group");
        } catch (const weft::exception_group& e) {
            CHECK(e.errors().size() == 2);
            CHECK(e.contains<first_error>());
            CHECK(e.contains<second_error>());
        }
        CHECK(live == 0);
    }());
}

TEST_CASE(
    "task_group: a stop from outside stops the children, waits for them, and goes on outwards",
    "[AIO-TG-04]") {
    weft::run([]() -> task<> {
        int live = 0;
        bool went_on = false;
        auto body = [&]() -> task<> {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(lingers(live));
                g.spawn(sleeps(live));
                co_await weft::sleep_for(1h);
            });
            went_on = true;
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        co_await weft::yield();
        CHECK(live == 2);
        h.cancel();
        co_await weft::yield();
        CHECK_FALSE(h.done()); // waits for the one that lingers
        auto r = co_await weft::as_result(h.join());
        CHECK_FALSE(r.has_value());
        CHECK(live == 0);
        CHECK_FALSE(went_on);
        CHECK(h.stopped());
    }());
}

TEST_CASE("task_group: a failure beats a stop from outside, which comes at the next await",
          "[AIO-TG-04]") {
    weft::run([]() -> task<> {
        std::vector<std::string> order;
        auto body = [&]() -> task<> {
            try {
                co_await with_task_group([&](task_group& g) -> task<> {
                    g.spawn(fails_when_stopped<first_error>());
                    co_await weft::sleep_for(1h);
                });
            } catch (const weft::exception_group& e) {
                order.emplace_back(e.contains<first_error>() ? "errors" : "other errors");
            }
            co_await weft::yield();
            order.emplace_back("went on");
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        co_await weft::yield();
        h.cancel();
        auto r = co_await weft::as_result(h.join());
        CHECK(h.stopped());
        CHECK(order == std::vector<std::string>{"errors"});
        CHECK_FALSE(r.has_value());
    }());
}

TEST_CASE("task_group: an interrupt passes as itself when the others are done", "[AIO-TG-05][P6]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        int live = 0;
        bool interrupted = false;
        auto interrupts = []() -> task<> {
            co_await weft::yield();
            throw weft::interrupted_error(SIGINT);
        };
        try {
            co_await with_task_group([&](task_group& g) -> task<> {
                g.spawn(lingers(live));
                g.spawn(fails_when_stopped<first_error>());
                g.spawn(interrupts());
                co_return;
            });
        } catch (const weft::interrupted_error& e) {
            interrupted = e.signal() == SIGINT;
        }
        CHECK(interrupted);
        CHECK(live == 0);
    }());
    CHECK(stray.texts() == std::vector<std::string>{"first"}); // not lost
}

TEST_CASE("task_group: takes no tasks once it is ending, and destroys them unstarted",
          "[AIO-TG-06]") {
    weft::run([]() -> task<> {
        int live = 0;
        bool ran = false;
        auto late = [&](std::unique_ptr<counted>) -> task<> {
            ran = true;
            co_return;
        };
        task_group* after = nullptr;
        co_await with_task_group([&](task_group& g) -> task<> {
            after = &g;
            g.cancel();
            CHECK_THROWS_AS(g.spawn(late(std::make_unique<counted>(live))), weft::state_error);
            CHECK_THROWS_AS(g.spawn(late, std::make_unique<counted>(live)), weft::state_error);
            CHECK(live == 0);
            co_return;
        });
        try {
            co_await with_task_group([&](task_group& g) -> task<> {
                auto tries = [&]() -> task<> {
                    at_end e([&] {
                        CHECK_THROWS_AS(g.spawn(late(std::make_unique<counted>(live))),
                                        weft::state_error);
                    });
                    co_await weft::sleep_for(1h);
                };
                g.spawn(tries);
                g.spawn(fails_after<first_error>(1));
                co_return;
            });
        } catch (const weft::exception_group&) {
        }
        CHECK_FALSE(ran);
        CHECK(live == 0);
    }());
}

TEST_CASE("task_group: nested groups end from the inside, each with its own errors",
          "[AIO-TG-07]") {
    weft::run([]() -> task<> {
        bool inner_seen = false, outer_seen = false, went_on = false;
        try {
            co_await with_task_group([&](task_group& outer) -> task<> {
                outer.spawn(fails_when_stopped<second_error>());
                try {
                    co_await with_task_group([&](task_group& inner) -> task<> {
                        inner.spawn(fails_after<first_error>(1));
                        co_await weft::sleep_for(1h);
                    });
                } catch (const weft::exception_group& e) {
                    inner_seen = e.errors().size() == 1 && e.contains<first_error>();
                }
                co_await weft::yield(); // the inner group's stop is over
                went_on = true;
                throw std::runtime_error("body");
            });
        } catch (const weft::exception_group& e) {
            outer_seen =
                e.errors().size() == 2 && e.contains<second_error>() && !e.contains<first_error>();
        }
        CHECK(inner_seen);
        CHECK(went_on);
        CHECK(outer_seen);
    }());
}

TEST_CASE("task_group: requests to stop are counted as before after a nested group",
          "[AIO-TG-07]") {
    weft::run([]() -> task<> {
        weft::task_handle<>* self = nullptr;
        bool went_on = false;
        auto body = [&]() -> task<> {
            try {
                co_await with_task_group([&](task_group& g) -> task<> {
                    g.spawn(fails_after<first_error>(1));
                    co_await weft::sleep_for(1h);
                });
            } catch (const weft::exception_group&) {
            }
            CHECK(self->cancelling() == 0);
            co_await weft::yield();
            went_on = true;
        };
        auto h = weft::spawn(body());
        self = &h;
        co_await h.join();
        CHECK(went_on);
    }());
}

TEST_CASE("task_group: cancel ends it early, without an error", "[AIO-TG-08]") {
    weft::run([]() -> task<> {
        int live = 0;
        bool body_went_on = false;
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(sleeps(live));
            co_await weft::yield();
            g.cancel();
            g.cancel();
            co_await weft::yield();
            body_went_on = true;
        });
        CHECK(live == 0);
        CHECK_FALSE(body_went_on);
        // A child may do it; and a body with a value that it hasn't given can give none.
        auto cancels = [](task_group& g) -> task<> {
            g.cancel();
            co_return;
        };
        auto r = co_await weft::as_result(with_task_group([&](task_group& g) -> task<int> {
            g.spawn(cancels(g));
            co_await weft::sleep_for(1h);
            co_return 1;
        }));
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        int n = co_await with_task_group([&](task_group& g) -> task<int> {
            g.spawn(sleeps(live));
            g.cancel();
            co_return 1;
        });
        CHECK(n == 1);
        CHECK(live == 0);
    }());
}

TEST_CASE("task_group: the function may start children before it gives the body") {
    weft::run([]() -> task<> {
        int done = 0;
        auto leaf = [&]() -> task<> {
            co_await weft::yield();
            ++done;
        };
        co_await with_task_group([&](task_group& g) -> task<> { // no coroutine
            g.spawn(leaf());
            return leaf();
        });
        CHECK(done == 2);

        int live = 0;
        auto throws = [&](task_group& g) -> task<> {
            g.spawn(sleeps(live));
            throw first_error();
        };
        auto r = co_await weft::as_result(with_task_group(throws));
        try {
            r.value();
            FAIL("no error left the group");
        } catch (const weft::exception_group& e) {
            CHECK(e.contains<first_error>());
        }
        CHECK(live == 0);
    }());
}

TEST_CASE("task_group: of a task that was stopped before, nothing begins") {
    weft::run([]() -> task<> {
        bool ran = false;
        weft::task_handle<>* self = nullptr;
        auto body = [&]() -> task<> {
            self->cancel();
            co_await with_task_group([&](task_group&) -> task<> {
                ran = true;
                co_return;
            });
        };
        auto h = weft::spawn(body());
        self = &h;
        co_await weft::yield();
        CHECK(h.stopped());
        CHECK_FALSE(ran);
    }());
}

TEST_CASE("task_group: 10,000 failing children give 10,000 errors", "[P6]") {
    weft::run([]() -> task<> {
        std::size_t errors = 0;
        try {
            co_await with_task_group([&](task_group& g) -> task<> {
                for (int i = 0; i < 10'000; ++i)
                    g.spawn(fails_when_stopped<first_error>());
                co_await weft::yield();
                throw second_error();
            });
        } catch (const weft::exception_group& e) {
            errors = e.errors().size();
        }
        CHECK(errors == 10'001);
    }());
}
