// SPDX-License-Identifier: MIT
// What queues (see runtime/queue_error.hpp) and barriers throw besides std::invalid_argument.
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
#include <weft/runtime/queue_error.hpp>

namespace weft {

/// Who should have come to the barrier didn't, in time or at all; or somebody broke it.
class broken_barrier : public state_error {
public:
    using state_error::state_error;
    broken_barrier() : state_error("the barrier is broken") {}
    ~broken_barrier() override;
};

} // namespace weft
