// SPDX-License-Identifier: MIT
// Lines for whoever runs the program. They go to one place, the sink; without one, as at first, a
// line costs a load. What a worker of a process pool logs comes to the sink of the pool's process.
//
//     void start(int port) {
//         weft::log_to_stderr(weft::log_level::info);
//         weft::log(weft::log_level::info, fmt::format("listening on {}", port));
//         // writes: [INFO/4711] listening on ...
//     }
//
// Threads:      any; the sink is called on the thread that logs, on several at once.
// Cancellation: none.
// Errors:       none from log; what a sink throws goes to the unhandled-error hook.
// Cost:         a load if nobody wants the line. log_to_stderr writes it with one system call, so
//               that lines of several processes don't mix.
// Source:       multiprocessing.get_logger and log_to_stderr; levels of Python's logging.
#pragma once
#include <cstdint>
#include <string_view>

namespace weft {

enum class log_level : std::uint8_t {
    subdebug = 5,
    debug = 10,
    info = 20,
    subwarning = 25,
    warning = 30,
    error = 40,
    critical = 50,
    off = 255 // of no line
};

struct log_record {
    log_level level;
    int pid; // of the process that said it
    std::string_view text;
};

using log_sink = void (*)(const log_record&);

/// Where lines of `least` and above go from now on. Null: nowhere. Gives the former sink.
log_sink set_log_sink(log_sink sink, log_level least = log_level::info) noexcept;
/// The sink that writes `[LEVEL/pid] text` to standard error.
void log_to_stderr(log_level least = log_level::info) noexcept;

/// From which level on lines are wanted; `off` if there is no sink.
[[nodiscard]] log_level least_logged() noexcept;
/// Says a line, which needs no end.
void log(log_level level, std::string_view text) noexcept;

namespace detail {
/// Whether that is the sink.
[[nodiscard]] bool logs_to(log_sink sink) noexcept;
/// Hands on what another process said.
void hand_on(const log_record& r) noexcept;
} // namespace detail

} // namespace weft
