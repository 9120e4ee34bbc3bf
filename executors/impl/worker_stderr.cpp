// SPDX-License-Identifier: MIT
#include "worker_stderr.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/spawn.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>

namespace weft::detail {

namespace {

// What is read at once. A pipe takes a write of so many bytes whole or not at all.
constexpr std::size_t stderr_piece = 4096;
constexpr int stderr_pieces_a_turn = 16; // what a pipe holds
// At a worker's end, beyond what a slow reader has left waiting.
constexpr std::size_t most_waiting = std::size_t{1} << 20;

// A write whose reader is gone must be no signal, whatever the program does with SIGPIPE.
class no_sigpipe {
public:
    no_sigpipe() noexcept {
        ::sigemptyset(&broken_pipe_);
        ::sigaddset(&broken_pipe_, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &broken_pipe_, &before_);
    }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;
    ~no_sigpipe() {
        if (came && ::sigismember(&before_, SIGPIPE) == 0) {
            const timespec at_once{};
            ::sigtimedwait(&broken_pipe_, nullptr, &at_once);
        }
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    bool came = false;

private:
    sigset_t broken_pipe_, before_;
};

} // namespace

worker_stderr::worker_stderr(bool shown, int to) : to_(to), shown_(shown) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw_errno(errno, "pipe", "for a worker's standard error");
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
    // Of this end alone: the worker's writes wait for room, as always.
    if (::fcntl(ours_.get(), F_SETFL, O_NONBLOCK) != 0)
        throw_errno(errno, "fcntl", "for a worker's standard error");
}

void worker_stderr::start(std::shared_ptr<worker_stderr> s) {
    spawn(read_on(std::move(s))).set_name("standard error of a worker");
}

task<> worker_stderr::read_on(std::shared_ptr<worker_stderr> s) {
    for (bool ended = false; !ended;) {
        co_await readable(s->ours_.get());
        state found = state::more;
        for (int i = 0; i != stderr_pieces_a_turn && found == state::more; ++i)
            found = s->take();
        ended = found == state::ended;
        try {
            while (!s->write_now())
                co_await writable(s->to_);
        } catch (const std::system_error&) { // it was closed meanwhile
            s->shown_ = false;
            s->waiting_.clear();
        }
    }
}

worker_stderr::state worker_stderr::take() noexcept {
    std::array<char, stderr_piece> buffer;
    ssize_t n = 0;
    do {
        n = ::read(ours_.get(), buffer.data(), buffer.size());
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return state::ended;
    if (n < 0)
        return errno == EAGAIN ? state::nothing_now : state::ended;
    try {
        tail_.append(buffer.data(), static_cast<std::size_t>(n));
        if (tail_.size() > tail_size)
            tail_.erase(0, tail_.size() - tail_size);
        if (shown_ && waiting_.size() < most_waiting)
            waiting_.append(buffer.data(), static_cast<std::size_t>(n));
    } catch (...) { // no memory to keep it in
        waiting_.clear();
    }
    return state::more;
}

// False: it would have to wait.
bool worker_stderr::write_now() noexcept {
    if (waiting_.empty())
        return true;
    no_sigpipe quiet;
    while (!waiting_.empty()) {
        iovec part{waiting_.data(), std::min(waiting_.size(), stderr_piece)};
        ssize_t n = ::pwritev2(to_, &part, 1, -1, RWF_NOWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EOPNOTSUPP || errno == EINVAL)) {
            // Terminals and files don't always know this; where there is room they don't wait.
            pollfd p{to_, POLLOUT, 0};
            if (::poll(&p, 1, 0) != 1)
                return false;
            n = ::write(to_, part.iov_base, part.iov_len);
        }
        if (n >= 0) {
            waiting_.erase(0, static_cast<std::size_t>(n));
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            quiet.came = errno == EPIPE;
            waiting_.clear(); // nobody is there to read it
        }
    }
    return true;
}

std::string worker_stderr::last_words() noexcept {
    // At most what a pipe can hold: others may go on writing.
    for (std::size_t taken = 0; taken < most_waiting && take() == state::more;
         taken += stderr_piece) {
    }
    // What its reading task would do at its next turn, which may be too late: the program may end
    // when its pool has.
    static_cast<void>(write_now());
    try {
        return tail_;
    } catch (...) { // no memory
        return {};
    }
}

} // namespace weft::detail
