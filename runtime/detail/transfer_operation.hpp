// SPDX-License-Identifier: MIT
// Reading and writing files, pipes and terminals: whatever read(2) and write(2) are for.
//
// A write whose reader is gone makes no SIGPIPE. Newer kernels (6.18) are told so; with older ones
// a kernel thread writes, on which the signal is blocked.
//
// Threads:      the loop's. Cancellation: as io_operation's.
// Errors:       std::system_error, with what the descriptor leads to. Cost: as io_operation's.
// Source:       pread(2), pwritev2(2).
#pragma once
#include <weft/runtime/buffer.hpp>
#include <weft/runtime/detail/request_operation.hpp>

#include <span>

namespace weft::detail {

/// Where a descriptor's own position counts.
inline constexpr std::uint64_t at_position = ~std::uint64_t{0};
/// For what has no position: pipes.
inline constexpr std::uint64_t no_position = at_position - 1;

/// Throws std::system_error that names the operation and what `fd` leads to.
[[noreturn]] void throw_file_error(std::int32_t result, const char* operation, int fd);
inline std::size_t check_file(std::int32_t result, const char* operation, int fd) {
    if (result < 0) [[unlikely]]
        throw_file_error(result, operation, fd);
    return static_cast<std::size_t>(result);
}

class [[nodiscard]] read_op : public request_operation<read_op> {
public:
    read_op(int fd, std::uint64_t offset, std::span<std::byte> into) noexcept
        : request_operation(kind), fd_(fd), data_(into.data()), offset_(offset),
          size_(transfer_length(into.size())) {}
    [[nodiscard]] bool await_ready() const noexcept { return size_ == 0; }
    std::size_t await_resume() const { return check_file(result(), "read", fd_); }
    [[nodiscard]] request fill() const noexcept {
        return {.opcode = opcode::read,
                .fd = fd_,
                .offset = offset_ == no_position ? at_position : offset_,
                .address = address_of(data_),
                .length = size_};
    }

private:
    static const operation_type kind;
    int fd_;
    std::byte* data_;
    std::uint64_t offset_;
    std::uint32_t size_;
};

class [[nodiscard]] write_op : public request_operation<write_op> {
public:
    write_op(int fd, std::uint64_t offset, std::span<const std::byte> from) noexcept
        : request_operation(kind, written), fd_(fd), data_(from.data()), offset_(offset),
          size_(transfer_length(from.size())), opcode_(opcode::write) {}
    /// The pieces, and the array of them, must stay where they are until it is done.
    write_op(int fd, std::uint64_t offset, std::span<const const_buffer> parts) noexcept
        : request_operation(kind, written), fd_(fd), data_(parts.data()), offset_(offset),
          size_(static_cast<std::uint32_t>(parts.size())), opcode_(opcode::writev) {}
    [[nodiscard]] bool await_ready() const noexcept { return size_ == 0; }
    std::size_t await_resume() const { return check_file(result(), "write", fd_); }
    [[nodiscard]] request fill() noexcept;

private:
    static void written(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    void advance(std::int32_t n) const noexcept;
    static const operation_type kind;
    int fd_;
    const void* data_;
    std::uint64_t offset_;
    std::int64_t began_at_ = -1; // the descriptor's position, if it has one and it counts
    std::uint32_t size_;
    std::uint8_t opcode_;
    bool told_ = false; // the kernel was asked to make no signal
};

} // namespace weft::detail
