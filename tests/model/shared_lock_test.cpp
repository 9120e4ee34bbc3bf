// SPDX-License-Identifier: MIT
// The words that locks, semaphores and events between processes are made of, with those who wait
// as shared_wait has them wait.
#include "model/weaken.hpp"

#include <weft/ipc/detail/lock_word.hpp>
#include <weft/ipc/detail/permit_word.hpp>

#include <catch2/catch.hpp>

#include <array>

namespace weft::model {

namespace {

using weft::ipc::detail::taking;
using lock = weft::ipc::detail::lock_word<atomics>;
using permits = weft::ipc::detail::permit_word<atomics>;
using flag = weft::ipc::detail::flag_word<atomics>;
using mark = std::uint64_t;

/// What one who waits does at the end of each sleep.
enum class stop : std::uint8_t { never, maybe };

/// Processes that may be gone, by their marks.
struct deaths {
    std::array<atomic<bool>, 4> gone;
    bool possible = false; // then nobody relies on wake-ups

    void note(mark m) noexcept { gone[m].store(true, std::memory_order_relaxed); }
    [[nodiscard]] bool is_gone(mark m) const noexcept {
        return possible && m < gone.size() && gone[m].load(std::memory_order_relaxed);
    }
};

void give(lock& l) noexcept {
    auto given = l.give_back();
    check(given.was_held, "it is given back by one who has it");
    if (given.wake_all)
        atomics::wake(l.atomic(), ~0u);
    else if (given.wake_one)
        atomics::wake(l.atomic(), 1);
}

taking take(lock& l, mark me, const deaths& d, stop s = stop::never) noexcept {
    bool slept = false;
    bool woken = false;
    bool overtaken = false;
    while (true) {
        taking t = l.try_take(me, slept, overtaken);
        if (t == taking::not_free && d.possible) {
            mark holder = lock::mark_in(l.state());
            if (d.is_gone(holder) && l.take_from(holder, me))
                t = taking::taken_from_the_dead;
        }
        if (t != taking::not_free)
            return t;
        overtaken = overtaken || woken;
        if (auto value = l.line_up(slept, overtaken)) {
            auto how = atomics::wait(l.atomic(), mark{*value}, d.possible || s == stop::maybe);
            slept = true;
            woken = how == detail::woken::by_wake;
            if (s == stop::maybe && (how == detail::woken::timed_out || choose(2) == 1)) {
                bool wakes = overtaken && l.leave();
                if (wakes || woken)
                    atomics::wake(l.atomic(), 1);
                return taking::not_free;
            }
        }
    }
}

void three_take_turns() {
    lock l;
    deaths d;
    plain<int> n{0};
    auto adds = [&](mark me) {
        return [&, me] {
            check(take(l, me, d) == taking::taken, "it is simply taken");
            n += 1;
            give(l);
        };
    };
    threads(adds(1), adds(2), adds(3));
    check(n == 3 && lock::free_for(l.state(), true), "each had it once");
}

void one_gives_up() {
    lock l;
    deaths d;
    plain<int> n{0};
    auto adds = [&](mark me, stop s) {
        return [&, me, s] {
            if (take(l, me, d, s) == taking::taken) {
                n += 1;
                give(l);
            }
        };
    };
    threads(adds(1, stop::never), adds(2, stop::maybe), adds(3, stop::never));
    check(n >= 2 && lock::free_for(l.state(), true), "nobody else misses it");
}

/// Any of them may vanish, wherever it is.
void one_dies(bool repairs) {
    lock l;
    deaths d;
    d.possible = true;
    atomic<int> inside{0};
    atomic<int> dead_owner{0};
    auto works = [&, repairs](mark me) {
        return mortal{[&, me, repairs] {
                          for (int i = 0; i < 2; ++i) {
                              taking t = take(l, me, d);
                              if (t == taking::lost)
                                  return;
                              if (t == taking::taken_from_the_dead) {
                                  dead_owner.fetch_add(1, std::memory_order_relaxed);
                                  inside.store(0, std::memory_order_relaxed);
                                  if (repairs)
                                      l.mark_consistent();
                              }
                              check(inside.fetch_add(1, std::memory_order_relaxed) == 0,
                                    "one at a time");
                              inside.fetch_sub(1, std::memory_order_relaxed);
                              give(l);
                          }
                      },
                      [&, me] { d.note(me); }};
    };
    auto a = works(1);
    auto b = works(2);
    threads(a, b);
    check(dead_owner.load() <= 1, "the death is told once");
    if (repairs)
        check(lock::holder_in(l.state()) != lock::lost, "it was repaired");
    else if (dead_owner.load() == 1)
        check(lock::holder_in(l.state()) == lock::lost || d.gone[1].load() || d.gone[2].load(),
              "it wasn't repaired");
}

void pass(permits& p, bool timed, stop s = stop::never) noexcept {
    bool slept = false;
    bool woken = false;
    bool overtaken = false;
    while (true) {
        auto took = p.try_take(slept, overtaken);
        if (took.wake_one)
            atomics::wake(p.atomic(), 1);
        if (took.taken)
            return;
        overtaken = overtaken || woken;
        if (auto value = p.line_up(slept, overtaken)) {
            auto how = atomics::wait(p.atomic(), *value, timed || s == stop::maybe);
            slept = true;
            woken = how == detail::woken::by_wake;
            if (s == stop::maybe && (how == detail::woken::timed_out || choose(2) == 1)) {
                bool wakes = overtaken && p.leave();
                if (wakes || woken)
                    atomics::wake(p.atomic(), 1);
                return;
            }
        }
    }
}

void release(permits& p, std::uint32_t n) noexcept {
    auto done = p.release(n, permits::most);
    check(done.fits, "there is room for them");
    if (done.wake)
        atomics::wake(p.atomic(), n);
}

void two_releases_for_two() {
    permits p(0);
    threads([&] { pass(p, false); }, [&] { pass(p, false); },
            [&] {
                release(p, 1);
                release(p, 1);
            });
    check(p.permits() == 0, "each takes one");
}

void passes_data() {
    permits p(0);
    plain<int> data{0};
    threads(
        [&] {
            pass(p, false);
            check(data == 1, "what was done before the release is seen");
        },
        [&] {
            data = 1;
            release(p, 1);
        });
}

void one_stops_waiting() {
    permits p(0);
    threads([&] { pass(p, false); }, [&] { pass(p, false, stop::maybe); }, [&] { release(p, 2); });
    check(p.permits() <= 1, "who stays gets one");
}

void a_waiter_dies() {
    permits p(0);
    auto dies = mortal{[&] { pass(p, true); }, [] {}};
    threads(dies, [&] { pass(p, true); }, [&] { release(p, 2); });
}

void wait_for(flag& f, std::uint32_t then, bool timed) noexcept {
    while (!flag::passes(f.look(), then)) {
        if (auto value = f.line_up(then))
            atomics::wait(f.atomic(), *value, timed);
    }
}

void set_and_cleared() {
    flag f;
    plain<int> data{0};
    std::uint32_t then = f.look();
    auto waits = [&] {
        wait_for(f, then, false);
        check(data == 1, "what was done before set() is seen");
    };
    threads(waits, waits, [&] {
        data = 1;
        if (f.set())
            atomics::wake(f.atomic(), ~0u);
        f.clear();
    });
}

constexpr bounds few{.stale_reads = 1, .spurious = 0};
constexpr bounds with_a_death{.stale_reads = 1, .spurious = 0, .timeouts = 1, .deaths = 1};

const std::vector<named_model> lock_models{
    {"shared lock, three take turns", three_take_turns, few},
    {"shared lock, one gives up",
     one_gives_up,
     {.preemptions = 1, .stale_reads = 1, .spurious = 0, .timeouts = 1}},
};
const std::vector<named_model> permit_models{
    {"shared semaphore, passes data", passes_data},
    {"shared semaphore, two releases for two", two_releases_for_two, few},
    {"shared semaphore, one stops waiting", one_stops_waiting, few},
};

} // namespace

TEST_CASE("shared lock: one at a time, no wake-up is lost, and it needs its memory orders",
          "[P1][P3]") {
    auto piece = all_hold(lock_models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

TEST_CASE("shared lock: whoever vanishes, the others go on", "[P19][P20]") {
    holds("shared lock, one dies", [] { one_dies(true); }, with_a_death);
    holds("shared lock, one dies and nobody repairs", [] { one_dies(false); }, with_a_death);
}

TEST_CASE("shared semaphore: each permit lets one through, and it needs its memory orders",
          "[P1][P3]") {
    auto piece = all_hold(permit_models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

TEST_CASE("shared semaphore: a waiter that vanishes holds nobody up", "[P20]") {
    holds("shared semaphore, a waiter dies", a_waiter_dies, with_a_death);
}

TEST_CASE("shared event: setting it releases who waited, and shows what was done before",
          "[T-EVT-05]") {
    auto piece = all_hold({{"shared event", set_and_cleared, few}});
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
