// SPDX-License-Identifier: MIT
// Variables whose value belongs to a task and not to a thread: what a request is called in the log,
// whom it acts for.
//
//     weft::context_var<int> request_id("request id", 0);     // static lifetime
//
//     weft::task<> handle(int id, weft::task<> (*reply)()) {
//         auto here = request_id.scoped(id);     // until the end of the block
//         co_await reply();                      // request_id.get() is `id` in there
//     }
//     int in_a_copy() {
//         weft::context c = weft::copy_context();
//         return c.run([] {
//             request_id.set(7);                 // seen in `c` only
//             return request_id.get();
//         });
//     }
//
// What is awaited alone shares the variables of who awaits it: a task, a timeout, a shield, the
// body of a group. What runs beside others has a copy, taken when it is created, and its changes
// stay there: a spawned task, the parts of when_all and when_any, a task on another loop, a posted
// function. A plain thread has variables of its own, none at first; sync_wait shares them, and a
// runtime starts with a copy that it keeps from one run to the next. Other processes see those that
// travel: ipc/travelling_var.hpp.
//
// Threads:      a variable may be used from all. A `context` belongs to one at a time, but entering
//               it twice is noticed from everywhere. Values are shared by copies, on several
//               threads: they must bear being read at once.
// Cancellation: none. A stopped task that ran in a `context` has left it when its frames are gone.
// Errors:       lookup_error for a variable without value and default; state_error for a token used
//               twice and for a context that is entered already; std::invalid_argument for a token
//               of another variable or context. std::bad_alloc from set and run; a token that is
//               used out of order may need memory too.
// Cost:         copying is one count, whatever it holds. get looks through an array; set copies the
//               array, which has 16 bytes for each variable that has a value. A task without
//               variables pays a comparison.
// Source:       Python's contextvars.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/deferred.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace weft {

class context;
template <class T>
class context_var;

/// What set gives: the way back to the former value.
template <class T>
class context_token {
public:
    context_token(context_token&&) noexcept = default;
    context_token& operator=(context_token&&) noexcept = default;

    /// The variable that it belongs to; null if it was moved from.
    [[nodiscard]] const context_var<T>* var() const noexcept {
        return static_cast<const context_var<T>*>(change_.key());
    }
    /// The value that set replaced, or null if there was none. Valid as long as the token.
    [[nodiscard]] const T* old_value() const noexcept {
        return detail::context_box<T>::value_of(change_.old_value());
    }

private:
    friend class context_var<T>;
    explicit context_token(detail::context_change c) noexcept : change_(std::move(c)) {}
    detail::context_change change_;
};

/// Gives a variable its former value back at the end of a block.
template <class T>
class [[nodiscard]] context_guard {
public:
    context_guard(const context_guard&) = delete;
    context_guard& operator=(const context_guard&) = delete;
    /// Leaves alone what another context holds: a guard that is destroyed elsewhere than it was
    /// made does nothing.
    ~context_guard() { change_.undo_if_here(); }

    [[nodiscard]] const T* old_value() const noexcept {
        return detail::context_box<T>::value_of(change_.old_value());
    }

private:
    friend class context_var<T>;
    explicit context_guard(detail::context_change c) noexcept : change_(std::move(c)) {}
    detail::context_change change_;
};

/// A variable. Must live until the end of the program, because contexts refer to it.
template <class T>
class context_var : private detail::context_key {
public:
    using value_type = T;
    using token = context_token<T>;

    /// The name is kept as a pointer: a literal.
    explicit context_var(const char* name) noexcept
        : context_key(name, detail::context_box<T>::equal) {}
    context_var(const char* name, T default_value)
        : context_key(name, detail::context_box<T>::equal), default_(std::move(default_value)) {}
    context_var(const context_var&) = delete;
    context_var& operator=(const context_var&) = delete;

    using context_key::name;

    /// The value in the current context, or the default. Throws lookup_error if there is neither.
    [[nodiscard]] T get() const
        requires std::copy_constructible<T>
    {
        const T* found = find();
        if (found == nullptr)
            detail::throw_unset(*this);
        return *found;
    }
    /// The value in the current context, or `otherwise`.
    template <class U>
    [[nodiscard]] T get_or(U&& otherwise) const
        requires std::copy_constructible<T>
    {
        const T* found = detail::context_box<T>::value_of(detail::find_in_context(*this));
        return found != nullptr ? T(*found) : T(std::forward<U>(otherwise));
    }
    /// What get would copy, or null. Valid until the variable gets another value here.
    [[nodiscard]] const T* find() const noexcept {
        const T* found = detail::context_box<T>::value_of(detail::find_in_context(*this));
        return found != nullptr || !default_ ? found : &*default_;
    }

    /// Gives it a value in the current context.
    token set(T value) { return token(change_to(std::move(value))); }
    /// Takes a set back: the variable has its former value again, or none.
    void reset(token& t) { t.change_.undo(*this); }
    void reset(token&& t) { t.change_.undo(*this); }
    /// Sets it until the guard is destroyed.
    [[nodiscard]] context_guard<T> scoped(T value) {
        return context_guard<T>(change_to(std::move(value)));
    }

protected:
    /// For variables whose values also go elsewhere; see ipc/travelling_var.hpp.
    context_var(const char* name, std::optional<T> default_value, const detail::context_travel& how)
        : context_key(name, detail::context_box<T>::equal, &how),
          default_(std::move(default_value)) {}
    [[nodiscard]] const detail::context_key& key() const noexcept { return *this; }

private:
    friend class context;
    friend class context_token<T>;
    detail::context_change change_to(T value) {
        return detail::set_in_context(
            *this, detail::context_value_ref(new detail::context_box<T>(std::move(value))));
    }
    std::optional<T> default_;
};

namespace detail {
template <class T>
class context_run_op;
}

/// A snapshot of the variables' values, in which functions and tasks can be run. Copies are
/// independent.
class context {
public:
    class entry;
    class iterator;

    /// Without any value.
    context() noexcept = default;
    context(const context& other) noexcept : data_(other.view()) {}
    /// What it is moved from is empty. Precondition: that isn't entered.
    context(context&& other) noexcept;
    context& operator=(context other) noexcept;
    /// Precondition: not entered.
    ~context();

    /// Calls `f(args...)` in this context. What it changes stays here.
    template <class F, class... Args>
        requires std::invocable<F, Args...> && (!awaitable<std::invoke_result_t<F, Args...>>)
    decltype(auto) run(F&& f, Args&&... args) {
        entered in(*this);
        return std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
    }
    /// Awaits something in this context: `co_await c.run(task)`. The context must outlive it.
    template <awaitable A>
    [[nodiscard]] auto run(A a) {
        using T = task_result_t<A>;
        return detail::deferred<detail::context_run_op<T>, std::reference_wrapper<context>,
                                task<T>>(std::ref(*this), weft::as_task(std::move(a)));
    }

    // Reading. While the context is entered, what runs in it sees its changes here; others see it
    // as it was before.

    /// The value of a variable here, or null. Defaults don't count. Valid until it gets another
    /// value here.
    template <class T>
    [[nodiscard]] const T* lookup(const context_var<T>& v) const noexcept {
        return detail::context_box<T>::value_of(view_data().find(v));
    }
    /// The same by value; throws lookup_error if there is none.
    template <class T>
    [[nodiscard]] T at(const context_var<T>& v) const {
        const T* found = lookup(v);
        if (found == nullptr)
            detail::throw_unset(v);
        return *found;
    }
    template <class T>
    [[nodiscard]] bool contains(const context_var<T>& v) const noexcept {
        return lookup(v) != nullptr;
    }
    [[nodiscard]] std::size_t size() const noexcept { return view_data().size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The variables that have a value here, in the order in which the program first set each.
    [[nodiscard]] iterator begin() const noexcept;
    [[nodiscard]] iterator end() const noexcept;

    /// The same variables with equal values. Values of a type without == are equal if they come
    /// from the same set.
    friend bool operator==(const context& a, const context& b) {
        return equal(a.view_data(), b.view_data());
    }

    /// Whether something runs in it.
    [[nodiscard]] bool is_entered() const noexcept {
        return entered_.load(std::memory_order_relaxed);
    }

private:
    template <class T>
    friend class detail::context_run_op;
    friend context copy_context() noexcept;

    struct entered {
        explicit entered(context& c) : in(c) { in.enter(); }
        entered(const entered&) = delete;
        entered& operator=(const entered&) = delete;
        ~entered() { in.leave(); }
        context& in;
    };

    explicit context(detail::context_data_ref d) noexcept : data_(std::move(d)) {}
    void enter();
    void leave() noexcept;
    /// What reads refer to: the data of a run that is on, if the caller is part of it.
    [[nodiscard]] const detail::context_data& view_data() const noexcept;
    [[nodiscard]] detail::context_data_ref view() const noexcept;
    static bool equal(const detail::context_data& a, const detail::context_data& b);

    detail::context_data_ref data_;
    detail::context_place outer_; // while it is entered: what was current before
    std::atomic<bool> entered_{false};
    bool has_identity_ = false; // data_ was made for this context, and tokens may refer to it
};

/// What is current, as it is now.
[[nodiscard]] context copy_context() noexcept;

/// A variable with its value.
class context::entry {
public:
    entry(const detail::context_key* k, const detail::context_value* v) noexcept
        : key_(k), value_(v) {}
    [[nodiscard]] const char* name() const noexcept { return key_->name(); }
    template <class T>
    [[nodiscard]] bool is(const context_var<T>& v) const noexcept {
        return key_ == static_cast<const detail::context_key*>(&v);
    }
    /// The value if it is that variable's, else null.
    template <class T>
    [[nodiscard]] const T* value(const context_var<T>& v) const noexcept {
        return is(v) ? detail::context_box<T>::value_of(value_) : nullptr;
    }

private:
    const detail::context_key* key_;
    const detail::context_value* value_;
};

/// Goes on over the values of its beginning, whatever is set meanwhile.
class context::iterator {
public:
    using value_type = entry;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    iterator(detail::context_data_ref d, std::size_t at) noexcept : data_(std::move(d)), at_(at) {}
    entry operator*() const noexcept {
        return entry(data_->entries()[at_].key, data_->entries()[at_].value);
    }
    iterator& operator++() noexcept {
        ++at_;
        return *this;
    }
    iterator operator++(int) noexcept {
        iterator before = *this;
        ++at_;
        return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_ == b.at_; }

private:
    detail::context_data_ref data_;
    std::size_t at_ = 0;
};

// -------------------------------------------------------------------------------------------------

inline context::iterator context::begin() const noexcept { return iterator(view(), 0); }
inline context::iterator context::end() const noexcept { return iterator(view(), size()); }

namespace detail {

// Awaits a task within the same strand, whose variables are exchanged meanwhile.
template <class T>
class [[nodiscard]] context_run_op {
public:
    context_run_op(context& c, task<T> t) noexcept : returns_(c) { returns_.child = t.release(); }
    context_run_op(const context_run_op&) = delete;
    context_run_op& operator=(const context_run_op&) = delete;
    ~context_run_op() {
        if (returns_.child)
            returns_.child.destroy();
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        returns_.in.enter();
        return start_inline(returns_.child, promise(), returns_, h, where);
    }
    T await_resume() { return promise().result.take(); }

private:
    struct continuation_in_context : frame_continuation {
        explicit continuation_in_context(context& c) noexcept : frame_continuation(ended), in(c) {}
        static bool ended(continuation& c, ending e) noexcept {
            auto& self = static_cast<continuation_in_context&>(c);
            self.in.leave();
            if (e == ending::stopped)
                return true;
            // Started inline there is no frame to resume yet.
            self.promise->in->run_by->next_frame = self.frame;
            return false;
        }
        context& in;
    };
    task_promise<T>& promise() const noexcept {
        return std::coroutine_handle<task_promise<T>>::from_address(returns_.child.address())
            .promise();
    }
    continuation_in_context returns_;
};

} // namespace detail
} // namespace weft
