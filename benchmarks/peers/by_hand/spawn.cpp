// SPDX-License-Identifier: MIT
// Starts a million coroutines, all of which exist before the first runs, and waits for the last: by
// hand.
#include "../../harness/measure.h"
#include "coroutine.hpp"

constexpr int rounds = 5;
constexpr int count = 1000000;

struct join_counter {
    unsigned left = 0;
    std::coroutine_handle<> waiting;

    bool await_ready() const noexcept { return left == 0; }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiting = h; }
    void await_resume() const noexcept {}
};

[[gnu::noinline]] static by_hand::detached child(join_counter& join, unsigned& sum) {
    ++sum;
    if (--join.left == 0)
        join.waiting.resume();
    co_return;
}

static by_hand::detached parent(by_hand::ready_queue& queue, unsigned& sum) {
    join_counter join;
    for (int i = 0; i < count; ++i) {
        ++join.left;
        queue.push(child(join, sum).frame);
    }
    co_await join;
}

int main() {
    double times[rounds];
    double before = status_bytes("VmRSS:");
    for (double& t : times) {
        by_hand::ready_queue queue;
        unsigned sum = 0;
        int64_t begin = wall_ns();
        queue.push(parent(queue, sum).frame);
        queue.run();
        t = static_cast<double>(wall_ns() - begin) / count;
        if (sum != count)
            return 1;
    }
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - before) / count);
    print_metric("first", "ns", times[0]);
    print_metric("time", "ns", median_of(times + 1, rounds - 1));
}
