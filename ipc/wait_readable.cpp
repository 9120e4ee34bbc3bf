// SPDX-License-Identifier: MIT
#include <weft/ipc/wait_readable.hpp>

#include "impl/connection_state.hpp"

#include <weft/ipc/process.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/timeout.hpp>

#include <cerrno>
#include <poll.h>
#include <sys/epoll.h>

namespace weft::ipc {

namespace {

// The list, held open.
class watched {
public:
    explicit watched(std::span<const waitable> list) {
        polls_.reserve(list.size());
        for (const waitable& w : list) {
            if (w.is_connection()) {
                uses_.emplace_back(w.connected());
                w.connected()->check_receive();
                add(w.connected()->fd(), w.connected()->holds_something());
            } else {
                // A process without a pidfd had ended before one could be had.
                add(w.fd(), w.is_process() && w.fd() < 0);
            }
        }
    }

    [[nodiscard]] std::vector<std::size_t> ready() {
        int n = 0;
        do {
            n = ::poll(polls_.data(), polls_.size(), 0);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
            throw_errno(errno, "poll");
        std::vector<std::size_t> found;
        for (std::size_t i = 0; i != polls_.size(); ++i) {
            if ((polls_[i].revents & POLLNVAL) != 0)
                throw_errno(EBADF, "poll");
            if (held_[i] || polls_[i].revents != 0)
                found.push_back(i);
        }
        return found;
    }

    /// A descriptor that is readable when one of them is.
    [[nodiscard]] descriptor together() const {
        descriptor all(::epoll_create1(EPOLL_CLOEXEC));
        if (!all)
            throw_errno(errno, "epoll_create");
        for (const pollfd& p : polls_) {
            epoll_event e{};
            e.events = EPOLLIN;
            // EEXIST: it is in the list twice.
            if (::epoll_ctl(all.get(), EPOLL_CTL_ADD, p.fd, &e) != 0 && errno != EEXIST)
                throw_errno(errno, "epoll_ctl");
        }
        return all;
    }

private:
    void add(int fd, bool held) {
        polls_.push_back({fd, POLLIN, 0});
        held_.push_back(held);
    }

    std::vector<detail::connection_use> uses_;
    std::vector<pollfd> polls_;
    std::vector<bool> held_; // something is here already
};

task<> either_readable(int fd, time_point deadline) {
    if (deadline == never)
        co_await readable(fd);
    else
        co_await with_deadline(deadline, readable(fd));
}

} // namespace

waitable::waitable(const process& p) : fd_(p.sentinel()), is_process_(true) {}

task<std::vector<std::size_t>> wait_readable(std::span<const waitable> list, time_point deadline) {
    watched all(list);
    std::vector<std::size_t> found = all.ready();
    if (!found.empty() || deadline <= now())
        co_return found;
    descriptor together = all.together();
    while (found.empty()) {
        try {
            co_await either_readable(together.get(), deadline);
        } catch (const timeout_error&) {
            co_return all.ready();
        }
        // Somebody else may have taken what was there.
        found = all.ready();
    }
    co_return found;
}

} // namespace weft::ipc
