// SPDX-License-Identifier: MIT
// The frames of a connection, in the format of Python's multiprocessing: a length of 4 bytes
// (signed, big-endian) and so many bytes; or -1, a length of 8 bytes (unsigned), and so many bytes.
// A machine without I/O puts them together again.
//
// It never asks for a byte beyond the message that it is at: what follows may be a descriptor,
// which another kind of read must take, or belong to another process that the connection is handed
// to. For connections on which nothing of the kind can be, a buffer in front of it takes whatever
// has come.
//
// Threads:      one. Cancellation: none: what has come stays, and the next reader goes on with it.
// Errors:       protocol_error for a length that can't be, from check(); std::bad_alloc.
// Cost:         memory follows the bytes that came: 64 KiB ahead of them, or as much again.
// Source:       W-FRM of the specification.
#pragma once
#include <weft/ipc/archive.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace weft::ipc::detail {

/// What stands before a message of `length` bytes.
class frame_header {
public:
    explicit frame_header(std::uint64_t length) noexcept;
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::span(raw_).first(size_);
    }

private:
    std::array<std::byte, 12> raw_{};
    std::size_t size_;
};

class frame_reader {
public:
    /// Where the next bytes go, and how many at most; empty if the message is complete.
    [[nodiscard]] std::span<std::byte> space();
    /// So many bytes were put there.
    void commit(std::size_t n) noexcept;
    /// Throws if what came is no frame. Nothing can come after that.
    void check() const;

    /// Whether a part of a message has come.
    [[nodiscard]] bool begun() const noexcept { return have_ != 0; }
    /// How long the message is, once that is known.
    [[nodiscard]] std::optional<std::uint64_t> length() const noexcept { return length_; }
    [[nodiscard]] bool complete() const noexcept { return length_ && filled_ == *length_; }
    [[nodiscard]] bool bad() const noexcept { return bad_; }
    /// How many bytes of the message are there.
    [[nodiscard]] std::size_t filled() const noexcept { return filled_; }
    /// How many bytes have come, and how many there are as far as is known, with the header.
    [[nodiscard]] std::size_t came() const noexcept { return have_ + filled_; }
    [[nodiscard]] std::size_t expected() const noexcept { return wanted_ + length_.value_or(0); }
    /// The complete message. The next one may begin.
    [[nodiscard]] byte_buffer take() noexcept;

private:
    std::array<std::byte, 12> header_{};
    std::size_t have_ = 0;   // of the header
    std::size_t wanted_ = 4; // of the header, as far as is known
    std::optional<std::uint64_t> length_;
    std::size_t filled_ = 0;
    byte_buffer body_;
    bool bad_ = false;
};

/// Bytes that came in one go, on their way to a frame_reader.
class bytes_ahead {
public:
    static constexpr std::size_t most = 4096;

    [[nodiscard]] bool empty() const noexcept { return first_ == end_; }
    /// Where the next bytes go, when it is empty.
    [[nodiscard]] std::span<std::byte> space();
    void commit(std::size_t n) noexcept {
        first_ = 0;
        end_ = n;
    }
    /// Gives the reader what belongs to the message that it is at, if that isn't longer than
    /// `limit`.
    void feed(frame_reader& r, std::uint64_t limit);

private:
    std::unique_ptr<std::byte[]> bytes_; // none until they are needed
    std::size_t first_ = 0, end_ = 0;
};

} // namespace weft::ipc::detail
