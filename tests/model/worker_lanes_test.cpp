// SPDX-License-Identifier: MIT
#include "model/weaken.hpp"

#include "../../executors/impl/worker_lanes.hpp"

#include <weft/ipc/detail/doorbell.hpp>

#include <catch2/catch.hpp>

#include <array>

namespace weft::model {

namespace {

using word = weft::detail::lane_word<atomics>;
using bell = ipc::detail::doorbell<atomics>;

struct slot {
    word w;
    atomics::plain<int> number{0};
};

constexpr auto wake = [](auto& w, unsigned n) { return atomics::wake(w, n); };

/// Sleeps at a bell until `there(true)`.
template <class There>
void sleep_until(bell& b, There there) {
    while (!there(false)) {
        const std::uint32_t seen = b.announce();
        if (there(true))
            return;
        atomics::wait(b.word, seen);
    }
}

/// Two tasks; the last one is withdrawn, and another put into its slot, while the worker takes
/// them. Each that was put is taken or withdrawn, and what is taken is what was put.
void withdrawing() {
    std::array<slot, 2> lane;
    bool withdrawn = false;
    std::array<int, 2> taken{};
    auto put = [&](slot& s, int n) {
        s.number = n;
        s.w.fill();
    };
    put(lane[0], 1);
    put(lane[1], 2);
    threads(
        [&] {
            if (lane[1].w.withdraw()) {
                withdrawn = true;
                put(lane[1], 3);
            }
        },
        [&] {
            for (std::size_t i = 0; i != 2; ++i) {
                while (!lane[i].w.take())
                    atomics::pause();
                taken[i] = lane[i].number;
            }
        });
    check(taken[0] == 1, "the first is never withdrawn");
    check(taken[1] == (withdrawn ? 3 : 2), "what was withdrawn isn't taken");
}

/// A lane of one slot each way, whose ends sleep: nothing is lost, and nobody sleeps for ever.
void there_and_back() {
    slot there, back;
    bell worker_bell, pool_bell;
    int got = 0;
    threads(
        [&] {
            there.number = 1;
            there.w.fill();
            worker_bell.ring_all(wake);
            sleep_until(pool_bell, [&](bool surely) {
                return surely ? back.w.is_full_now() : back.w.is_full();
            });
            got = back.number;
            back.w.clear();
            worker_bell.ring_all(wake);
        },
        [&] {
            sleep_until(worker_bell, [&](bool surely) {
                return surely ? there.w.is_full_now() : there.w.is_full();
            });
            check(there.w.take(), "nobody withdraws it");
            back.number = 2 * there.number;
            back.w.fill();
            pool_bell.ring_all(wake);
            // One more, which waits for room.
            sleep_until(worker_bell, [&](bool surely) {
                return surely ? back.w.is_free_now() : back.w.is_free();
            });
            back.number = 3;
            back.w.fill();
        });
    check(got == 2 && back.w.is_full() && back.number == 3, "everything came");
}

/// The other process is gone: it took the message, or didn't.
void death() {
    slot s;
    bool taken = false;
    s.number = 1;
    s.w.fill();
    threads(mortal{[&] {
                       if (s.w.take())
                           taken = true;
                   },
                   [] {}},
            [] {});
    check(!taken || !s.w.was_left(), "what was taken isn't left");
}

} // namespace

TEST_CASE("worker_lanes: each message is taken or withdrawn, once, and whole", "[P1]") {
    held_models piece = all_hold({{"withdrawing", withdrawing},
                                  {"there and back", there_and_back, {.stale_reads = 1}},
                                  {"death", death, {.deaths = 1}}});
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
