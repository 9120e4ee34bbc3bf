// SPDX-License-Identifier: MIT
// Items through a bounded queue from tasks of one loop to those of another, on another processor.
#include "harness/items.hpp"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/when_all.hpp>
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

static weft::task<> put_side(items& q, int producers) {
    pin_thread(0);
    auto all = [&](weft::task_group& g) -> weft::task<> {
        for (int i = 0; i < producers; ++i)
            g.spawn(put_all(q, item_count / producers));
        co_return;
    };
    co_await weft::with_task_group(std::ref(all));
}

static weft::task<> get_side(items& q, int consumers, uint64_t& sum) {
    pin_thread(1);
    auto all = [&](weft::task_group& g) -> weft::task<> {
        for (int i = 0; i < consumers; ++i)
            g.spawn(get_all(q, item_count / consumers, sum));
        co_return;
    };
    co_await weft::with_task_group(std::ref(all));
}

int main() {
    weft::runtime rt({.loops = 2});
    auto pass_all = [&](int each_side) {
        items q(queue_capacity);
        uint64_t sum = 0;
        rt.run(weft::as_task(weft::when_all(
            put_side(q, each_side), weft::on(rt.get_loop(1), get_side(q, each_side, sum)))));
        check_sum(sum, each_side);
    };
    print_time_each("1:1", item_count, [&] { pass_all(1); });
    print_time_each("4:4", item_count, [&] { pass_all(4); });
}
