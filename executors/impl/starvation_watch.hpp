// SPDX-License-Identifier: MIT
// A thread that sees when calls wait at a pool and none of its threads begins one for a while, and
// reports it: once, until something begins. It sleeps as long as nothing waits.
//
// Threads:      note_waiting from any; what it was given is called on its own thread.
// Cancellation: the destructor ends it.
// Errors:       std::system_error from start.
// Cost:         a lock and a wake-up for each call that is posted, where it is on. Source: none.
#pragma once
#include <weft/runtime/time.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace weft::detail {

class starvation_watch {
public:
    struct numbers {
        std::size_t waiting;
        std::uint64_t begun;
    };
    /// `look()` tells how it stands; `report(waiting)` is called when nothing has begun for the
    /// time `after`. Off if that isn't positive.
    starvation_watch(duration after, std::function<numbers()> look,
                     std::function<void(std::size_t)> report)
        : after_(after), look_(std::move(look)), report_(std::move(report)) {}
    starvation_watch(const starvation_watch&) = delete;
    starvation_watch& operator=(const starvation_watch&) = delete;
    ~starvation_watch() { end(); }

    [[nodiscard]] duration limit() const noexcept { return after_; }
    [[nodiscard]] bool is_on() const noexcept { return after_ > duration::zero(); }
    /// Does nothing if it is off.
    void start();
    void end() noexcept;
    /// Something waits that didn't before.
    void note_waiting() noexcept {
        if (is_on()) [[unlikely]]
            wake();
    }

private:
    void wake() noexcept;
    void watch() noexcept;

    const duration after_;
    const std::function<numbers()> look_;
    const std::function<void(std::size_t)> report_;
    std::thread thread_;
    std::mutex mutex_; // for the next two
    std::condition_variable again_;
    bool ends_ = false;
};

} // namespace weft::detail
