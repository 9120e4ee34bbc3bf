// SPDX-License-Identifier: MIT
// How a process ended: by its own exit with a code, or by a signal.
//
//     bool ended_well(weft::ipc::exit_status s) { return s.exited() && s.code() == 0; }
//
// Threads:      any; a value.
// Cancellation: none.
// Errors:       none; text() allocates.
// Cost:         eight bytes.
// Source:       the sign rule of number() is that of Python's exitcode; siginfo_t of waitid(2).
#pragma once
#include <cstdint>
#include <string>

namespace weft::ipc {

class exit_status {
public:
    enum class kind : std::uint8_t { unknown, exited, killed };

    /// Unknown: somebody else in the program took the status (a waitpid(-1), or SIGCHLD being
    /// ignored).
    constexpr exit_status() noexcept = default;
    [[nodiscard]] static constexpr exit_status by_exit(int code) noexcept {
        return {kind::exited, code, false};
    }
    [[nodiscard]] static constexpr exit_status by_signal(int signal,
                                                         bool core_dumped = false) noexcept {
        return {kind::killed, signal, core_dumped};
    }

    [[nodiscard]] constexpr bool known() const noexcept { return kind_ != kind::unknown; }
    [[nodiscard]] constexpr bool exited() const noexcept { return kind_ == kind::exited; }
    [[nodiscard]] constexpr bool killed() const noexcept { return kind_ == kind::killed; }
    /// The exit code, or 0 if it didn't exit by itself.
    [[nodiscard]] constexpr int code() const noexcept { return exited() ? value_ : 0; }
    /// The signal, or 0 if none ended it.
    [[nodiscard]] constexpr int signal() const noexcept { return killed() ? value_ : 0; }
    [[nodiscard]] constexpr bool core_dumped() const noexcept { return core_dumped_; }
    /// The code, or minus the signal.
    [[nodiscard]] constexpr int number() const noexcept { return killed() ? -value_ : value_; }

    /// "exited with code 3", "killed by signal 9 (SIGKILL)".
    [[nodiscard]] std::string text() const;

    friend constexpr bool operator==(exit_status, exit_status) noexcept = default;

private:
    constexpr exit_status(kind k, int value, bool core_dumped) noexcept
        : value_(value), kind_(k), core_dumped_(core_dumped) {}

    int value_ = 0;
    kind kind_ = kind::unknown;
    bool core_dumped_ = false;
};

} // namespace weft::ipc
