// SPDX-License-Identifier: MIT
// A child process, held by a pidfd: signals reach it and nobody else, and its end is waited for
// without SIGCHLD.
//
//     void run_true() {
//         const char* arguments[] = {"true", nullptr};
//         auto p = weft::ipc::detail::spawn_child(
//             {.path = "/bin/true", .arguments = arguments});
//         p.send_signal(9);
//     }                                   // the destructor ends what still runs; no zombie is left
//
// The child gets the standard streams (its input is /dev/null), the descriptors that are listed,
// the environment, and the default disposition of every signal with none blocked; nothing else.
//
// Threads:      a child belongs to one thread at a time; it may outlive the thread that spawned it.
// Processes:    the handle is of use where it was made: in a process that was forked from there it
//               ends nothing and learns nothing.
// Cancellation: none; nothing here waits but the destructor, for a process that was killed.
// Errors:       spawn_child throws std::system_error with the errno and the path.
// Cost:         spawning takes 0.3 to 1 ms, during which the calling thread waits for the exec.
// Source:       posix_spawn(3), pidfd_open(2), waitid(2).
#pragma once
#include <weft/ipc/exit_status.hpp>
#include <weft/runtime/descriptor.hpp>

#include <optional>
#include <span>

namespace weft::ipc::detail {

struct child_options;

class child {
public:
    /// None.
    child() noexcept = default;
    /// Takes over a child of this process. Without a pidfd it counts as ended.
    child(int pid, descriptor pidfd) noexcept;
    child(child&& other) noexcept
        : pidfd_(std::move(other.pidfd_)), pid_(std::exchange(other.pid_, 0)), owner_(other.owner_),
          status_(other.status_), ended_(std::exchange(other.ended_, true)) {}
    child& operator=(child&& other) noexcept;
    /// Kills it if it still runs.
    ~child();

    [[nodiscard]] int pid() const noexcept { return pid_; }
    /// Becomes readable when the process has ended. -1 if it had ended before it could be opened.
    [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }

    /// False if it has ended already.
    bool send_signal(int signal) noexcept;
    /// Its status, once it has ended. The first answer takes it out of the system's table.
    [[nodiscard]] std::optional<exit_status> try_wait() noexcept;
    /// Leaves the process to itself from now on, and to whoever reaps it.
    void let_go() noexcept { ended_ = true; }

private:
    bool reap(int options) noexcept;

    descriptor pidfd_;
    int pid_ = 0;
    int owner_ = 0; // the process whose child it is
    exit_status status_;
    bool ended_ = true;
};

struct child_options {
    /// The default is the running program itself, also if its file was replaced meanwhile.
    const char* path = "/proc/self/exe";
    /// The argument vector, from the program's name to a final null.
    std::span<const char* const> arguments = {};
    /// These become 3, 4, ... in the child.
    std::span<const int> descriptors = {};
    /// It begins with SIGINT and SIGTERM blocked. Else no signal is.
    bool blocks_signals = false;
    /// Its environment, which ends with a null. Null: that of this process.
    const char* const* environment = nullptr;
    /// What becomes its standard error; -1: that of this process.
    int standard_error = -1;
};

[[nodiscard]] child spawn_child(const child_options& options);

/// A child that was just made, by its pid. Kills it if there is no descriptor for it.
[[nodiscard]] child adopt_child(int pid, const char* operation, const char* path = "");

/// A pidfd of the calling process, for others to see its end.
[[nodiscard]] descriptor own_pidfd();

} // namespace weft::ipc::detail
