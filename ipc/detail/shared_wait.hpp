// SPDX-License-Identifier: MIT
// How one waits for something in memory that several processes share: tries, sleeps on a word,
// tries again when that is woken, and looks after 5 ms, 10 ms and so on, up to every 50 ms, whether
// somebody died who would have woken it. Before it sleeps it looks out for a moment, if that has
// been worth it lately.
//
//     class open_op final : public weft::ipc::detail::shared_wait {
//     public:
//         explicit open_op(gate& g) noexcept
//             : shared_wait(kind, limit::at(weft::never)), at_(&g) {}
//         bool await_ready() noexcept { return at_->is_open(); }
//         void await_resume() noexcept {}
//     private:
//         bool advance(sleeping_place& at) noexcept override { return at_->is_open_or(at); }
//     };
//
// Nothing depends on a wake-up: it only comes earlier than the next look. So one that is lost with
// a process that was killed delays nobody for longer than that, and where the kernel can't wait for
// a word at all, the looks remain.
//
// Threads:      the loop's.
// Cancellation: a stop ends the wait as leave() says.
// Errors:       std::bad_alloc if the loop can't note one more timer; state_error without a loop.
// Cost:         a timer, one request, and what the tries take. No allocation.
// Source:       none.
#pragma once
#include <weft/ipc/detail/lookout.hpp>
#include <weft/runtime/detail/futex.hpp>
#include <weft/runtime/detail/wait_list.hpp>

namespace weft::ipc::detail {

/// Most waits are over before the first look. It comes later than the next tick of most kernels (4
/// ms), so that the timer isn't the next thing that the processor wakes up for: on a virtual one,
/// to set that up costs more than all else that the wait does. The longest pause is half of what is
/// promised, so that a loop that is busy keeps the promise.
inline constexpr weft::duration first_look_after = std::chrono::milliseconds(5);
inline constexpr weft::duration look_again_after = std::chrono::milliseconds(50);

struct sleeping_place {
    const weft::detail::futex_word* word = nullptr;
    std::uint32_t value = 0;
};

class shared_wait : public weft::detail::futex_operation, private weft::detail::timer {
public:
    using limit = weft::detail::wait_limit;

    template <weft::detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        return !begin(h, where) || suspends();
    }

    static void cancel_wait(weft::detail::operation& op) noexcept;

protected:
    enum class leaving : std::uint8_t {
        at_once, // it may end with nothing
        later,   // when advance() says so, and still with nothing
        not_now, // it is late: advance() will say so
    };

    /// What its first try does.
    enum class first_try : std::uint8_t { takes, lines_up };

    shared_wait(const weft::detail::operation_type& t, limit l,
                first_try f = first_try::lines_up) noexcept
        : futex_operation(t, ended), timer(fired), limit_(l), lines_up_(f == first_try::lines_up) {}
    shared_wait(shared_wait&&) = default;
    ~shared_wait() = default;

    /// True: it is over. Else `at` says where to sleep until it makes sense to try again.
    virtual bool advance(sleeping_place& at) noexcept = 0;
    /// Whether a first try would succeed, as it seems; without leaving a trace. For those whose
    /// first try takes, and called over and over.
    [[nodiscard]] virtual bool may_pass() noexcept { return false; }
    /// Whether looking out is worth it. The thread's own, by default.
    [[nodiscard]] virtual lookout& habit() noexcept;
    /// Whether to wake up and try, as it sleeps for long. Called now and then.
    [[nodiscard]] virtual bool must_look() noexcept;
    /// Whether, though it needn't wait, others have their turn before it goes on. Called when it is
    /// over, and didn't sleep.
    [[nodiscard]] virtual bool others_first() noexcept { return false; }
    /// A stop, or the deadline. It may have used up a wake-up that another could need.
    virtual leaving leave(bool by_deadline, bool used_wake_up) noexcept = 0;

    [[nodiscard]] limit time_limit() const noexcept { return limit_; }
    /// Whether the time was over before advance() said that it is.
    [[nodiscard]] bool timed_out() const noexcept { return timed_out_; }
    // For advance():
    [[nodiscard]] bool slept() const noexcept { return slept_; }
    /// Whether a wake-up brought it here.
    [[nodiscard]] bool woken() const noexcept { return woken_; }
    /// Whether to look for the dead.
    [[nodiscard]] bool suspicious() const noexcept { return suspicious_; }

private:
    bool suspends();
    void start_timer();
    bool try_now(sleeping_place& at) noexcept;
    void go_on() noexcept;
    void sleep(const sleeping_place& at) noexcept;
    void finish() noexcept;
    static void ended(futex_operation& op, std::int32_t result) noexcept;
    static void fired(weft::detail::timer& t) noexcept;

    limit limit_;
    time_point deadline_ = never;
    time_point since_{};
    duration pause_ = first_look_after;
    bool lines_up_;
    bool armed_ = false;
    bool slept_ = false;
    bool woken_ = false;
    bool suspicious_ = false;
    bool late_ = false;     // the deadline has passed
    bool leaves_ = false;   // nothing is to come of it any more but its end
    bool stopping_ = false; // a stop was asked
    bool stopped_ = false;  // and is how it ends
    bool timed_out_ = false;
};

} // namespace weft::ipc::detail
