// SPDX-License-Identifier: MIT
// Items through a bounded channel of Asio from coroutines of one context to those of another, each
// run by a thread of its own.
#include "items.hpp"

#include <asio/experimental/concurrent_channel.hpp>

#include <thread>

using channel = asio::experimental::concurrent_channel<executor, void(asio::error_code, uint64_t)>;

static void pass_all(int each_side) {
    asio::io_context puts;
    asio::io_context gets;
    channel items(gets.get_executor(), queue_capacity);
    uint64_t sum = 0;
    for (int i = 0; i < each_side; ++i) {
        co_spawn(puts, put_all(items, item_count / each_side), asio::detached);
        co_spawn(gets, get_all(items, item_count / each_side, sum), asio::detached);
    }
    std::thread putting([&] {
        pin_thread(0);
        puts.run();
    });
    std::thread getting([&] {
        pin_thread(1);
        gets.run();
    });
    putting.join();
    getting.join();
    check_sum(sum, each_side);
}

int main() {
    print_time_each("1:1", item_count, [] { pass_all(1); }, 3);
    print_time_each("4:4", item_count, [] { pass_all(4); }, 3);
}
