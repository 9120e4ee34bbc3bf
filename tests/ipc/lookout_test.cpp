// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/lookout.hpp>

#include <catch2/catch.hpp>

using namespace std::chrono_literals;
using weft::ipc::detail::lookout;

static bool never_busy() { return false; }

// Whether it looked at all, in vain.
static bool looks(lookout& habit) {
    int seen = 0;
    static_cast<void>(habit.look([&] { return ++seen == 0; }, never_busy));
    return seen != 0;
}

static bool finds(lookout& habit) {
    return habit.look([] { return true; }, never_busy);
}

static int short_sleeps_until_it_looks(lookout& habit) {
    int n = 0;
    while (n != 2000 && !habit.look([] { return true; }, never_busy)) {
        habit.note_slept(10us);
        ++n;
    }
    return n;
}

TEST_CASE("lookout: begins after a short sleep, and not after long ones") {
    lookout habit;
    CHECK_FALSE(looks(habit));
    for (int i = 0; i != 1000; ++i)
        habit.note_slept(250us); // as of somebody who pauses
    CHECK_FALSE(looks(habit));
    habit.note_slept(50us);
    CHECK(finds(habit));
}

TEST_CASE("lookout: ends when it was in vain a few times, and soon comes back") {
    lookout habit;
    habit.note_slept(10us);
    REQUIRE(finds(habit));
    int in_vain = 0;
    while (in_vain != 100 && looks(habit))
        ++in_vain;
    CHECK((in_vain >= 1 && in_vain <= 4));
    // However often it was in vain: what has changed is noticed before it costs much.
    for (int times = 0; times != 20; ++times) {
        while (habit.look([] { return false; }, never_busy) || looks(habit)) {
        }
        for (int i = 0; i != 2000 && !looks(habit); ++i)
            habit.note_slept(10us);
    }
    const int sleeps = short_sleeps_until_it_looks(habit);
    CHECK((sleeps >= 16 && sleeps <= 65));
    CHECK(finds(habit));
}

TEST_CASE("lookout: ends at once when there is other work") {
    lookout habit;
    habit.note_slept(10us);
    int seen = 0;
    CHECK_FALSE(habit.look([&] { return ++seen == 0; }, [] { return true; }));
    CHECK(seen == 1);
    CHECK(finds(habit)); // which isn't in vain
}
