// SPDX-License-Identifier: MIT
// Wakes a loop that sleeps, and runs a task there and comes back.
#include "harness/wakeup.hpp"

#include <weft/runtime/runtime.hpp>

constexpr int round_trips = 20000;

static weft::task<> nothing() { co_return; }

static weft::task<> pin(int cpu) {
    pin_thread(cpu);
    co_return;
}

static weft::task<> go_there_and_back(weft::loop& there) {
    for (int i = 0; i < round_trips; ++i)
        co_await weft::on(there, nothing());
}

int main() {
    weft::runtime runtime({.loops = 2});
    weft::loop& away = runtime.get_loop(1);
    runtime.run(weft::as_task(weft::on(away, pin(1))));
    pin_thread(0);

    ask_wakeups([&](auto f) { away.post(std::move(f)); });

    int64_t begin = wall_ns();
    runtime.run(go_there_and_back(away));
    print_metric("round trip", "us", static_cast<double>(wall_ns() - begin) / 1000 / round_trips);
}
