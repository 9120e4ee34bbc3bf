// SPDX-License-Identifier: MIT
// What a primitive looks like now, in one form for all of them: for logs, dashboards and tests.
//
//     void tell(const weft::mutex& m) {
//         weft::primitive_stats s = m.stats();
//         fmt::print("{}: held {}, {} wait\n", s.kind, s.held, s.waiting);
//     }
//
// Threads:      none; a snapshot, which others may have made untrue by now, also in its parts.
// Cancellation: none.
// Errors:       none.
// Cost:         a look at the primitive, and counting those who wait.
// Source:       anyio's statistics().
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft {

struct primitive_stats {
    const char* kind = "";
    /// Who has it, where that is known: a number that is the same for all locks of a task, or of a
    /// plain thread, and that nobody had before. 0 is nobody, or not known.
    std::uint64_t holder = 0;
    /// Of a lock: how often it is held. Of a bounded semaphore and a limiter: what is out. Of a
    /// queue: its items. Of a barrier: who has come. Of a latch: what is left to count.
    std::size_t held = 0;
    /// What is there for who comes: permits, tokens; 1 for a free lock, a set event, a latch at
    /// zero.
    std::size_t free = 0;
    std::size_t waiting = 0;
};

} // namespace weft
