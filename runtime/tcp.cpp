// SPDX-License-Identifier: MIT
#include <weft/runtime/tcp.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/resolve.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <algorithm>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace weft {

namespace {
int seconds(std::chrono::seconds s) noexcept { return static_cast<int>(s.count()); }
} // namespace

void tcp_stream::set_no_delay(bool on) {
    detail::set_option(descriptor().get(), IPPROTO_TCP, TCP_NODELAY, on, "TCP_NODELAY");
}

void tcp_stream::set_keep_alive(std::chrono::seconds idle, std::chrono::seconds interval,
                                int probes) {
    int fd = descriptor().get();
    detail::set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(idle), "TCP_KEEPIDLE");
    detail::set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(interval), "TCP_KEEPINTVL");
    detail::set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, probes, "TCP_KEEPCNT");
    detail::set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
}

void tcp_stream::set_user_timeout(std::chrono::milliseconds limit) {
    detail::set_option(descriptor().get(), IPPROTO_TCP, TCP_USER_TIMEOUT,
                       static_cast<int>(limit.count()), "TCP_USER_TIMEOUT");
}

tcp_listener listen_tcp(const socket_address& a, const listen_options& options) {
    descriptor fd = detail::make_socket(detail::native_family(a), SOCK_STREAM, "listen on", a);
    if (options.reuse_address)
        detail::set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    if (options.reuse_port)
        detail::set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
    if (a.family() == address_family::ipv6)
        detail::set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only, "IPV6_V6ONLY");
    if (options.no_delay) // accepted sockets inherit it
        detail::set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    if (::bind(fd.get(), a.data(), a.size()) != 0)
        throw_errno(errno, "bind", a.to_string());
    if (::listen(fd.get(), options.backlog) != 0)
        throw_errno(errno, "listen on", a.to_string());
    return tcp_listener(std::move(fd), options.ahead);
}

namespace detail {

const operation_type connect_tcp_op::kind = io_type("connect");

request connect_base::fill() const noexcept {
    return {.opcode = opcode::connect,
            .fd = fd_.get(),
            .offset = to_.size(),
            .address = address_of(to_.data())};
}

descriptor connect_base::take() {
    if (result() < 0) {
        fd_.reset();
        throw_errno(-result(), "connect", to_.to_string());
    }
    return std::move(fd_);
}

bool connect_tcp_op::await_ready() {
    fd_ = make_socket(native_family(to_), SOCK_STREAM, "connect", to_);
    if (options_.no_delay)
        set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    if (options_.from != nullptr &&
        ::bind(fd_.get(), options_.from->data(), options_.from->size()) != 0)
        throw_errno(errno, "bind", options_.from->to_string());
    return false;
}

} // namespace detail

// --- Several addresses ---------------------------------------------------------------------------

namespace {

// The families take turns, beginning with that of the first; within a family the order stays.
std::vector<socket_address> in_turn(const std::vector<socket_address>& all) {
    std::vector<socket_address> first;
    std::vector<socket_address> second;
    for (const socket_address& a : all)
        (a.family() == all.front().family() ? first : second).push_back(a);
    std::vector<socket_address> mixed;
    for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
        if (i < first.size())
            mixed.push_back(first[i]);
        if (i < second.size())
            mixed.push_back(second[i]);
    }
    return mixed;
}

struct race {
    task_group* runners = nullptr;
    tcp_stream winner;
    std::error_code first_error;
    std::string texts;
};

task<> attempt(race& r, const socket_address& to, const connect_options& options) {
    try {
        tcp_stream s = co_await connect_tcp(to, options);
        if (!r.winner.is_open())
            r.winner = std::move(s);
        r.runners->cancel();
    } catch (const std::system_error& e) {
        if (r.texts.empty())
            r.first_error = e.code();
        else
            r.texts += "; ";
        r.texts += to.to_string() + ": " + e.code().message();
    }
}

} // namespace

task<tcp_stream> connect_tcp(std::vector<socket_address> to, connect_options options) {
    if (to.empty())
        throw std::invalid_argument("no address to connect to");
    std::vector<socket_address> order = in_turn(to);
    if (order.size() == 1)
        co_return co_await connect_tcp(order.front(), options);
    race r;
    co_await with_task_group([&](task_group& g) -> task<> {
        r.runners = &g;
        for (const socket_address& a : order) {
            auto runner = g.spawn(attempt(r, a, options));
            try {
                co_await with_timeout(options.head_start, runner.join());
            } catch (const timeout_error&) {
                continue; // the next one runs beside it
            }
        }
    });
    if (!r.winner.is_open())
        throw std::system_error(r.first_error, "connect to each of several addresses: " + r.texts);
    co_return std::move(r.winner);
}

task<tcp_stream> connect_tcp(std::string host, std::uint16_t port, connect_options options) {
    std::vector<socket_address> all = co_await resolve(std::move(host), port);
    co_return co_await connect_tcp(std::move(all), options);
}

} // namespace weft
