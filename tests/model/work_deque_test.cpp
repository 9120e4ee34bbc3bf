// SPDX-License-Identifier: MIT
#include "model/weaken.hpp"

#include <weft/runtime/detail/work_deque.hpp>

#include <catch2/catch.hpp>

namespace weft::model {

namespace {

struct job {
    plain<int> prepared{0};
    plain<int> taken{0}; // by two without order between them: a race
};

template <class Atomics, std::size_t FirstSize>
using deque = weft::detail::work_deque<job, Atomics, FirstSize>;

template <class Deque>
void push(Deque& d, job& j) {
    j.prepared = 1;
    check(d.reserve(1), "there is memory");
    d.push(j);
}

bool take(job* j) {
    if (j == nullptr)
        return false;
    check(j->prepared == 1, "what was done before the push is seen");
    check(j->taken == 0, "nothing is taken twice");
    j->taken = 1;
    return true;
}

template <class Deque, std::size_t N>
void nothing_is_left(Deque& d, const job (&jobs)[N]) {
    while (take(d.pop()))
        ;
    for (const job& j : jobs)
        check(j.taken == 1, "nothing is lost");
    check(d.looks_empty(), "it is empty");
}

template <class Atomics>
void owner_and_thief_want_the_last() {
    deque<Atomics, 2> d;
    job jobs[1];
    push(d, jobs[0]);
    threads([&] { take(d.pop()); }, [&] { take(d.steal()); });
    nothing_is_left(d, jobs);
}

template <class Atomics>
void one_thief() {
    deque<Atomics, 2> d;
    job jobs[2];
    threads(
        [&] {
            push(d, jobs[0]);
            push(d, jobs[1]);
            take(d.pop());
            take(d.pop());
        },
        [&] {
            take(d.steal());
            take(d.steal());
        });
    nothing_is_left(d, jobs);
}

template <class Atomics>
void two_thieves() {
    deque<Atomics, 2> d;
    job jobs[2];
    threads(
        [&] {
            push(d, jobs[0]);
            push(d, jobs[1]);
            take(d.pop());
        },
        [&] { take(d.steal()); }, [&] { take(d.steal()); });
    nothing_is_left(d, jobs);
}

/// A slot is used again while a thief still looks at what was in it.
template <class Atomics>
void slots_are_used_again() {
    deque<Atomics, 1> d;
    job jobs[3];
    threads(
        [&] {
            for (job& j : jobs) {
                push(d, j);
                take(d.pop());
            }
        },
        [&] {
            take(d.steal());
            take(d.steal());
        });
    nothing_is_left(d, jobs);
}

template <class Atomics>
void it_grows_while_a_thief_is_in_it() {
    deque<Atomics, 1> d;
    job jobs[3];
    threads(
        [&] {
            for (job& j : jobs)
                push(d, j);
            take(d.pop());
        },
        [&] {
            take(d.steal());
            take(d.steal());
        });
    nothing_is_left(d, jobs);
}

/// As a pool does: who pushes then looks for sleepers, and who lies down, or looks no longer, then
/// looks for work.
template <class Atomics>
void one_pushes_one_goes_to_sleep() {
    deque<Atomics, 2> d;
    job jobs[1];
    atomics::atomic<bool> asleep{false};
    atomics::atomic<int> goes_on{0}; // for what a thread has stored is seen when it has ended
    bool woken = false, found = false;
    check(d.reserve(1), "there is memory");
    threads(
        [&] {
            d.push(jobs[0]);
            woken = asleep.load();
            goes_on.store(1, std::memory_order_relaxed);
        },
        [&] {
            asleep.store(true);
            Atomics::fence_all();
            found = !d.looks_empty();
        });
    check(woken || found, "one of them sees the other");
}

/// A thief doesn't count as looking for work any more before it steals, and looks for more when it
/// has stolen: the fence in between is the steal's.
template <class Atomics>
void one_pushes_one_steals_and_looks() {
    deque<Atomics, 2> d, other;
    job jobs[2];
    atomics::atomic<bool> looks{true};
    atomics::atomic<int> goes_on{0};
    bool woken = false, found = false;
    push(d, jobs[0]);
    check(other.reserve(1), "there is memory");
    threads(
        [&] {
            other.push(jobs[1]);
            woken = !looks.load();
            goes_on.store(1, std::memory_order_relaxed);
        },
        [&] {
            looks.store(false);
            static_cast<void>(d.steal());
            found = !other.looks_empty();
        });
    check(woken || found, "one of them sees the other");
}

constexpr bounds narrow{.stale_reads = 1};

template <class Atomics>
std::vector<named_model> models() {
    return {
        {"work_deque, the last", owner_and_thief_want_the_last<Atomics>},
        {"work_deque, sleep", one_pushes_one_goes_to_sleep<Atomics>},
        {"work_deque, look for more", one_pushes_one_steals_and_looks<Atomics>},
        {"work_deque, one thief", one_thief<Atomics>},
        {"work_deque, two thieves", two_thieves<Atomics>},
        {"work_deque, slots used again", slots_are_used_again<Atomics>, narrow},
        {"work_deque, grows", it_grows_while_a_thief_is_in_it<Atomics>, narrow},
    };
}

} // namespace

// As in the paper, though weaker ones do here: the comparisons are ordered by the loads before
// them, and the second of steal()'s by the first. Without the acquire in make_room() a thief could
// read what the owner stores later, and no model here reads a store of the future.

TEST_CASE("work_deque: each item comes out once, to the owner or a thief, and needs its orders") {
    auto piece = all_hold(models<atomics_without_fences>());
    const std::string file = "runtime/detail/work_deque.hpp: ";
    CHECK(piece.not_missed() == std::vector<std::string>{
                                    file + "make_room: load acquire -> relaxed",
                                    file + "pop: compare_exchange seq_cst -> acq_rel",
                                    file + "steal: compare_exchange seq_cst -> acq_rel",
                                    file + "steal: load seq_cst -> acquire",
                                });
}

// Here loads are ordered by fences, and seq_cst only for the case above.
TEST_CASE("work_deque: the same where thieves fence for its owner") {
    auto piece = all_hold(models<atomics>());
    const std::string file = "runtime/detail/work_deque.hpp: ";
    CHECK(piece.not_missed() == std::vector<std::string>{
                                    file + "looks_empty: load seq_cst -> acquire",
                                    file + "make_room: load acquire -> relaxed",
                                    file + "pop: compare_exchange seq_cst -> acq_rel",
                                    file + "pop: load seq_cst -> acquire",
                                    file + "steal: compare_exchange seq_cst -> acq_rel",
                                    file + "steal: load seq_cst -> acquire",
                                    file + "steal: load seq_cst -> acquire",
                                });
}

} // namespace weft::model
