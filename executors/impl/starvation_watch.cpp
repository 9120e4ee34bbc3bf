// SPDX-License-Identifier: MIT
#include "starvation_watch.hpp"

#include "native_thread.hpp"

#include <pthread.h>

namespace weft::detail {

void starvation_watch::start() {
    if (!is_on())
        return;
    signals_held_off hold;
    thread_ = std::thread([this] { watch(); });
}

void starvation_watch::end() noexcept {
    {
        std::lock_guard lock(mutex_);
        ends_ = true;
    }
    again_.notify_one();
    if (thread_.joinable())
        thread_.join();
}

void starvation_watch::wake() noexcept {
    {
        std::lock_guard lock(mutex_);
    } // so that the thread has seen it, or sleeps
    again_.notify_one();
}

void starvation_watch::watch() noexcept {
    ::pthread_setname_np(::pthread_self(), "weft-watch");
    std::unique_lock lock(mutex_);
    std::uint64_t reported = ~std::uint64_t{0};
    while (true) {
        again_.wait(lock, [this] { return ends_ || look_().waiting != 0; });
        const std::uint64_t before = look_().begun;
        again_.wait_until(lock, saturated_sum(clock::now(), after_), [this] { return ends_; });
        if (ends_)
            return;
        const numbers after = look_();
        if (after.waiting == 0 || after.begun != before || before == reported)
            continue;
        reported = before;
        lock.unlock();
        report_(after.waiting);
        lock.lock();
    }
}

} // namespace weft::detail
