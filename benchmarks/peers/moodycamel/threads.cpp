// SPDX-License-Identifier: MIT
// Items through a blocking queue of moodycamel's between threads: one or four that put, on one
// processor, and as many that get, on the other. It has no bound.
#include "../../harness/items.hpp"

#include <concurrentqueue/blockingconcurrentqueue.h>

#include <atomic>
#include <thread>
#include <vector>

using items = moodycamel::BlockingConcurrentQueue<uint64_t>;

static void pass_all(int each_side) {
    items q(queue_capacity);
    std::atomic<uint64_t> sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < each_side; ++t) {
        threads.emplace_back([&] {
            pin_thread(0);
            moodycamel::ProducerToken token(q);
            for (int i = 0; i < item_count / each_side; ++i)
                q.enqueue(token, static_cast<uint64_t>(i));
        });
        threads.emplace_back([&] {
            pin_thread(1);
            moodycamel::ConsumerToken token(q);
            uint64_t mine = 0;
            for (int i = 0; i < item_count / each_side; ++i) {
                uint64_t item = 0;
                q.wait_dequeue(token, item);
                mine += item;
            }
            sum += mine;
        });
    }
    for (std::thread& t : threads)
        t.join();
    check_sum(sum, each_side);
}

int main() {
    print_time_each("1:1", item_count, [] { pass_all(1); });
    print_time_each("4:4", item_count, [] { pass_all(4); });
}
