// SPDX-License-Identifier: MIT
// Items through a bounded channel of Asio between coroutines of one context.
#include "items.hpp"

#include <asio/experimental/channel.hpp>

using channel = asio::experimental::channel<executor, void(asio::error_code, uint64_t)>;

static void pass_all(int each_side) {
    asio::io_context context(1);
    channel items(context.get_executor(), queue_capacity);
    uint64_t sum = 0;
    for (int i = 0; i < each_side; ++i) {
        co_spawn(context, put_all(items, item_count / each_side), asio::detached);
        co_spawn(context, get_all(items, item_count / each_side, sum), asio::detached);
    }
    context.run();
    check_sum(sum, each_side);
}

int main() {
    print_time_each("1:1", item_count, [] { pass_all(1); }, 3);
    print_time_each("4:4", item_count, [] { pass_all(4); }, 3);
}
