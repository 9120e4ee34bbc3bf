// SPDX-License-Identifier: MIT
#include "model/weaken.hpp"

#include <weft/runtime/detail/work_deque.hpp>

namespace weft::model {

namespace {

struct job {
    plain<int> prepared{0};
    plain<int> taken{0}; // by two without order between them: a race
};

template <std::size_t FirstSize>
using deque = weft::detail::work_deque<job, atomics, FirstSize>;

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

void owner_and_thief_want_the_last() {
    deque<2> d;
    job jobs[1];
    push(d, jobs[0]);
    threads([&] { take(d.pop()); }, [&] { take(d.steal()); });
    nothing_is_left(d, jobs);
}

void one_thief() {
    deque<2> d;
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

void two_thieves() {
    deque<2> d;
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
void slots_are_used_again() {
    deque<1> d;
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

void it_grows_while_a_thief_is_in_it() {
    deque<1> d;
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

/// As a pool does: who pushes then looks for sleepers, and who lies down then looks for work.
void one_pushes_one_goes_to_sleep() {
    deque<2> d;
    job jobs[1];
    atomics::atomic<bool> asleep{false};
    bool woken = false, found = false;
    check(d.reserve(1), "there is memory");
    threads(
        [&] {
            d.push(jobs[0]);
            woken = asleep.load();
        },
        [&] {
            asleep.store(true);
            found = !d.looks_empty();
        });
    check(woken || found, "one of them sees the other");
}

constexpr bounds narrow{.stale_reads = 1};

const std::vector<named_model> models{
    {"work_deque, the last", owner_and_thief_want_the_last},
    {"work_deque, sleep", one_pushes_one_goes_to_sleep},
    {"work_deque, one thief", one_thief},
    {"work_deque, two thieves", two_thieves},
    {"work_deque, slots used again", slots_are_used_again, narrow},
    {"work_deque, grows", it_grows_while_a_thief_is_in_it, narrow},
};

} // namespace

TEST_CASE("work_deque: each item comes out once, to the owner or a thief, and needs its orders") {
    auto piece = all_hold(models);
    // As in the paper, though weaker ones do here: the comparisons are ordered by the loads before
    // them, and the second of steal()'s by the first. Without the acquire in make_room() a thief
    // could read what the owner stores later, and no model here reads a store of the future.
    const std::string file = "runtime/detail/work_deque.hpp: ";
    CHECK(piece.not_missed() == std::vector<std::string>{
                                    file + "make_room: load acquire -> relaxed",
                                    file + "pop: compare_exchange seq_cst -> acq_rel",
                                    file + "steal: compare_exchange seq_cst -> acq_rel",
                                    file + "steal: load seq_cst -> acquire",
                                });
}

} // namespace weft::model
