// SPDX-License-Identifier: MIT
// A million coroutines of Asio that sleep.
#include "../../harness/measure.h"

#include <asio.hpp>

#include <chrono>

using executor = asio::io_context::executor_type;
using token = asio::use_awaitable_t<executor>;
using timer = token::as_default_on_t<asio::basic_waitable_timer<
    std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, executor>>;

constexpr int count = 1000000;

static asio::awaitable<void, executor> sleeper(executor ex, unsigned ms, unsigned& woken) {
    timer t(ex, std::chrono::milliseconds(ms));
    co_await t.async_wait();
    ++woken;
}

int main() {
    asio::io_context context(1);
    double memory = status_bytes("VmRSS:");
    int64_t cpu = cpu_ns();
    uint32_t seed = 1;
    unsigned woken = 0;
    for (int i = 0; i < count; ++i)
        co_spawn(context, sleeper(context.get_executor(), sleep_ms(&seed), woken), asio::detached);
    context.run();
    if (woken != count)
        return 1;
    print_metric("cpu", "ms", static_cast<double>(cpu_ns() - cpu) / 1e6);
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - memory) / count);
}
