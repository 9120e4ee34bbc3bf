// SPDX-License-Identifier: MIT
// What scoped() of a mutex or a semaphore gives, within a process or between processes: holds it,
// and gives it back on every way out.
//
//     template <class Mutex>                      // weft::mutex, weft::ipc::mutex
//     weft::task<> append(Mutex& m, std::vector<int>& numbers, weft::task<int> (*next)()) {
//         auto held = co_await m.scoped();
//         numbers.push_back(co_await next());     // an error or a stop here gives it back as well
//     }
//
// Threads:      none of its own; may be moved to another thread and give back there. Isn't handed
//               over to another process; what one holds that dies is said at each primitive.
// Cancellation: a stopped task's frames are destroyed, and their guards with them.
// Errors:       none. To destroy a guard whose mutex somebody else unlocked ends the program.
// Cost:         one pointer.
// Source:       std::unique_lock and Python's with statement.
#pragma once
#include <utility>

namespace weft {

template <class Primitive>
class [[nodiscard]] guard {
public:
    /// Holds nothing.
    guard() noexcept = default;
    /// Takes over what the caller acquired.
    explicit guard(Primitive& held) noexcept : held_(&held) {}
    guard(guard&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
    guard& operator=(guard&& other) noexcept {
        guard(std::move(other)).swap(*this);
        return *this;
    }
    ~guard() { reset(); }
    void swap(guard& other) noexcept { std::swap(held_, other.held_); }

    /// Whether it holds something.
    explicit operator bool() const noexcept { return held_ != nullptr; }

    /// Gives it back now.
    void reset() noexcept {
        if (Primitive* p = std::exchange(held_, nullptr))
            p->give_back();
    }
    /// Leaves it to the caller to give it back; null if there was nothing.
    [[nodiscard]] Primitive* release() noexcept { return std::exchange(held_, nullptr); }

private:
    Primitive* held_ = nullptr;
};

} // namespace weft
