// SPDX-License-Identifier: MIT
#include "connection_state.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/stat.h>

namespace weft::ipc::detail {

namespace {

channel channel_of(int fd) {
    struct stat s{};
    if (::fstat(fd, &s) != 0)
        throw_errno(errno, "make a connection of a descriptor");
    if (S_ISFIFO(s.st_mode))
        return channel::pipe;
    int type = 0;
    int domain = 0;
    socklen_t size = sizeof type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
        throw std::invalid_argument("a connection is made of a stream socket or of a pipe");
    return domain == AF_UNIX ? channel::unix_socket : channel::other_socket;
}

bool opened_for(int fd, int forbidden) noexcept {
    int flags = ::fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != forbidden;
}

} // namespace

connection_state::connection_state(descriptor d, const connection_options& options)
    : over(channel_of(d.get())), sends(opened_for(d.get(), O_RDONLY)),
      receives(opened_for(d.get(), O_WRONLY)), reads_ahead(options.read_ahead),
      limit(options.message_limit), fd_(std::move(d)) {}

connection_state::~connection_state() {
    WEFT_ASSERT(users_ == 0, "a connection was destroyed while a task used it");
}

void connection_state::check_send() const {
    if (!sends)
        throw state_error("this end of the connection only receives");
    if (!may_send_)
        throw state_error("a message on this connection was torn off; no other can follow it");
}

void connection_state::check_receive() const {
    if (!receives)
        throw state_error("this end of the connection only sends");
    if (!may_receive_)
        throw state_error("a message on this connection was refused; no other can follow it");
}

void connection_state::end_sending() noexcept {
    may_send_ = false;
    if (over == channel::pipe)
        give_up();
    else
        ::shutdown(fd(), SHUT_WR);
}

void connection_state::end_receiving() noexcept {
    may_receive_ = false;
    if (!sends)
        give_up();
}

void connection_state::give_up() noexcept {
    may_send_ = may_receive_ = false;
    if (over != channel::pipe)
        ::shutdown(fd(), SHUT_RDWR); // those who are under way hear of it, and the peer does
    std::scoped_lock held(lock_);
    given_up_ = true;
    if (users_ == 0)
        fd_.reset();
}

void connection_state::require_unused(const char* to_do) const {
    if (users_ != 0)
        throw state_error(std::string("a connection can't be ") + to_do + " while a task uses it");
}

void connection_state::close() {
    std::scoped_lock held(lock_);
    require_unused("closed");
    fd_.reset();
}

void connection_state::require_whole() const {
    if (incoming.begun() || !ahead.empty() || without_descriptors || early_descriptors)
        throw state_error("a part of a message has been read: nobody could make sense of the rest");
}

descriptor connection_state::release() {
    std::scoped_lock held(lock_);
    require_unused("released");
    require_whole();
    return std::move(fd_);
}

descriptor connection_state::duplicate() const {
    std::scoped_lock held(lock_);
    require_unused("handed over");
    require_whole();
    if (!fd_ || given_up_)
        throw state_error("the connection is closed");
    return fd_.duplicate();
}

bool connection_state::is_open() const noexcept {
    std::scoped_lock held(lock_);
    return fd_ && !given_up_;
}

void connection_state::enter() {
    std::scoped_lock held(lock_);
    if (!fd_ || given_up_)
        throw state_error("the connection is closed");
    ++users_;
}

void connection_state::leave() noexcept {
    std::scoped_lock held(lock_);
    if (--users_ == 0 && given_up_)
        fd_.reset();
}

connection_use::connection_use(connection_state* s) : of_(s) {
    if (s == nullptr)
        throw state_error("there is no connection");
    s->enter();
}

bool has_something(const connection_state& s) {
    if (s.holds_something())
        return true;
    pollfd p{s.fd(), POLLIN, 0};
    int n = 0;
    do {
        n = ::poll(&p, 1, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        throw_errno(errno, "poll", "a connection");
    return n != 0;
}

} // namespace weft::ipc::detail
