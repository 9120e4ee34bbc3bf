// SPDX-License-Identifier: MIT
// A queue between tasks and threads, first in, first out. With a bound, who puts waits for room.
//
//     weft::task<> produce(weft::queue<std::string>& lines, weft::task<std::string> (*read)()) {
//         for (int i = 0; i < 100; ++i)
//             co_await lines.put(co_await read());        // waits while the queue is full
//         lines.shutdown();
//     }
//     weft::task<> consume(weft::queue<std::string>& lines) {
//         try {
//             while (true)
//                 fmt::print("{}\n", co_await lines.get());
//         } catch (const weft::queue_shut_down&) {        // everything was put, and got
//         }
//     }
//     std::string next(weft::queue<std::string>& lines) {  // on a plain thread
//         return weft::sync_wait(lines.get());
//     }
//
// Every item is delivered once. Those who wait are served first come, first served, and an item
// goes straight to one who waits for it.
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: a stopped get has taken no item, a stopped put has added none and destroys its own.
//               Who has been given an item when the stop comes goes on with it.
// Errors:       queue_shut_down from put and get after shutdown; queue_empty and queue_full from
//               those with a deadline, and the item of such a put is gone (try_put leaves it where
//               it is); std::invalid_argument for a negative duration, for a task_done too many,
//               and for a capacity beyond 2^31 - 1. What moving an item throws comes out of the put
//               or get that needs it, and the queue stays as it was; an item that can't be moved
//               out of a finished get is lost. std::bad_alloc if there is no memory for more items.
//               A queue that is destroyed while somebody waits ends the program.
// Cost:         a put or a get that needn't wait takes one exchange and two moves of the item. No
//               allocation with a bound (of a MiB of items; beyond that, and without a bound, when
//               there are more items than ever). After 256 items in a row a task lets others run.
// Source:       meaning after Python's queue.Queue; the members are in detail/basic_queue.hpp, how
//               it works in detail/queue_state.hpp.
#pragma once
#include <weft/sync/detail/basic_queue.hpp>

namespace weft {

template <class T, class Atomics = detail::std_atomics>
class queue : public detail::basic_queue<detail::queue_core<T, Atomics>> {
public:
    /// A capacity of 0: no bound.
    explicit queue(std::size_t capacity = 0)
        : detail::basic_queue<detail::queue_core<T, Atomics>>(capacity) {}
};

} // namespace weft
