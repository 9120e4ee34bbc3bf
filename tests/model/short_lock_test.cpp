// SPDX-License-Identifier: MIT
#include "model/weaken.hpp"

#include <weft/runtime/detail/atomics.hpp>

#include <catch2/catch.hpp>

namespace weft::model {

namespace {

using lock = weft::detail::short_lock<atomics>;
using hold = weft::detail::short_hold<atomics>;

void two_threads_count() {
    lock l;
    plain<int> n{0};
    auto count = [&] {
        for (int i = 0; i < 2; ++i) {
            hold held(l);
            n += 1;
        }
    };
    threads(count, count);
    check(n == 4, "each counts");
}

void three_threads_count() {
    lock l;
    plain<int> n{0};
    auto count = [&] {
        hold held(l);
        n += 1;
    };
    threads(count, count, count);
    check(n == 3, "each counts");
}

/// Who finds it done destroys the lock: the other one must not touch it after unlocking.
void the_last_destroys() {
    auto* l = new lock;
    int done = 0; // guarded by the lock, which is the point
    auto work = [&] {
        bool last = false;
        {
            hold held(*l);
            last = ++done == 2;
        }
        if (last)
            delete l;
    };
    threads(work, work);
}

const std::vector<named_model> models{
    {"short_lock, two threads", two_threads_count},
    {"short_lock, three threads", three_threads_count},
    {"short_lock, destroyed", the_last_destroys},
};

} // namespace

TEST_CASE("short_lock: keeps threads apart and shows what was done, and needs its memory orders") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
