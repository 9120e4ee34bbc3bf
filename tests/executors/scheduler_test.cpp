// SPDX-License-Identifier: MIT
#include <weft/executors/scheduler.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sync/patience.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::until;

// Time that passes only when somebody waits for it.
struct simulated {
    using duration = std::chrono::milliseconds;
    using time_point = std::chrono::time_point<simulated, duration>;

    simulated(time_point& t, std::vector<int>& d) : time(&t), delays(&d) {}
    [[nodiscard]] time_point now() const { return *time; }
    void delay(duration d) {
        delays->push_back(static_cast<int>(d.count()));
        *time += d;
    }
    time_point* time;
    std::vector<int>* delays;
};

// The same, awaited.
struct simulated_awaited : simulated {
    using simulated::simulated;
    [[nodiscard]] task<> delay(duration d) const {
        co_await yield();
        delays->push_back(static_cast<int>(d.count()));
        *time += d;
    }
};

simulated::time_point at(int ms) { return simulated::time_point(simulated::duration(ms)); }

struct fixture {
    simulated::time_point time = at(1000);
    std::vector<int> delays;
    scheduler<simulated> s{simulated(time, delays)};
    std::string log;
    auto note(const char* name) {
        return
            [this, name] { log += name + std::to_string(time.time_since_epoch().count()) + " "; };
    }
};

template <class Clock>
std::string runs_on(Clock c, simulated::time_point& time) {
    scheduler<Clock> s(c);
    std::string log;
    for (int ms : {30, 10, 20})
        s.enter_after(std::chrono::milliseconds(ms), 0,
                      [&] { log += std::to_string(time.time_since_epoch().count()) + " "; });
    sync_wait(s.run());
    return log;
}

} // namespace

TEST_CASE("scheduler: time goes as its clock says, and passes as that lets it", "[SCH-01]") {
    simulated::time_point time = at(1000);
    std::vector<int> delays;
    CHECK(runs_on(simulated(time, delays), time) == "1010 1020 1030 ");
    CHECK(delays == std::vector<int>{10, 10, 10});
    delays.clear();
    CHECK(runs_on(simulated_awaited(time, delays), time) == "1040 1050 1060 ");
    CHECK(delays == std::vector<int>{10, 10, 10});
}

TEST_CASE("scheduler: actions run by time, then priority, then in the order of entry",
          "[SCH-02][SCH-03][SCH-09]") {
    fixture f;
    CHECK(f.s.empty());
    f.s.enter_at(at(1020), 1, f.note("d"));
    f.s.enter_at(at(1020), 0, f.note("b"));
    f.s.enter_after(20ms, 0, f.note("c"));
    event_id first = f.s.enter_at(at(1010), 9, f.note("a"));
    f.s.enter_at(
        at(500), 0, [&f](int n, const std::string& t) { f.log += t + std::to_string(n); }, 7,
        "late");
    auto all = f.s.queue();
    REQUIRE(all.size() == 5);
    CHECK(all[0].when == at(500));
    CHECK(all[1].id == first);
    CHECK(all[1].when == at(1010));
    CHECK(all[1].priority == 9);
    CHECK(all[4].priority == 1);
    CHECK_FALSE(f.s.empty());
    sync_wait(f.s.run());
    CHECK(f.log == "late7a1010 b1020 c1020 d1020 ");
    CHECK(f.delays == std::vector<int>{10, 10}); // never early, and no longer than needed
    CHECK(f.s.empty());
}

TEST_CASE("scheduler: exactly what is cancelled doesn't run", "[SCH-04]") {
    fixture f;
    f.s.enter_at(at(1010), 0, f.note("a"));
    event_id b = f.s.enter_at(at(1010), 0, f.note("b"));
    f.s.enter_at(at(1010), 0, f.note("c"));
    CHECK(f.s.cancel(b));
    CHECK_FALSE(f.s.cancel(b));
    CHECK_FALSE(f.s.cancel(event_id{77}));
    sync_wait(f.s.run());
    CHECK(f.log == "a1010 c1010 ");
    event_id d = f.s.enter_at(at(1020), 0, f.note("d"));
    sync_wait(f.s.run());
    CHECK_FALSE(f.s.cancel(d)); // it has run
    f.s.enter_at(at(1030), 0, f.note("e"));
    f.s.clear();
    sync_wait(f.s.run());
    CHECK(f.log == "a1010 c1010 d1020 ");
}

TEST_CASE("scheduler: late actions run in order, and others run in between", "[SCH-05]") {
    fixture f;
    run([](fixture& g) -> task<> {
        for (int ms : {1010, 1020, 1030})
            g.s.enter_at(at(ms), 0, g.note("a"));
        g.s.enter_at(at(1005), 0, [&g] { g.time += 500ms; }); // takes long
        int turns = 0;
        auto others = [&turns]() -> task<> {
            for (;;) {
                ++turns;
                co_await yield();
            }
        };
        task_handle<> h = spawn(others());
        co_await g.s.run();
        CHECK(turns >= 3);
        h.cancel();
    }(f));
    CHECK(f.log == "a1505 a1505 a1505 ");
}

TEST_CASE("scheduler: run_pending runs what is due and gives the time that is left", "[SCH-06]") {
    fixture f;
    f.s.enter_at(at(900), 0, f.note("a"));
    f.s.enter_at(at(1000), 0, f.note("b"));
    f.s.enter_at(at(1025), 0, f.note("c"));
    auto left = sync_wait(f.s.run_pending());
    CHECK(left == 25ms);
    CHECK(f.log == "a1000 b1000 ");
    f.time += 25ms;
    CHECK(sync_wait(f.s.run_pending()) == std::nullopt);
    CHECK(f.log == "a1000 b1000 c1025 ");
    CHECK(f.delays.empty()); // it never waits
}

TEST_CASE("scheduler: actions enter and cancel others, and an error leaves the rest as it is",
          "[SCH-07]") {
    fixture f;
    event_id victim = f.s.enter_at(at(1030), 0, f.note("victim"));
    f.s.enter_at(at(1010), 0, [&] {
        CHECK(f.s.cancel(victim));
        f.s.enter_after(5ms, 0, f.note("a"));
        f.s.enter_at(at(0), 0, f.note("b"));
    });
    f.s.enter_at(at(1020), 0, [] { throw std::runtime_error("an action"); });
    f.s.enter_at(at(1040), 0, f.note("c"));
    CHECK_THROWS_WITH(sync_wait(f.s.run()), "an action");
    CHECK(f.log == "b1010 a1015 ");
    CHECK(f.s.queue().size() == 1);
    sync_wait(f.s.run());
    CHECK(f.log == "b1010 a1015 c1040 ");

    // Coroutines, too.
    auto slow = [&f](const char* name) -> task<> {
        co_await yield();
        f.log = name;
        co_await yield();
        throw std::runtime_error("a coroutine");
    };
    f.s.enter_after(1ms, 0, slow, "slow");
    CHECK_THROWS_WITH(sync_wait(f.s.run()), "a coroutine");
    CHECK(f.log == "slow");
    CHECK(f.s.empty());
}

TEST_CASE("scheduler: what others enter and cancel is noticed at once, also in its sleep",
          "[SCH-08]") {
    scheduler<> s;
    std::atomic<int> ran{0};
    event_id far = s.enter_after(24h, 0, [] { FAIL("a day is over"); });
    std::thread other([&] {
        s.enter_after(0s, 0, [&] { ++ran; });
        weft::tests::until_here([&] { return ran == 1; }); // while run waits for a day to pass
        CHECK(s.cancel(far));
    });
    sync_wait(s.run()); // the cancel ends it
    other.join();
    CHECK(ran == 1);

    // A clock of its own that is awaited.
    struct slow_clock : loop_clock {
        static auto delay(duration) { return sleep_for(24h); }
    };
    scheduler<slow_clock> t;
    far = t.enter_after(1h, 0, [] { FAIL("an hour is over"); });
    std::thread another([&] {
        t.enter_at(time_point::min(), 0, [&] { ++ran; });
        weft::tests::until_here([&] { return ran == 2; });
        t.cancel(far);
    });
    sync_wait(t.run());
    another.join();
}

TEST_CASE("scheduler: an interval repeats at its multiples until it is cancelled", "[SCH-07]") {
    fixture f;
    event_id tick = f.s.enter_every(10ms, 0, f.note("t"));
    f.s.enter_at(at(1025), 0, [&f] { f.time += 20ms; }); // two are left out
    f.s.enter_at(at(1065), 0, [&] { CHECK(f.s.cancel(tick)); });
    sync_wait(f.s.run());
    CHECK(f.log == "t1010 t1020 t1045 t1050 t1060 ");
    CHECK_FALSE(f.s.cancel(tick));

    // By its own action, and errors don't end it.
    f.log.clear();
    int n = 0;
    tick = f.s.enter_every(10ms, 0, [&] {
        if (++n == 2)
            throw std::runtime_error("twice");
        if (n == 3)
            CHECK(f.s.cancel(tick));
    });
    CHECK_THROWS_WITH(sync_wait(f.s.run()), "twice");
    CHECK(f.s.queue().size() == 1);
    CHECK(f.s.queue()[0].every == 10ms);
    sync_wait(f.s.run());
    CHECK(n == 3);
    CHECK_THROWS_AS(f.s.enter_every(0ms, 0, [] {}), std::invalid_argument);
}

TEST_CASE("scheduler: one task runs it at a time, and a stopped run can be repeated", "[SCH-07]") {
    run([]() -> task<> {
        scheduler<> s;
        bool ran = false;
        s.enter_after(24h, 0, [] {});
        event_id every = s.enter_every(24h, 0, [] {});
        task_handle<> h = spawn(s.run());
        co_await yield();
        bool refused = false;
        try {
            co_await s.run();
        } catch (const state_error&) {
            refused = true;
        }
        CHECK(refused);
        h.cancel();
        co_await until([&] { return h.done(); });
        CHECK(s.queue().size() == 2);
        s.clear();
        // Stopped while an action of an interval runs: it stays.
        every = s.enter_every(1ms, 0, [&]() -> task<> {
            ran = true;
            co_await sleep_for(24h);
        });
        task_handle<> k = spawn(s.run());
        co_await until([&] { return ran; });
        k.cancel();
        co_await until([&] { return k.done(); });
        CHECK(s.queue().size() == 1);
        CHECK(s.cancel(every));
        co_await s.run();
    }());
}
