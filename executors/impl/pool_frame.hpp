// SPDX-License-Identifier: MIT
// The messages between a process pool and its workers: a header of 32 bytes, and a payload that
// starts on a boundary of 16, so that what lies aligned in it is aligned in memory. And the machine
// that puts received bytes together to frames.
//
// All go through the lanes (worker_lanes.hpp): initialise, task, item, result, error, ready, quit.
// What is larger than a slot of those lies in a block of shared memory (shared_blocks.hpp), or
// comes by the stream, and its slot says so. On the control channel (messages of 16 bytes), from
// the pool: stop, credit, tasks; from the worker what worker_voice.hpp says.
//
// Threads:      one. Cancellation: none.
// Errors:       protocol_error for a header that can't be. A payload that there is no memory for is
//               dropped as it comes, and its frame says so.
// Cost:         payloads of more than the staging buffer are received where they stay. Memory
//               follows the bytes that came.
// Source:       none.
#pragma once
#include <weft/executors/detail/pool_message.hpp>
#include <weft/ipc/archive.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace weft::detail {

enum class frame_kind : std::uint16_t {
    ready = 1,           // worker: I can work. Payload: protocol version.
    task = 2,            // pool: function id, signature, arguments
    result = 3,          // worker: the encoded result
    error = 4,           // worker: the encoded exception
    quit = 5,            // pool: there will be no more tasks
    initialise = 6,      // pool: as task, to be called before the first; the answer's task is 0
    bell = 7,            // worker: there is something in its lane; where a word can't be waited for
    task_in_setting = 8, // pool: as task, with a call_setting behind the arguments
    item = 9,            // worker: one of a sequence, encoded; a result or an error ends it
    by_stream_please = 10, // worker: the task lies in a block that it can't have
};
inline constexpr auto last_frame_kind = frame_kind::by_stream_please;

struct frame_header {
    static constexpr std::uint32_t right_magic = 0x74666577; // "weft"

    std::uint32_t magic = right_magic;
    frame_kind kind = frame_kind::ready;
    /// In results and errors: a stop was asked of the function before it returned.
    std::uint16_t stop_seen = 0;
    std::uint64_t task = 0;
    std::uint64_t length = 0; // of the payload
    std::uint64_t unused = 0;
};
static_assert(sizeof(frame_header) == 32);

inline constexpr std::uint32_t pool_protocol_version = 3;

struct control_message {
    enum class kind : std::uint32_t {
        stop = 1,
        credit = 2, // so many items of the task's were taken
        tasks = 3,  // what do the worker's tasks do? `task` is the question's number
    };
    kind what = kind::stop;
    std::uint32_t amount = 0;
    std::uint64_t task = 0;
};
static_assert(sizeof(control_message) == 16);

struct frame {
    frame_header header;
    pool_message payload;
    bool lacks_payload = false; // there was no memory for it
};

/// Writes the header into the headroom in front of a payload, which ends the message.
void finish_frame(ipc::byte_buffer& message, frame_kind kind, std::uint64_t task,
                  bool stop_seen = false) noexcept;

class frame_assembler {
public:
    /// Where the next bytes are to be received; never empty.
    [[nodiscard]] std::span<std::byte> space();
    /// `n` bytes have come.
    void commit(std::size_t n) noexcept;
    /// The next frame, if it is there in full.
    [[nodiscard]] std::optional<frame> take();
    /// Whether the bytes end with a frame: an end of the stream here loses nothing.
    [[nodiscard]] bool at_boundary() const noexcept { return !current_ && begin_ == end_; }

private:
    void start_frame();
    [[nodiscard]] bool make_room(std::size_t capacity, std::size_t size) noexcept;

    // Received and not looked at: [begin_, end_) of the staging buffer.
    std::array<std::byte, 16 * 1024> staging_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::optional<frame> current_; // its header is there, its payload in part
    std::size_t filled_ = 0;       // of the current payload
    bool direct_ = false;          // the last space() was inside of the payload
};

} // namespace weft::detail
