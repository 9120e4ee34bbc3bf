// SPDX-License-Identifier: MIT
#include <weft/runtime/signal.hpp>

#include <weft/runtime/error.hpp>

#include <array>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <sys/signalfd.h>
#include <unistd.h>

namespace weft {

namespace {

// How many sets of this thread hold a signal, and whether it was blocked before the first.
struct hold {
    unsigned sets = 0;
    bool was_blocked = false;
};
constexpr int most_signals = 64;
thread_local std::array<hold, most_signals + 1> holds;

sigset_t native(std::uint64_t signals) noexcept {
    sigset_t s;
    sigemptyset(&s);
    for (int n = 1; n <= most_signals; ++n) {
        if ((signals >> (n - 1) & 1) != 0)
            sigaddset(&s, n);
    }
    return s;
}

} // namespace

void signal_set::open(std::span<const int> signals) {
    for (int n : signals) {
        if (n < 1 || n > most_signals || n == SIGKILL || n == SIGSTOP)
            throw std::invalid_argument(fmt::format("signal {} can't be waited for", n));
        signals_ |= std::uint64_t{1} << (n - 1);
    }
    sigset_t all = native(signals_);
    fd_ = descriptor(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_)
        throw_errno(errno, "signalfd");
    sigset_t before;
    ::pthread_sigmask(SIG_BLOCK, &all, &before);
    for (int n = 1; n <= most_signals; ++n) {
        auto& h = holds[static_cast<std::size_t>(n)];
        if (sigismember(&all, n) == 1 && h.sets++ == 0)
            h.was_blocked = sigismember(&before, n) == 1;
    }
}

signal_set::~signal_set() {
    sigset_t ours = native(signals_);
    sigset_t unblock;
    sigset_t last;
    sigemptyset(&unblock);
    sigemptyset(&last);
    for (int n = 1; n <= most_signals; ++n) {
        auto& h = holds[static_cast<std::size_t>(n)];
        if (sigismember(&ours, n) != 1 || --h.sets != 0)
            continue;
        sigaddset(&last, n);
        if (!h.was_blocked)
            sigaddset(&unblock, n);
    }
    // What arrived for us and waits must not strike when it is unblocked. Other sets of this thread
    // keep theirs.
    if (::signalfd(fd_.get(), &last, 0) >= 0) {
        signalfd_siginfo info;
        while (::read(fd_.get(), &info, sizeof info) > 0) {
        }
    }
    ::pthread_sigmask(SIG_UNBLOCK, &unblock, nullptr);
}

namespace detail {

const operation_type next_signal_op::kind = io_type("signal");

int next_signal_op::await_resume() const {
    static_assert(sizeof info_ == sizeof(signalfd_siginfo));
    check(result(), "read signals");
    signalfd_siginfo info;
    std::memcpy(&info, info_, sizeof info);
    return static_cast<int>(info.ssi_signo);
}

} // namespace detail
} // namespace weft
