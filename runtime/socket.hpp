// SPDX-License-Identifier: MIT
// What all connected sockets have in common: reading, writing, half-close, options.
//
//     weft::task<> echo(weft::stream_socket& s) {
//         std::byte buffer[4096];
//         while (std::size_t n = co_await s.read_some(buffer))
//             co_await s.write_all(std::span(buffer, n));
//         s.shutdown_write();
//     }
//
// Threads:      a socket belongs to one loop at a time; one task may read while another writes.
// Cancellation: the kernel is asked to give up. Bytes that it had read by then are delivered first;
//               write_all may have sent a part, so what was stopped in it should be closed.
// Errors:       std::system_error naming operation and peer. A peer that is gone is an error
//               (EPIPE, ECONNRESET) and no signal; an orderly end is a read of 0 bytes.
// Cost:         an int; an operation is a record of less than 100 bytes in the awaiting frame, and
//               one request.
// Source:       recv(2), send(2), io_uring(7).
#pragma once
#include <weft/runtime/address.hpp>
#include <weft/runtime/buffer.hpp>
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/detail/buffer_waiter.hpp>
#include <weft/runtime/time.hpp>

#include <optional>
#include <span>

namespace weft {

namespace detail {

/// Throws std::system_error that names the operation and whom `socket` is or was connected to.
[[noreturn]] void throw_socket_error(std::int32_t result, const char* operation, int socket);

inline std::size_t check_socket(std::int32_t result, const char* operation, int socket) {
    if (result < 0) [[unlikely]]
        throw_socket_error(result, operation, socket);
    return static_cast<std::size_t>(result);
}

inline constexpr std::uint32_t send_flags =
    0x4000; // MSG_NOSIGNAL: a peer that is gone is an error, not a signal

class [[nodiscard]] recv_op : public request_operation<recv_op> {
public:
    recv_op(int fd, std::span<std::byte> into) noexcept
        : request_operation(kind), fd_(fd), data_(into.data()),
          size_(transfer_length(into.size())) {}
    // The kernel would wait for data even if none is wanted.
    [[nodiscard]] bool await_ready() const noexcept { return size_ == 0; }
    std::size_t await_resume() const { return check_socket(result(), "receive from", fd_); }
    [[nodiscard]] request fill() const noexcept {
        return {.opcode = opcode::recv, .fd = fd_, .address = address_of(data_), .length = size_};
    }

private:
    static const operation_type kind;
    int fd_;
    std::byte* data_;
    std::uint32_t size_;
};

class [[nodiscard]] send_op : public request_operation<send_op> {
public:
    send_op(int fd, std::span<const std::byte> from) noexcept
        : request_operation(kind), fd_(fd), data_(from.data()),
          size_(transfer_length(from.size())) {}
    [[nodiscard]] bool await_ready() const noexcept { return size_ == 0; }
    std::size_t await_resume() const { return check_socket(result(), "send to", fd_); }
    [[nodiscard]] request fill() const noexcept {
        return {.opcode = opcode::send,
                .fd = fd_,
                .address = address_of(data_),
                .length = size_,
                .operation_flags = send_flags};
    }

private:
    static const operation_type kind;
    int fd_;
    const std::byte* data_;
    std::uint32_t size_;
};

// Sends everything, with as many requests as that takes.
class [[nodiscard]] send_all_op : public request_operation<send_all_op> {
public:
    send_all_op(int fd, std::span<const std::byte> from) noexcept
        : request_operation(kind, sent), fd_(fd), data_(from.data()), size_(from.size()) {}
    [[nodiscard]] bool await_ready() const noexcept { return size_ == 0; }
    void await_resume() const { check_socket(result(), "send to", fd_); }
    [[nodiscard]] request fill() const noexcept {
        return {.opcode = opcode::send,
                .fd = fd_,
                .address = address_of(data_),
                .length = transfer_length(size_),
                .operation_flags = send_flags | wait_all};
    }

private:
    static constexpr std::uint32_t wait_all =
        0x100; // MSG_WAITALL: the kernel goes on after a short send
    static void sent(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static const operation_type kind;
    int fd_;
    const std::byte* data_;
    std::size_t size_;
};

// Laid out as the kernel's msghdr, so that this header needs none of the system's.
struct message_header {
    const void* name = nullptr;
    std::uint32_t name_size = 0;
    void* parts = nullptr;
    std::size_t part_count = 0;
    void* control = nullptr;
    std::size_t control_size = 0;
    int flags = 0;
};

// The pieces must stay where they are until it is done, the array of them too.
class [[nodiscard]] send_parts_op : public request_operation<send_parts_op> {
public:
    send_parts_op(int fd, std::span<const const_buffer> parts) noexcept
        : request_operation(kind), fd_(fd), parts_(parts) {}
    [[nodiscard]] bool await_ready() const noexcept { return parts_.empty(); }
    std::size_t await_resume() const { return check_socket(result(), "send to", fd_); }
    [[nodiscard]] request fill() noexcept;

private:
    static const operation_type kind;
    int fd_;
    std::span<const const_buffer> parts_;
    message_header header_;
};

// Reads into a buffer that is chosen when there is something to read.
class [[nodiscard]] receive_op : public io_operation, public buffer_waiter {
public:
    enum class from : bool { socket, pipe };
    explicit receive_op(int fd, from f = from::socket) noexcept
        : io_operation(kind, received), buffer_waiter(try_again), fd_(fd), from_(f) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    lent_buffer await_resume();

private:
    enum class step : std::uint8_t { choosing, polling, filling };
    void start();
    void poll();
    void choose();
    void go_on() noexcept;
    void try_now() noexcept;
    [[nodiscard]] request reading() const noexcept;
    static void received(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static void try_again(buffer_waiter& w) noexcept;
    static void cancel_receive(operation& op) noexcept;
    static const operation_type kind;
    int fd_;
    step step_ = step::choosing;
    from from_;
    std::uint8_t retries_ = 0;
    std::uint16_t own_ = 0;
};

} // namespace detail

class stream_socket {
public:
    /// None.
    stream_socket() noexcept = default;
    explicit stream_socket(weft::descriptor connected) noexcept : fd_(std::move(connected)) {}

    /// At least one byte, into `into`; 0 at the end of the stream.
    [[nodiscard]] detail::recv_op read_some(std::span<std::byte> into) noexcept {
        return {fd_.get(), into};
    }
    /// At least one byte, in a buffer that the loop lends; empty at the end of the stream. Waiting
    /// takes no buffer. When all are lent, it waits until one comes back, first come first served.
    [[nodiscard]] detail::receive_op receive() noexcept { return detail::receive_op(fd_.get()); }
    /// At least one byte of these; gives how many.
    [[nodiscard]] detail::send_op write_some(std::span<const std::byte> from) noexcept {
        return {fd_.get(), from};
    }
    /// The same for pieces that needn't lie together, at most 1024. They are sent in one go.
    [[nodiscard]] detail::send_parts_op write_some(std::span<const const_buffer> parts) noexcept {
        return {fd_.get(), parts};
    }
    /// All of these bytes. One write at a time: two may mix.
    [[nodiscard]] detail::send_all_op write_all(std::span<const std::byte> from) noexcept {
        return {fd_.get(), from};
    }

    /// Tells the peer that nothing more will come; reading goes on. Does nothing if the connection
    /// is gone.
    void shutdown_write();
    /// Closes through the ring.
    [[nodiscard]] detail::close_op close() noexcept { return fd_.close(); }

    [[nodiscard]] socket_address local_address() const;
    [[nodiscard]] socket_address peer_address() const;
    [[nodiscard]] const weft::descriptor& descriptor() const noexcept { return fd_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }
    /// The descriptor, for the caller to own.
    [[nodiscard]] weft::descriptor release() noexcept { return std::move(fd_); }

    /// How many bytes the kernel keeps for each direction. It doubles what is asked for.
    void set_receive_buffer(int bytes);
    void set_send_buffer(int bytes);
    /// What closing does with bytes that are not sent yet: to go on in the background (none, the
    /// default), to wait, or with 0 to drop them and reset the connection.
    void set_linger(std::optional<std::chrono::seconds> wait);

protected:
    stream_socket(stream_socket&&) noexcept = default;
    stream_socket& operator=(stream_socket&&) noexcept = default;
    ~stream_socket() = default;

private:
    weft::descriptor fd_;
};

namespace detail {
/// A socket of this family (AF_INET ...) and type (SOCK_STREAM ...), close-on-exec.
[[nodiscard]] descriptor make_socket(int family, int type, const char* operation,
                                     const socket_address& a);
void set_option(int fd, int level, int name, int value, const char* what);
[[nodiscard]] int get_option(int fd, int level, int name, const char* what);
[[nodiscard]] socket_address local_address(int fd);
/// Whom a socket is, or was, connected to.
[[nodiscard]] socket_address peer_address(int fd);
[[nodiscard]] int native_family(const socket_address& a) noexcept;
} // namespace detail

} // namespace weft
