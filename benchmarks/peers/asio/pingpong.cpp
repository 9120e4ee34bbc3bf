// SPDX-License-Identifier: MIT
// Two coroutines of Asio that send an item back and forth through two channels with room for one.
#include "../../harness/median.hpp"

#include <asio.hpp>
#include <asio/experimental/channel.hpp>

using executor = asio::io_context::executor_type;
using channel = asio::experimental::channel<executor, void(asio::error_code, int)>;

constexpr int count = 200000;
constexpr asio::use_awaitable_t<executor> token;

static asio::awaitable<void, executor> serve(channel& to, channel& from) {
    for (int i = 0; i < count; ++i) {
        co_await to.async_send(asio::error_code(), i, token);
        co_await from.async_receive(token);
    }
}

static asio::awaitable<void, executor> return_all(channel& from, channel& to) {
    for (int i = 0; i < count; ++i) {
        int item = co_await from.async_receive(token);
        co_await to.async_send(asio::error_code(), item, token);
    }
}

int main() {
    print_time_each("round trip", count, [] {
        asio::io_context context(1);
        channel there(context.get_executor(), 1);
        channel back(context.get_executor(), 1);
        co_spawn(context, serve(there, back), asio::detached);
        co_spawn(context, return_all(there, back), asio::detached);
        context.run();
    });
}
