// SPDX-License-Identifier: MIT
// Pipes: streams of bytes in one direction, with a name in the file system or without.
//
//     weft::task<> through_a_pipe() {
//         auto [out, in] = weft::make_pipe();         // what is written to `in` is read from `out`
//         co_await weft::write_all(in, weft::as_bytes("hello"));
//         co_await in.close();
//         while (weft::lent_buffer data = co_await out.receive())
//             fmt::print("{}\n", data.text());
//     }
//
// Threads:      an end belongs to one loop at a time.
// Cancellation: as socket.hpp's.
// Errors:       std::system_error. Writing where nobody reads is EPIPE and no signal.
// Cost:         an int for each end; an operation is one request.
// Source:       pipe(7), fifo(7).
#pragma once
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/detail/transfer_operation.hpp>
#include <weft/runtime/file.hpp>
#include <weft/runtime/socket.hpp>

#include <string>

namespace weft {

class pipe_reader {
public:
    /// None.
    pipe_reader() noexcept = default;
    explicit pipe_reader(weft::descriptor d) noexcept : fd_(std::move(d)) {}

    /// At least one byte; 0 when every writer is gone.
    [[nodiscard]] detail::read_op read_some(std::span<std::byte> into) noexcept {
        return {fd(), detail::no_position, into};
    }
    /// At least one byte in a lent buffer, as stream_socket's; empty when every writer is gone.
    [[nodiscard]] detail::receive_op receive() noexcept {
        return detail::receive_op(fd(), detail::receive_op::from::pipe);
    }
    [[nodiscard]] detail::close_op close() noexcept { return fd_.close(); }
    [[nodiscard]] const weft::descriptor& descriptor() const noexcept { return fd_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }
    [[nodiscard]] weft::descriptor release() noexcept { return std::move(fd_); }

private:
    weft::descriptor fd_;
};

class pipe_writer {
public:
    /// None.
    pipe_writer() noexcept = default;
    explicit pipe_writer(weft::descriptor d) noexcept : fd_(std::move(d)) {}

    /// At least one byte of these. Up to 4096 go in one piece, unmixed with what others write.
    [[nodiscard]] detail::write_op write_some(std::span<const std::byte> from) noexcept {
        return {fd(), detail::no_position, from};
    }
    [[nodiscard]] detail::write_op write_some(std::span<const const_buffer> parts) noexcept {
        return {fd(), detail::no_position, parts};
    }
    [[nodiscard]] detail::close_op close() noexcept { return fd_.close(); }
    [[nodiscard]] const weft::descriptor& descriptor() const noexcept { return fd_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }
    [[nodiscard]] weft::descriptor release() noexcept { return std::move(fd_); }

private:
    weft::descriptor fd_;
};

/// A pipe without a name; close-on-exec.
[[nodiscard]] std::pair<pipe_reader, pipe_writer> make_pipe();

/// Makes a pipe in the file system, by a plain system call.
void create_fifo(const std::string& path, unsigned permissions = 0600);

namespace detail {
template <class End>
class [[nodiscard]] open_fifo_op : public open_op {
public:
    using open_op::open_op;
    End await_resume() const { return End(take()); }
};
} // namespace detail

/// Waits until there is a writer as well.
[[nodiscard]] detail::open_fifo_op<pipe_reader> open_fifo_reader(std::string path);
/// Waits until there is a reader as well.
[[nodiscard]] detail::open_fifo_op<pipe_writer> open_fifo_writer(std::string path);

} // namespace weft
