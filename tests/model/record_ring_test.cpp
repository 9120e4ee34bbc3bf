// SPDX-License-Identifier: MIT
#include "model/weaken.hpp"

#include <weft/ipc/detail/doorbell.hpp>
#include <weft/ipc/detail/record_ring.hpp>

#include <catch2/catch.hpp>

#include <array>

namespace weft::model {

namespace {

using ipc::detail::record_kind;
using ipc::detail::ring_outcome;

/// The records' memory. It isn't mapped twice; here no record lies across the end.
class block {
public:
    block(std::byte* begin, std::uint32_t granules) noexcept : begin_(begin), size_(granules) {}
    [[nodiscard]] std::byte* at(std::uint32_t g) const noexcept {
        return begin_ + std::size_t{g % size_} * 8;
    }
    void prepare(std::uint32_t, std::uint32_t) const noexcept {}

private:
    std::byte* begin_;
    std::uint32_t size_;
};

using ring = ipc::detail::record_ring<atomics, block>;
using doorbell_word = ipc::detail::doorbell<atomics>;

/// A ring, its bells, and whether each of those who use it (from 1 on) is dead.
struct shared {
    /// There is room for two numbers, or as many as `room` says.
    explicit shared(bool lane, std::uint32_t capacity = 0, std::uint32_t room = 2)
        : r(control, block(bytes.data(), 2 * room), 2 * room, capacity, lane) {}

    ring::control control;
    alignas(8) std::array<std::byte, 64> bytes{};
    ring r;
    atomics::atomic<bool> dead[5];

    struct burial {
        bool any = false;    // somebody was dead
        bool others = false; // somebody else than the caller holds something, and lives
    };
    burial bury_the_dead(std::uint64_t me) noexcept {
        burial b;
        for (std::uint64_t who : r.holders()) {
            if (who == 0 || who == me)
                continue;
            if (dead[who].load(std::memory_order_acquire))
                b.any = r.bury(who) || b.any;
            else
                b.others = true;
        }
        return b;
    }
    /// Before `me` tries again.
    void wait_after(ring_outcome how, std::uint64_t me) noexcept {
        burial b = bury_the_dead(me);
        if (!b.any && (b.others || how == ring_outcome::full || how == ring_outcome::empty))
            atomics::pause();
    }
    auto dies(std::uint64_t who) {
        return [this, who] { dead[who].store(true, std::memory_order_release); };
    }

    ring_outcome try_put(std::uint64_t who, record_kind kind, std::uint32_t number) {
        return r.put(who, kind, sizeof number, [number](std::byte* to) {
            writes(to);
            std::memcpy(to, &number, sizeof number);
        });
    }
    /// False: nothing can be put any more.
    bool put(std::uint64_t who, record_kind kind, std::uint32_t number) {
        while (true) {
            ring_outcome how = try_put(who, kind, number);
            check(how != ring_outcome::damaged, "it is sound");
            if (how == ring_outcome::done || how == ring_outcome::shut_down)
                return how == ring_outcome::done;
            wait_after(how, who);
        }
    }
    bool put(std::uint64_t who, std::uint32_t number) {
        return put(who, record_kind::whole, number);
    }

    struct got {
        ring_outcome how;
        record_kind kind = record_kind::whole;
        std::uint32_t number = 0;
    };
    got try_get(std::uint64_t who, bool continues = false) {
        got g{ring_outcome::empty};
        g.how =
            r.get(who, continues, [&g](record_kind k, const std::byte* from, std::uint32_t size) {
                check(size == sizeof g.number, "a record has the size that it was put with");
                reads(from);
                std::memcpy(&g.number, from, sizeof g.number);
                g.kind = k;
                return true;
            });
        check(g.how != ring_outcome::damaged, "it is sound");
        return g;
    }
    got get(std::uint64_t who, bool continues = false) {
        while (true) {
            got g = try_get(who, continues);
            if (g.how == ring_outcome::done || g.how == ring_outcome::shut_down ||
                g.how == ring_outcome::broken_off)
                return g;
            wait_after(g.how, who);
        }
    }
};

/// Which numbers came out. Those of a writer are from 10 times it on, and must come in order.
class came {
public:
    void add(std::uint32_t number) noexcept {
        std::uint32_t writer = number / 10;
        check(number % 10 >= next_[writer], "what a writer puts comes in order, and once");
        next_[writer] = number % 10 + 1;
        ++count_;
    }
    [[nodiscard]] int count() const noexcept { return count_; }

private:
    std::array<std::uint32_t, 5> next_{};
    int count_ = 0;
};

/// Everything that is left, when all have ended.
void drain(shared& s, came& c) {
    s.bury_the_dead(4);
    bool continues = false;
    while (true) {
        shared::got g = s.try_get(4, continues);
        if (g.how != ring_outcome::done && g.how != ring_outcome::broken_off)
            break;
        continues = g.how == ring_outcome::done && g.kind != record_kind::whole;
        if (g.how == ring_outcome::done && g.kind == record_kind::whole)
            c.add(g.number);
    }
    check(s.r.size() == 0, "what is counted is there");
}

void lane_full_and_empty() {
    shared s(true);
    came c;
    threads(
        [&] {
            for (std::uint32_t i = 0; i != 4; ++i)
                s.put(1, 10 + i);
        },
        [&] {
            for (int i = 0; i != 4; ++i)
                c.add(s.get(2).number);
        });
    check(c.count() == 4, "everything came");
}

void two_put() {
    shared s(false);
    came c;
    threads([&] { s.put(1, 10); }, [&] { s.put(2, 20); });
    drain(s, c);
    check(c.count() == 2, "everything came");
}

void two_get() {
    shared s(false);
    s.put(1, 10);
    s.put(1, 11);
    came one, other;
    threads([&] { one.add(s.get(2).number); }, [&] { other.add(s.get(3).number); });
    check(one.count() == 1 && other.count() == 1, "each got one");
}

void full_and_empty() {
    shared s(false, 1);
    came c;
    threads([&] { s.put(1, 10), s.put(1, 11); },
            [&] {
                c.add(s.get(2).number);
                c.add(s.get(2).number);
            });
    check(c.count() == 2, "everything came");
}

void one_who_puts_dies() {
    shared s(false);
    came c;
    bool put = false;
    threads(mortal{[&] { put = s.put(1, 10); }, s.dies(1)}, [&] { s.put(2, 20); });
    drain(s, c);
    check(c.count() == 2 || (!put && c.count() == 1), "it was put, or it wasn't");
}

void one_who_gets_dies() {
    shared s(false);
    s.put(1, 10);
    s.put(1, 11);
    came c, of_the_dead;
    threads(mortal{[&] { of_the_dead.add(s.get(2).number); }, s.dies(2)},
            [&] { c.add(s.get(3).number); });
    drain(s, c);
    // What it had taken out is gone with it; if it hadn't, somebody else has it.
    check(c.count() == (s.dead[2].load() ? c.count() : 1), "each got one");
    check(c.count() >= 1 && c.count() + of_the_dead.count() <= 2, "nothing comes twice");
}

/// One item, in parts or not. Gives what its last part says, or 0: there won't be any more of them.
std::uint32_t get_item(shared& s, std::uint64_t who) {
    std::uint32_t before = 0;
    while (true) {
        shared::got g = s.get(who, before != 0);
        if (g.how == ring_outcome::broken_off)
            return 0;
        if (g.kind == record_kind::whole)
            return g.number;
        check(g.kind == record_kind::first ? before == 0 : g.number == before + 1,
              "the parts of an item come one after the other");
        before = g.number;
        if (g.kind == record_kind::last)
            return before;
    }
}

/// Three parts through a ring that has room for two.
void parts() {
    shared s(false);
    std::uint32_t got = 0;
    threads(
        [&] {
            s.put(1, record_kind::first, 1);
            s.put(1, record_kind::more, 2);
            s.put(1, record_kind::last, 3);
        },
        [&] { got = get_item(s, 2); });
    check(got == 3, "it came");
    check(s.r.size() == 0 && s.r.ever_put() == 1, "it counts as one");
}

void nobody_puts_in_between() {
    shared s(false, 0, 4);
    std::uint32_t one = 0;
    threads(
        [&] {
            s.put(1, record_kind::first, 1);
            s.put(1, record_kind::last, 2);
            one = get_item(s, 1);
        },
        [&] { s.put(2, 20); });
    std::uint32_t other = get_item(s, 3);
    check(one + other == 22, "both came");
}

void nobody_gets_in_between() {
    shared s(false);
    s.put(1, record_kind::first, 1);
    s.put(1, record_kind::last, 2);
    std::uint32_t one = 0, other = 0;
    threads([&] { one = get_item(s, 2); },
            [&] {
                s.put(3, 30);
                other = get_item(s, 3);
            });
    check(one + other == 32, "each got one");
}

/// Who puts parts gives up.
void parts_end_early() {
    shared s(false);
    std::uint32_t got = 0;
    threads(
        [&] {
            s.put(1, record_kind::first, 1);
            s.r.break_off();
            s.put(1, 20);
        },
        [&] {
            while (got == 0)
                got = get_item(s, 2);
        });
    check(got == 20, "half an item isn't one");
}

/// Or dies.
void part_putter_dies() {
    shared s(false, 0, 4);
    std::uint32_t got = 0;
    threads(mortal{[&] {
                       s.put(1, record_kind::first, 1);
                       s.put(1, record_kind::last, 2);
                   },
                   s.dies(1)},
            [&] {
                s.put(2, 20);
                while (got == 0)
                    got = get_item(s, 2);
            });
    check(got == 2 || got == 20, "half an item isn't one");
    came c;
    drain(s, c);
}

/// Who gets the parts dies, and the others get what comes after them.
void part_getter_dies() {
    shared s(false, 0, 4);
    s.put(1, record_kind::first, 1);
    s.put(1, record_kind::last, 2);
    threads(mortal{[&] { get_item(s, 2); }, s.dies(2)}, [&] {
        s.put(3, 30);
        std::uint32_t got = get_item(s, 3);
        check(got == 2 || got == 30, "half an item isn't one");
    });
}

void shut_down_while_one_puts() {
    shared s(false);
    bool put = false;
    came c;
    threads([&] { put = s.put(1, 10); },
            [&] {
                while (s.r.shut_down(2, false) == ring_outcome::busy)
                    atomics::pause();
                while (true) {
                    shared::got g = s.get(2);
                    if (g.how == ring_outcome::shut_down)
                        break;
                    c.add(g.number);
                }
            });
    check(c.count() == (put ? 1 : 0), "what was put before the end is got before it");
    check(s.try_get(3).how == ring_outcome::shut_down, "the end stays the end");
}

/// And one who doesn't know of it gets.
void shut_down_while_one_gets() {
    shared s(true);
    came c;
    threads(
        [&] {
            s.put(1, 10);
            s.r.shut_down(1, false);
        },
        [&] {
            for (shared::got g = s.get(2); g.how != ring_outcome::shut_down; g = s.get(2))
                c.add(g.number);
        });
    check(c.count() == 1, "what was put before the end is got before it");
}

void dropped_while_one_gets() {
    shared s(false);
    s.put(1, 10);
    s.put(1, 11);
    came c;
    std::uint32_t counted = 0;
    threads(
        [&] {
            if (shared::got g = s.try_get(2); g.how == ring_outcome::done)
                c.add(g.number);
        },
        [&] {
            while (s.r.shut_down(3, true) == ring_outcome::busy)
                atomics::pause();
            counted = s.r.ever_put();
        });
    check(s.r.size() == 0, "nothing is there any more");
    check(s.r.ever_put() == static_cast<std::uint32_t>(c.count()), "what is dropped is done");
    check(counted == s.r.ever_put(), "and stays so");
}

void counts_while_others_put_and_get() {
    shared s(true);
    threads([&] { s.put(1, 10), s.get(2); }, [&] { check(s.r.size() <= 1, "it counts"); });
}

/// The next one in line goes on where the dead has come to, though a third one has buried it.
void another_buries() {
    shared s(false);
    came c;
    atomics::atomic<bool> lives{false};
    threads(
        mortal{[&] {
                   s.put(1, 10);
                   lives.store(true, std::memory_order_relaxed);
               },
               s.dies(1)},
        [&] {
            while (!s.dead[1].load(std::memory_order_acquire) &&
                   !lives.load(std::memory_order_relaxed))
                atomics::pause();
            s.bury_the_dead(2);
        },
        [&] {
            while (s.try_put(3, record_kind::whole, 30) != ring_outcome::done)
                atomics::pause();
        });
    drain(s, c);
}

/// Both ends with bells, as processes use them.
struct with_bells : shared {
    using shared::shared;
    doorbell_word items, room;
    unsigned at_items = 0, at_room = 0; // asleep, or about to be: such a one arrives as well

    unsigned& asleep_at(const atomics::atomic<std::uint32_t>& word) {
        return &word == &items.word ? at_items : at_room;
    }
    unsigned wake(const atomics::atomic<std::uint32_t>& word, unsigned n) {
        unsigned there = asleep_at(word);
        atomics::wake(word, n);
        return there < n ? there : n;
    }
    auto waker() {
        return [this](auto& word, unsigned n) { return wake(word, n); };
    }
    /// Timed: it looks again after a while, for who should have rung may have died.
    void sleep(doorbell_word& bell, std::uint32_t seen, bool timed) {
        ++asleep_at(bell.word);
        atomics::wait(bell.word, seen, timed);
        --asleep_at(bell.word);
    }
    void put_sleeping(std::uint64_t who, std::uint32_t number, bool timed = false) {
        while (true) {
            ring_outcome how = try_put(who, record_kind::whole, number);
            if (how == ring_outcome::full) {
                std::uint32_t seen = room.announce();
                how = try_put(who, record_kind::whole, number);
                if (how == ring_outcome::full)
                    sleep(room, seen, timed);
            }
            if (how == ring_outcome::done)
                break;
            if (how != ring_outcome::full)
                wait_after(how, who);
        }
        items.ring_one(waker());
    }
    /// Who has slept rings for the next one, if there is more.
    void pass_on() {
        if (!r.looks_empty())
            items.ring_one(waker());
    }
    got get_sleeping(std::uint64_t who, bool timed = false) {
        bool slept = false;
        while (true) {
            got g = try_get(who);
            if (g.how == ring_outcome::empty) {
                std::uint32_t seen = items.announce();
                g = try_get(who);
                if (g.how == ring_outcome::empty) {
                    sleep(items, seen, timed);
                    items.arrive();
                    slept = true;
                }
            }
            if (g.how == ring_outcome::done) {
                if (slept)
                    pass_on();
                room.ring_all(waker());
                return g;
            }
            if (g.how != ring_outcome::empty)
                wait_after(g.how, who);
        }
    }
};

void lane_sleeps() {
    with_bells s(true, 1);
    came c;
    threads(
        [&] {
            for (std::uint32_t i = 0; i != 3; ++i)
                s.put_sleeping(1, 10 + i);
        },
        [&] {
            for (int i = 0; i != 3; ++i)
                c.add(s.get_sleeping(2).number);
        });
    check(c.count() == 3, "everything came");
}

void two_sleep_and_one_puts_twice() {
    with_bells s(false);
    threads([&] { s.put_sleeping(1, 10), s.put_sleeping(1, 11); }, [&] { s.get_sleeping(2); },
            [&] { s.get_sleeping(3); });
    check(s.r.size() == 0, "each got one");
}

void two_put_for_two_who_sleep() {
    with_bells s(false);
    threads([&] { s.put_sleeping(1, 10); }, [&] { s.put_sleeping(2, 20); },
            [&] { s.get_sleeping(3); }, [&] { s.get_sleeping(4); });
    check(s.r.size() == 0, "each got one");
}

/// Two lanes' worth of items, and one who gets both: nobody needs to ring for the second.
void one_sleeps_for_two() {
    with_bells s(false);
    threads([&] { s.put_sleeping(1, 10); }, [&] { s.put_sleeping(2, 20); },
            [&] { s.get_sleeping(3), s.get_sleeping(3); });
    check(s.r.size() == 0, "it got both");
}

/// Who arrives needs no look at the back for the last item that is known, and yet sees that there
/// is one more.
void one_who_was_woken_takes_the_last_known() {
    with_bells s(false, 0, 3);
    threads(
        [&] {
            s.put_sleeping(1, 10), s.put_sleeping(1, 11);
            s.get_sleeping(1);
        },
        [&] { s.put_sleeping(2, 20); }, [&] { s.get_sleeping(3); }, [&] { s.get_sleeping(4); });
    check(s.r.size() == 0, "each got one");
}

/// It was woken, and doesn't want it any more.
void one_who_was_woken_leaves() {
    with_bells s(false);
    threads([&] { s.put_sleeping(1, 10); },
            [&] {
                std::uint32_t seen = s.items.announce();
                if (!s.r.looks_empty())
                    return;
                s.sleep(s.items, seen, true);
                s.items.arrive();
                s.pass_on();
            },
            [&] { s.get_sleeping(3); });
    check(s.r.size() == 0, "the other one got it");
}

/// Or dies. Those who sleep look now and then.
void one_who_was_woken_dies() {
    with_bells s(false);
    came c, of_the_dead;
    s.put(1, 10);
    threads(
        mortal{[&] { of_the_dead.add(s.get_sleeping(2, true).number); }, s.dies(2)},
        [&] { c.add(s.get_sleeping(3, true).number); },
        [&] { s.put_sleeping(1, 11, true), s.put_sleeping(1, 12, true); });
    drain(s, c);
    check(c.count() + of_the_dead.count() <= 3 && c.count() >= 2, "it took one with it at most");
}

void two_sleep_until_there_is_room() {
    with_bells s(false, 1);
    s.put(1, 10);
    came c;
    threads([&] { s.put_sleeping(1, 11); }, [&] { s.put_sleeping(2, 20); },
            [&] {
                for (int i = 0; i != 3; ++i)
                    c.add(s.get_sleeping(3).number);
            });
    check(c.count() == 3, "everything came");
}

/// It dies between putting and ringing, or before it has put.
void one_who_should_ring_dies() {
    with_bells s(false);
    bool over = false;
    threads(mortal{[&] { s.put_sleeping(1, 10); }, s.dies(1)}, [&] {
        while (!over) {
            shared::got g = s.try_get(2);
            bool dead = s.dead[1].load(std::memory_order_acquire);
            if (g.how == ring_outcome::empty && !dead) {
                std::uint32_t seen = s.items.announce();
                g = s.try_get(2);
                if (g.how == ring_outcome::empty)
                    s.sleep(s.items, seen, true);
            }
            over = g.how == ring_outcome::done || dead;
        }
    });
    came c;
    drain(s, c);
}

void one_waits_until_all_is_done() {
    with_bells s(true);
    doorbell_word done;
    s.put(1, 10);
    threads(
        [&] {
            s.get(2);
            if (s.r.note_done() == ring::done_outcome::all_done)
                done.ring_all(s.waker());
        },
        [&] {
            while (s.r.unfinished() != 0) {
                std::uint32_t seen = done.announce();
                if (s.r.unfinished() != 0)
                    s.sleep(done, seen, false);
            }
        });
    check(s.r.note_done() == ring::done_outcome::too_often, "there was one");
}

void one_waits_until_all_is_dropped() {
    with_bells s(true);
    doorbell_word done;
    s.put(1, 10);
    threads(
        [&] {
            s.r.shut_down(2, true);
            done.ring_all(s.waker());
        },
        [&] {
            while (s.r.unfinished() != 0) {
                std::uint32_t seen = done.announce();
                if (s.r.unfinished() != 0)
                    s.sleep(done, seen, false);
            }
        });
}

constexpr bounds narrow{.stale_reads = 1, .spurious = 0};
constexpr bounds fewer{.preemptions = 1, .stale_reads = 1, .spurious = 0};
constexpr bounds fewest{.preemptions = 0, .stale_reads = 1, .spurious = 0};
constexpr bounds one_dies{.stale_reads = 1, .spurious = 0, .timeouts = 0, .deaths = 1};
constexpr bounds one_dies_of_few{
    .preemptions = 1, .stale_reads = 1, .spurious = 0, .timeouts = 0, .deaths = 1};

const std::vector<named_model> models{
    {"ring, lane", lane_full_and_empty, narrow},
    {"ring, two put", two_put, narrow},
    {"ring, two get", two_get, narrow},
    {"ring, full and empty", full_and_empty, fewer},
    {"ring, counts", counts_while_others_put_and_get, narrow},
    {"ring, all done", one_waits_until_all_is_done, narrow},
    {"ring, all dropped", one_waits_until_all_is_dropped, narrow},
    {"ring, shut down", shut_down_while_one_puts, narrow},
    {"ring, shut down, lane", shut_down_while_one_gets, narrow},
    {"ring, dropped", dropped_while_one_gets, narrow},
    {"ring, parts", parts, fewer},
    {"ring, nobody puts in between", nobody_puts_in_between, narrow},
    {"ring, nobody gets in between", nobody_gets_in_between, narrow},
    {"ring, parts broken off", parts_end_early, narrow},
    {"ring, lane sleeps", lane_sleeps, narrow},
    {"ring, two sleep", two_sleep_and_one_puts_twice, fewer},
    {"ring, two put for two", two_put_for_two_who_sleep, fewer},
    {"ring, one sleeps for two", one_sleeps_for_two, fewer},
    {"ring, one who was woken leaves", one_who_was_woken_leaves, fewer},
    {"ring, last known", one_who_was_woken_takes_the_last_known, fewest},
    {"ring, one who was woken dies", one_who_was_woken_dies, one_dies_of_few},
    {"ring, two wait for room", two_sleep_until_there_is_room, fewer},
    {"ring, one who puts dies", one_who_puts_dies, one_dies},
    {"ring, one who gets dies", one_who_gets_dies, one_dies},
    {"ring, another buries", another_buries, one_dies_of_few},
    {"ring, who puts parts dies", part_putter_dies, one_dies},
    {"ring, who gets parts dies", part_getter_dies, one_dies_of_few},
    {"ring, who should ring dies", one_who_should_ring_dies, one_dies},
};

} // namespace

TEST_CASE("record_ring: everything comes once and in its writer's order, whoever vanishes at any "
          "step, and needs its memory orders",
          "[P1][P20][MP-QUE-04]") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
