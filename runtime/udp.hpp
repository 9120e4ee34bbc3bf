// SPDX-License-Identifier: MIT
// UDP: datagrams over IPv4 and IPv6.
//
//     weft::task<> answer() {
//         auto s = weft::bind_udp(weft::socket_address::ipv4_loopback(7000));
//         std::byte buffer[1500];
//         while (true) {
//             weft::datagram d = co_await s.receive_from(buffer);
//             co_await s.send_to(std::span(buffer, d.size()), d.from());
//         }
//     }
//
// Threads:      a socket belongs to one loop at a time; tasks may send and receive at the same
//               time.
// Cancellation: a stopped receive loses no datagram.
// Errors:       std::system_error naming operation and address. limit_error for a datagram that was
//               longer than the room for it; the rest of it is lost.
// Cost:         an int; an operation is a record of less than 300 bytes and one request.
// Source:       udp(7), ip(7), ipv6(7).
#pragma once
#include <weft/runtime/socket.hpp>

namespace weft {

/// How long a received datagram is, and where it came from.
class datagram {
public:
    datagram(std::size_t size, const socket_address& from) noexcept : from_(from), size_(size) {}
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] const socket_address& from() const noexcept { return from_; }

private:
    socket_address from_;
    std::size_t size_;
};

namespace detail {

class [[nodiscard]] send_datagram_op : public request_operation<send_datagram_op> {
public:
    /// `to` empty: where the socket is connected to.
    send_datagram_op(int fd, std::span<const std::byte> bytes, const socket_address& to) noexcept
        : request_operation(kind), fd_(fd), bytes_(bytes), to_(to) {}
    void await_resume() const;
    [[nodiscard]] request fill() noexcept;

private:
    static const operation_type kind;
    int fd_;
    const_buffer bytes_;
    socket_address to_;
    message_header header_;
};

class [[nodiscard]] receive_datagram_op : public request_operation<receive_datagram_op> {
public:
    receive_datagram_op(int fd, std::span<std::byte> into) noexcept
        : request_operation(kind), fd_(fd), into_(into) {}
    datagram await_resume();
    [[nodiscard]] request fill() noexcept;

private:
    static const operation_type kind;
    int fd_;
    const_buffer into_;
    socket_address from_;
    message_header header_;
};

} // namespace detail

class udp_socket {
public:
    /// None.
    udp_socket() noexcept = default;
    explicit udp_socket(weft::descriptor d) noexcept : fd_(std::move(d)) {}

    [[nodiscard]] detail::send_datagram_op send_to(std::span<const std::byte> bytes,
                                                   const socket_address& to) noexcept {
        return {fd(), bytes, to};
    }
    /// To where the socket is connected.
    [[nodiscard]] detail::send_datagram_op send(std::span<const std::byte> bytes) noexcept {
        return {fd(), bytes, socket_address()};
    }
    /// The next datagram; if the socket is connected, from there only.
    [[nodiscard]] detail::receive_datagram_op receive_from(std::span<std::byte> into) noexcept {
        return {fd(), into};
    }

    /// Where send() goes and what receive_from() takes, from now on. Asks nobody.
    void connect(const socket_address& to);
    /// Allows sending to broadcast addresses.
    void set_broadcast(bool on);
    /// How many hops a datagram may take.
    void set_hop_limit(int hops);
    /// Receives what is sent to a multicast group, over the interface of this index (0: the kernel
    /// chooses).
    void join_group(const socket_address& group, unsigned interface_index = 0);
    void leave_group(const socket_address& group, unsigned interface_index = 0);
    void set_receive_buffer(int bytes);
    void set_send_buffer(int bytes);

    [[nodiscard]] detail::close_op close() noexcept { return fd_.close(); }
    [[nodiscard]] socket_address local_address() const { return detail::local_address(fd()); }
    [[nodiscard]] socket_address peer_address() const { return detail::peer_address(fd()); }
    [[nodiscard]] const weft::descriptor& descriptor() const noexcept { return fd_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }

private:
    weft::descriptor fd_;
};

struct udp_options {
    bool reuse_address = false;
    /// Several sockets share the port, and the kernel spreads the senders over them.
    bool reuse_port = false;
    bool ipv6_only = false;
};

/// A socket with this address of its own.
[[nodiscard]] udp_socket bind_udp(const socket_address& a, const udp_options& options = {});
/// A socket that sends to, and receives from, this address.
[[nodiscard]] udp_socket connect_udp(const socket_address& to);

} // namespace weft
