// SPDX-License-Identifier: MIT
// A queue that gives back the smallest of its items, otherwise as queue.
//
//     struct job {
//         int urgency;
//         std::string what;
//     };
//     struct most_urgent_first {
//         bool operator()(const job& a, const job& b) const { return a.urgency > b.urgency; }
//     };
//     weft::task<> work(weft::priority_queue<job, most_urgent_first>& jobs) {
//         while (true) {
//             job next = co_await jobs.get();
//             fmt::print("{}\n", next.what);
//         }
//     }
//
// The comparison says which of two items is taken first (std::priority_queue has it the other way
// round). Items that are equal come in no promised order.
//
// Threads:      all members, from any thread; a task goes on on its own loop. Items are compared
//               and moved on the thread of whoever puts or gets, one at a time, and under a lock:
//               that should be short, and must not use the queue.
// Cancellation: as queue's.
// Errors:       as queue's; what a comparison throws comes out of the put or get that needed it,
//               and the queue stays as it was.
// Cost:         two exchanges, two moves of the item, and a comparison for each doubling of what is
//               in it (two when it is taken). An item never moves while it is in. No allocation
//               with a bound (of a MiB of items); memory of a burst is given back when the queue is
//               empty.
// Source:       meaning after Python's queue.PriorityQueue.
#pragma once
#include <weft/sync/detail/basic_queue.hpp>
#include <weft/sync/detail/heap_store.hpp>
#include <weft/sync/detail/ordered_core.hpp>

#include <functional>

namespace weft {

template <class T, class Compare = std::less<T>, class Atomics = detail::std_atomics>
class priority_queue
    : public detail::basic_queue<detail::ordered_core<T, detail::heap_store<T, Compare>, Atomics>> {
    using base =
        detail::basic_queue<detail::ordered_core<T, detail::heap_store<T, Compare>, Atomics>>;

public:
    /// A capacity of 0: no bound.
    explicit priority_queue(std::size_t capacity = 0, Compare first = Compare())
        : base(capacity, std::move(first)) {}
};

} // namespace weft
