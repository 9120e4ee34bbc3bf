// SPDX-License-Identifier: MIT
// Items through a ring with spinning and yielding between two threads. For 4:4 each thread does the
// work of four in turn, whoever finds no room or no item lets the next one try.
#include "../../harness/items.hpp"
#include "coroutine.hpp"
#include "ring.hpp"

#include <memory>

using items = by_hand::ring<queue_capacity>;

static by_hand::detached put_all(items& q, by_hand::ready_queue& others, int n) {
    for (int i = 0; i < n; ++i) {
        for (by_hand::patience p; !q.try_put(static_cast<uint64_t>(i)); p.wait())
            co_await by_hand::yield(others);
    }
}

static by_hand::detached get_all(items& q, by_hand::ready_queue& others, int n, uint64_t& sum) {
    for (int i = 0; i < n; ++i) {
        uint64_t item = 0;
        for (by_hand::patience p; !q.try_get(item); p.wait())
            co_await by_hand::yield(others);
        sum += item;
    }
}

static void pass_all(int each_side) {
    auto q = std::make_unique<items>();
    uint64_t sum = 0;
    std::thread puts([&] {
        pin_thread(0);
        by_hand::ready_queue ready;
        for (int i = 0; i < each_side; ++i)
            ready.push(put_all(*q, ready, item_count / each_side).frame);
        ready.run();
    });
    std::thread gets([&] {
        pin_thread(1);
        by_hand::ready_queue ready;
        for (int i = 0; i < each_side; ++i)
            ready.push(get_all(*q, ready, item_count / each_side, sum).frame);
        ready.run();
    });
    puts.join();
    gets.join();
    check_sum(sum, each_side);
}

int main() {
    print_time_each("1:1", item_count, [] { pass_all(1); });
    print_time_each("4:4", item_count, [] { pass_all(4); });
}
