// SPDX-License-Identifier: MIT
// Two threads that wake each other, each at a futex of its own: there and back, both asleep.
#include "../../harness/pool.hpp"

#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

static void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) == value)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

static void set_and_wake(std::atomic<uint32_t>& word, uint32_t value) {
    word.store(value, std::memory_order_release);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

int main() {
    std::atomic<uint32_t> there{0}, back{0};
    std::thread worker([&] {
        for (uint32_t i = 1; i <= trips_parked; ++i) {
            sleep_while(there, i - 1);
            set_and_wake(back, i);
        }
    });
    static double times[trips_parked];
    for (uint32_t i = 1; i <= trips_parked; ++i) {
        wait_until_it_sleeps();
        int64_t begin = wall_ns();
        set_and_wake(there, i);
        sleep_while(back, i - 1);
        times[i - 1] = static_cast<double>(wall_ns() - begin) / 1000;
    }
    worker.join();
    print_metric("round trip parked", "us", median_of(times, trips_parked));
}
