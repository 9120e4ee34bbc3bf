// SPDX-License-Identifier: MIT
// A result that somebody will provide later, and for which any number of tasks wait.
//
//     weft::task<int> asks(weft::async_promise<int> answer) { co_return co_await answer.wait(); }
//
//     weft::task<> both() {
//         weft::async_promise<int> answer;
//         weft::task_handle<int> waits = weft::spawn(asks(answer));     // copies mean the same
//         answer.when_done([] { fmt::print("it is known\n"); });
//         answer.set_value(42);
//         fmt::print("{}\n", co_await waits.join());
//     }
//
// Threads:      one loop's. From elsewhere, post to that loop; or take the promise of
//               executors/future.hpp, which is for all threads.
// Cancellation: a stopped wait leaves the promise alone. cancel() ends the promise without a
//               result: who waits gets cancelled_error, as when the last copy is dropped.
// Errors:       state_error when a result is set twice or asked for too early, and from when_done
//               on a thread without a loop. An error that nobody asked for goes to the
//               unhandled-error hook.
// Cost:         one record from the thread's recycler, and one for each callback. A wait needs
//               none.
// Source:       asyncio.Future.
#pragma once
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/end_listener.hpp>
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/unhandled.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace weft {

namespace detail {

// What the copies of a promise share; the part that doesn't depend on the type.
class promise_state : public recycled {
public:
    enum class outcome_kind : std::uint8_t { none, value, error, cancelled };

    promise_state() noexcept = default;
    promise_state(const promise_state&) = delete;
    promise_state& operator=(const promise_state&) = delete;
    virtual ~promise_state() = default;

    void add_handle() noexcept {
        ++handles_;
        ++references_;
    }
    /// Without handles nobody can set it any more: then it is cancelled.
    void drop_handle() noexcept;
    void hold() noexcept { ++references_; }
    void release() noexcept;

    [[nodiscard]] outcome_kind kind() const noexcept { return kind_; }
    [[nodiscard]] bool done() const noexcept { return kind_ != outcome_kind::none; }
    void require_open() const;
    void finish(outcome_kind k, std::exception_ptr e = nullptr) noexcept;
    /// Throws the error or the cancellation; returns if there is a value.
    void require_value();
    end_listeners listeners;

private:
    std::exception_ptr error_;
    std::uint32_t handles_ = 0;
    std::uint32_t references_ = 0; // handles, and tasks that wait
    outcome_kind kind_ = outcome_kind::none;
    bool error_fetched_ = false;
};

template <class T>
class promise_state_of : public promise_state {
public:
    outcome<T> value;
};

class promise_wait_base : public operation, private end_listener {
public:
    explicit promise_wait_base(promise_state& s) noexcept
        : operation(kind), end_listener(listens), state_(s) {
        s.hold();
    }
    promise_wait_base(promise_wait_base&& other) noexcept
        : operation(std::move(other)), end_listener(std::move(other)), state_(other.state_) {
        state_.hold();
    }
    [[nodiscard]] bool already_done() const noexcept { return state_.done(); }

protected:
    ~promise_wait_base() { state_.release(); }
    void enter() noexcept { state_.listeners.push(*this); }
    promise_state& state_;

private:
    static void told(end_listener& l, bool) noexcept {
        static_cast<promise_wait_base&>(l).complete();
    }
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;
    static const end_listener_type listens;
};

template <class T>
class [[nodiscard]] promise_wait_op : public promise_wait_base {
public:
    explicit promise_wait_op(promise_state_of<T>& s) noexcept : promise_wait_base(s) {}
    [[nodiscard]] bool await_ready() const noexcept { return already_done(); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            enter();
        return true;
    }
    decltype(auto) await_resume() {
        state_.require_value();
        return static_cast<promise_state_of<T>&>(state_).value.value();
    }
};

// Runs once, from the loop's queue, with the variables of who asked for it.
struct promise_callback : end_listener, work, recycled {
    explicit promise_callback(work::function f);
    promise_callback(const promise_callback&) = delete;
    promise_callback& operator=(const promise_callback&) = delete;
    virtual ~promise_callback();
    static void queue(end_listener& l, bool failed) noexcept;
    static const end_listener_type listens;
    runner* home; // of whoever asked
    context_data* context;
};

template <class F>
struct promise_callback_of : promise_callback {
    explicit promise_callback_of(F&& f) : promise_callback(call), function(std::move(f)) {}
    static void call(work& w) noexcept {
        std::unique_ptr<promise_callback_of> self(static_cast<promise_callback_of*>(&w));
        context_scope in(std::exchange(self->context, nullptr));
        try {
            self->function();
        } catch (...) {
            report_current_exception("a callback of a promise");
        }
    }
    F function;
};

} // namespace detail

template <class T = void>
class async_promise {
    using state = detail::promise_state_of<T>;
    using outcome_kind = detail::promise_state::outcome_kind;

public:
    async_promise() : state_(new state) { state_->add_handle(); }
    async_promise(const async_promise& other) noexcept : state_(other.state_) {
        if (state_ != nullptr)
            state_->add_handle();
    }
    async_promise(async_promise&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    async_promise& operator=(async_promise other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~async_promise() {
        if (state_ != nullptr)
            state_->drop_handle();
    }

    /// Sets the result and wakes everybody. Throws state_error if there is one.
    template <class... Args>
        requires(std::is_void_v<T> ? sizeof...(Args) == 0 : sizeof...(Args) == 1)
    void set_value(Args&&... args) {
        state_->require_open();
        if constexpr (!std::is_void_v<T>)
            state_->value.set_value(std::forward<Args>(args)...);
        state_->finish(outcome_kind::value);
    }
    /// The same with an error.
    void set_error(std::exception_ptr e) {
        state_->require_open();
        state_->finish(outcome_kind::error, std::move(e));
    }
    template <class E>
        requires std::derived_from<std::remove_cvref_t<E>, std::exception>
    void set_error(E&& e) {
        set_error(std::make_exception_ptr(std::forward<E>(e)));
    }
    /// Ends it without a result. False if it has ended.
    bool cancel() noexcept {
        if (state_->done())
            return false;
        state_->finish(outcome_kind::cancelled);
        return true;
    }

    [[nodiscard]] bool done() const noexcept { return state_->done(); }
    [[nodiscard]] bool cancelled() const noexcept {
        return state_->kind() == outcome_kind::cancelled;
    }
    /// The value, which stays; throws the error, cancelled_error, or state_error if there is none.
    [[nodiscard]] decltype(auto) value() const {
        if (!state_->done())
            throw state_error("the result of a promise was asked for before it was set");
        state_->require_value();
        return state_->value.value();
    }

    /// Waits for the result: a reference to the value, which lives as long as a copy of the
    /// promise. Throws as value() does.
    [[nodiscard]] detail::promise_wait_op<T> wait() const noexcept {
        return detail::promise_wait_op<T>(*state_);
    }

    /// Has the loop call `f()` when there is a result, or soon if there is one. Never from within
    /// this call or that of set_value; in the order of asking.
    template <std::invocable F>
    void when_done(F f) {
        auto* c = new detail::promise_callback_of<F>(std::move(f));
        if (state_->done())
            c->queue(*c, false);
        else
            state_->listeners.push(*c);
    }

private:
    state* state_;
};

} // namespace weft
