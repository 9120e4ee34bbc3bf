// SPDX-License-Identifier: MIT
// Large messages from a process to another one through a queue.
#include "harness/median.hpp"

#include <weft/ipc/process.hpp>
#include <weft/ipc/queue.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>

#include <vector>

constexpr int slots = 4; // so many messages fit into the memory
constexpr int rounds = 5;

using bytes = std::vector<std::byte>;
using messages = weft::ipc::queue<bytes>;
using signals = weft::ipc::queue<int>;

static weft::task<> get_all(messages q, signals done, uint64_t size, int n) {
    pin_thread(1);
    for (int r = 0; r <= rounds; ++r) {
        for (int i = 0; i < n; ++i) {
            bytes m = co_await q.get();
            if (m.size() != size || m.back() != static_cast<std::byte>(i))
                exit(1);
        }
        co_await done.put(0);
    }
}

static weft::task<> ask(const char* metric, uint64_t size, int n) {
    messages q(0, {.bytes = slots * size, .one_to_one = true});
    signals done;
    weft::ipc::process p(weft::fn<&get_all>, q, done, size, n);
    co_await p.start();
    pin_thread(0);
    bytes m(size);
    double times[rounds];
    for (int r = -1; r < rounds; ++r) {
        int64_t before = wall_ns();
        for (int i = 0; i < n; ++i) {
            m.back() = static_cast<std::byte>(i);
            co_await q.put(std::span<const std::byte>(m));
        }
        co_await done.get();
        if (r >= 0)
            times[r] = static_cast<double>(wall_ns() - before) / n;
    }
    co_await p.join();
    print_metric(metric, "us", median_of(times, rounds) / 1000);
}

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    cpu_set_t given;
    sched_getaffinity(0, sizeof given, &given);
    weft::run(ask("1 MiB", 1 << 20, 200));
    sched_setaffinity(0, sizeof given, &given);
    weft::run(ask("16 MiB", 16 << 20, 20));
}
