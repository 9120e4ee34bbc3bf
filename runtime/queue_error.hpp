// SPDX-License-Identifier: MIT
// What queues throw besides std::invalid_argument, those within a process and those between them.
//
//     template <class Queue> // weft::queue, weft::ipc::queue ...
//     weft::task<> drain(Queue& q) {
//         try {
//             while (true)
//                 fmt::print("{}\n", co_await q.get());
//         } catch (const weft::queue_shut_down&) {
//             fmt::print("that was all\n");
//         }
//     }
//
// Threads:      any. Cancellation: none: a stop is no error. Errors: making one allocates its text.
// Cost:         that of an exception. Source: Python's queue.Empty, queue.Full, queue.ShutDown.
#pragma once
#include <weft/runtime/error.hpp>

namespace weft {

/// Nothing came in time.
class queue_empty : public error {
public:
    using error::error;
    queue_empty() : error("nothing came into the queue in time") {}
    ~queue_empty() override;
};

/// No room came in time.
class queue_full : public error {
public:
    using error::error;
    queue_full() : error("no room came in the queue in time") {}
    ~queue_full() override;
};

/// The queue takes no more items; for one who gets, it has no more either.
class queue_shut_down : public error {
public:
    using error::error;
    queue_shut_down() : error("the queue has been shut down") {}
    ~queue_shut_down() override;
};

} // namespace weft
