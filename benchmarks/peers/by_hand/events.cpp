// SPDX-License-Identifier: MIT
// Two processes that wake each other, each at a futex of its own, or look at a word until it
// changes.
#include "../../harness/events.hpp"

#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>

struct words {
    alignas(64) std::atomic<uint32_t> there{0};
    alignas(64) std::atomic<uint32_t> back{0};
};

static void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) == value)
        syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}

static void set_and_wake(std::atomic<uint32_t>& word, uint32_t value) {
    word.store(value, std::memory_order_release);
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

static void spin_while(const std::atomic<uint32_t>& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) == value) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

int main() {
    auto& w = shared_with_children<words>();
    pid_t child = in_a_child([&] {
        uint32_t i = 1;
        for (; i <= trips_asleep; ++i) {
            sleep_while(w.there, i - 1);
            set_and_wake(w.back, i);
        }
        for (; i <= trips_asleep + trips_spinning; ++i) {
            spin_while(w.there, i - 1);
            w.back.store(i, std::memory_order_release);
        }
    });
    static double times[trips_asleep];
    uint32_t i = 1;
    for (; i <= trips_asleep; ++i) {
        wait_until_it_sleeps();
        int64_t begin = wall_ns();
        set_and_wake(w.there, i);
        sleep_while(w.back, i - 1);
        times[i - 1] = static_cast<double>(wall_ns() - begin) / 1000;
    }
    int64_t begin = wall_ns();
    for (; i <= trips_asleep + trips_spinning; ++i) {
        w.there.store(i, std::memory_order_release);
        spin_while(w.back, i - 1);
    }
    double spinning = static_cast<double>(wall_ns() - begin) / trips_spinning;
    wait_for_child(child);
    print_metric("round trip asleep", "us", median_of(times, trips_asleep));
    print_metric("round trip spinning", "ns", spinning);
}
