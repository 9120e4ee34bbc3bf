// SPDX-License-Identifier: MIT
#include <weft/runtime/socket.hpp>

#include "impl/buffer_ring.hpp"
#include "impl/ring.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <cstddef>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace weft {

namespace detail {

static_assert(send_flags == MSG_NOSIGNAL);
static_assert(sizeof(const_buffer) == sizeof(iovec) && alignof(const_buffer) == alignof(iovec));
static_assert(sizeof(message_header) == sizeof(msghdr));
static_assert(offsetof(message_header, parts) == offsetof(msghdr, msg_iov) &&
              offsetof(message_header, control) == offsetof(msghdr, msg_control) &&
              offsetof(message_header, flags) == offsetof(msghdr, msg_flags));

const operation_type recv_op::kind = io_type("read from socket");
const operation_type send_op::kind = io_type("write to socket");
const operation_type send_all_op::kind = io_type("write to socket");
const operation_type send_parts_op::kind = io_type("write to socket");
const operation_type receive_op::kind{cancel_receive, "receive"};

void send_all_op::sent(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept {
    static_assert(wait_all == MSG_WAITALL);
    auto& op = static_cast<send_all_op&>(static_cast<io_operation&>(t));
    if (result > 0) {
        op.data_ += result;
        op.size_ -= static_cast<std::size_t>(result);
        if (op.size_ != 0 && !op.cancel_asked())
            return op.again();
        // A part was sent, then came a stop: nobody could tell which part, so it counts as stopped.
        if (op.size_ != 0)
            result = -ECANCELED;
    }
    completed(t, result, flags);
}

request send_parts_op::fill() noexcept {
    header_.parts = const_cast<const_buffer*>(parts_.data());
    header_.part_count = parts_.size();
    return {.opcode = opcode::sendmsg,
            .fd = fd_,
            .address = address_of(&header_),
            .length = 1,
            .operation_flags = send_flags};
}

// --- receive -------------------------------------------------------------------------------------
// The kernel takes a buffer when there is data (choosing). If it has none left it says so at once,
// data or not. Then we wait for data (polling), stand in line for a buffer, and try again. Where
// the kernel can't choose, we begin with polling, and have a buffer filled that we chose (filling).

void receive_op::start() {
    buffer_ring* pool = nullptr;
    try {
        pool = &io_loop().buffers();
    } catch (...) {
        owner().leaf = nullptr;
        throw;
    }
    if (pool->by_kernel() && !pool->has_line()) [[likely]]
        choose();
    else
        poll();
}

request receive_op::reading() const noexcept {
    return {.opcode = from_ == from::socket ? opcode::recv : opcode::read,
            .fd = fd_,
            .offset = from_ == from::socket ? 0 : ~std::uint64_t{0},
            .length = io_loop().buffers().size()};
}

void receive_op::choose() {
    step_ = step::choosing;
    request r = reading();
    r.flags = IOSQE_BUFFER_SELECT;
    r.buffer_group = buffer_ring::group;
    submit(r);
}

void receive_op::poll() {
    step_ = step::polling;
    submit({.opcode = opcode::poll_add, .fd = fd_, .operation_flags = POLLIN | POLLRDHUP});
}

// There is data: receive it, or stand in line.
void receive_op::go_on() noexcept {
    buffer_ring& pool = io_loop().buffers();
    if (pool.available() == 0 || pool.has_line())
        pool.wait(*this);
    else
        try_now();
}

void receive_op::try_now() noexcept {
    buffer_ring& pool = io_loop().buffers();
    try {
        if (pool.by_kernel()) {
            choose();
        } else {
            own_ = pool.take();
            step_ = step::filling;
            pool.tried(*this);
            request r = reading();
            r.address = address_of(pool.data(own_));
            submit(r);
        }
    } catch (...) {
        received(*this, -ENOMEM, 0);
    }
}

void receive_op::received(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept {
    auto& op = static_cast<receive_op&>(static_cast<io_operation&>(t));
    buffer_ring& pool = op.io_loop().buffers();
    if ((flags & IORING_CQE_F_BUFFER) != 0)
        pool.taken();
    if (op.step_ == step::filling && result < 0)
        pool.give_back(op.own_);
    bool stop = op.cancel_asked();
    if (result >= 0 && op.step_ == step::polling) {
        if (!stop)
            return op.go_on();
        result = -ECANCELED;
    }
    bool none_left = result == -ENOBUFS && op.step_ == step::choosing;
    constexpr std::uint8_t enough =
        100; // in vain, one after the other: this isn't about our buffers
    if ((none_left && ++op.retries_ < enough) || interrupted(result)) {
        if (!stop && op.trying && none_left)
            return pool.wait(op);
        pool.tried(op);
        if (!stop) {
            try {
                return op.poll();
            } catch (...) {
                result = -ENOMEM;
            }
        } else {
            result = -ECANCELED;
        }
    }
    pool.tried(op);
    finish(t, result, flags);
}

void receive_op::try_again(buffer_waiter& w) noexcept { static_cast<receive_op&>(w).try_now(); }

void receive_op::cancel_receive(operation& o) noexcept {
    auto& op = static_cast<receive_op&>(o);
    if (op.in_line) {
        op.io_loop().buffers().leave(op);
        op.stopped();
    } else {
        op.cancel();
    }
}

lent_buffer receive_op::await_resume() {
    std::int32_t n = result();
    buffer_ring* pool = &io_loop().buffers();
    lent_buffer data;
    if ((completion_flags() & IORING_CQE_F_BUFFER) != 0) {
        auto id = static_cast<std::uint16_t>(completion_flags() >> IORING_CQE_BUFFER_SHIFT);
        data = lent_buffer(*pool, id, pool->data(id), static_cast<std::size_t>(n < 0 ? 0 : n));
    } else if (step_ == step::filling && n >= 0) {
        data = lent_buffer(*pool, own_, pool->data(own_), static_cast<std::size_t>(n));
    }
    check_socket(n, "receive from", fd_);
    return data;
}

// --- Plain calls ---------------------------------------------------------------------------------

namespace {

template <class Get>
socket_address ask(Get get) noexcept {
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    if (get(reinterpret_cast<sockaddr*>(&a), &size) != 0)
        return {};
    return socket_address::from_native(reinterpret_cast<sockaddr*>(&a),
                                       size < sizeof a ? size : sizeof a);
}

socket_address former_peer(int fd) noexcept {
    socket_address a =
        ask([fd](sockaddr* to, socklen_t* size) { return ::getpeername(fd, to, size); });
    // When the connection has ended, getpeername refuses. This doesn't, but wants the exact size.
    for (socklen_t exact : {socklen_t{sizeof(sockaddr_in6)}, socklen_t{sizeof(sockaddr_in)}}) {
        if (!a.empty())
            break;
        a = ask([fd, exact](sockaddr* to, socklen_t* size) {
            *size = exact;
            return ::getsockopt(fd, SOL_SOCKET, SO_PEERNAME, to, size);
        });
    }
    return a;
}

} // namespace

void throw_socket_error(std::int32_t result, const char* operation, int socket) {
    socket_address peer = former_peer(socket);
    std::string name = "a socket without a peer";
    if (peer.family() == address_family::unix_domain && peer.host().empty())
        name = "a unix socket without a name"; // of a pair, or a client's
    else if (!peer.empty())
        name = peer.to_string();
    throw_errno(-result, operation, name);
}

descriptor make_socket(int family, int type, const char* operation, const socket_address& a) {
    descriptor fd(::socket(family, type | SOCK_CLOEXEC, 0));
    if (!fd)
        throw_errno(errno, operation, a.to_string());
    return fd;
}

void set_option(int fd, int level, int name, int value, const char* what) {
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0)
        throw_errno(errno, "set socket option", what);
}

int get_option(int fd, int level, int name, const char* what) {
    int value = 0;
    socklen_t size = sizeof value;
    if (::getsockopt(fd, level, name, &value, &size) != 0)
        throw_errno(errno, "get socket option", what);
    return value;
}

socket_address local_address(int fd) {
    socket_address a =
        ask([fd](sockaddr* to, socklen_t* size) { return ::getsockname(fd, to, size); });
    if (a.empty())
        throw_errno(errno, "getsockname");
    return a;
}

socket_address peer_address(int fd) {
    socket_address a = former_peer(fd);
    if (a.empty())
        throw_errno(errno, "getpeername");
    return a;
}

int native_family(const socket_address& a) noexcept {
    return a.empty() ? AF_UNSPEC : a.data()->sa_family;
}

} // namespace detail

void stream_socket::shutdown_write() {
    if (::shutdown(fd_.get(), SHUT_WR) != 0 && errno != ENOTCONN)
        detail::throw_socket_error(-errno, "shut down", fd_.get());
}

socket_address stream_socket::local_address() const { return detail::local_address(fd_.get()); }
socket_address stream_socket::peer_address() const { return detail::peer_address(fd_.get()); }

void stream_socket::set_receive_buffer(int bytes) {
    detail::set_option(fd_.get(), SOL_SOCKET, SO_RCVBUF, bytes, "receive buffer");
}
void stream_socket::set_send_buffer(int bytes) {
    detail::set_option(fd_.get(), SOL_SOCKET, SO_SNDBUF, bytes, "send buffer");
}
void stream_socket::set_linger(std::optional<std::chrono::seconds> wait) {
    linger l{};
    l.l_onoff = wait.has_value();
    l.l_linger = wait ? static_cast<int>(wait->count()) : 0;
    if (::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &l, sizeof l) != 0)
        throw_errno(errno, "set socket option", "linger");
}

} // namespace weft
