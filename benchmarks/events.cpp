// SPDX-License-Identifier: MIT
// Two processes that wake each other by a pair of events in shared memory.
#include "harness/events.hpp"

#include <weft/ipc/event.hpp>
#include <weft/runtime/runtime.hpp>

struct events {
    alignas(64) weft::ipc::event there;
    alignas(64) weft::ipc::event back;
};

static weft::task<> answer(events& e) {
    for (int i = 0; i < trips_asleep + trips_spinning; ++i) {
        co_await e.there.wait();
        e.there.clear();
        e.back.set();
    }
}

static weft::task<> ask(events& e, double* times, double& spinning) {
    for (int i = 0; i < trips_asleep; ++i) {
        wait_until_it_sleeps();
        int64_t begin = wall_ns();
        e.there.set();
        co_await e.back.wait();
        e.back.clear();
        times[i] = static_cast<double>(wall_ns() - begin) / 1000;
    }
    int64_t begin = wall_ns();
    for (int i = 0; i < trips_spinning; ++i) {
        e.there.set();
        co_await e.back.wait();
        e.back.clear();
    }
    spinning = static_cast<double>(wall_ns() - begin) / trips_spinning;
}

int main() {
    auto& e = shared_with_children<events>();
    pid_t child = in_a_child([&] { weft::run(answer(e)); });
    static double times[trips_asleep];
    double spinning = 0;
    weft::run(ask(e, times, spinning));
    wait_for_child(child);
    print_metric("round trip asleep", "us", median_of(times, trips_asleep));
    print_metric("round trip spinning", "ns", spinning);
}
