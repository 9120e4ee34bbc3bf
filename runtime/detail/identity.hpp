// SPDX-License-Identifier: MIT
// Who somebody is to a lock: a task, or a thread that runs none. A task is one line of execution,
// with all strands that go on in its place while it waits for nothing else: the bodies of timeouts,
// shields, clean-ups and groups, and what it runs on another loop. What runs beside it (children,
// parts of when_all) is somebody else. What a plain thread waits for is the thread itself.
//
//     bool same_task_as(weft::detail::identity noted) {
//         return weft::detail::current_identity() == noted;
//     }
//
// Threads:      the runner's of the strand that is asked about.
// Cancellation: none.
// Errors:       describe_caller throws std::bad_alloc; the rest is noexcept.
// Cost:         three loads; who is asked for the first time gets a number that nobody had before.
// Source:       none.
#pragma once
#include <weft/runtime/detail/runner.hpp>

#include <cstdint>
#include <string>

namespace weft::detail {

/// Never given twice, so who has ended isn't taken for another. 0 is nobody.
using identity = std::uint64_t;

[[nodiscard]] identity identity_of_slow(strand* s) noexcept;

[[nodiscard]] inline identity identity_of(strand& s) noexcept {
    return s.identity != 0 ? s.identity : identity_of_slow(&s);
}
/// The calling thread itself. Precondition: it runs no loop now.
[[nodiscard]] inline identity thread_identity() noexcept { return identity_of_slow(nullptr); }
/// The task that the calling thread runs, or else the thread; on a loop's thread, one for all
/// functions that the loop runs.
[[nodiscard]] inline identity current_identity() noexcept {
    runner* r = runner::current();
    strand* s = r == nullptr ? nullptr : r->current_strand;
    return s != nullptr && s->identity != 0 ? s->identity : identity_of_slow(s);
}

/// The caller as people know it: "task main", "the task started at server.cpp:12", "thread 4711".
[[nodiscard]] std::string describe_caller();

} // namespace weft::detail
