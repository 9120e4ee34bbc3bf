// SPDX-License-Identifier: MIT
// What the library's threads are started with: a stack of some size, and no signals of the program.
//
// Threads: the one that starts another. Cancellation: none. Cost: a few system calls.
// Errors:  std::invalid_argument for a stack that is too small, std::system_error.
// Source:  pthreads.
#pragma once
#include <weft/runtime/error.hpp>

#include <csignal>
#include <cstddef>
#include <pthread.h>
#include <stdexcept>

namespace weft::detail {

class thread_attributes {
public:
    explicit thread_attributes(std::size_t stack_size) {
        if (int e = ::pthread_attr_init(&attributes_); e != 0)
            throw_errno(e, "pthread_attr_init");
        if (stack_size != 0)
            ::pthread_attr_setstacksize(&attributes_, stack_size);
    }
    thread_attributes(const thread_attributes&) = delete;
    thread_attributes& operator=(const thread_attributes&) = delete;
    ~thread_attributes() { ::pthread_attr_destroy(&attributes_); }
    [[nodiscard]] const pthread_attr_t* get() const noexcept { return &attributes_; }

private:
    pthread_attr_t attributes_;
};

// Signals of the program go to threads that expect them; those that say what the thread itself did
// wrong, or that profilers send, stay. Whom this thread starts meanwhile begins so.
class signals_held_off {
public:
    signals_held_off() noexcept {
        sigset_t all;
        ::sigfillset(&all);
        for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
            ::sigdelset(&all, s);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    signals_held_off(const signals_held_off&) = delete;
    signals_held_off& operator=(const signals_held_off&) = delete;
    ~signals_held_off() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    sigset_t before_;
};

/// 0 is the default.
inline void require_stack(std::size_t bytes) {
    constexpr std::size_t smallest = std::size_t{32} * 1024;
    if (bytes != 0 && bytes < smallest)
        throw std::invalid_argument("a thread's stack has 32 KiB at least");
}

} // namespace weft::detail
