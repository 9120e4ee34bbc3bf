// SPDX-License-Identifier: MIT
// A line that is on loan to a runner: what is to be had there, tasks of this runner may take before
// others who wait, until each of them that is ready has had its turn. Then the runner settles it.
// See sync/detail/turnstile.hpp for why.
//
// Threads:      the runner's. Cancellation: none. Errors: none.
// Cost:         a runner has a few of them, and looks at all.
// Source:       none.
#pragma once
#include <weft/runtime/detail/work.hpp>

#include <cstdint>

namespace weft::detail {

class runner;
class waiter;

struct loan : work {
    using settle_function = void (*)(loan&, bool at_once) noexcept;

    loan() noexcept : work(run_loan) {}
    loan(const loan&) = delete;
    loan& operator=(const loan&) = delete;

    /// Puts it into a queue, unless it stands there.
    void queue_in(work_queue& q) noexcept {
        if (!queued_)
            q.push(*this);
        queued_ = true;
    }

    const void* line = nullptr;       // null: of nothing
    settle_function settle = nullptr; // at once: nothing is on loan afterwards
    waiter* next = nullptr;           // the first of the runner's own in the line: there is one
    std::int64_t since = 0;           // when it was settled last, or began
    std::uint32_t left = 0;           // how often it may be taken until it is settled
    std::uint32_t burst = 1;          // how often that was at first
    bool given = false;               // to `next`, since the queue last came to it
    const runner* called = nullptr;   // who is to have the line next
    std::uint32_t answers = 0;        // of that one, before it was called
    std::int64_t patient_until = 0;   // calls it again if it goes to sleep

private:
    static void run_loan(work& w) noexcept {
        auto& self = static_cast<loan&>(w);
        self.queued_ = false;
        if (self.line != nullptr)
            self.settle(self, false);
    }
    bool queued_ = false;
};

} // namespace weft::detail
