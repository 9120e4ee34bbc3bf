// SPDX-License-Identifier: MIT
// std::mutex and POSIX's semaphore, taken and given back: by one thread alone, and by two, each of
// which does the work of 32 tasks one after the other. std::counting_semaphore is no match: in the
// library of g++ 12 each release that makes it one is a system call.
#include "../../harness/locks.hpp"

#include <mutex>
#include <semaphore.h>
#include <thread>

static void take(std::mutex& m) { m.lock(); }
static void give(std::mutex& m) { m.unlock(); }
static void take(sem_t& s) { sem_wait(&s); }
static void give(sem_t& s) { sem_post(&s); }

template <class Lock>
static void count(Lock& lock, uint64_t& counter, int n) {
    for (int i = 0; i < n; ++i) {
        take(lock);
        keep(++counter);
        give(lock);
    }
}

template <class Lock>
static void ask(Lock& lock, const char* alone, const char* contended) {
    uint64_t counter = 0;
    print_time_each(alone, alone_count, [&] { count(lock, counter, alone_count); });
    print_time_each(contended, contended_count, [&] {
        counter = 0;
        auto side = [&](int cpu) {
            pin_thread(cpu);
            for (int i = 0; i < tasks_each; ++i)
                count(lock, counter, contended_count / 2 / tasks_each);
        };
        std::thread other(side, 1);
        std::thread one(side, 0);
        one.join();
        other.join();
        check_count(counter);
    });
}

int main() {
    // With one thread only, the C library would leave out the atomic instructions.
    std::mutex held;
    std::unique_lock hold(held);
    std::thread waits([&] { std::scoped_lock until(held); });
    std::mutex m;
    sem_t s;
    sem_init(&s, 0, 1);
    ask(m, "mutex", "mutex contended");
    ask(s, "semaphore", "semaphore contended");
    hold.unlock();
    waits.join();
    sem_destroy(&s);
}
