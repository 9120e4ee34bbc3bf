// SPDX-License-Identifier: MIT
// Many items at a time: all that a queue will ever have, as a sequence, or as many as there are, as
// a vector.
//
//     weft::task<> store(weft::queue<int>& measured, weft::task<> (*write)(std::vector<int>)) {
//         while (!measured.is_shutdown())
//             co_await write(co_await weft::get_some(measured, 1000));   // one at least
//     }
//     weft::task<int> sum(weft::queue<int>& measured) {
//         int all = 0;
//         auto items = weft::items_of(measured);
//         while (auto item = co_await items.next())                      // ends with the queue
//             all += *item;
//         co_return all;
//     }
//
// For whatever has the members of a queue: queue, lifo_queue, priority_queue, simple_queue, the
// ends of a channel, ipc::queue (which has a get_some of its own, at less cost).
//
// Threads:      as the queue's.
// Cancellation: who is stopped has taken no item that it doesn't give. put_all has put those before
//               the one that it waited with, and drops the others.
// Errors:       as the queue's put and get. The end of a queue ends items_of, and comes out of
//               get_some only if nothing was left. std::invalid_argument for none at most.
// Cost:         a frame, and for each item what a put or get costs that needn't wait.
// Source:       none.
#pragma once
#include <weft/runtime/async_generator.hpp>
#include <weft/runtime/task.hpp>
#include <weft/sync/error.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace weft {

namespace detail {

template <class Queue>
task<std::optional<typename Queue::value_type>> next_of(Queue& q) {
    try {
        typename Queue::value_type item = co_await q.get();
        co_return std::optional<typename Queue::value_type>(std::move(item));
    } catch (const queue_shut_down&) {
    }
    co_return std::nullopt;
}

} // namespace detail

/// Puts the items in their order; waits whenever the queue is full.
template <class Queue>
task<> put_all(Queue& q, std::vector<typename Queue::value_type> items) {
    for (auto& item : items)
        co_await q.put(std::move(item));
}

/// Waits for an item, and takes those with it that are there, up to `most`.
template <class Queue>
task<std::vector<typename Queue::value_type>> get_some(Queue& q, std::size_t most) {
    if (most == 0)
        throw std::invalid_argument("get_some: at most no item");
    std::vector<typename Queue::value_type> got;
    got.reserve(std::min(most, q.size() + 1));
    auto first = co_await q.get();
    got.push_back(std::move(first));
    try {
        while (got.size() < most) {
            if (got.size() == got.capacity()) // before an item depends on it
                got.reserve(2 * got.size());
            std::optional<typename Queue::value_type> next = q.try_get();
            if (!next)
                break;
            got.push_back(std::move(*next));
        }
    } catch (const queue_shut_down&) { // that was the last
    }
    co_return got;
}

/// The items as they come, until the queue is shut down and empty. Keep the queue meanwhile.
template <class Queue>
async_generator<typename Queue::value_type> items_of(Queue& q) {
    while (auto item = co_await detail::next_of(q))
        co_yield std::move(*item);
}

} // namespace weft
