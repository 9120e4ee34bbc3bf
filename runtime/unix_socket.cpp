// SPDX-License-Identifier: MIT
#include <weft/runtime/unix_socket.hpp>

#include <weft/runtime/error.hpp>

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft {

detail::send_message_op unix_stream::send(std::span<const std::byte> bytes,
                                          std::span<const int> descriptors) {
    if (bytes.empty() && !descriptors.empty())
        throw std::invalid_argument(
            "descriptors travel with a byte at least: a stream has no empty messages");
    return {descriptor().get(), bytes, descriptors, socket_address()};
}

weft::peer_credentials unix_stream::peer_credentials() const {
    ucred c{};
    socklen_t size = sizeof c;
    if (::getsockopt(descriptor().get(), SOL_SOCKET, SO_PEERCRED, &c, &size) != 0)
        throw_errno(errno, "get the credentials of the peer");
    return {c.pid, c.uid, c.gid};
}

unix_listener listen_unix(const socket_address& a, const unix_listen_options& options) {
    descriptor fd = detail::make_socket(AF_UNIX, SOCK_STREAM, "listen on", a);
    // A path takes the mode of the socket's own inode, minus the umask: set before bind, there is
    // no moment of openness.
    if (::fchmod(fd.get(), options.mode) != 0)
        throw_errno(errno, "set the mode of", a.to_string());
    if (::bind(fd.get(), a.data(), a.size()) != 0)
        throw_errno(errno, "bind", a.to_string());
    if (::listen(fd.get(), options.backlog) != 0)
        throw_errno(errno, "listen on", a.to_string());
    return unix_listener(std::move(fd), options.ahead);
}

std::pair<unix_stream, unix_stream> unix_stream_pair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        throw_errno(errno, "socketpair");
    return {unix_stream(descriptor(fds[0])), unix_stream(descriptor(fds[1]))};
}

void unix_datagram::connect(const socket_address& to) {
    if (::connect(fd(), to.data(), to.size()) != 0)
        throw_errno(errno, "connect", to.to_string());
}

unix_datagram bind_unix_datagram(const socket_address& a) {
    descriptor fd = detail::make_socket(AF_UNIX, SOCK_DGRAM, "bind", a);
    if (::fchmod(fd.get(), 0600) != 0) // before it has a name, as for listen_unix
        throw_errno(errno, "set the mode of", a.to_string());
    if (::bind(fd.get(), a.data(), a.size()) != 0)
        throw_errno(errno, "bind", a.to_string());
    return unix_datagram(std::move(fd));
}

unix_datagram open_unix_datagram() {
    return unix_datagram(
        detail::make_socket(AF_UNIX, SOCK_DGRAM, "open a datagram socket", socket_address()));
}

std::pair<unix_datagram, unix_datagram> unix_datagram_pair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) != 0)
        throw_errno(errno, "socketpair");
    return {unix_datagram(descriptor(fds[0])), unix_datagram(descriptor(fds[1]))};
}

namespace detail {

const operation_type connect_unix_op::kind = io_type("connect");
const operation_type send_message_op::kind = io_type("send message");
const operation_type receive_message_base::kind = io_type("receive message");

bool connect_unix_op::await_ready() {
    fd_ = make_socket(AF_UNIX, SOCK_STREAM, "connect", to_);
    return false;
}

request connect_unix_op::fill() const noexcept {
    return {.opcode = opcode::connect,
            .fd = fd_.get(),
            .offset = to_.size(),
            .address = address_of(to_.data())};
}

unix_stream connect_unix_op::await_resume() {
    if (result() < 0) {
        fd_.reset();
        throw_errno(-result(), "connect", to_.to_string());
    }
    return unix_stream(std::move(fd_));
}

// --- Messages ------------------------------------------------------------------------------------

send_message_op::send_message_op(int fd, std::span<const std::byte> bytes,
                                 std::span<const int> descriptors, const socket_address& to)
    : request_operation(kind), fd_(fd), count_(static_cast<std::uint32_t>(descriptors.size())),
      bytes_(bytes), to_(to) {
    static_assert(sizeof control_ == CMSG_SPACE(most_descriptors * sizeof(int)));
    if (descriptors.size() > most_descriptors)
        throw std::invalid_argument(fmt::format("{} descriptors in one message: at most {} can go",
                                                descriptors.size(), most_descriptors));
    if (descriptors.empty())
        return;
    cmsghdr h{};
    h.cmsg_len = CMSG_LEN(descriptors.size_bytes());
    h.cmsg_level = SOL_SOCKET;
    h.cmsg_type = SCM_RIGHTS;
    std::memcpy(control_, &h, sizeof h);
    std::memcpy(control_ + CMSG_LEN(0), descriptors.data(), descriptors.size_bytes());
}

request send_message_op::fill() noexcept {
    if (!to_.empty()) {
        header_.name = to_.data();
        header_.name_size = to_.size();
    }
    header_.parts = &bytes_;
    header_.part_count = 1;
    if (count_ != 0) {
        header_.control = control_;
        header_.control_size = CMSG_SPACE(count_ * sizeof(int));
    }
    return {.opcode = opcode::sendmsg,
            .fd = fd_,
            .address = address_of(&header_),
            .length = 1,
            .operation_flags = send_flags};
}

std::size_t send_message_op::await_resume() const {
    if (result() < 0 && !to_.empty())
        throw_errno(-result(), "send to", to_.to_string());
    return check_socket(result(), "send to", fd_);
}

request receive_message_base::fill() noexcept {
    header_ = message_header();
    header_.name = from_.data();
    header_.name_size = socket_address::capacity;
    header_.parts = &into_;
    header_.part_count = 1;
    header_.control = control_;
    header_.control_size = sizeof control_;
    return {.opcode = opcode::recvmsg,
            .fd = fd_,
            .address = address_of(&header_),
            .length = 1,
            .operation_flags = MSG_CMSG_CLOEXEC};
}

received_message receive_message_base::take() {
    check_socket(result(), "receive from", fd_);
    msghdr h{};
    std::memcpy(static_cast<void*>(&h), &header_, sizeof h);
    int fds[most_descriptors];
    std::size_t count = 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&h); c != nullptr; c = CMSG_NXTHDR(&h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        std::memcpy(fds + count, CMSG_DATA(c), n * sizeof(int));
        count += n;
    }
    bool truncated = (h.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
    std::vector<descriptor> descriptors;
    try {
        if (!truncated)
            descriptors.reserve(count);
    } catch (...) {
        for (std::size_t i = 0; i < count; ++i)
            ::close(fds[i]);
        throw;
    }
    if (truncated) {
        for (std::size_t i = 0; i < count; ++i)
            ::close(fds[i]);
        throw limit_error(
            (h.msg_flags & MSG_CTRUNC) != 0
                ? fmt::format("a message came with more than {} descriptors; all were closed",
                              most_descriptors)
                : fmt::format("a datagram was longer than the {} bytes that there was room for",
                              into_.size()));
    }
    for (std::size_t i = 0; i < count; ++i)
        descriptors.emplace_back(fds[i]);
    return received_message(static_cast<std::size_t>(result()), std::move(descriptors));
}

} // namespace detail
} // namespace weft
