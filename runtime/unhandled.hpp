// SPDX-License-Identifier: MIT
// The hook that gets the errors which nobody was there to catch: of a detached task, of a task
// whose handle was dropped before anyone asked for its result, of a posted function. Each is
// reported once.
//
//     void log_stray_errors() {
//         weft::set_unhandled_error_hook([](const weft::unhandled_error& e) noexcept {
//             std::fprintf(stderr, "stray error in %s: %s\n", e.where, e.text);
//         });
//     }
//
// Threads:      setting is atomic; the hook may be called on any thread, on several at once.
// Cancellation: none. A stop is no error and isn't reported.
// Errors:       what the hook itself throws is written to standard error, after the error that it
//               was told of.
// Cost:         none unless something is reported.
// Source:       threading.excepthook and asyncio's exception handler.
#pragma once
#include <exception>
#include <source_location>

namespace weft {

struct unhandled_error {
    const char* where;               // what it came from: "a detached task", or the task's name
    std::source_location spawned_at; // where that was started, if known
    std::exception_ptr error;
    const char* text; // describe(error); valid during the call
};

using unhandled_error_hook = void (*)(const unhandled_error&);

/// Replaces the hook and gives the former one. Null brings back the default, which writes a line to
/// standard error.
unhandled_error_hook set_unhandled_error_hook(unhandled_error_hook hook) noexcept;

namespace detail {
void report_unhandled(const char* where, std::source_location spawned_at,
                      std::exception_ptr e) noexcept;
void report_current_exception(const char* where) noexcept;
} // namespace detail

} // namespace weft
