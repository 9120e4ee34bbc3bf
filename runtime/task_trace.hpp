// SPDX-License-Identifier: MIT
// Has a function called each time that a task starts, waits, goes on or ends: for tracers, and to
// see who takes turns with whom.
//
//     std::atomic<long> turns{0};
//
//     void count_turns() {
//         weft::set_task_trace_hook([](const weft::task_event& e) noexcept {
//             if (e.what == weft::task_event::resume)
//                 ++turns;
//         });
//     }
//
// Tasks are those of the tree that introspect.hpp shows, so the body of a scope is one, too. On a
// thread pool they are what was sent there, the children of scopes, and of when_all those that
// another thread took; what a task runs in its own place belongs to it. Between `start` or `resume`
// of a task and its `suspend` or `end`, its thread runs that one.
//
// Threads:      setting is atomic. A loop, or a thread of a pool, sees a change when it is done
//               with what it runs. The hook is called on the thread of the task, on several at
//               once.
// Cancellation: a task that is stopped before its first turn starts and ends without a turn. One
//               that is unwound goes on and ends.
// Errors:       none; the hook throws nothing.
// Cost:         unless a hook is set, a load each time that a loop looks at its mail. Else a call
//               for each event.
// Source:       what Python's settrace and setprofile are for functions.
#pragma once
#include <cstdint>
#include <source_location>

namespace weft {

struct task_event {
    enum kind : std::uint8_t { start, suspend, resume, end };

    kind what;
    /// Tells apart tasks that exist at the same time.
    std::uintptr_t task;
    /// "" if it has none. Valid during the call, as the other text.
    const char* name;
    /// Where it was spawned, if known.
    std::source_location started_at;
    /// Of `suspend`: what it waits for ("" if it is only somebody else's turn), and where.
    const char* waits_for;
    std::source_location at;
};

using task_trace_hook = void (*)(const task_event&) noexcept;

/// Replaces the hook and gives the former one. Null: none.
task_trace_hook set_task_trace_hook(task_trace_hook hook) noexcept;

} // namespace weft
