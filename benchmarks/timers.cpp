// SPDX-License-Identifier: MIT
// A million tasks that sleep.
#include "harness/measure.h"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>

constexpr int count = 1000000;

static weft::task<> sleeper(unsigned ms, unsigned& woken) {
    co_await weft::sleep_for(std::chrono::milliseconds(ms));
    ++woken;
}

static weft::task<> question() {
    double memory = status_bytes("VmRSS:");
    int64_t cpu = cpu_ns();
    unsigned woken = 0;
    co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
        uint32_t seed = 1;
        for (int i = 0; i < count; ++i)
            group.spawn(sleeper(sleep_ms(&seed), woken));
        co_return;
    });
    if (woken != count)
        std::abort();
    print_metric("cpu", "ms", static_cast<double>(cpu_ns() - cpu) / 1e6);
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - memory) / count);
}

int main() { weft::run(question()); }
