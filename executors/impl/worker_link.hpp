// SPDX-License-Identifier: MIT
// A worker's end of what connects it with its pool: frames come, frames go. Small ones through the
// lanes in the memory that both have, larger ones in blocks of shared memory, or over a socket.
//
// Threads:      the worker's main thread, but for leave_at_once.
// Cancellation: none.
// Errors:       if the pool or its channel is gone, the process ends. std::bad_alloc.
// Cost:         an exchange of a word each; a system call when one of both sleeps. Source: none.
#pragma once
#include "pool_frame.hpp"
#include "shared_blocks.hpp"
#include "worker_lanes.hpp"

#include <chrono>
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
        std::span<const std::byte> payload; // there until it is answered, or the next receive()
        bool lacks_payload = false;         // there was no memory for it
    };

    /// `memory`: a descriptor of what make_worker_memory made. `blocks`: a socket for those of
    /// large messages.
    worker_link(int tasks, int memory, int blocks, const block_bounds& bounds);

    /// Looks out for the very first frame for about as long as the pool needs to send one after it
    /// was told that we are there.
    [[nodiscard]] bool first_comes_soon() const noexcept;
    /// Waits for the next frame from the pool.
    [[nodiscard]] message receive();
    /// For the payload of a frame.
    [[nodiscard]] ipc::archive_writer writer() {
        return {sizeof(frame_header), ipc::byte_buffer(blocks_, shared_blocks::least)};
    }
    /// Sends what writer() was filled with.
    void send(ipc::archive_writer& payload, frame_kind kind, std::uint64_t task,
              bool stop_seen = false);

private:
    template <class There>
    void wait_until(There there);
    [[nodiscard]] message receive_from_stream();
    void send_by_stream(ipc::byte_buffer& whole, frame_kind kind, std::uint64_t task,
                        bool stop_seen);
    void send_bytes(std::span<const std::byte> left) noexcept;

    [[nodiscard]] const block_mapping* block_of(const slot_content& c) noexcept;
    [[nodiscard]] std::uint16_t lend(ipc::byte_buffer& whole, std::uint64_t& id) noexcept;

    int tasks_;
    int block_socket_;
    shared_blocks blocks_;
    std::chrono::steady_clock::time_point trimmed_;
    block_places<bool> known_to_pool_;
    std::uint32_t lost_by_pool_ = 0;
    block_places<block_mapping> of_pool_;
    block_mapping one_use_;
    ipc::shared_memory memory_;
    worker_memory& lanes_;
    unsigned received_ = 0;
    unsigned sent_ = 0;
    lane_lookout lookout_;
    frame_assembler assembler_;
    std::optional<frame> current_;
};

} // namespace weft::detail
