// SPDX-License-Identifier: MIT
// What a barrier is apart from its action.
#include "model/lines.hpp"
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/sync/detail/barrier_core.hpp>
#include <weft/sync/error.hpp>

#include <catch2/catch.hpp>

#include <array>

namespace weft::model {

namespace {

using core = weft::detail::basic_barrier_core<atomics>;
using arrival = core::arrive_op;

struct crossing {
    explicit crossing(std::ptrdiff_t parties) : barrier(parties, false) {}

    core barrier;
    std::array<plain<int>, 3> done; // by each before it arrived

    /// Arrives, and looks whether everybody had been there.
    task<std::size_t> arrive(std::size_t who) {
        done[who] += 1;
        std::size_t index = co_await arrival(barrier);
        for (std::size_t i = 0; i < barrier.parties(); ++i)
            check(done[i] >= 1, "what each did before it arrived is seen");
        co_return index;
    }
    void check_rest() noexcept {
        check(barrier.waiting() == 0 && !barrier.broken(), "nobody is left in line");
    }
};

void all_go_together() {
    crossing c(3);
    std::array<bool, 3> index{};
    auto arrives = [&](std::size_t who) {
        return [&, who] {
            home().run([&]() -> task<> {
                std::size_t mine = co_await c.arrive(who);
                check(!std::exchange(index[mine], true), "each has a number of its own");
            });
        };
    };
    threads(arrives(0), arrives(1), arrives(2));
    c.check_rest();
}

/// Nobody is a cycle ahead.
void two_cycles() {
    core barrier(2, false);
    std::array<plain<int>, 2> cycle;
    auto goes = [&](std::size_t who) {
        return [&, who] {
            home().run([&]() -> task<> {
                for (int i = 1; i <= 2; ++i) {
                    cycle[who] = i;
                    co_await arrival(barrier);
                    check(cycle[1 - who] == i, "both are in the same cycle");
                    co_await arrival(barrier);
                }
            });
        };
    };
    threads(goes(0), goes(1));
}

/// Who is stopped wasn't counted.
void a_stop() {
    crossing c(2);
    auto arrives = [&](std::size_t who) {
        return [&c, who]() -> task<> { co_await c.arrive(who); };
    };
    threads(
        [&] {
            if (!home().run(arrives(0), stop::maybe))
                home().run(arrives(0));
        },
        [&] { home().run(arrives(1)); });
    c.check_rest();
}

void is_aborted() {
    core barrier(3, false);
    int broken = 0;
    auto arrives = [&] {
        home().run([&]() -> task<> {
            try {
                co_await arrival(barrier);
            } catch (const weft::broken_barrier&) {
                ++broken;
            }
        });
    };
    threads(arrives, arrives, [&] { barrier.abort(); });
    check(broken == 2, "both are told");
    check(barrier.broken() && barrier.waiting() == 0, "nobody is left in line");
}

/// The last to come acts before anybody goes on.
void acts() {
    core barrier(2, true);
    plain<int> acted{0};
    auto arrives = [&] {
        home().run([&]() -> task<> {
            for (int i = 1; i <= 2; ++i) {
                std::size_t index = co_await arrival(barrier);
                if (index == 1) {
                    acted += 1;
                    check(barrier.end_action(true), "nobody broke it");
                }
                check(acted == i, "what was done there is seen");
            }
        });
    };
    threads(arrives, arrives);
}

/// Whoever was let go ends the barrier at once.
void ends() {
    auto* barrier = new core(2, false);
    auto arrives = [&] {
        home().run([&]() -> task<> {
            std::size_t index = co_await arrival(*barrier);
            if (index == 0)
                delete barrier;
        });
    };
    threads(arrives, arrives);
}

constexpr bounds three{.stale_reads = 1, .spurious = 0};

const std::vector<named_model> models{
    {"barrier, ends", ends},
    {"barrier, a stop", a_stop},
    {"barrier, two cycles", two_cycles},
    {"barrier, is aborted", is_aborted, three},
    {"barrier, all go together", all_go_together, three},
    {"barrier, acts", acts},
};

} // namespace

TEST_CASE("barrier: all go together, each time, and it needs the lock's memory orders",
          "[P1][P3]") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
