// SPDX-License-Identifier: MIT
#include "tracker.hpp"

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/runtime/error.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::ipc::detail {

namespace {

// --- The helper ----------------------------------------------------------------------------------

bool still_the_same(const tracked_name& n, const std::string& path) noexcept {
    descriptor d(::shm_open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0));
    struct stat s{};
    return d && ::fstat(d.get(), &s) == 0 && s.st_dev == n.device && s.st_ino == n.inode;
}

int run_tracker(int, std::span<const int> descriptors) {
    std::signal(SIGPIPE, SIG_IGN); // nobody may be there to read what it says at the end
    ::prctl(PR_SET_NAME, "weft-tracker");
    tracker_machine names;
    std::array<char, tracker_machine::longest_packet + 1> packet;
    while (true) {
        ssize_t n = ::recv(descriptors[0], packet.data(), packet.size(), 0);
        if (n > 0)
            names.received({packet.data(), static_cast<std::size_t>(n)});
        else if (n == 0 || errno != EINTR)
            break;
    }
    int removed = 0;
    for (const tracked_name& n : names.left()) {
        const std::string path = "/" + n.name;
        if (still_the_same(n, path) && ::shm_unlink(path.c_str()) == 0)
            ++removed;
    }
    if (removed != 0)
        std::fprintf(stderr, "weft: %d name%s in shared memory had been left behind\n", removed,
                     removed == 1 ? "" : "s");
    return 0;
}

// What ends the program's processes mustn't end this one first, not even before it has its first
// turn: names may have been entrusted to it by then.
const worker_role tracker_role("tracker", 1, run_tracker, role_kind::guard);

} // namespace

// --- Those who use it ----------------------------------------------------------------------------

tracker& tracker::instance() {
    // Never destroyed: it has to see how this process ends.
    static tracker& t = *new tracker();
    return t;
}

void tracker::start() {
    require_worker_entry("tracker");
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno(errno, "socketpair", "for the tracker");
    descriptor ours(ends[0]), theirs(ends[1]);
    const std::array<int, 1> passed{theirs.get()};
    child_ = start_worker(tracker_role, passed);
    to_ = std::move(ours);
    for (const tracked_name& n : names_)
        static_cast<void>(send(tracker_order::add, n));
}

bool tracker::send(tracker_order o, const tracked_name& n) {
    const std::string packet = tracker_packet(o, n);
    while (::send(to_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EPIPE:
        case ECONNRESET:
        case EBADF: // there is none yet
            return false;
        default:
            throw_errno(errno, "tell the tracker", n.name);
        }
    }
    return true;
}

void tracker::add(const tracked_name& n) {
    std::lock_guard lock(mutex_);
    names_.push_back(n);
    if (!send(tracker_order::add, n))
        start(); // and tell it everything
}

void tracker::remove(const tracked_name& n) noexcept {
    try {
        std::lock_guard lock(mutex_);
        std::erase(names_, n);
        static_cast<void>(send(tracker_order::remove, n));
    } catch (...) {
        // It will find that the name is gone, or stands for something else.
        static_cast<void>(n);
    }
}

descriptor tracker::for_child() const {
    std::lock_guard lock(mutex_);
    return to_ ? to_.duplicate() : descriptor();
}

void tracker::adopt(descriptor d) {
    std::lock_guard lock(mutex_);
    to_ = std::move(d);
    child_.let_go();
    names_.clear();
}

void tracker::stop() noexcept {
    std::lock_guard lock(mutex_);
    to_.reset();
    names_.clear();
    pollfd p{child_.pidfd(), POLLIN, 0};
    constexpr int patience = 10'000; // milliseconds; others may hold it for longer
    if (child_.pidfd() >= 0)
        ::poll(&p, 1, patience);
    if (!child_.try_wait())
        child_.let_go();
    child_ = child();
}

int tracker::pid() const {
    std::lock_guard lock(mutex_);
    return to_ ? child_.pid() : 0;
}

} // namespace weft::ipc::detail
