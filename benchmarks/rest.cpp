// SPDX-License-Identifier: MIT
// What a loop and a pool cost that have worked and have nothing to do any more: the processor time
// of the whole process in five seconds.
#include "harness/measure.h"

#include <weft/executors/on_pool.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/when_all.hpp>

static weft::task<long> fibonacci(int n) {
    if (n < 2)
        co_return n;
    auto [a, b] = co_await weft::when_all(fibonacci(n - 1), fibonacci(n - 2));
    co_return a + b;
}

static weft::task<> program() {
    weft::thread_pool pool({.threads = 2});
    static_cast<void>(co_await weft::on(pool, fibonacci(20)));
    auto [reader, writer] = weft::make_pipe(); // so that the loop has a ring
    std::byte b{};
    static_cast<void>(co_await writer.write_some(std::span(&b, 1)));
    static_cast<void>(co_await reader.read_some(std::span(&b, 1)));
    co_await weft::sleep_for(std::chrono::milliseconds(100)); // until all sleep
    const std::int64_t before = cpu_ns();
    co_await weft::sleep_for(std::chrono::seconds(5));
    print_metric("cpu", "ms in 5 s", static_cast<double>(cpu_ns() - before) / 1e6);
}

int main() { weft::run(program()); }
