// SPDX-License-Identifier: MIT
// Two coroutines that take turns through a queue, by hand.
#include "../../harness/measure.h"
#include "coroutine.hpp"

constexpr int rounds = 11;
constexpr int per_round = 1000000;

static by_hand::detached take_turns(by_hand::ready_queue& queue) {
    for (int i = 0; i < per_round; ++i)
        co_await by_hand::yield(queue);
}

int main() {
    double times[rounds];
    for (double& t : times) {
        by_hand::ready_queue queue;
        queue.push(take_turns(queue).frame);
        queue.push(take_turns(queue).frame);
        int64_t begin = wall_ns();
        queue.run();
        t = static_cast<double>(wall_ns() - begin) / (2.0 * per_round);
    }
    print_metric("time", "ns", median_of(times, rounds));
}
