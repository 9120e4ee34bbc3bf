// SPDX-License-Identifier: MIT
// TCP: streams and listeners, over IPv4 and IPv6.
//
//     weft::task<> serve(weft::tcp_stream s) {
//         while (weft::lent_buffer data = co_await s.receive())
//             co_await s.write_all(data);
//     }
//     weft::task<> echo_server() {
//         auto l = weft::listen_tcp(weft::socket_address::ipv4_loopback(7000));
//         co_await weft::with_task_group([&](weft::task_group& g) -> weft::task<> {
//             while (true)
//                 g.spawn(serve(co_await l.accept()));
//         });
//     }
//     weft::task<> client() {
//         auto s = co_await weft::connect_tcp(weft::socket_address::ipv4_loopback(7000));
//         co_await s.write_all(weft::as_bytes("hello"));
//         s.shutdown_write();
//     }
//
// Threads:      as socket.hpp's; a listener belongs to one loop at a time.
// Cancellation: a stopped accept loses no connection: the next one gets it. A stopped connect
//               closes its socket.
// Errors:       std::system_error naming operation and address. A shortage of descriptors or memory
//               is no error of accept: it waits, asking again after 5 ms, then twice that, up to 1
//               s.
// Cost:         a stream is an int. A listener keeps one request for all connections and, on the
//               side, those that came before anyone asked. Connecting makes two plain system calls
//               and one request.
// Source:       tcp(7), io_uring_prep_multishot_accept(3), RFC 8305 (happy eyeballs).
#pragma once
#include <weft/runtime/detail/acceptor.hpp>
#include <weft/runtime/socket.hpp>
#include <weft/runtime/task.hpp>

#include <string>
#include <vector>

namespace weft {

class tcp_stream : public stream_socket {
public:
    using stream_socket::stream_socket;

    /// Whether small writes leave at once (the default for what weft connects and accepts) or are
    /// gathered for a while.
    void set_no_delay(bool on);
    /// Probes a silent peer after `idle`, then each `interval`, and gives up after `probes` without
    /// an answer.
    void set_keep_alive(std::chrono::seconds idle,
                        std::chrono::seconds interval = std::chrono::seconds(15), int probes = 4);
    /// How long sent data may stay unacknowledged before the connection is given up.
    void set_user_timeout(std::chrono::milliseconds limit);
};

struct listen_options {
    int backlog = 128;
    /// Binds also while connections of a former listener linger.
    bool reuse_address = true;
    /// Several listeners share the port, and the kernel spreads the connections: one for each loop.
    bool reuse_port = false;
    /// An IPv6 listener doesn't take IPv4 connections.
    bool ipv6_only = false;
    bool no_delay = true;
    /// How many accepted connections may wait for accept() before the kernel is told to pause.
    unsigned ahead = 32;
};

class tcp_listener {
public:
    /// None.
    tcp_listener() noexcept = default;
    /// Takes over a listening socket.
    explicit tcp_listener(descriptor listening, unsigned ahead = 32)
        : accepts_(std::move(listening), ahead) {}

    /// The next connection. Any number of tasks may wait, first come first served.
    [[nodiscard]] detail::accept_op<tcp_stream> accept() noexcept {
        return detail::accept_op<tcp_stream>(accepts_.get());
    }
    /// Closes the listener and the connections that nobody accepted, and returns when the address
    /// is free. The destructor does the same, but the kernel may take until the loop's next turn.
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

/// Binds and listens, without waiting for anything.
[[nodiscard]] tcp_listener listen_tcp(const socket_address& a, const listen_options& options = {});

struct connect_options {
    bool no_delay = true;
    /// Where to connect from; null: the kernel chooses.
    const socket_address* from = nullptr;
    /// With several addresses: how long one may take before the next is tried beside it.
    duration head_start = std::chrono::milliseconds(250);
};

namespace detail {

class [[nodiscard]] connect_base : public request_operation<connect_base> {
public:
    [[nodiscard]] request fill() const noexcept;

protected:
    connect_base(const socket_address& to, const operation_type& t) noexcept
        : request_operation(t), to_(to) {}
    [[nodiscard]] descriptor take();

    descriptor fd_;
    socket_address to_;
};

class [[nodiscard]] connect_tcp_op : public connect_base {
public:
    connect_tcp_op(const socket_address& to, const connect_options& options) noexcept
        : connect_base(to, kind), options_(options) {}
    [[nodiscard]] bool await_ready();
    tcp_stream await_resume() { return tcp_stream(take()); }

private:
    static const operation_type kind;
    connect_options options_;
};

} // namespace detail

/// Connects to one address.
[[nodiscard]] inline detail::connect_tcp_op
connect_tcp(const socket_address& to, const connect_options& options = {}) noexcept {
    return detail::connect_tcp_op(to, options);
}

/// Connects to whichever of these addresses answers first. They are tried in their order, but IPv6
/// and IPv4 in turn, each with a head start before the next. If all fail, the error is the first
/// one's, and its text tells of each.
[[nodiscard]] task<tcp_stream> connect_tcp(std::vector<socket_address> to,
                                           connect_options options = {});

/// The same with all addresses of a host.
[[nodiscard]] task<tcp_stream> connect_tcp(std::string host, std::uint16_t port,
                                           connect_options options = {});

} // namespace weft
