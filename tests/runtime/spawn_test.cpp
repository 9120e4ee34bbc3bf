// SPDX-License-Identifier: MIT
#include <weft/runtime/spawn.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"
#include "support/sanitizer.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

using weft::task;
using weft::task_handle;
using weft::tests::counted;
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
task<int> fails(const char* text) {
    co_await weft::yield();
    throw std::runtime_error(text);
}

} // namespace

TEST_CASE("spawn: a task starts at the loop's next turn", "[AIO-TASK-01]") {
    weft::run([]() -> task<> {
        std::vector<int> order;
        auto notes = [&](int n) -> task<> {
            order.push_back(n);
            co_return;
        };
        auto a = weft::spawn(notes(1));
        auto b = weft::spawn(notes(2));
        CHECK(order.empty());
        CHECK_FALSE(a.done());
        co_await weft::yield();
        CHECK(order == std::vector<int>{1, 2});
        CHECK(a.done());
        CHECK(b.done());
    }());
}

TEST_CASE("spawn: a task has a name", "[AIO-TASK-01]") {
    weft::run([]() -> task<> {
        auto h = weft::spawn(gives(1));
        CHECK(std::string(h.name()).empty());
        h.set_name("giver");
        CHECK(std::string(h.name()) == "giver");
        co_await h.join();
    }());
}

TEST_CASE("spawn: cancel is true unless the task has ended", "[AIO-TASK-02]") {
    weft::run([]() -> task<> {
        int live = 0;
        auto h = weft::spawn(sleeps(live));
        co_await weft::yield();
        CHECK(live == 1);
        CHECK(h.cancel());
        CHECK(live == 1); // asked, and not yet done
        CHECK_FALSE(h.done());
        co_await weft::yield();
        CHECK(h.done());
        CHECK(h.stopped());
        CHECK(live == 0);
        CHECK_FALSE(h.cancel());

        auto ended = weft::spawn(gives(1));
        co_await ended.join();
        CHECK_FALSE(ended.cancel());
        CHECK_FALSE(ended.stopped());
    }());
}

TEST_CASE("spawn: a stop takes effect at the next suspension, not before", "[AIO-TASK-02]") {
    weft::run([]() -> task<> {
        std::vector<std::string> order;
        task_handle<>* self = nullptr;
        auto body = [&]() -> task<> {
            co_await weft::yield();
            self->cancel();
            order.emplace_back("goes on");
            auto ready = [&]() -> task<> {
                order.emplace_back("into what is ready");
                co_return;
            };
            co_await ready();
            order.emplace_back("to its next suspension");
            co_await weft::yield();
            order.emplace_back("and no further");
        };
        auto h = weft::spawn(body());
        self = &h;
        auto r = co_await weft::as_result(h.join());
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        CHECK(order ==
              std::vector<std::string>{"goes on", "into what is ready", "to its next suspension"});
    }());
}

TEST_CASE("spawn: a stop may be turned into a result", "[AIO-TASK-02]") {
    weft::run([]() -> task<> {
        auto body = []() -> task<int> {
            auto r = co_await weft::as_result(weft::sleep_for(1h));
            co_return r.stopped() ? 7 : 8;
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        h.cancel();
        int n = co_await h.join();
        CHECK(n == 7);
        CHECK_FALSE(h.stopped());
    }());
}

TEST_CASE("spawn: a result that exists wins over a stop", "[AIO-TASK-02][P3]") {
    weft::run([]() -> task<> {
        auto h = weft::spawn(gives(7));
        co_await weft::yield(); // h has yielded and is ready
        h.cancel();
        int n = co_await h.join();
        CHECK(n == 7);
    }());
}

TEST_CASE("spawn: requests to stop are counted and can be taken back", "[AIO-TASK-03]") {
    weft::run([]() -> task<> {
        int steps = 0;
        bool go = false;
        auto body = [&]() -> task<> {
            ++steps;
            while (!go)
                co_await weft::yield();
            ++steps;
            co_await weft::yield();
            ++steps;
        };
        auto h = weft::spawn(body());
        CHECK(h.cancelling() == 0);
        h.cancel();
        h.cancel();
        CHECK(h.cancelling() == 2);
        CHECK(h.uncancel() == 1);
        CHECK(h.uncancel() == 0);
        CHECK(h.uncancel() == 0);
        go = true;
        co_await h.join(); // the stop was forgotten
        CHECK(steps == 3);

        go = false;
        auto stopped = weft::spawn(body());
        stopped.cancel();
        stopped.cancel();
        CHECK(stopped.uncancel() == 1); // one is left
        co_await weft::yield();
        CHECK(stopped.stopped());
    }());
}

TEST_CASE("spawn: a task that is cancelled before its first step never has one", "[AIO-TASK-04]") {
    weft::run([]() -> task<> {
        bool ran = false;
        int live = 0;
        auto body = [&](std::unique_ptr<counted>) -> task<> {
            ran = true;
            co_return;
        };
        auto h = weft::spawn(body(std::make_unique<counted>(live)));
        h.cancel();
        auto r = co_await weft::as_result(h.join());
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
        CHECK_FALSE(ran);
        CHECK(live == 0);
    }());
}

TEST_CASE("spawn: what a task awaits is stopped before the task", "[AIO-TASK-04]") {
    weft::run([]() -> task<> {
        std::vector<std::string> order;
        auto awaited = [&]() -> task<> {
            weft::tests::at_end e([&] { order.emplace_back("awaited"); });
            co_await weft::sleep_for(1h);
        };
        auto body = [&]() -> task<> {
            weft::tests::at_end e([&] { order.emplace_back("task"); });
            co_await weft::when_all(awaited(), awaited());
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        co_await weft::yield();
        h.cancel();
        auto ended = co_await weft::as_result(h.join());
        CHECK_FALSE(ended.has_value());
        CHECK(order == std::vector<std::string>{"awaited", "awaited", "task"});
    }());
}

TEST_CASE("spawn: any number may wait for a task, also after its end") {
    weft::run([]() -> task<> {
        auto h = weft::spawn(gives(7));
        std::vector<int> order;
        auto waits = [&](int n) -> task<> {
            int v = co_await h.join();
            CHECK(v == 7);
            order.push_back(n);
        };
        co_await weft::when_all(waits(1), waits(2), waits(3));
        CHECK(order == std::vector<int>{1, 2, 3});
        int& again = co_await h.join();
        int& once_more = co_await h.join();
        CHECK(&again == &once_more);
    }());
}

TEST_CASE("spawn: everybody who waits for a failed task gets its error, and the hook doesn't",
          "[AIO-TASK-06]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        auto h = weft::spawn(fails("out"));
        auto waits = [&]() -> task<std::string> {
            std::string text;
            try {
                co_await h.join();
            } catch (const std::runtime_error& e) {
                text = e.what();
            }
            co_return text;
        };
        auto [a, b] = co_await weft::when_all(waits(), waits());
        std::string late = co_await waits();
        CHECK(a == "out");
        CHECK(b == "out");
        CHECK(late == "out");
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("spawn: an error that nobody fetched is reported once, when its task is dropped",
          "[AIO-TASK-06][P6]") {
    stray_errors stray;
    weft::run([&]() -> task<> {
        {
            auto h = weft::spawn(fails("kept, then dropped"));
            co_await weft::yield();
            co_await weft::yield();
            CHECK(h.done());
            CHECK(stray.texts().empty());
        }
        CHECK(stray.texts() == std::vector<std::string>{"kept, then dropped"});
        weft::spawn(fails("dropped at once"));
        co_await weft::yield();
        co_await weft::yield();
        CHECK(stray.texts().size() == 2);
    }());
    CHECK(stray.texts().size() == 2);
}

TEST_CASE("spawn: an error whose only waiter was just stopped is reported", "[P6]") {
    stray_errors stray;
    weft::run([&]() -> task<> {
        bool go = false;
        auto body = [&]() -> task<> {
            while (!go)
                co_await weft::yield();
            throw std::runtime_error("out");
        };
        auto h = weft::spawn(body());
        auto w = weft::spawn(h.join());
        co_await weft::yield();
        h = task_handle<>();
        // In one turn: the waiter is told to stop, the task fails, and then the waiter is unwound.
        w.cancel();
        go = true;
        while (!w.done())
            co_await weft::yield();
        co_await weft::yield();
        co_await weft::yield();
    }());
    CHECK(stray.texts() == std::vector<std::string>{"out"});
}

TEST_CASE("spawn: a stopped task is no error") {
    stray_errors stray;
    weft::run([]() -> task<> {
        int live = 0;
        auto h = weft::spawn(sleeps(live));
        co_await weft::yield();
        h.cancel();
        co_await weft::yield();
        CHECK(live == 0);
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("spawn: a stopped join leaves the task alone") {
    weft::run([]() -> task<> {
        auto h = weft::spawn(gives(7));
        auto waits = [&]() -> task<> { co_await h.join(); };
        auto first = weft::spawn(waits());
        auto second = weft::spawn(waits());
        auto third = weft::spawn(waits());
        co_await weft::yield();
        second.cancel();
        first.cancel();
        int n = co_await h.join();
        CHECK(n == 7);
        co_await third.join();
        CHECK(first.stopped());
        CHECK(second.stopped());
    }());
}

TEST_CASE("spawn: a task may outlive its handle, and a join the handle it came from") {
    weft::run([]() -> task<> {
        int live = 0;
        weft::spawn(sleeps(live));
        co_await weft::yield();
        CHECK(live == 1);
        auto waits = []() -> task<int> {
            int n = co_await weft::spawn(gives(7)).join();
            co_return n;
        };
        int n = co_await waits();
        CHECK(n == 7);
    }()); // the sleeping one ends with the loop
}

// What it has had of a processor, whatever else runs there.
static std::chrono::nanoseconds time_of_thread() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

TEST_CASE("spawn: many waiters cost their number, not its square") {
    weft::run([]() -> task<> {
        int live = 0;
        auto h = weft::spawn(sleeps(live));
        std::vector<task_handle<>> waiters;
        auto waits = [&]() -> task<> { co_await h.join(); };
        constexpr int n = 100'000;
        waiters.reserve(n);
        for (int i = 0; i < n; ++i)
            waiters.push_back(weft::spawn(waits()));
        co_await weft::yield();
        auto begin = time_of_thread();
        for (int i = n; i-- > n / 2;) // half of them in the order that is the worst for a search
            waiters[static_cast<std::size_t>(i)].cancel();
        for (int i = 0; i < n / 2; ++i)
            waiters[static_cast<std::size_t>(i)].cancel();
        co_await weft::yield();
        // 5 * 10^9 steps otherwise, which take many seconds in every build.
        CHECK(time_of_thread() - begin < (weft::tests::sanitized ? 15s : 3s));
        CHECK(waiters.front().stopped());
        CHECK(waiters.back().stopped());
        h.cancel();
        co_await weft::yield();
    }());
}

TEST_CASE("spawn: needs a running loop that isn't ending") {
    CHECK_THROWS_AS(weft::spawn(gives(1)), weft::state_error);
    bool refused = false;
    weft::run([](bool& r) -> task<> {
        auto body = [](bool& refuses) -> task<> {
            weft::tests::at_end e([&refuses] {
                try {
                    weft::spawn(gives(1));
                } catch (const weft::state_error&) {
                    refuses = true;
                }
            });
            co_await weft::sleep_for(1h);
        };
        weft::spawn(body(r));
        co_await weft::yield();
    }(refused));
    CHECK(refused);
}

TEST_CASE("spawn: a million tasks", "[P5]") {
    weft::run([]() -> task<> {
        long sum = 0;
        auto adds = [&]() -> task<> {
            ++sum;
            co_return;
        };
        for (int i = 0; i < 1000; ++i) {
            for (int k = 0; k < 1000; ++k)
                weft::spawn(adds());
            co_await weft::yield();
        }
        CHECK(sum == 1'000'000);
    }());
}
