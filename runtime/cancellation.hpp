// SPDX-License-Identifier: MIT
// Living with stops: clean-up that awaits, keeping a stop off, turning it into a value, and asking
// for one.
//
//     weft::task<> transfer(weft::task<> work, weft::task<> (*say_goodbye)()) {
//         co_await weft::finally(std::move(work), say_goodbye);   // says goodbye on every way out
//     }
//     weft::task<> crunch(std::span<const int> numbers) {
//         for (int n : numbers) {
//             co_await weft::checkpoint();            // a place to stop in a long computation
//             fmt::print("{}\n", n);
//         }
//     }
//
// Threads:      the task's loop; with_stop_token may be stopped from any thread.
// Cancellation: is the subject. A stop is asked of a scope and reaches all tasks below it but those
//               that are shielded.
// Errors:       see each function.
// Cost:         no allocation besides the frames of the tasks.
// Source:       shield after asyncio.shield, but structured: whoever waits for a shielded task
//               waits to its end.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/deferred.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/result.hpp>
#include <weft/runtime/time.hpp>

#include <atomic>
#include <optional>
#include <stop_token>

namespace weft {

/// Whether a stop was asked of the running task. False outside of tasks.
[[nodiscard]] bool stop_requested() noexcept;

namespace detail {

class [[nodiscard]] checkpoint_op : public operation {
public:
    checkpoint_op() noexcept : operation(kind) {}
    [[nodiscard]] bool await_ready() const noexcept { return passes(); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            complete(); // others wait for the thread
        return true;
    }
    void await_resume() const noexcept {}

private:
    [[nodiscard]] static bool passes() noexcept;
    static const operation_type kind;
};

template <class T>
class [[nodiscard]] as_result_op {
public:
    explicit as_result_op(task<T> t) noexcept : returns_(ended) { returns_.child = t.release(); }
    as_result_op(const as_result_op&) = delete;
    as_result_op& operator=(const as_result_op&) = delete;
    ~as_result_op() {
        if (returns_.child)
            returns_.child.destroy();
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        return start_inline(returns_.child, promise(), returns_, h, where);
    }
    result<T> await_resume() {
        if (!returns_.child)
            return result<T>::of_stop();
        auto& from = promise().result;
        if (from.failed())
            return result<T>::of_error(from.take_error());
        if constexpr (std::is_void_v<T>)
            return result<T>::of_value();
        else
            return result<T>::of_value(from.take());
    }

private:
    task_promise<T>& promise() const noexcept {
        return std::coroutine_handle<task_promise<T>>::from_address(returns_.child.address())
            .promise();
    }
    static bool ended(continuation& c, ending) noexcept {
        // Finished or stopped, the awaiting frame goes on; started inline there is none to resume
        // yet.
        auto& self = static_cast<frame_continuation&>(c);
        self.promise->in->run_by->next_frame = self.frame;
        return false;
    }
    frame_continuation returns_;
};

extern const operation_type shield_kind;

template <class T>
class [[nodiscard]] shield_op : public scope_operation {
public:
    explicit shield_op(task<T> t) noexcept : scope_operation(shield_kind), body_(*this) {
        body_.template adopt<T>(t.release());
        body_.flags |= strand::shielded;
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            body_.start_now(owner());
        return true;
    }
    T await_resume() { return body_.template result_of<T>().take(); }

private:
    struct body : branch {
        explicit body(shield_op& s) noexcept : branch(ended), scope(s) {}
        static bool ended(continuation& c, ending e) noexcept {
            shield_op& s = static_cast<body&>(c).scope;
            s.body_.return_context(s.owner());
            if (e == ending::finished)
                s.resume_parent();
            else
                s.unwind_parent();
            return false;
        }
        shield_op& scope;
    };
    body body_;
};

// The part of `finally` that doesn't depend on types: runs a clean-up in a shielded branch, with a
// deadline.
class finally_scope : public scope_operation, protected timer {
protected:
    explicit finally_scope(duration within) noexcept;
    ~finally_scope() = default;

    struct cleanup : branch {
        explicit cleanup(finally_scope& s) noexcept : branch(ended), scope(s) {
            flags |= strand::shielded;
        }
        static bool ended(continuation& c, ending e) noexcept;
        finally_scope& scope;
    };

    /// The body of `finally` ended in frame `outer`: start the clean-up.
    void begin_cleanup(frame_continuation& outer, ending how, task<> t) noexcept;
    /// The clean-up couldn't be made.
    void abandon_cleanup(frame_continuation& outer, ending how, std::exception_ptr e) noexcept;

    std::exception_ptr cleanup_error_;
    bool body_stopped_ = false;

private:
    void leave() noexcept;
    static void expired(timer& t) noexcept;
    std::optional<cleanup> cleanup_;
    duration within_;
    bool expired_ = false;
};

template <class T, class F>
class [[nodiscard]] finally_op : public finally_scope {
public:
    finally_op(task<T> body, F f, duration within)
        : finally_scope(within), returns_(*this), make_cleanup_(std::move(f)) {
        returns_.child = body.release();
    }
    ~finally_op() {
        if (returns_.child)
            returns_.child.destroy();
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        // By the trampoline, never inline: the clean-up needs the awaiting frame at the end of the
        // body.
        promise_base& p = promise();
        returns_.frame = h;
        returns_.promise = &h.promise();
        returns_.awaiting_at = where;
        p.returns_to = &returns_;
        p.in = h.promise().in;
        p.in->run_by->transfer(*p.in, returns_.child);
        return true;
    }
    T await_resume() {
        auto& from = promise().result;
        if (cleanup_error_) {
            if (!from.failed())
                std::rethrow_exception(std::move(cleanup_error_));
            // Both threw: the body's error leaves, and the other is not lost either.
            report_unhandled("the clean-up of finally", returns_.awaiting_at,
                             std::move(cleanup_error_));
        }
        return from.take();
    }

private:
    struct body_end : frame_continuation {
        explicit body_end(finally_op& s) noexcept : frame_continuation(ended), scope(s) {}
        static bool ended(continuation& c, ending e) noexcept {
            auto& self = static_cast<body_end&>(c);
            finally_op& s = self.scope;
            task<> t;
            try {
                t = s.make_cleanup_();
            } catch (...) {
                s.abandon_cleanup(self, e, std::current_exception());
                return false;
            }
            s.begin_cleanup(self, e, std::move(t));
            return false;
        }
        finally_op& scope;
    };
    task_promise<T>& promise() const noexcept {
        return std::coroutine_handle<task_promise<T>>::from_address(returns_.child.address())
            .promise();
    }
    static void report_unhandled(const char* where, std::source_location at,
                                 std::exception_ptr e) noexcept;
    body_end returns_;
    F make_cleanup_;
};

void report_unhandled(const char* where, std::source_location spawned_at,
                      std::exception_ptr e) noexcept;
template <class T, class F>
void finally_op<T, F>::report_unhandled(const char* where, std::source_location at,
                                        std::exception_ptr e) noexcept {
    detail::report_unhandled(where, at, std::move(e));
}

// Carries a stop from a std::stop_token, which may fire on any thread, to a branch on its own loop.
class stop_token_scope : public scope_operation {
protected:
    explicit stop_token_scope(std::stop_token t) noexcept;
    ~stop_token_scope() = default;

    struct body : branch {
        explicit body(stop_token_scope& s) noexcept : branch(ended), scope(s) {}
        static bool ended(continuation& c, ending e) noexcept;
        stop_token_scope& scope;
    };
    struct forward {
        stop_token_scope& scope;
        void operator()() const noexcept { scope.stop_from_anywhere(); }
    };
    struct message : work {
        explicit message(stop_token_scope& s) noexcept : work(arrived), scope(s) {}
        static void arrived(work& w) noexcept;
        stop_token_scope& scope;
    };

    void start() noexcept;

    body body_;

private:
    void stop_from_anywhere() noexcept;
    void leave() noexcept;

    std::stop_token token_;
    std::optional<std::stop_callback<forward>> callback_;
    message message_;
    std::atomic<bool> sent_{false};
    bool arrived_ = false;
    bool ended_ = false;
    bool stopped_ = false;
};

template <class T>
class [[nodiscard]] stop_token_op : public stop_token_scope {
public:
    stop_token_op(std::stop_token token, task<T> t) noexcept : stop_token_scope(std::move(token)) {
        body_.template adopt<T>(t.release());
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }
    T await_resume() {
        if (!body_.child)
            throw cancelled_error();
        return body_.template result_of<T>().take();
    }
};

} // namespace detail

/// Suspends only if a stop was asked of the task, which then ends here, or on a thread pool if
/// something waits that nobody but this thread can do: that has its turn first.
[[nodiscard]] inline detail::checkpoint_op checkpoint() noexcept { return detail::checkpoint_op(); }

/// Awaits something and gives its outcome as a value, whatever it was. If the awaiting task itself
/// was asked to stop, it goes on all the same, up to its next suspension.
template <awaitable A>
[[nodiscard]] auto as_result(A a) {
    using T = task_result_t<A>;
    return detail::deferred<detail::as_result_op<T>, task<T>>(weft::as_task(std::move(a)));
}

/// Runs something that stops from outside don't reach. Who waits for it waits to its end, and is
/// stopped after that.
template <awaitable A>
[[nodiscard]] auto shield(A a) {
    using T = task_result_t<A>;
    return detail::deferred<detail::shield_op<T>, task<T>>(weft::as_task(std::move(a)));
}

/// How long a clean-up may take before it is stopped itself.
inline constexpr duration default_cleanup_time = std::chrono::seconds(5);

/// Runs `body` and then, on every way out (value, error, stop, even a stop that came before it),
/// the task that `cleanup()` makes, shielded from stops, for `within` at most. Gives what the body
/// gave. An error of the clean-up comes out if the body gave a value; otherwise it goes to the
/// unhandled-error hook.
template <awaitable A, class F>
[[nodiscard]] auto finally(A body, F cleanup, duration within = default_cleanup_time) {
    using T = task_result_t<A>;
    return detail::deferred<detail::finally_op<T, F>, task<T>, F, duration>(
        weft::as_task(std::move(body)), std::move(cleanup), within);
}

/// Runs something that `token` can stop, from any thread. Throws cancelled_error if it did.
template <awaitable A>
[[nodiscard]] auto with_stop_token(std::stop_token token, A a) {
    using T = task_result_t<A>;
    return detail::deferred<detail::stop_token_op<T>, std::stop_token, task<T>>(
        std::move(token), weft::as_task(std::move(a)));
}

} // namespace weft
