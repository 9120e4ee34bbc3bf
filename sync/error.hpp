// SPDX-License-Identifier: MIT
// What queues and barriers throw besides std::invalid_argument.
//
//     weft::task<> drain(weft::queue<int>& q) {
//         try {
//             while (true)
//                 fmt::print("{}\n", co_await q.get());
//         } catch (const weft::queue_shut_down&) {
//             fmt::print("that was all\n");
//         }
//     }
//
// Threads:      any. Cancellation: none: a stop is no error. Errors: making one allocates its text.
// Cost:         that of an exception. Source: Python's queue.Empty, queue.Full, queue.ShutDown and
//               threading.BrokenBarrierError.
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

/// Who should have come to the barrier didn't, in time or at all; or somebody broke it.
class broken_barrier : public state_error {
public:
    using state_error::state_error;
    broken_barrier() : state_error("the barrier is broken") {}
    ~broken_barrier() override;
};

} // namespace weft
