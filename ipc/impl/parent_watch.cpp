// SPDX-License-Identifier: MIT
#include "parent_watch.hpp"

#include <cerrno>
#include <csignal>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

namespace weft::ipc::detail {

namespace {

// Nobody is there any more who wants our results, and a function may be in the middle of anything:
// nothing is flushed, no destructor runs.
[[noreturn]] void end_at_once() noexcept { ::_exit(1); }

bool has_ended_within(int pidfd, int milliseconds) noexcept {
    pollfd p{pidfd, POLLIN, 0};
    return ::poll(&p, 1, milliseconds) == 1;
}

} // namespace

void end_with_parent(descriptor parent, bool thread_lasts) {
    if (thread_lasts && ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) {
        if (has_ended_within(parent.get(), 0)) // before the signal was arranged
            end_at_once();
        return;
    }
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        std::thread watch([pidfd = parent.get()] {
            while (!has_ended_within(pidfd, -1)) {
            }
            end_at_once();
        });
        ::pthread_setname_np(watch.native_handle(), "weft-parent");
        watch.detach();
        static_cast<void>(parent.release()); // as long as the process lives
    } catch (...) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

} // namespace weft::ipc::detail
