// SPDX-License-Identifier: MIT
// What stands behind detail/acceptor.hpp.
//
// Threads:      the loop that accepts. Cancellation: see there. Errors: see there. Cost: see there.
//               Source: see there.
#pragma once
#include "kept_queue.hpp"

#include <weft/runtime/detail/acceptor.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/loop.hpp>

#include <atomic>

namespace weft::detail {

class acceptor : completion_target, timer {
public:
    acceptor(descriptor listening, unsigned ahead) noexcept;
    acceptor(const acceptor&) = delete;
    acceptor& operator=(const acceptor&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// A socket that waits here already, or -1.
    [[nodiscard]] int take_queued() noexcept;
    /// Puts an accept in line, and sees to it that the kernel is asked.
    void wait(accept_base& op, loop& on);
    void leave(accept_base& op) noexcept;
    /// Those in line get ECANCELED; `op` is completed when the kernel has let go.
    void stop_for(stop_accepting_op& op) noexcept;
    /// The listener is gone: ends as soon as the kernel lets it.
    void retire() noexcept;

private:
    ~acceptor();
    void arm();
    void withdraw() noexcept;
    void withdraw_surely() noexcept;
    void over() noexcept;
    void serve(std::int32_t result) noexcept;
    void fail_all(std::int32_t result) noexcept;
    void back_off() noexcept;
    static void completed(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static void backed_off(timer& t) noexcept;
    void retire_here() noexcept;

    struct message : work {
        message(function f, acceptor& a) noexcept : work(f), to(a) {}
        acceptor& to;
    };
    static void retry(work& w) noexcept;
    static void retire_from_elsewhere(work& w) noexcept;

    descriptor fd_;
    loop* on_ = nullptr; // while armed, or while somebody waits
    kept_queue<int> queued_;
    accept_base* first_ = nullptr;
    accept_base* last_ = nullptr;
    stop_accepting_op* stopper_ = nullptr;
    std::size_t ahead_;
    duration pause_{};
    // A request is with the kernel. Cleared as the last thing that its final completion does,
    // because another thread may destroy the listener then (pairs with the acquire in retire()).
    std::atomic<bool> armed_{false};
    bool withdrawn_ = false; // a cancel is on the way
    bool retrying_ = false;  // waits for room, to try again to withdraw
    bool closing_ = false;
    bool retired_ = false;
    message retry_{retry, *this};
    message retire_{retire_from_elsewhere, *this};
};

} // namespace weft::detail
