// SPDX-License-Identifier: MIT
// Waiting for a point in time, and letting others run.
//
//     weft::task<> blink() {
//         for (int i = 0; i < 3; ++i) {
//             fmt::print("*\n");
//             co_await weft::sleep_for(std::chrono::milliseconds(200));
//         }
//         co_await weft::yield();
//     }
//
// Threads:      resumes on the loop of the awaiting task.
// Cancellation: at once; the timer is taken out.
// Errors:       std::bad_alloc if the loop can't note one more timer; std::invalid_argument for a
//               duration that is no number (NaN). Durations of zero or less yield once.
// Cost:         16 bytes in the loop's heap, no allocation for itself, no system call. Never early.
// Source:       asyncio.sleep.
#pragma once
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/time.hpp>

#include <type_traits>

namespace weft {

namespace detail {
class [[nodiscard]] sleep_op : public operation, public timer {
public:
    explicit sleep_op(time_point until) noexcept;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    void await_resume() const noexcept {}

private:
    void start();
    void cancel() noexcept;
    static void cancel_sleep(operation& op) noexcept;
    static void wake_up(timer& t) noexcept;
    static const operation_type kind;
    time_point until_;
};

// Not an operation: who yields is ready, so no stop ever has to be passed on to it. The strand
// comes from the runner and not from the frame, whose address was itself loaded from the strand:
// that chain of loads would be what a switch takes longest for.
class [[nodiscard]] yield_op {
public:
    yield_op() noexcept {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        runner& r = *runner::current();
        strand& s = *r.current_strand;
        s.frame = h;
        s.promise = &h.promise();
        s.awaiting_at = where;
        if (s.stop_pending()) [[unlikely]]
            r.transfer_unwind(s);
        else
            r.wake(s);
        return true;
    }
    void await_resume() const noexcept {}
};
[[noreturn]] void refuse_to_sleep();
} // namespace detail

/// Suspends until `when`, at least.
[[nodiscard]] detail::sleep_op sleep_until(time_point when) noexcept;

/// Suspends for `d`, at least. Zero or less lets everything that is ready run once.
template <class Rep, class Period>
[[nodiscard]] detail::sleep_op
sleep_for(std::chrono::duration<Rep, Period> d) noexcept(!std::is_floating_point_v<Rep>) {
    if constexpr (std::is_floating_point_v<Rep>) {
        if (!(d.count() == d.count()))
            detail::refuse_to_sleep();
    }
    duration ns = saturate(d);
    return detail::sleep_op(ns <= duration::zero() ? time_point::min() : saturated_sum(now(), ns));
}

/// Goes to the end of the loop's queue.
[[nodiscard]] inline detail::yield_op yield() noexcept { return detail::yield_op(); }

} // namespace weft
