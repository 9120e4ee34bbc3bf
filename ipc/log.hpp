// SPDX-License-Identifier: MIT
// What the processes of a program tell about themselves. Nothing is said until somebody asks.
//
//     weft::task<> find_out(weft::ipc::process& worker) {
//         using enum weft::ipc::log_level;
//         weft::ipc::logger& log = weft::ipc::log_to_stderr(info);
//         log.say(info, "about to start " + worker.name());  // [INFO/MainProcess] about to ...
//         co_await worker.start();        // [INFO/Process-1] calls its function, and what it says
//         co_await worker.join();
//     }
//
// Each line is written in one go, so those of several processes don't mix (in a pipe, if they have
// no more than 4096 bytes). A process that is started later (process.hpp) writes as the one does
// that starts it, its sink aside; what the workers of a pool say comes to the pool's process, which
// says it for them. The library itself tells when processes begin and end.
//
// Threads:      any; a sink may be called on several at once.
// Cancellation: none.
// Errors:       none: what can't be said is dropped.
// Cost:         what isn't wanted, a look at an atomic; a line, a string and a system call.
// Source:       multiprocessing's get_logger and log_to_stderr.
#pragma once
#include <atomic>
#include <limits>
#include <string>
#include <string_view>

namespace weft::ipc {

/// The numbers are Python's. Others may be used, too.
enum class log_level : int {
    subdebug = 5,
    debug = 10,
    info = 20,
    subwarning = 25,
    warning = 30,
    error = 40,
    critical = 50,
    nothing = std::numeric_limits<int>::max(), // as a limit: nobody wants to hear anything
};

/// "INFO"; "Level 15" for a number without a name.
[[nodiscard]] std::string name_of(log_level l);

/// Gets what is said, with the name of the process that says it. What it throws is dropped.
using log_sink = void (*)(log_level level, std::string_view process, std::string_view message);

class logger {
public:
    constexpr logger() noexcept = default;
    logger(const logger&) = delete;
    logger& operator=(const logger&) = delete;

    /// What is less than that isn't said. At first: warning.
    void set_level(log_level least) noexcept {
        least_.store(static_cast<int>(least), std::memory_order_relaxed);
    }
    [[nodiscard]] log_level level() const noexcept {
        return static_cast<log_level>(least_.load(std::memory_order_relaxed));
    }
    /// Whether lines are written to standard error.
    void set_to_stderr(bool on) noexcept { to_stderr_.store(on, std::memory_order_relaxed); }
    [[nodiscard]] bool to_stderr() const noexcept {
        return to_stderr_.load(std::memory_order_relaxed);
    }
    /// Also, or only, tells a function. Gives the former one; null: nobody.
    log_sink set_sink(log_sink f) noexcept {
        // acq_rel: what the one who set it had done before is seen by the one it tells
        return sink_.exchange(f, std::memory_order_acq_rel);
    }
    [[nodiscard]] log_sink sink() const noexcept { return sink_.load(std::memory_order_relaxed); }

    /// Whether anybody would hear it: for messages that take time to make.
    [[nodiscard]] bool wants(log_level l) const noexcept {
        return l >= least_wanted() && l != log_level::nothing;
    }
    /// From which level on somebody hears it.
    [[nodiscard]] log_level least_wanted() const noexcept {
        return to_stderr() || sink() != nullptr ? level() : log_level::nothing;
    }
    /// [LEVEL/name of the process] message
    void say(log_level l, std::string_view message) noexcept {
        if (wants(l))
            write(l, message);
    }
    /// Says what another process of that name has said.
    void say_for(std::string_view process, log_level l, std::string_view message) noexcept {
        if (wants(l))
            write(l, process, message);
    }

private:
    void write(log_level l, std::string_view message) noexcept;
    void write(log_level l, std::string_view process, std::string_view message) noexcept;

    // All of them relaxed but the sink: who sets them needn't be heard at once.
    std::atomic<int> least_{static_cast<int>(log_level::warning)};
    std::atomic<bool> to_stderr_{false};
    std::atomic<log_sink> sink_{nullptr};
};

/// The one of this process.
[[nodiscard]] logger& get_logger() noexcept;
/// Has it write to standard error from now on.
logger& log_to_stderr() noexcept;
/// Sets its level as well.
logger& log_to_stderr(log_level least) noexcept;

} // namespace weft::ipc
