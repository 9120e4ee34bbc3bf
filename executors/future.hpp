// SPDX-License-Identifier: MIT
// A result that work on some other thread, or in another process, will give.
//
//     weft::task<int> sum(weft::future<int> a, weft::future<int> b) {
//         b.on_done([](const weft::future<int>& f) { fmt::print("b is {}\n", f.get()); });
//         co_return co_await a + co_await b;             // on this loop, whoever computes them
//     }
//     int in_a_thread() {
//         weft::promise<int> answer;
//         weft::future<int> f = answer.get_future();
//         std::jthread other([p = std::move(answer)]() mutable { p.set_value(42); });
//         return f.get();                                // blocks this thread
//     }
//
// Executors give futures; a promise is the other end, for those who write one. Copies of a future
// mean the same; the result stays in it, and can be asked for again and again. An rvalue
// (`co_await pool.submit(f)`, `std::move(f).get()`) gives the result away: moved if this was the
// last copy, else copied.
//
// Threads:      all members, from any thread and any loop.
// Cancellation: cancel() ends what hasn't begun; who waits gets cancelled_error. What runs can be
//               asked with request_stop(), which it notices if it takes a std::stop_token. A task
//               that is stopped while it awaits a future leaves that alone, unless it awaits an
//               rvalue that is the last copy: then nobody can ask for the result any more, so the
//               work is cancelled or, if it runs, asked to stop; in both cases it is not waited
//               for (thread_pool::call does that).
// Errors:       what the work threw, to each who asks as an exception of its own if its type is
//               known to ipc/error_registry.hpp (the standard library's and weft's are); others are
//               shared. cancelled_error; timeout_error of a wait with a deadline, which leaves the
//               future alone. state_error: get() would block a thread that runs a loop; a promise
//               was used twice; a result that can't be copied is taken from one of several copies
//               (a callback that wasn't called yet counts as one). An error that nobody asked
//               for goes to the unhandled-error hook.
// Cost:         one record from the recycler, and one for each callback. Waiting needs none.
// Source:       Python's concurrent.futures.Future.
#pragma once
#include <weft/executors/detail/future_record.hpp>

#include <concepts>

namespace weft {

enum class future_state : std::uint8_t { pending, running, cancelled, finished };

namespace detail {
[[nodiscard]] future_state state_of(future_phase p) noexcept;
}

template <class T = void>
class promise;

template <class T = void>
class future {
public:
    using value_type = T;
    /// How the result is shown: `const T&`, `T&` for a reference, void. What it refers to lives as
    /// long as a copy of the future.
    using view = detail::future_view_t<T>;

    /// Of nothing: may be assigned to and destroyed.
    future() noexcept = default;
    explicit operator bool() const noexcept { return of_.get() != nullptr; }

    /// Keeps the work from beginning. True if it is cancelled, now or before; false if it runs or
    /// has finished.
    bool cancel() const noexcept { return of_->cancel(); }
    /// Asks work that runs, and takes a std::stop_token, to stop. It ends as it likes.
    void request_stop() const noexcept { of_->request_stop(); }

    // Waiting in a task.

    /// Waits until it is done, in whatever way.
    [[nodiscard]] detail::future_wait_op wait() const noexcept {
        return detail::future_wait_op(of_);
    }
    /// Waits for a limited time. Gives whether it is done.
    [[nodiscard]] detail::timed_op<detail::future_wait_op>
    wait_until(time_point deadline) const noexcept {
        return timed<detail::future_wait_op>(detail::wait_limit::at(deadline));
    }
    template <class Rep, class Period>
    [[nodiscard]] detail::timed_op<detail::future_wait_op>
    wait_for(std::chrono::duration<Rep, Period> d) const noexcept {
        return timed<detail::future_wait_op>(detail::wait_limit::in(d));
    }
    /// Waits for the result.
    detail::future_read_op<T> operator co_await() const& noexcept {
        return detail::future_read_op<T>(of_);
    }
    detail::future_take_op<T> operator co_await() && noexcept {
        return detail::future_take_op<T>(std::move(of_));
    }
    /// Waits for the result for a limited time, and throws timeout_error when that is over.
    [[nodiscard]] detail::timed_op<detail::future_read_op<T>>
    result_until(time_point deadline) const& noexcept {
        return timed<detail::future_read_op<T>>(detail::wait_limit::at(deadline));
    }
    [[nodiscard]] detail::timed_op<detail::future_take_op<T>>
    result_until(time_point deadline) && noexcept {
        return detail::timed_op<detail::future_take_op<T>>(detail::wait_limit::at(deadline),
                                                           std::move(of_));
    }
    template <class Rep, class Period>
    [[nodiscard]] detail::timed_op<detail::future_read_op<T>>
    result_for(std::chrono::duration<Rep, Period> d) const& noexcept {
        return timed<detail::future_read_op<T>>(detail::wait_limit::in(d));
    }
    template <class Rep, class Period>
    [[nodiscard]] detail::timed_op<detail::future_take_op<T>>
    result_for(std::chrono::duration<Rep, Period> d) && noexcept {
        return detail::timed_op<detail::future_take_op<T>>(detail::wait_limit::in(d),
                                                           std::move(of_));
    }

    // Blocking. On a thread that runs a loop they give what is there, and don't wait.

    view get() const& { return get_by(never); }
    T get() && { return std::move(*this).get_by(never); }
    view get_until(time_point deadline) const& { return get_by(deadline); }
    T get_until(time_point deadline) && { return std::move(*this).get_by(deadline); }
    template <class Rep, class Period>
    view get_for(std::chrono::duration<Rep, Period> d) const& {
        return get_by(deadline_after(d));
    }
    template <class Rep, class Period>
    T get_for(std::chrono::duration<Rep, Period> d) && {
        return std::move(*this).get_by(deadline_after(d));
    }
    /// What the work threw, or null. Throws cancelled_error, and timeout_error at the deadline.
    [[nodiscard]] std::exception_ptr exception(time_point deadline = never) const {
        require_end(deadline);
        return of_->failure();
    }

    /// Has `f(future)` called when it is done, by the thread that ends it, in the order of asking;
    /// now if it is done. What `f` throws goes to the unhandled-error hook.
    template <std::invocable<const future&> F>
    void on_done(F f) const {
        (new callback<F>(of_, std::move(f)))->attach();
    }

    // Snapshots.
    [[nodiscard]] future_state state() const noexcept {
        return detail::state_of(of_->core.phase());
    }
    [[nodiscard]] bool running() const noexcept { return state() == future_state::running; }
    [[nodiscard]] bool cancelled() const noexcept { return state() == future_state::cancelled; }
    /// Whether it is finished or cancelled.
    [[nodiscard]] bool done() const noexcept { return of_->ended(); }

    /// The same future?
    friend bool operator==(const future& a, const future& b) noexcept {
        return a.of_.get() == b.of_.get();
    }

    /// For those who write executors and combinators: a handle of a future<T>'s record.
    static future of(detail::future_hold h) noexcept {
        future f;
        f.of_ = std::move(h);
        return f;
    }
    [[nodiscard]] const detail::future_hold& hold() const noexcept { return of_; }

private:
    template <class F>
    struct callback final : detail::future_callback {
        callback(detail::future_hold f, F&& g) noexcept
            : future_callback(std::move(f)), function(std::move(g)) {}
        void call() override {
            const future f = future::of(std::move(of_));
            function(f);
        }
        F function;
    };
    template <class Op>
    detail::timed_op<Op> timed(detail::wait_limit limit) const noexcept {
        return detail::timed_op<Op>(limit, of_);
    }
    void require_end(time_point deadline) const {
        if (!of_->block(detail::wait_limit::at(deadline)))
            detail::throw_future_timeout();
    }
    view get_by(time_point deadline) const& {
        require_end(deadline);
        return detail::read_result<T>(*of_.get());
    }
    T get_by(time_point deadline) && {
        require_end(deadline);
        detail::future_hold mine = std::move(of_);
        return detail::take_result<T>(*mine.get());
    }

    detail::future_hold of_;
};

/// Who gives the result. Destroyed without having done so it ends the future as cancelled. Belongs
/// to one thread at a time.
template <class T>
class promise {
public:
    promise() : to_(new detail::future_record_of<T>) {}
    promise(promise&& other) noexcept : to_(std::exchange(other.to_, nullptr)) {}
    promise& operator=(promise&& other) noexcept {
        promise taken(std::move(other));
        std::swap(to_, taken.to_);
        return *this;
    }
    ~promise() {
        if (to_ != nullptr) {
            to_->end_without();
            to_->release();
        }
    }

    /// The future. Throws state_error when it has ended.
    [[nodiscard]] future<T> get_future() const {
        to_->require_open();
        return future<T>::of(detail::future_hold(*to_));
    }

    /// The work begins: from now on it can't be cancelled. False if it was; then nothing more is to
    /// be done. Throws state_error if it has begun or finished before.
    bool start() { return to_->start(); }

    /// Gives the result. Throws state_error if there is one, or it was cancelled.
    template <class... Args>
        requires(std::is_void_v<T> ? sizeof...(Args) == 0 : sizeof...(Args) == 1)
    void set_value(Args&&... args) {
        [[maybe_unused]] detail::future_phase before = to_->claim();
        if constexpr (!std::is_void_v<T>) {
            try {
                to_->value.set_value(std::forward<Args>(args)...);
            } catch (...) {
                to_->core.unclaim(before);
                throw;
            }
        }
        to_->finish_value();
    }
    /// The same with an error.
    void set_error(std::exception_ptr e) {
        static_cast<void>(to_->claim());
        to_->finish_error(std::move(e));
    }
    template <class E>
        requires std::derived_from<std::remove_cvref_t<E>, std::exception>
    void set_error(E&& e) {
        set_error(std::make_exception_ptr(std::forward<E>(e)));
    }

private:
    detail::future_record_of<T>* to_;
};

} // namespace weft
