// SPDX-License-Identifier: MIT
#include <weft/runtime/udp.hpp>

#include <weft/runtime/error.hpp>

#include <cstring>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace weft {

namespace {

void change_membership(int fd, int option_v4, int option_v6, const socket_address& group,
                       unsigned interface_index) {
    int failed = 0;
    if (group.family() == address_family::ipv6) {
        sockaddr_in6 a{};
        std::memcpy(&a, group.data(), sizeof a);
        ipv6_mreq m{};
        m.ipv6mr_multiaddr = a.sin6_addr;
        m.ipv6mr_interface = interface_index;
        failed = ::setsockopt(fd, IPPROTO_IPV6, option_v6, &m, sizeof m);
    } else {
        sockaddr_in a{};
        std::memcpy(&a, group.data(), sizeof a);
        ip_mreqn m{};
        m.imr_multiaddr = a.sin_addr;
        m.imr_ifindex = static_cast<int>(interface_index);
        failed = ::setsockopt(fd, IPPROTO_IP, option_v4, &m, sizeof m);
    }
    if (failed != 0)
        throw_errno(errno, "change membership of", group.to_string());
}

} // namespace

void udp_socket::connect(const socket_address& to) {
    if (::connect(fd(), to.data(), to.size()) != 0)
        throw_errno(errno, "connect", to.to_string());
}

void udp_socket::set_broadcast(bool on) {
    detail::set_option(fd(), SOL_SOCKET, SO_BROADCAST, on, "SO_BROADCAST");
}

void udp_socket::set_hop_limit(int hops) {
    if (local_address().family() == address_family::ipv6) {
        detail::set_option(fd(), IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops, "IPV6_UNICAST_HOPS");
        detail::set_option(fd(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "IPV6_MULTICAST_HOPS");
    } else {
        detail::set_option(fd(), IPPROTO_IP, IP_TTL, hops, "IP_TTL");
        detail::set_option(fd(), IPPROTO_IP, IP_MULTICAST_TTL, hops, "IP_MULTICAST_TTL");
    }
}

void udp_socket::join_group(const socket_address& group, unsigned interface_index) {
    change_membership(fd(), IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, group, interface_index);
}
void udp_socket::leave_group(const socket_address& group, unsigned interface_index) {
    change_membership(fd(), IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, group, interface_index);
}

void udp_socket::set_receive_buffer(int bytes) {
    detail::set_option(fd(), SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
}
void udp_socket::set_send_buffer(int bytes) {
    detail::set_option(fd(), SOL_SOCKET, SO_SNDBUF, bytes, "SO_SNDBUF");
}

udp_socket bind_udp(const socket_address& a, const udp_options& options) {
    descriptor fd = detail::make_socket(detail::native_family(a), SOCK_DGRAM, "bind", a);
    if (options.reuse_address)
        detail::set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    if (options.reuse_port)
        detail::set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
    if (a.family() == address_family::ipv6)
        detail::set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only, "IPV6_V6ONLY");
    if (::bind(fd.get(), a.data(), a.size()) != 0)
        throw_errno(errno, "bind", a.to_string());
    return udp_socket(std::move(fd));
}

udp_socket connect_udp(const socket_address& to) {
    udp_socket s(detail::make_socket(detail::native_family(to), SOCK_DGRAM, "connect", to));
    s.connect(to);
    return s;
}

namespace detail {

const operation_type send_datagram_op::kind = io_type("send datagram");
const operation_type receive_datagram_op::kind = io_type("receive datagram");

request send_datagram_op::fill() noexcept {
    if (!to_.empty()) {
        header_.name = to_.data();
        header_.name_size = to_.size();
    }
    header_.parts = &bytes_;
    header_.part_count = 1;
    return {.opcode = opcode::sendmsg,
            .fd = fd_,
            .address = address_of(&header_),
            .length = 1,
            .operation_flags = send_flags};
}

void send_datagram_op::await_resume() const {
    if (result() < 0 && !to_.empty())
        throw_errno(-result(), "send to", to_.to_string());
    check_socket(result(), "send to", fd_);
}

request receive_datagram_op::fill() noexcept {
    header_.name = from_.data();
    header_.name_size = socket_address::capacity;
    header_.parts = &into_;
    header_.part_count = 1;
    return {.opcode = opcode::recvmsg, .fd = fd_, .address = address_of(&header_), .length = 1};
}

datagram receive_datagram_op::await_resume() {
    std::size_t n = check_socket(result(), "receive from", fd_);
    if ((header_.flags & MSG_TRUNC) != 0)
        throw limit_error(
            fmt::format("a datagram was longer than the {} bytes that there was room for",
                        into_.size()),
            n);
    return datagram(n, socket_address::from_native(from_.data(), header_.name_size));
}

} // namespace detail
} // namespace weft
