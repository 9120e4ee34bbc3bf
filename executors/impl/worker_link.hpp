// SPDX-License-Identifier: MIT
// A worker's end of what connects it with its pool: frames come, frames go.
//
// Threads:      the worker's main thread, but for leave_at_once.
// Cancellation: none.
// Errors:       if the pool or its channel is gone, the process ends. std::bad_alloc.
// Cost:         a system call or two for each frame. Source: none.
#pragma once
#include "pool_frame.hpp"

#include <optional>
#include <span>

namespace weft::detail {

/// The process that wants our results is gone, or has given us up: nothing that we do can matter
/// any more. Nothing is flushed and no destructor runs, because a task may be in the middle of
/// anything.
[[noreturn]] void leave_at_once() noexcept;

class worker_link {
public:
    struct message {
        frame_header header;
        std::span<const std::byte> payload; // there until the next receive()
    };

    explicit worker_link(int tasks) noexcept : tasks_(tasks) {}

    /// Waits for the next frame from the pool.
    [[nodiscard]] message receive();
    /// For the payload of a frame.
    [[nodiscard]] ipc::archive_writer writer() const {
        return ipc::archive_writer(sizeof(frame_header));
    }
    /// Sends what writer() was filled with.
    void send(ipc::archive_writer& payload, frame_kind kind, std::uint64_t task,
              bool stop_seen = false);

private:
    int tasks_;
    frame_assembler assembler_;
    std::optional<frame> current_;
};

} // namespace weft::detail
