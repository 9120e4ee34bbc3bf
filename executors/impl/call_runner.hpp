// SPDX-License-Identifier: MIT
// Runs the calls that come to a worker: finds the function, sets what goes along with the call, and
// sends what comes of it.
//
// Threads:      the worker's main thread.
// Cancellation: through the desk.
// Errors:       whatever a call throws is its answer.
// Cost:         a call is one message each way, and one for each item of a sequence. Source: none.
#pragma once
#include "call_desk.hpp"
#include "worker_link.hpp"

namespace weft::detail {

class call_runner {
public:
    call_runner(worker_link& link, call_desk& desk) noexcept : link_(link), desk_(desk) {}
    void run(const worker_link::message& call);
    /// Whether nothing can be told to the call while it runs: it takes no stop, and isn't a
    /// sequence.
    [[nodiscard]] static bool is_plain(const worker_link::message& call) noexcept;

private:
    class running;

    worker_link& link_;
    call_desk& desk_;
};

} // namespace weft::detail
