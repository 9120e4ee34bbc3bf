// SPDX-License-Identifier: MIT
// The standard streams, and the terminal behind them if there is one.
//
//     weft::task<> greet() {
//         auto out = weft::standard_output();
//         co_await weft::write_all(out, weft::as_bytes("your name? "));
//         std::byte name[64];
//         auto in = weft::standard_input();
//         std::size_t n = co_await in.read_some(name);
//         co_await weft::write_all(out, std::span(name, n));
//     }
//
// Threads:      as a file's: one reader and one writer at a time.
// Cancellation: a stopped read takes nothing away from the next one.
// Errors:       std::system_error. Writing to a pipe that nobody reads is EPIPE and no signal.
// Cost:         as a file's. Nothing is buffered; what the C library has buffered comes when it
//               likes.
// Source:       termios(3), tty_ioctl(4).
#pragma once
#include <weft/runtime/detail/transfer_operation.hpp>

#include <optional>

namespace weft {

/// A stream over a descriptor that belongs to somebody else, who keeps it open.
class standard_stream {
public:
    explicit standard_stream(int fd) noexcept : fd_(fd) {}

    /// At least one byte; 0 at the end.
    [[nodiscard]] detail::read_op read_some(std::span<std::byte> into) noexcept {
        return {fd_, detail::at_position, into};
    }
    /// At least one byte of these.
    [[nodiscard]] detail::write_op write_some(std::span<const std::byte> from) noexcept {
        return {fd_, detail::at_position, from};
    }
    [[nodiscard]] detail::write_op write_some(std::span<const const_buffer> parts) noexcept {
        return {fd_, detail::at_position, parts};
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] bool is_terminal() const noexcept;

private:
    int fd_;
};

[[nodiscard]] inline standard_stream standard_input() noexcept { return standard_stream(0); }
[[nodiscard]] inline standard_stream standard_output() noexcept { return standard_stream(1); }
[[nodiscard]] inline standard_stream standard_error() noexcept { return standard_stream(2); }

struct terminal_size {
    unsigned columns = 0;
    unsigned rows = 0;
};
/// None if the stream leads to no terminal, or the terminal doesn't know.
[[nodiscard]] std::optional<terminal_size> size_of_terminal(const standard_stream& s) noexcept;

} // namespace weft
