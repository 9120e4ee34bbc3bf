// SPDX-License-Identifier: MIT
// A mutex and a semaphore, taken and given back: by one task alone, and by 64 on two threads.
#include "harness/locks.hpp"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/semaphore.hpp>

static auto take(weft::mutex& m) { return m.lock(); }
static void give(weft::mutex& m) { m.unlock(); }
static auto take(weft::semaphore& s) { return s.acquire(); }
static void give(weft::semaphore& s) { s.release(); }

template <class Lock>
static weft::task<> count(Lock& lock, uint64_t& counter, int n) {
    for (int i = 0; i < n; ++i) {
        co_await take(lock);
        keep(++counter);
        give(lock);
    }
}

template <class Lock>
static weft::task<> count_side(Lock& lock, uint64_t& counter, int cpu) {
    pin_thread(cpu);
    auto all = [&](weft::task_group& g) -> weft::task<> {
        for (int i = 0; i < tasks_each; ++i)
            g.spawn(count(lock, counter, contended_count / 2 / tasks_each));
        co_return;
    };
    co_await weft::with_task_group(std::ref(all));
}

template <class Lock>
static void ask(weft::runtime& rt, const char* alone, const char* contended) {
    Lock lock;
    uint64_t counter = 0;
    print_time_each(alone, alone_count, [&] { rt.run(count(lock, counter, alone_count)); });
    print_time_each(contended, contended_count, [&] {
        counter = 0;
        rt.run(weft::as_task(weft::when_all(
            count_side(lock, counter, 0), weft::on(rt.get_loop(1), count_side(lock, counter, 1)))));
        check_count(counter);
    });
}

int main() {
    weft::runtime rt({.loops = 2});
    ask<weft::mutex>(rt, "mutex", "mutex contended");
    ask<weft::semaphore>(rt, "semaphore", "semaphore contended");
}
