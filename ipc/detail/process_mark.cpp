// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/process_mark.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace weft::ipc::detail {

constinit std::atomic<process_mark> known_process_mark{0};

namespace {

struct process_stat {
    bool ended = false;
    std::uint32_t began = 0; // 0: not known
};

// False: it can't be read.
bool read_process_stat(int pid, process_stat& into) noexcept {
    char text[512];
    std::snprintf(text, sizeof text, "/proc/%d/stat", pid);
    int fd = ::open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = ::read(fd, text, sizeof text - 1);
    ::close(fd);
    if (n <= 0)
        return false; // ESRCH: it went away in between
    text[n] = '\0';
    // 3: state, 20: threads, 22: when it began. 2 is a name that may contain anything.
    const char* at = std::strrchr(text, ')');
    if (at == nullptr || at[1] == '\0')
        return false;
    const char state = at[2];
    unsigned long long fields[23] = {};
    at += 3;
    for (int field = 4; field <= 22; ++field) {
        char* end = nullptr;
        fields[field] = std::strtoull(at, &end, 10);
        at = end;
    }
    // The first thread may have ended before others, which makes no zombie of the process.
    into.ended = state == 'X' || state == 'x' || (state == 'Z' && fields[20] <= 1);
    into.began = static_cast<std::uint32_t>(fields[22]);
    if (into.began == 0)
        into.began = 1;
    return true;
}

void forget_process_mark() noexcept { known_process_mark.store(0, std::memory_order_relaxed); }

} // namespace

process_mark find_process_mark() noexcept {
    static const int registered = ::pthread_atfork(nullptr, nullptr, forget_process_mark);
    static_cast<void>(registered);
    process_stat s;
    const int pid = ::getpid();
    if (!read_process_stat(pid, s))
        s.began = 0;
    process_mark mine = static_cast<std::uint32_t>(pid) | (process_mark{s.began} << 32);
    process_mark known = 0;
    // Whoever comes first decides: a mark is the same for the whole life of the process.
    if (!known_process_mark.compare_exchange_strong(known, mine, std::memory_order_relaxed))
        return known;
    return mine;
}

bool is_gone(process_mark m) noexcept {
    if (m == this_process())
        return false;
    const int pid = pid_in(m);
    process_stat s;
    if (!read_process_stat(pid, s)) // ended, or hidden from us, or no descriptor left
        return ::kill(pid, 0) != 0 && errno == ESRCH;
    const auto began = static_cast<std::uint32_t>(m >> 32);
    return s.ended || (began != 0 && began != s.began);
}

} // namespace weft::ipc::detail
