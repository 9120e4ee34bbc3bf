// SPDX-License-Identifier: MIT
// Coroutines of Asio that pass items through a channel of either kind.
#pragma once
#include "../../harness/items.hpp"

#include <asio.hpp>

using executor = asio::io_context::executor_type;
constexpr asio::use_awaitable_t<executor> token;

template <class Channel>
asio::awaitable<void, executor> put_all(Channel& to, int n) {
    for (int i = 0; i < n; ++i)
        co_await to.async_send(asio::error_code(), static_cast<uint64_t>(i), token);
}

template <class Channel>
asio::awaitable<void, executor> get_all(Channel& from, int n, uint64_t& sum) {
    for (int i = 0; i < n; ++i)
        sum += co_await from.async_receive(token);
}
