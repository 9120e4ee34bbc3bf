// SPDX-License-Identifier: MIT
// A queue that gives back what was put last, otherwise as queue: a stack between tasks and threads.
//
//     weft::task<> reuse(weft::lifo_queue<std::string>& spare) {
//         std::string buffer = co_await spare.get();      // the one that is still in the cache
//         buffer.clear();
//         co_await spare.put(std::move(buffer));
//     }
//
// Threads:      all members, from any thread; a task goes on on its own loop. Items are moved, and
//               what is left of them destroyed, under a lock: that must not use the queue.
// Cancellation: as queue's.
// Errors:       as queue's.
// Cost:         two exchanges and two moves of the item for a put or a get that needn't wait. An
//               item never moves while it is in. No allocation with a bound, of a MiB of items;
//               memory of a burst is given back when the queue is empty.
// Source:       meaning after Python's queue.LifoQueue.
#pragma once
#include <weft/sync/detail/basic_queue.hpp>
#include <weft/sync/detail/ordered_core.hpp>
#include <weft/sync/detail/stack_store.hpp>

namespace weft {

template <class T, class Atomics = detail::std_atomics>
class lifo_queue
    : public detail::basic_queue<detail::ordered_core<T, detail::stack_store<T>, Atomics>> {
public:
    /// A capacity of 0: no bound.
    explicit lifo_queue(std::size_t capacity = 0)
        : detail::basic_queue<detail::ordered_core<T, detail::stack_store<T>, Atomics>>(capacity) {}
};

} // namespace weft
