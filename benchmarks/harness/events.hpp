// SPDX-License-Identifier: MIT
// The questions about two processes that wake each other through memory that they share.
#pragma once
#include "measure.h"

#include <atomic>
#include <cstdlib>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

constexpr int trips_asleep = 5000;
constexpr int trips_spinning = 100000;

/// Lets the other process go to sleep, which isn't part of the time.
inline void wait_until_it_sleeps() {
    for (int64_t begin = wall_ns(); wall_ns() < begin + 200000;) {
    }
}

/// Makes a T that children share.
template <class T>
T& shared_with_children() {
    void* m = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        abort();
    return *new (m) T;
}

/// Runs f() in a child, on the other processor.
template <class F>
pid_t in_a_child(F f) {
    pid_t child = fork();
    if (child == 0) {
        pin_thread(1);
        f();
        _exit(0);
    }
    pin_thread(0);
    return child;
}

inline void wait_for_child(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0)
        abort();
}
