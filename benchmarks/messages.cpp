// SPDX-License-Identifier: MIT
// Messages of 64 bytes through a queue from processes to other processes.
#include "harness/median.hpp"

#include <weft/ipc/process.hpp>
#include <weft/ipc/queue.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>

#include <array>
#include <vector>

constexpr int message_count = 1000000;
constexpr int rounds = 7;

using message = std::array<uint64_t, 8>;
using messages = weft::ipc::queue<message>;
using signals = weft::ipc::queue<int>;

static weft::task<> put_all(messages q, signals begin, int n) {
    pin_thread(0);
    for (int r = 0; r <= rounds; ++r) {
        co_await begin.get();
        message m{};
        for (int i = 0; i < n; ++i) {
            m[0] = static_cast<uint64_t>(i);
            co_await q.put(m);
        }
    }
}

static weft::task<> get_all(messages q, signals begin, weft::ipc::queue<uint64_t> sums, int n) {
    pin_thread(1);
    for (int r = 0; r <= rounds; ++r) {
        co_await begin.get(); // else it would take what is another's
        uint64_t sum = 0;
        for (int i = 0; i < n; ++i) {
            message m = co_await q.get();
            sum += m[0];
        }
        co_await sums.put(sum);
    }
}

static weft::task<> ask(const char* metric, int each_side) {
    const int n = message_count / each_side;
    messages q(0, {.one_to_one = each_side == 1});
    signals begin_putting;
    signals begin_getting;
    weft::ipc::queue<uint64_t> sums;
    std::vector<weft::ipc::process> all;
    for (int i = 0; i < each_side; ++i) {
        all.emplace_back(weft::fn<&put_all>, q, begin_putting, n);
        all.emplace_back(weft::fn<&get_all>, q, begin_getting, sums, n);
    }
    for (weft::ipc::process& p : all)
        co_await p.start();
    double times[rounds];
    for (int r = -1; r < rounds; ++r) {
        int64_t before = wall_ns();
        for (int i = 0; i < each_side; ++i) {
            co_await begin_putting.put(0);
            co_await begin_getting.put(0);
        }
        uint64_t sum = 0;
        for (int i = 0; i < each_side; ++i)
            sum += co_await sums.get();
        if (r >= 0)
            times[r] = static_cast<double>(wall_ns() - before) / message_count;
        auto each = static_cast<uint64_t>(n);
        if (sum != static_cast<uint64_t>(each_side) * (each * (each - 1) / 2)) {
            fprintf(stderr, "messages were lost\n");
            exit(1);
        }
    }
    for (weft::ipc::process& p : all)
        co_await p.join();
    print_metric(metric, "ns", median_of(times, rounds));
}

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    weft::run(ask("1:1", 1));
    weft::run(ask("4:4", 4));
}
