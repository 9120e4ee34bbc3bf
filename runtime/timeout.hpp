// SPDX-License-Identifier: MIT
// Deadlines as scopes: they nest, and can be moved while the body runs.
//
//     weft::task<int> answer(weft::task<int> slow) {
//         // throws timeout_error after two seconds
//         co_return co_await weft::with_timeout(std::chrono::seconds(2), std::move(slow));
//     }
//     weft::task<> chat(weft::task<bool> (*next_line)()) {
//         auto talk = [next_line](weft::timeout_scope& t) -> weft::task<> {
//             while (co_await next_line())
//                 t.reschedule(weft::deadline_after(std::chrono::minutes(5))); // silence ends it
//         };
//         co_await weft::with_timeout(std::chrono::minutes(5), talk);
//     }
//
// Threads:      the task's loop.
// Cancellation: at the deadline the body is stopped and awaited; then timeout_error is thrown. If
//               the body ended with a value or an error of its own nevertheless, that is what comes
//               out. A stop from outside stays a stop.
// Errors:       timeout_error. A deadline in the past stops the body at its first suspension; a
//               body that doesn't suspend ends normally. wait_for with no time left doesn't start
//               the body at all.
// Cost:         an entry in the loop's timer heap; no allocation, no system call.
// Source:       asyncio.timeout and trio's cancel scopes.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/deferred.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/time.hpp>

#include <optional>

namespace weft {

/// When what runs here will be stopped, as far as that is known: the earliest of the deadlines that
/// the running task is under, up to the next shield, or for a function on a pool, of whoever
/// submitted it. `never` if there is none.
[[nodiscard]] time_point current_deadline() noexcept;

namespace detail {
/// The same for what runs in a strand, on the strand's thread.
[[nodiscard]] time_point deadline_of(const strand& s) noexcept;
} // namespace detail

/// The handle of a running deadline.
class timeout_scope : protected detail::scope_operation, private detail::timer {
public:
    /// Moves the deadline; `never` takes it away. Throws state_error once the body has ended or has
    /// been told to end.
    void reschedule(time_point when);
    [[nodiscard]] time_point when() const noexcept { return deadline_; }
    /// Whether the deadline came before the body's end.
    [[nodiscard]] bool expired() const noexcept { return expired_; }

protected:
    friend time_point detail::deadline_of(const detail::strand& s) noexcept;
    explicit timeout_scope(time_point deadline) noexcept;
    ~timeout_scope() = default;

    struct body : detail::branch {
        explicit body(timeout_scope& s) noexcept : branch(ended), scope(s) {}
        static bool ended(continuation& c, detail::ending e) noexcept;
        timeout_scope& scope;
    };

    void start();
    /// After the body's end: throws if the deadline was what ended it.
    void check() const;

    body body_;
    time_point deadline_;
    bool active_ = false;
    bool expired_ = false;
    bool stopped_ = false;

private:
    void arm();
    static void fired(detail::timer& t) noexcept;
};

namespace detail {

/// Gives the functions that this thread calls meanwhile a deadline to see.
class deadline_scope {
public:
    explicit deadline_scope(time_point deadline) noexcept;
    deadline_scope(const deadline_scope&) = delete;
    deadline_scope& operator=(const deadline_scope&) = delete;
    ~deadline_scope();

private:
    time_point outer_;
};

template <class T>
class [[nodiscard]] timeout_op : public timeout_scope {
public:
    timeout_op(time_point deadline, task<T> t) noexcept : timeout_scope(deadline) {
        body_.adopt<T>(t.release());
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    T await_resume() {
        check();
        return body_.template result_of<T>().take();
    }
};

// The body is made when it starts, because it gets the scope.
template <class T, class F>
class [[nodiscard]] timeout_function_op : public timeout_scope {
public:
    timeout_function_op(time_point deadline, F f)
        : timeout_scope(deadline), function_(std::move(f)) {}

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        task<T> t = function_(static_cast<timeout_scope&>(*this));
        body_.adopt<T>(t.release());
        if (begin(h, where))
            start();
        return true;
    }
    T await_resume() {
        check();
        return body_.template result_of<T>().take();
    }

private:
    F function_;
};

// wait_for: with no time left the body isn't started.
template <class T>
class [[nodiscard]] wait_for_op : public timeout_op<T> {
public:
    wait_for_op(time_point deadline, bool none_left, task<T> t) noexcept
        : timeout_op<T>(deadline, std::move(t)), none_left_(none_left) {}
    [[nodiscard]] bool await_ready() const noexcept { return none_left_; }
    T await_resume() {
        if (none_left_)
            this->stopped_ = this->expired_ = true;
        return timeout_op<T>::await_resume();
    }

private:
    bool none_left_;
};

template <class F>
using timeout_body_t = typename std::invoke_result_t<F&, timeout_scope&>::value_type;

} // namespace detail

/// Runs something until `deadline` at most.
template <awaitable A>
[[nodiscard]] auto with_deadline(time_point deadline, A a) {
    using T = task_result_t<A>;
    return detail::deferred<detail::timeout_op<T>, time_point, task<T>>(
        deadline, weft::as_task(std::move(a)));
}
/// Runs the task that `f(scope)` makes; through the scope the deadline can be moved.
template <class F>
    requires std::is_invocable_v<F&, timeout_scope&>
[[nodiscard]] auto with_deadline(time_point deadline, F f) {
    using op = detail::timeout_function_op<detail::timeout_body_t<F>, F>;
    return detail::deferred<op, time_point, F>(deadline, std::move(f));
}

/// The same, counted from now.
template <class Rep, class Period, class A>
    requires awaitable<A> || std::is_invocable_v<A&, timeout_scope&>
[[nodiscard]] auto with_timeout(std::chrono::duration<Rep, Period> d, A a) {
    return weft::with_deadline(deadline_after(d), std::move(a));
}

/// Like with_timeout, but with zero or less time left the awaitable isn't started, and gives its
/// result only if that is there already (`h.join()` of a task that has ended).
template <class Rep, class Period, awaitable A>
[[nodiscard]] auto wait_for(A a, std::chrono::duration<Rep, Period> d) {
    duration ns = saturate(d);
    bool none_left = ns <= duration::zero();
    if constexpr (requires { a.already_done(); })
        none_left = none_left && !a.already_done();
    using T = task_result_t<A>;
    return detail::deferred<detail::wait_for_op<T>, time_point, bool, task<T>>(
        deadline_after(ns), none_left, weft::as_task(std::move(a)));
}

} // namespace weft
