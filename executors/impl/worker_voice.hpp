// SPDX-License-Identifier: MIT
// What a worker says beside its answers, from any of its threads, as packets on the control
// channel: errors that nobody caught there, lines of its log, and what its tasks are doing. And how
// the pool reads them.
//
// Threads:      any in the worker; the pool's loop.
// Cancellation: none.
// Errors:       none in the worker: if the pool is gone or there is no memory for it, nothing is
//               said. Reading throws codec_error, std::bad_alloc.
// Cost:         a system call for each. Who has much to say waits for the pool's loop to hear it.
// Source:       none.
#pragma once
#include <weft/ipc/archive.hpp>
#include <weft/ipc/log.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weft::detail {

class worker_voice {
public:
    enum class subject : std::uint32_t { stray_error = 1, log_line = 2, tasks = 3 };

    /// For the life of the process: makes it the unhandled-error hook and the log's sink, which
    /// wants nothing yet.
    static void start(int control) noexcept;
    /// What the pool's process wants to hear, unless the log goes elsewhere.
    static void set_log_level(ipc::log_level least) noexcept;
    /// Answers a question of the pool's.
    static void tell_tasks(std::uint64_t question, std::string_view tree) noexcept;
};

/// What a worker said about its tasks.
struct told_tasks {
    std::uint64_t question = 0; // 0: it said something else, which is dealt with
    std::string tree;
};
/// Reads what a worker said, and hands errors and lines on to this process's hooks.
told_tasks hear_worker(std::span<const std::byte> packet, int pid);

} // namespace weft::detail
