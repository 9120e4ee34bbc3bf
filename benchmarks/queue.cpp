// SPDX-License-Identifier: MIT
// Items through a bounded queue between tasks of one loop.
#include "harness/items.hpp"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/sync/queue.hpp>

using items = weft::queue<uint64_t>;

static weft::task<> put_all(items& q, int n) {
    for (int i = 0; i < n; ++i)
        co_await q.put(static_cast<uint64_t>(i));
}

static weft::task<> get_all(items& q, int n, uint64_t& sum) {
    for (int i = 0; i < n; ++i)
        sum += co_await q.get();
}

static weft::task<> pass_all(int each_side) {
    items q(queue_capacity);
    uint64_t sum = 0;
    auto all = [&](weft::task_group& g) -> weft::task<> {
        for (int i = 0; i < each_side; ++i) {
            g.spawn(put_all(q, item_count / each_side));
            g.spawn(get_all(q, item_count / each_side, sum));
        }
        co_return;
    };
    co_await weft::with_task_group(std::ref(all));
    check_sum(sum, each_side);
}

int main() {
    print_time_each("1:1", item_count, [] { weft::run(pass_all(1)); });
    print_time_each("4:4", item_count, [] { weft::run(pass_all(4)); });
}
