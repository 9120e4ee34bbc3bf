// SPDX-License-Identifier: MIT
// What is said to a fork server, without I/O: packets in, what to do out. A request for a process
// comes with descriptors, as many packets as these take.
//
// The packets come over a socket pair that was handed over at the start of the server, so they are
// its parent's: nobody else can send one, and one that makes no sense is memory gone wrong.
//
// Threads:      one. Cancellation: none. Errors: it says that a packet is bad; nothing can follow.
// Cost:         no allocation. Source: none.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::ipc::detail {

/// Laid out as it is sent: both ends are the same program.
struct fork_packet {
    static constexpr std::uint32_t right_mark = 0x31464657; // "WFF1"
    enum class kind : std::uint32_t { preload, start, more };

    std::uint32_t mark = right_mark;
    kind what = kind::start;
    std::uint64_t function = 0, signature = 0; // preload
    std::uint32_t descriptors = 0;             // start: how many there are in all
    std::uint32_t unused = 0;
};

/// The first descriptors of a request, in this order; those that the process was passed follow.
enum class fork_place : std::uint8_t { reply, letter, key, output, error, passed };

/// What is sent back for a request, by the server and by the process itself: the first one counts.
/// The process's pidfd goes along.
struct fork_reply {
    std::int32_t error_number = 0;
    std::int32_t pid = 0;
};
/// In place of an errno: a preload function left threads behind; nobody knows where the C library
/// keeps the thread's id.
inline constexpr std::int32_t has_threads = -1, no_thread_id = -2;

class fork_server_machine {
public:
    /// The most descriptors that one packet brings, and one request.
    static constexpr std::size_t most_in_packet = 32;
    static constexpr std::size_t most_in_request = 4096;

    enum class step : std::uint8_t {
        wait,    // there is more to come
        preload, // call function()
        start,   // a process can be made of all descriptors that have come since the last one
        bad,
    };
    /// A packet has come, with so many descriptors.
    [[nodiscard]] step received(std::span<const std::byte> packet,
                                std::size_t descriptors) noexcept;

    [[nodiscard]] std::uint64_t function() const noexcept { return function_; }
    [[nodiscard]] std::uint64_t signature() const noexcept { return signature_; }

private:
    [[nodiscard]] step add(std::size_t descriptors) noexcept;

    std::uint64_t function_ = 0, signature_ = 0;
    std::size_t missing_ = 0; // descriptors of a request that has begun
    bool bad_ = false;
};

} // namespace weft::ipc::detail
