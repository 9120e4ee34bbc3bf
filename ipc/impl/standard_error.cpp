// SPDX-License-Identifier: MIT
#include "standard_error.hpp"

#include <cerrno>
#include <csignal>
#include <unistd.h>

namespace weft::ipc::detail {

void write_to_stderr(std::string_view text) noexcept {
    sigset_t broken_pipe, before;
    ::sigemptyset(&broken_pipe);
    ::sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    ssize_t n = 0;
    do {
        n = ::write(STDERR_FILENO, text.data(), text.size());
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EPIPE) {
        const timespec at_once{};
        ::sigtimedwait(&broken_pipe, nullptr, &at_once);
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

} // namespace weft::ipc::detail
