// SPDX-License-Identifier: MIT
// A lazy coroutine with one owner. It does nothing until it is awaited; then it runs as part of the
// task that awaits it.
//
//     weft::task<int> one() { co_return 1; }
//     weft::task<int> two() {
//         int a = co_await one();                 // runs here and now, on the caller's loop
//         co_return a + co_await one();
//     }
//
// A task that is dropped without having been awaited is destroyed without having run.
//
// Threads:      a task runs on the loop of whoever awaits it, from beginning to end.
// Cancellation: when the innermost operation of a stopped task has ended, its frames are destroyed
//               from the inside out. No catch clause sees it. Between two suspensions nothing
//               happens to a task.
// Errors:       what the coroutine throws comes out of co_await.
// Cost:         one frame from the thread's recycler. Awaiting a task that doesn't suspend takes no
//               stack and no queue: it is called, and returns.
// Source:       lazy tasks after cppcoro; the stopped channel after std::execution.
#pragma once
#include <weft/runtime/detail/promise.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace weft {

template <class T = void>
class task;

namespace detail {

// What a coroutine gave or threw, in its frame.
template <class T>
class outcome {
public:
    outcome() noexcept {}
    outcome(const outcome&) = delete;
    outcome& operator=(const outcome&) = delete;
    ~outcome() {
        if (state_ == state::value)
            value_.~stored();
        else if (state_ == state::error)
            error_.~exception_ptr();
    }
    template <class U>
    void set_value(U&& u) {
        if constexpr (std::is_reference_v<T>)
            ::new (static_cast<void*>(&value_)) stored(std::addressof(u));
        else
            // co_return 0 for a task<std::size_t> is fine: the conversion is the caller's wish.
            ::new (static_cast<void*>(&value_)) stored(static_cast<T>(std::forward<U>(u)));
        state_ = state::value;
    }
    void set_error(std::exception_ptr e) noexcept {
        // co_return may have set the value, and then a destructor thrown.
        if (state_ == state::value)
            value_.~stored();
        ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(e));
        state_ = state::error;
    }
    [[nodiscard]] bool failed() const noexcept { return state_ == state::error; }
    [[nodiscard]] std::exception_ptr take_error() noexcept { return std::move(error_); }
    /// Leaves the outcome where it is.
    [[nodiscard]] std::exception_ptr error() const noexcept { return failed() ? error_ : nullptr; }
    std::remove_reference_t<T>& value() noexcept {
        if constexpr (std::is_reference_v<T>)
            return *value_;
        else
            return value_;
    }
    T take() {
        if (state_ == state::error) [[unlikely]]
            std::rethrow_exception(std::move(error_));
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }

private:
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>;
    enum class state : unsigned char { none, value, error };
    union {
        stored value_;
        std::exception_ptr error_;
    };
    state state_ = state::none;
};

template <>
class outcome<void> {
public:
    void set_error(std::exception_ptr e) noexcept { error_ = std::move(e); }
    [[nodiscard]] bool failed() const noexcept { return error_ != nullptr; }
    [[nodiscard]] std::exception_ptr take_error() noexcept { return std::move(error_); }
    [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
    void value() const noexcept {}
    void take() {
        if (error_) [[unlikely]]
            std::rethrow_exception(std::move(error_));
    }

private:
    std::exception_ptr error_;
};

template <class T>
class task_promise : public promise_base {
    static_assert(alignof(outcome<T>) <= alignof(std::max_align_t),
                  "an over-aligned result belongs behind a pointer");

public:
    task<T> get_return_object() noexcept;
    void unhandled_exception() noexcept { result.set_error(std::current_exception()); }
    template <class U = T>
        requires std::is_convertible_v<U&&, T>
    void return_value(U&& u) {
        result.set_value(std::forward<U>(u));
    }

    outcome<T> result;
};

template <>
class task_promise<void> : public promise_base {
public:
    inline task<void> get_return_object() noexcept;
    void unhandled_exception() noexcept { result.set_error(std::current_exception()); }
    void return_void() const noexcept {}

    outcome<void> result;
};

/// Awaits a task within the same strand.
template <class T>
class [[nodiscard]] task_awaiter {
public:
    explicit task_awaiter(std::coroutine_handle<task_promise<T>> child) noexcept {
        returns_.child = child;
    }
    task_awaiter(const task_awaiter&) = delete;
    task_awaiter& operator=(const task_awaiter&) = delete;
    ~task_awaiter() {
        if (returns_.child)
            returns_.child.destroy();
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        return start_inline(returns_.child, promise(), returns_, h, where);
    }
    T await_resume() { return promise().result.take(); }

private:
    task_promise<T>& promise() const noexcept {
        return std::coroutine_handle<task_promise<T>>::from_address(returns_.child.address())
            .promise();
    }
    frame_continuation returns_;
};

} // namespace detail

template <class T>
class [[nodiscard]] task {
public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;
    using handle_type = std::coroutine_handle<promise_type>;

    /// Nothing to await.
    task() noexcept = default;
    explicit task(handle_type h) noexcept : frame_(h) {}
    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        task(std::move(other)).swap(*this);
        return *this;
    }
    ~task() {
        if (frame_)
            frame_.destroy();
    }
    void swap(task& other) noexcept { std::swap(frame_, other.frame_); }
    /// Destroys what it has.
    void reset() noexcept {
        if (auto f = std::exchange(frame_, nullptr))
            f.destroy();
    }

    /// Whether there is a coroutine that can be awaited.
    explicit operator bool() const noexcept { return static_cast<bool>(frame_); }

    /// Precondition, asserted in every build: there is a coroutine. A task can be awaited once.
    detail::task_awaiter<T> operator co_await() && noexcept {
        return detail::task_awaiter<T>(std::exchange(frame_, nullptr));
    }

    /// For those who write combinators: the frame, which the caller owns from now on.
    [[nodiscard]] handle_type release() noexcept { return std::exchange(frame_, nullptr); }
    /// The same, but the task goes on to own it.
    [[nodiscard]] handle_type frame() const noexcept { return frame_; }

private:
    handle_type frame_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

} // namespace detail
} // namespace weft
