// SPDX-License-Identifier: MIT
// A sequence that a coroutine makes on demand and that may await between its items.
//
//     weft::async_generator<int> ticks(int n) {
//         for (int i = 0; i < n; ++i) {
//             co_await weft::sleep_for(std::chrono::seconds(1));
//             co_yield i;
//         }
//     }
//     weft::task<> count() {
//         weft::async_generator<int> t = ticks(3);
//         while (auto i = co_await t.next())
//             fmt::print("{}\n", *i);
//     }
//
// next() gives a std::optional<T>, empty at the end; of an async_generator<T&> a pointer, null at
// the end. An rvalue that the body yields is moved into the item, an lvalue is copied.
//
// Threads:      the body runs as part of the task that awaits next(), on its loop and with its
//               context variables. Tasks may take turns, but only one can be in next().
// Cancellation: an item that was yielded is delivered, even to a next() that was asked to stop
//               meanwhile: behind when_any and timeouts it is in their result. A stop that finds
//               the body waiting unwinds the body too, and so ends the sequence: later calls of
//               next() find it at its end. Who wants to wait for an item for a limited time, and
//               again later, lets a task of its own read the sequence, into a queue. Destroying the
//               generator between two items destroys the body there; its destructors run. What such
//               an end needs to await is registered in the body with on_close, and run by close().
// Errors:       what the body throws comes out of next(), and the sequence has ended. state_error
//               from next() and close() while another next() is waiting.
// Cost:         one frame from the thread's recycler; an item is a resumption, without allocation,
//               queue or stack.
// Source:       Python's asynchronous generators.
#pragma once
#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/promise.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/task.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weft {

namespace detail {

// What an asynchronous generator is to run when it is closed, newest first.
struct close_action : recycled {
    close_action() noexcept = default;
    close_action(const close_action&) = delete;
    close_action& operator=(const close_action&) = delete;
    virtual ~close_action() = default;
    virtual task<> start() = 0;
    std::unique_ptr<close_action> next;
};

// The part of a generator's promise that doesn't depend on the type of its items.
struct async_generator_promise_base : promise_base {
    // Ends a step: the consumer goes on.
    struct step_end {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class P>
        void await_suspend(std::coroutine_handle<P> body) const noexcept {
            async_generator_promise_base& p = body.promise();
            p.running = false;
            // Null if the consumer started this step inline: then it looks at `running`.
            p.in->run_by->next_frame = static_cast<frame_continuation*>(p.returns_to)->frame;
        }
        void await_resume() const noexcept {}
    };
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error = std::current_exception(); }

    std::exception_ptr error;
    std::unique_ptr<close_action> closing;
    bool running = false; // someone waits in next()
};

template <class F>
class on_close_op;

} // namespace detail

template <class T>
class [[nodiscard]] async_generator {
public:
    class promise_type;
    class next_op;
    using value_type = std::remove_cvref_t<T>;
    using item =
        std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>, std::optional<T>>;

    /// Precondition: nobody is in other.next().
    async_generator(async_generator&& other) noexcept
        : body_(std::exchange(other.body_, nullptr)) {}
    async_generator& operator=(async_generator&& other) noexcept {
        async_generator(std::move(other)).swap(*this);
        return *this;
    }
    ~async_generator() { drop(); }
    void swap(async_generator& other) noexcept { std::swap(body_, other.body_); }

    /// Runs the body to its next item. The generator must not move meanwhile.
    [[nodiscard]] next_op next() noexcept { return next_op(*this); }

    /// Whether the sequence is known to have ended.
    [[nodiscard]] bool done() const noexcept { return !body_; }

    /// Ends the sequence at the item where it stands: awaits what on_close registered, newest
    /// first, and destroys the body. The first error of these comes out at the end. As the clean-up
    /// of a task it runs on every way out:
    ///     auto ends = [&g] { return g.close(); };
    ///     co_await weft::finally(consume(g), ends);
    task<> close() {
        require_idle();
        struct end {
            explicit end(async_generator& g) noexcept : generator(g) {}
            end(const end&) = delete;
            end& operator=(const end&) = delete;
            ~end() { generator.drop(); }
            async_generator& generator;
        };
        end at_exit(*this);
        std::exception_ptr first;
        while (body_ && body_.promise().closing) {
            std::unique_ptr<detail::close_action> a = std::move(body_.promise().closing);
            body_.promise().closing = std::move(a->next);
            try {
                co_await a->start();
            } catch (...) {
                if (!first)
                    first = std::current_exception();
            }
        }
        if (first)
            std::rethrow_exception(first);
    }

private:
    using handle = std::coroutine_handle<promise_type>;
    explicit async_generator(handle b) noexcept : body_(b) {}
    void drop() noexcept {
        if (!body_)
            return;
        WEFT_ASSERT(!body_.promise().running,
                    "a generator was destroyed while a task waited for its next item");
        std::exchange(body_, nullptr).destroy();
    }
    void require_idle() const {
        if (body_ && body_.promise().running)
            throw state_error("another task waits for the next item of this generator");
    }
    handle body_;
};

/// In the body of an asynchronous generator: `co_await on_close(f)` has `close()` await the task
/// that `f()` makes. It may use the body's variables, which are still there. Forgotten if the body
/// ends by itself.
template <class F>
[[nodiscard]] detail::on_close_op<F> on_close(F f) {
    return detail::on_close_op<F>(std::move(f));
}

// -------------------------------------------------------------------------------------------------

template <class T>
class async_generator<T>::promise_type : public detail::async_generator_promise_base {
    static constexpr bool by_reference = std::is_reference_v<T>;
    using lvalue = std::add_lvalue_reference_t<std::conditional_t<by_reference, T, const T>>;

public:
    async_generator get_return_object() noexcept {
        return async_generator(handle::from_promise(*this));
    }
    [[nodiscard]] step_end yield_value(lvalue v) noexcept {
        lvalue_ = std::addressof(v);
        rvalue_ = nullptr;
        return {};
    }
    [[nodiscard]] step_end yield_value(std::remove_reference_t<T>&& v) noexcept
        requires(!by_reference)
    {
        rvalue_ = std::addressof(v);
        return {};
    }

private:
    friend class next_op;
    item take() {
        if constexpr (by_reference)
            return lvalue_;
        else if constexpr (!std::copy_constructible<T>)
            return item(std::move(*rvalue_));
        else
            return rvalue_ != nullptr ? item(std::move(*rvalue_)) : item(*lvalue_);
    }
    std::remove_reference_t<lvalue>* lvalue_ = nullptr;
    std::remove_reference_t<T>* rvalue_ = nullptr;
};

template <class T>
class [[nodiscard]] async_generator<T>::next_op {
public:
    explicit next_op(async_generator& g) noexcept : returns_(g) {}

    [[nodiscard]] bool await_ready() const noexcept { return !returns_.from.body_; }
    template <detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        async_generator& g = returns_.from;
        g.require_idle();
        promise_type& p = g.body_.promise();
        p.running = true;
        // True if the body waits, and if it is at an item: then `running` tells.
        return detail::start_inline(g.body_, p, returns_, h, where) && p.running;
    }
    item await_resume() {
        handle& body = returns_.from.body_;
        if (!body)
            return item();
        promise_type& p = body.promise();
        if (!body.done())
            return p.take();
        std::exception_ptr e = std::move(p.error);
        p.running = false;
        returns_.from.drop();
        if (e)
            std::rethrow_exception(std::move(e));
        return item();
    }

private:
    struct consumer : detail::frame_continuation {
        explicit consumer(async_generator& g) noexcept : frame_continuation(ended), from(g) {}
        static bool ended(continuation& c, detail::ending e) noexcept {
            auto& self = static_cast<consumer&>(c);
            if (e == detail::ending::stopped) {
                self.from.body_ = nullptr; // destroyed, and so will be the consumer
                return true;
            }
            self.promise->in->run_by->next_frame = self.frame; // null if it was started inline
            return false;
        }
        async_generator& from;
    };
    consumer returns_;
};

namespace detail {

template <class F>
class [[nodiscard]] on_close_op {
    struct action : close_action {
        explicit action(F&& f) : function(std::move(f)) {}
        task<> start() override { return function(); }
        F function;
    };

public:
    explicit on_close_op(F f) : action_(std::make_unique<action>(std::move(f))) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <std::derived_from<async_generator_promise_base> P>
    bool await_suspend(std::coroutine_handle<P> body) noexcept {
        action_->next = std::move(body.promise().closing);
        body.promise().closing = std::move(action_);
        return false;
    }
    void await_resume() const noexcept {}

private:
    std::unique_ptr<action> action_;
};

} // namespace detail
} // namespace weft
