// SPDX-License-Identifier: MIT
// Unix sockets: streams and datagrams within a machine, which also carry descriptors and know who
// the peer is.
//
//     weft::task<> hand_over(weft::unix_stream& s, int log_file) {
//         const int descriptors[] = {log_file};
//         co_await s.send(weft::as_bytes("L"), descriptors);
//     }
//     weft::task<weft::descriptor> take_over(weft::unix_stream& s) {
//         if (s.peer_credentials().uid != ::getuid())
//             throw std::runtime_error("a stranger");
//         std::byte tag[1];
//         weft::received_message m = co_await s.receive_message(tag);
//         co_return std::move(m.descriptors().at(0));
//     }
//
// Threads:      as socket.hpp's.
// Cancellation: as socket.hpp's; received descriptors are delivered or closed.
// Errors:       std::system_error naming operation and address. limit_error if a message had more
//               descriptors than there was room for, or a datagram more bytes; then all of its
//               descriptors are closed.
// Cost:         as socket.hpp's; 240 bytes for an operation with descriptors.
// Source:       unix(7).
#pragma once
#include <weft/runtime/detail/acceptor.hpp>
#include <weft/runtime/socket.hpp>

#include <vector>

namespace weft {

/// Whom the kernel knows the peer as, at the time of its connect or listen. A process id is no
/// proof of identity.
struct peer_credentials {
    int pid;
    unsigned uid;
    unsigned gid;
};

/// At most so many descriptors go with one message.
inline constexpr std::size_t most_descriptors = 32;

/// Bytes, and the descriptors that came with them, close-on-exec.
class received_message {
public:
    received_message(std::size_t size, std::vector<descriptor> descriptors) noexcept
        : descriptors_(std::move(descriptors)), size_(size) {}
    /// How many bytes were read.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::vector<descriptor>& descriptors() noexcept { return descriptors_; }

private:
    std::vector<descriptor> descriptors_;
    std::size_t size_;
};

namespace detail {

class [[nodiscard]] send_message_op : public request_operation<send_message_op> {
public:
    send_message_op(int fd, std::span<const std::byte> bytes, std::span<const int> descriptors,
                    const socket_address& to);
    std::size_t await_resume() const;
    [[nodiscard]] request fill() noexcept;

private:
    static const operation_type kind;
    int fd_;
    std::uint32_t count_;
    const_buffer bytes_;
    socket_address to_; // empty: the peer
    message_header header_;
    alignas(8) std::byte control_[16 + most_descriptors * sizeof(int)];
};

class [[nodiscard]] receive_message_base : public request_operation<receive_message_base> {
public:
    [[nodiscard]] request fill() noexcept;

protected:
    receive_message_base(int fd, std::span<std::byte> into) noexcept
        : request_operation(kind), fd_(fd), into_(into) {}
    [[nodiscard]] received_message take();
    [[nodiscard]] socket_address sender() const noexcept {
        return socket_address::from_native(from_.data(), header_.name_size);
    }

private:
    static const operation_type kind;
    int fd_;
    const_buffer into_;
    socket_address from_;
    message_header header_;
    alignas(8) std::byte control_[16 + most_descriptors * sizeof(int)];
};

class [[nodiscard]] receive_message_op : public receive_message_base {
public:
    receive_message_op(int fd, std::span<std::byte> into) noexcept
        : receive_message_base(fd, into) {}
    received_message await_resume() { return take(); }
};

} // namespace detail

class unix_stream : public stream_socket {
public:
    using stream_socket::stream_socket;

    /// Writes at least one of the bytes, of which there must be one, and sends the descriptors
    /// along, at most 32. They must stay open until it is done.
    [[nodiscard]] detail::send_message_op send(std::span<const std::byte> bytes,
                                               std::span<const int> descriptors);
    /// Reads at least one byte (none at the end of the stream), and the descriptors that came with
    /// these.
    [[nodiscard]] detail::receive_message_op receive_message(std::span<std::byte> into) noexcept {
        return {descriptor().get(), into};
    }
    [[nodiscard]] weft::peer_credentials peer_credentials() const;
};

struct unix_listen_options {
    int backlog = 128;
    /// Access to a path: the socket has this mode from the moment it exists.
    unsigned mode = 0600;
    unsigned ahead = 32;
};

class unix_listener {
public:
    /// None.
    unix_listener() noexcept = default;
    /// Takes over a listening socket.
    explicit unix_listener(descriptor listening, unsigned ahead = 32)
        : accepts_(std::move(listening), ahead) {}

    /// As tcp_listener's.
    [[nodiscard]] detail::accept_op<unix_stream> accept() noexcept {
        return detail::accept_op<unix_stream>(accepts_.get());
    }
    [[nodiscard]] detail::stop_accepting_op close() noexcept {
        return detail::stop_accepting_op(std::move(accepts_));
    }
    [[nodiscard]] socket_address local_address() const {
        return detail::local_address(accepts_.fd());
    }
    [[nodiscard]] int fd() const noexcept { return accepts_.fd(); }

private:
    detail::acceptor_handle accepts_;
};

/// Binds and listens. A path must not exist; removing it afterwards is the caller's.
[[nodiscard]] unix_listener listen_unix(const socket_address& a,
                                        const unix_listen_options& options = {});

namespace detail {

class [[nodiscard]] connect_unix_op : public request_operation<connect_unix_op> {
public:
    explicit connect_unix_op(const socket_address& to) noexcept
        : request_operation(kind), to_(to) {}
    [[nodiscard]] bool await_ready();
    unix_stream await_resume();
    [[nodiscard]] request fill() const noexcept;

private:
    static const operation_type kind;
    descriptor fd_;
    socket_address to_;
};

} // namespace detail

[[nodiscard]] inline detail::connect_unix_op connect_unix(const socket_address& to) noexcept {
    return detail::connect_unix_op(to);
}

// --- Datagrams -----------------------------------------------------------------------------------

/// A received datagram, the descriptors that came with it, and where it came from.
class received_datagram : public received_message {
public:
    received_datagram(received_message m, const socket_address& from) noexcept
        : received_message(std::move(m)), from_(from) {}
    /// Has an empty host() if the sender's socket isn't bound.
    [[nodiscard]] const socket_address& from() const noexcept { return from_; }

private:
    socket_address from_;
};

namespace detail {
class [[nodiscard]] receive_unix_datagram_op : public receive_message_base {
public:
    receive_unix_datagram_op(int fd, std::span<std::byte> into) noexcept
        : receive_message_base(fd, into) {}
    received_datagram await_resume() {
        received_message m = take();
        return {std::move(m), sender()};
    }
};
} // namespace detail

class unix_datagram {
public:
    /// None.
    unix_datagram() noexcept = default;
    explicit unix_datagram(weft::descriptor d) noexcept : fd_(std::move(d)) {}

    /// Waits while the receiver's queue is full. The descriptors, at most 32, must stay open until
    /// it is done.
    [[nodiscard]] detail::send_message_op send_to(std::span<const std::byte> bytes,
                                                  const socket_address& to,
                                                  std::span<const int> descriptors = {}) {
        return {fd(), bytes, descriptors, to};
    }
    /// To where the socket is connected.
    [[nodiscard]] detail::send_message_op send(std::span<const std::byte> bytes,
                                               std::span<const int> descriptors = {}) {
        return {fd(), bytes, descriptors, socket_address()};
    }
    [[nodiscard]] detail::receive_unix_datagram_op
    receive_from(std::span<std::byte> into) noexcept {
        return {fd(), into};
    }
    /// Where send() goes from now on.
    void connect(const socket_address& to);

    [[nodiscard]] detail::close_op close() noexcept { return fd_.close(); }
    [[nodiscard]] socket_address local_address() const { return detail::local_address(fd()); }
    [[nodiscard]] const weft::descriptor& descriptor() const noexcept { return fd_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }

private:
    weft::descriptor fd_;
};

/// A socket with an address of its own. A path must not exist; its mode is 0600.
[[nodiscard]] unix_datagram bind_unix_datagram(const socket_address& a);
/// A socket without an address, that sends.
[[nodiscard]] unix_datagram open_unix_datagram();
/// Two sockets that are connected to each other.
[[nodiscard]] std::pair<unix_datagram, unix_datagram> unix_datagram_pair();

/// Two streams that are connected to each other.
[[nodiscard]] std::pair<unix_stream, unix_stream> unix_stream_pair();

} // namespace weft
