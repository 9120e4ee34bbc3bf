// SPDX-License-Identifier: MIT
// Eight bytes to another process and back: through two queues, and over a connection.
#include "harness/median.hpp"

#include <weft/ipc/connection.hpp>
#include <weft/ipc/process.hpp>
#include <weft/ipc/queue.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>

constexpr int warm_up = 2000;

using numbers = weft::ipc::queue<uint64_t>;

static weft::task<> return_numbers(numbers from, numbers to, int n) {
    for (int i = 0; i < n; ++i) {
        uint64_t got = co_await from.get();
        co_await to.put(got);
    }
}

static weft::task<> return_messages(weft::ipc::connection c, int n) {
    for (int i = 0; i < n; ++i) {
        weft::ipc::byte_buffer m = co_await c.receive_bytes();
        co_await c.send_bytes(m.bytes());
    }
}

static weft::task<> ask_queues(const char* metric, const char* unit, double scale, int n) {
    numbers there(0, {.one_to_one = true});
    numbers back(0, {.one_to_one = true});
    weft::ipc::process p(weft::fn<&return_numbers>, there, back, n + warm_up);
    co_await p.start();
    int64_t before = 0;
    for (int i = -warm_up; i < n; ++i) {
        if (i == 0)
            before = wall_ns();
        co_await there.put(static_cast<uint64_t>(i));
        static_cast<void>(co_await back.get());
    }
    print_metric(metric, unit, static_cast<double>(wall_ns() - before) / n / scale);
    co_await p.join();
}

static weft::task<> ask_connection(int n) {
    auto ends = weft::ipc::make_connection_pair();
    weft::ipc::connection mine = std::move(ends.first);
    weft::ipc::process p(weft::fn<&return_messages>, std::move(ends.second), n + warm_up);
    co_await p.start();
    int64_t before = 0;
    uint64_t sent = 7;
    for (int i = -warm_up; i < n; ++i) {
        if (i == 0)
            before = wall_ns();
        co_await mine.send_bytes(std::as_bytes(std::span(&sent, 1)));
        weft::ipc::byte_buffer m = co_await mine.receive_bytes();
    }
    print_metric("connection", "us", static_cast<double>(wall_ns() - before) / n / 1000);
    co_await p.join();
}

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    weft::run(ask_queues("queue spinning", "ns", 1, 300000));
    // From here on both are on one processor, where nobody can look out for the other.
    pin_thread(0);
    weft::run(ask_queues("queue sleeping", "us", 1000, 30000));
    weft::run(ask_connection(30000));
}
