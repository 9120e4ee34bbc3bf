// SPDX-License-Identifier: MIT
// What mutex, semaphore and event are made of, in the three uses that they make of it.
#include "model/gate.hpp"
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>

#include <catch2/catch.hpp>

#include <array>

namespace weft::model {

namespace {

// --- As a mutex ----------------------------------------------------------------------------------

template <class Gate>
struct guarded_by {
    explicit guarded_by(std::uint32_t permits = 1) noexcept : lock(permits) {}
    Gate lock;
    plain<int> n{0};

    void count() noexcept {
        n += 1;
        check(lock.release(1, 1), "it was locked");
    }
    auto task() {
        return [this]() -> weft::task<> {
            co_await lock.pass();
            count();
        };
    }
    void check_rest(int counted) noexcept {
        lock.check_rest(1);
        check(n == counted, "each counts");
    }
};
using guarded = guarded_by<taking>;

void mutex_of_two() {
    guarded g;
    auto twice = [&] {
        home h;
        h.run([&]() -> task<> {
            for (int i = 0; i < 2; ++i) {
                co_await g.lock.pass();
                g.count();
            }
        });
    };
    threads(twice, [&] { home().run(g.task()); });
    g.check_rest(3);
}

void mutex_of_three() {
    guarded g;
    auto once = [&] { home().run(g.task()); };
    threads(once, once, once);
    g.check_rest(3);
}

/// Who is stopped has counted, or left without a trace.
void mutex_with_a_stop() {
    guarded g;
    int counted = 1;
    threads([&] { home().run(g.task()); },
            [&] {
                if (home().run(g.task(), stop::maybe))
                    ++counted;
            });
    g.check_rest(counted);
}

/// The lock that was meant for one who is stopped goes to the next one.
void mutex_with_a_stop_and_a_successor() {
    guarded g;
    bool stayed = false;
    threads([&] { home().run(g.task()); }, [&] { stayed = home().run(g.task(), stop::maybe); },
            [&] { home().run(g.task()); });
    g.check_rest(stayed ? 3 : 2);
}

void mutex_that_is_tried() {
    guarded g;
    int counted = 2;
    auto task = [&] { home().run(g.task()); };
    threads(task, task, [&] {
        if (g.lock.try_pass()) {
            g.count();
            ++counted;
        }
    });
    g.check_rest(counted);
}

/// Who has the lock destroys it, right after it was given.
void mutex_that_ends() {
    auto* g = new guarded;
    check(g->lock.try_pass(), "nobody has it");
    threads([&] { g->count(); },
            [&] {
                home().run([&]() -> task<> { co_await g->lock.pass(); });
                check(g->n == 1, "what was done under the lock is seen");
                delete g;
            });
}

void unlocked_twice() {
    taking lock(0);
    std::array<bool, 2> done{};
    threads([&] { done[0] = lock.release(1, 1); }, [&] { done[1] = lock.release(1, 1); });
    check(done[0] != done[1], "one of them finds it unlocked");
    lock.check_rest(1);
}

/// First come, first served.
void mutex_is_fair() {
    taking lock(0);
    std::array<int, 2> line{};
    std::size_t came = 0;
    std::size_t served = 0;
    auto pass_as = [&](int number) {
        return [&, number] {
            bool waited = false;
            home h;
            h.when_waiting([&] {
                line[came++] = number;
                waited = true;
            });
            h.run([&]() -> task<> {
                co_await lock.pass();
                if (waited)
                    check(line[served++] == number, "it is its turn");
                lock.release(1, 1);
            });
        };
    };
    threads(pass_as(1), pass_as(2), [&] { lock.release(1, 1); });
    lock.check_rest(1);
}

// --- As a semaphore ------------------------------------------------------------------------------

void semaphore_of_two_permits() {
    taking permits(0);
    plain<int> data{0};
    auto acquire = [&] {
        home().run([&]() -> task<> {
            co_await permits.pass();
            check(data == 1, "what was done before the release is seen");
        });
    };
    threads(
        [&] {
            data = 1;
            permits.release(2);
        },
        acquire, acquire);
    permits.check_rest(0);
}

/// A permit carries what those did who gave any of them.
void semaphore_from_two() {
    taking permits(0);
    std::array<plain<int>, 2> data;
    auto release = [&](plain<int>& mine) {
        return [&] {
            mine = 1;
            permits.release();
        };
    };
    threads(release(data[0]), release(data[1]), [&] {
        home().run([&]() -> task<> {
            co_await permits.pass();
            co_await permits.pass();
        });
        check(data[0] == 1 && data[1] == 1, "both are seen");
    });
    permits.check_rest(0);
}

void semaphore_with_stops() {
    taking permits(0);
    int passed = 0;
    auto acquire = [&] {
        if (home().run([&]() -> task<> { co_await permits.pass(); }, stop::surely))
            ++passed;
    };
    threads([&] { permits.release(); }, acquire, acquire);
    check(passed < 2, "there was one permit");
    permits.check_rest(passed == 1 ? 0 : 1);
}

/// A permit comes back, goes to who waits, or waits itself.
void semaphore_is_passed_around() {
    taking permits(1);
    auto use = [&] {
        home().run([&]() -> task<> { co_await permits.pass(); });
        permits.release();
    };
    threads(use, use, [&] {
        if (permits.try_pass())
            permits.release();
    });
    permits.check_rest(1);
}

// --- As an event ---------------------------------------------------------------------------------

void event_is_set() {
    flag event(0);
    plain<int> data{0};
    auto wait = [&] {
        home().run([&]() -> task<> { co_await event.pass(); });
        check(data == 1, "what was done before it was set is seen");
    };
    threads(
        [&] {
            data = 1;
            event.open();
        },
        wait, wait);
    event.check_rest(1);
}

void event_is_looked_at() {
    flag event(0);
    plain<int> data{0};
    threads(
        [&] {
            data = 1;
            event.open();
        },
        [&] {
            if (event.try_pass())
                check(data == 1, "what was done before it was set is seen");
        },
        [&] {
            if (event.is_open())
                check(data == 1, "what was done before it was set is seen");
            event.close();
        });
}

void event_is_set_by_two() {
    flag event(0);
    threads([&] { event.open(); }, [&] { event.open(); },
            [&] { home().run([&]() -> task<> { co_await event.pass(); }); });
    event.check_rest(1);
}

/// Set and cleared at once it still lets everybody go on who waited.
void event_is_pulsed() {
    flag event(0);
    threads([&] { home().run([&]() -> task<> { co_await event.pass(); }); },
            [&] {
                event.wait_for_a_waiter();
                event.open();
                event.close();
            });
    event.check_rest(0);
}

void event_with_a_stop() {
    flag event(0);
    auto wait = [&]() -> task<> { co_await event.pass(); };
    threads([&] { event.open(); }, [&] { home().run(wait, stop::maybe); },
            [&] { home().run(wait); });
    event.check_rest(1);
}

/// Who waited for it destroys it.
void event_that_ends() {
    auto* event = new flag(0);
    threads([&] { event->open(); },
            [&] {
                home().run([&]() -> task<> { co_await event->pass(); });
                delete event;
            });
}

// --- Hot: one loop has it on loan, while the other one waits -------------------------------------

using guarded_hot = guarded_by<hot>;

/// Two tasks of one loop wait, and so does the other loop when it has unlocked.
void hot_mutex() {
    guarded_hot g(0);
    auto twice = [&]() -> task<> {
        for (int i = 0; i < 2; ++i) {
            co_await g.lock.pass();
            g.count();
        }
    };
    threads([&] { home().run([&]() -> task<> { co_await when_all(twice(), g.task()()); }); },
            [&] {
                g.lock.wait_for_a_waiter();
                g.count();
                home().run(g.task());
            });
    g.check_rest(5);
}

/// Who has had it stops the one for whom the loan is there.
void hot_mutex_with_a_stop() {
    guarded_hot g(0);
    threads(
        [&] {
            home().run(
                [&]() -> task<> { static_cast<void>(co_await when_any(g.task()(), g.task()())); });
        },
        [&] {
            g.lock.wait_for_a_waiter();
            g.count();
            home().run(g.task());
        });
    check(g.n >= 3, "who wasn't stopped counts");
    g.check_rest(g.n);
}

/// Who has the lock last destroys it.
void hot_mutex_that_ends() {
    auto* g = new guarded_hot(0);
    auto once = [&]() -> task<> {
        co_await g->lock.pass();
        if (g->n == 3) {
            delete g;
            co_return;
        }
        g->count();
    };
    threads([&] { home().run([&]() -> task<> { co_await when_all(once(), once()); }); },
            [&] {
                g->lock.wait_for_a_waiter();
                g->count();
                home().run(once);
            });
}

/// A permit from elsewhere, while the line is on loan.
void hot_semaphore() {
    hot permits(0);
    auto use = [&]() -> task<> {
        co_await permits.pass();
        permits.release();
    };
    threads([&] { home().run([&]() -> task<> { co_await when_all(use(), use()); }); },
            [&] {
                permits.wait_for_a_waiter();
                permits.release();
                permits.release();
            });
    permits.check_rest(2);
}

/// Whoever finds that nobody has it knows what the last one did who had it.
void hot_mutex_is_looked_at() {
    hot lock(0);
    plain<int> data{0};
    atomics::atomic<int> written{0};
    auto twice = [&]() -> task<> {
        co_await lock.pass();
        lock.release(1, 1);
        co_await lock.pass();
        data = 1;
        written.store(1, std::memory_order_relaxed);
        lock.release(1, 1);
    };
    auto once = [&]() -> task<> {
        co_await lock.pass();
        lock.release(1, 1);
    };
    threads([&] { home().run([&]() -> task<> { co_await when_all(twice(), once()); }); },
            [&] {
                lock.wait_for_a_waiter();
                lock.release(1, 1);
                if (written.load(std::memory_order_relaxed) == 1 && lock.settled_permits() == 1)
                    check(data == 1, "what was done before is seen");
            });
    lock.check_rest(1);
}

/// For three threads: what more bounds find, the models of two threads find.
constexpr bounds three{.stale_reads = 1, .spurious = 0};

const std::vector<named_model> models{
    {"mutex of two", mutex_of_two},
    {"mutex with a stop", mutex_with_a_stop},
    {"mutex that ends", mutex_that_ends},
    {"unlocked twice", unlocked_twice},
    {"semaphore from two", semaphore_from_two, three},
    {"event is set", event_is_set, three},
    {"event is looked at", event_is_looked_at, three},
    {"event is pulsed", event_is_pulsed},
    {"event that ends", event_that_ends},
    {"hot mutex", hot_mutex, three},
    {"hot mutex with a stop", hot_mutex_with_a_stop, three},
    {"hot mutex that ends", hot_mutex_that_ends, three},
    {"hot mutex is looked at", hot_mutex_is_looked_at, three},
    {"hot semaphore", hot_semaphore, three},
    {"mutex of three", mutex_of_three, three},
    {"mutex with a stop and a successor", mutex_with_a_stop_and_a_successor, three},
    {"mutex that is tried", mutex_that_is_tried, three},
    {"semaphore of two permits", semaphore_of_two_permits, three},
    {"mutex is fair", mutex_is_fair, three},
    {"semaphore with stops", semaphore_with_stops, three},
    {"semaphore is passed around", semaphore_is_passed_around, three},
    {"event is set by two", event_is_set_by_two, three},
    {"event with a stop", event_with_a_stop, three},
};

} // namespace

TEST_CASE("turnstile: no permit or wake-up is lost, and each memory order is needed for that",
          "[P1][P3]") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
