// SPDX-License-Identifier: MIT
// A task that stands in two lines and takes what comes first.
#include "model/gate.hpp"
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/sync/select.hpp>

#include <catch2/catch.hpp>

namespace weft::model {

namespace {

struct two_gates {
    taking a{0};
    taking b{0};

    /// Notes which one it passed.
    weft::task<> pass_either(std::size_t& passed) {
        auto first = co_await weft::select(a.pass(), b.pass());
        passed = first.index();
    }
    void check_rest(std::uint32_t left_of_a, std::uint32_t left_of_b) noexcept {
        a.check_rest(left_of_a);
        b.check_rest(left_of_b);
    }
};

constexpr std::size_t neither = 2;

void takes_one_of_two() {
    two_gates g;
    std::size_t passed = neither;
    threads([&] { g.a.release(); }, [&] { g.b.release(); },
            [&] { home().run([&] { return g.pass_either(passed); }); });
    check(passed != neither, "it passed one");
    g.check_rest(passed == 0 ? 0 : 1, passed == 1 ? 0 : 1);
}

/// Both come while it stands in line, from one thread.
void takes_the_first() {
    two_gates g;
    std::size_t passed = neither;
    threads(
        [&] {
            g.b.wait_for_a_waiter();
            g.b.release();
            g.a.release();
        },
        [&] { home().run([&] { return g.pass_either(passed); }); });
    check(passed == 1, "it passed what came first");
    g.check_rest(1, 0);
}

void is_stopped() {
    two_gates g;
    std::size_t passed = neither;
    bool ended = false;
    threads([&] { g.b.release(); },
            [&] { ended = home().run([&] { return g.pass_either(passed); }, stop::maybe); });
    check(ended == (passed == 1), "it passed or was stopped");
    g.check_rest(0, ended ? 0 : 1);
}

/// What isn't for it any more goes to who stands behind it.
void keeps_nobody_waiting() {
    two_gates g;
    std::size_t passed = neither;
    threads(
        [&] {
            g.a.release();
            g.b.release();
        },
        [&] {
            home().run([&] { return g.pass_either(passed); });
            if (passed == 1)
                g.b.release();
        },
        [&] { home().run([&]() -> task<> { co_await g.b.pass(); }); });
    g.check_rest(passed == 0 ? 0 : 1, 0);
}

constexpr bounds three{.stale_reads = 1, .spurious = 0};

const std::vector<named_model> models{
    {"select takes one of two", takes_one_of_two, three},
    {"select takes the first", takes_the_first},
    {"select is stopped", is_stopped},
    {"select keeps nobody waiting", keeps_nobody_waiting, three},
};

} // namespace

TEST_CASE("select: takes one, loses none, and keeps nobody waiting in any order of events",
          "[G-05][P1][P3]") {
    for (const named_model& m : models)
        holds(m.name, m.run, m.within);
}

} // namespace weft::model
