// SPDX-License-Identifier: MIT
// What all handles of a future share with whoever works on it: how far that has come, its result or
// error, and who holds it. The parts that don't depend on the result's type are compiled once.
//
// Threads:      all members, from any thread, except where a comment says whose they are.
// Cancellation: see future.hpp.
// Errors:       set_error keeps what it is given; read it with require_value or failure.
// Cost:         one record from the thread's recycler. Source: none.
#pragma once
#include <weft/executors/detail/future_core.hpp>
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/task.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace weft {

namespace detail {
template <class T>
constexpr bool looks_copyable() noexcept {
    if constexpr (!std::is_copy_constructible_v<T>)
        return false;
    else if constexpr (requires { typename T::value_type; })
        return std::is_same_v<typename T::value_type, T> ||
               looks_copyable<typename T::value_type>(); // a vector claims it whatever it holds
    else
        return true;
}
} // namespace detail

/// Whether a result is copied for who takes it while others can ask for it. To be specialised as
/// false for a type that only claims to be copyable: one that has a vector of std::unique_ptr, say.
template <class T>
inline constexpr bool future_copies = detail::looks_copyable<T>();

} // namespace weft

namespace weft::detail {

class future_record : public recycled {
public:
    future_record() noexcept = default;
    future_record(const future_record&) = delete;
    future_record& operator=(const future_record&) = delete;

    // The handles together hold one reference.
    void add_handle() noexcept {
        if (handles_.fetch_add(1, std::memory_order_relaxed) == 0)
            retain();
    }
    /// The same while nobody else knows the record.
    void add_first_handle() noexcept {
        handles_.store(1, std::memory_order_relaxed);
        references_.store(2, std::memory_order_relaxed);
    }
    void drop_handle() noexcept {
        // acq_rel: who finds itself the only one has to see what the others did with the result.
        if (handles_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            release();
    }
    /// For the holder of a handle: nobody else has one, nor can get one any more.
    [[nodiscard]] bool only_handle() const noexcept {
        return handles_.load(std::memory_order_acquire) == 1; // pairs with drop_handle()
    }
    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            end();
    }

    [[nodiscard]] bool ended() const noexcept { return core.ended(); }
    /// Whether it ended with an error. Precondition: it has ended.
    [[nodiscard]] bool failed() const noexcept { return error_ != nullptr; }

    /// Ends it if it is pending, and takes the work away from whoever was to do it. True: it is
    /// cancelled, now or before.
    bool cancel() noexcept;
    /// Asks what runs to stop.
    void request_stop() noexcept { ask_to_stop(); }
    /// For the last handle, which goes without having asked for the result: nobody needs the work.
    void abandon() noexcept;

    /// Throws if it has ended.
    void require_open() const;
    /// Throws unless it is pending or cancelled; gives whether it runs now.
    bool start();
    /// Throws unless the caller is to write the result.
    [[nodiscard]] future_phase claim();
    /// Precondition: running, or claimed by the caller. Likewise finish_value and end_without.
    void finish_error(std::exception_ptr e) noexcept {
        error_ = std::move(e);
        core.finish(true);
    }
    void finish_value() noexcept { core.finish(false); }
    /// Who promised the result goes without having given one.
    void end_without() noexcept;

    /// After the end: throws the error, or cancelled_error; each caller gets an error of its own.
    void require_value();
    /// The same for the only one who can still ask.
    void require_value_alone();
    /// After the end: the error, the caller's own, or null. Throws cancelled_error.
    [[nodiscard]] std::exception_ptr failure();

    /// Blocks the calling thread until the end, or until the limit: false. Throws state_error if
    /// it would block a thread that runs a loop.
    bool block(wait_limit limit);

    future_core<> core;

protected:
    virtual ~future_record() = default;

private:
    virtual void withdraw() noexcept {}
    virtual void ask_to_stop() noexcept {}
    void end() noexcept;

    std::exception_ptr error_; // of whoever runs it; from the end on it doesn't change
    std::atomic<std::uint32_t> handles_{0};
    std::atomic<std::uint32_t> references_{1}; // who works on it, and the handles
    std::atomic<bool> error_seen_{false};      // somebody was given the error
};

template <class T>
class future_record_of : public future_record {
public:
    outcome<T> value;
};

/// A counted handle of any record; empty once moved from.
class future_hold {
public:
    future_hold() noexcept = default;
    explicit future_hold(future_record& of) noexcept : it_(&of) { of.add_handle(); }
    /// Of a record that nobody else knows yet.
    static future_hold first_of(future_record& fresh) noexcept {
        fresh.add_first_handle();
        future_hold h;
        h.it_ = &fresh;
        return h;
    }
    future_hold(const future_hold& other) noexcept : it_(other.it_) {
        if (it_ != nullptr)
            it_->add_handle();
    }
    future_hold(future_hold&& other) noexcept : it_(std::exchange(other.it_, nullptr)) {}
    future_hold& operator=(future_hold other) noexcept {
        std::swap(it_, other.it_);
        return *this;
    }
    ~future_hold() {
        if (it_ != nullptr)
            it_->drop_handle();
    }
    [[nodiscard]] future_record* get() const noexcept { return it_; }
    future_record* operator->() const noexcept { return it_; }

private:
    future_record* it_ = nullptr;
};

/// Waits in the line of a future.
template <class Op>
class future_line_op : public line_op<Op> {
public:
    static constexpr const char* name = "future";
    static constexpr bool selectable = true;

    bool pass_now() noexcept { return of_->core.ended(); }
    bool line_up() noexcept { return of_->core.enter(*this); }
    bool leave() noexcept { return of_->core.leave(*this); }

protected:
    future_line_op(future_hold f, const operation_type& t) noexcept
        : line_op<Op>(t), of_(std::move(f)) {}
    future_line_op(future_line_op&&) = default;
    ~future_line_op() = default;

    future_hold of_;
};

class [[nodiscard]] future_wait_op : public future_line_op<future_wait_op> {
public:
    explicit future_wait_op(future_hold f,
                            const operation_type& t = line_kind<future_wait_op>) noexcept
        : future_line_op(std::move(f), t) {}
    void await_resume() const noexcept {}
    [[nodiscard]] bool result(bool passed) const noexcept { return passed; }
};

[[noreturn]] void throw_future_timeout();

template <class T>
future_record_of<T>& typed(future_record& r) noexcept {
    return static_cast<future_record_of<T>&>(r);
}

/// How the result is shown to those who leave it where it is.
template <class T>
struct future_view {
    using type = const T&;
};
template <class T>
struct future_view<T&> {
    using type = T&;
};
template <>
struct future_view<void> {
    using type = void;
};
template <class T>
using future_view_t = typename future_view<T>::type;

/// After the end.
template <class T>
future_view_t<T> read_result(future_record& r) {
    r.require_value();
    return typed<T>(r).value.value();
}

[[noreturn]] void throw_not_alone();

/// For one handle that is given up with this.
template <class T>
T take_result(future_record& r) {
    if (!r.only_handle()) {
        r.require_value();
        if constexpr (std::is_void_v<T> || std::is_reference_v<T>)
            return typed<T>(r).value.take();
        else if constexpr (future_copies<T>)
            return std::as_const(typed<T>(r).value.value());
        else
            throw_not_alone();
    }
    r.require_value_alone();
    return typed<T>(r).value.take();
}

/// Gives what is there, and leaves it there.
template <class T>
class [[nodiscard]] future_read_op : public future_line_op<future_read_op<T>> {
public:
    explicit future_read_op(future_hold f,
                            const operation_type& t = line_kind<future_read_op>) noexcept
        : future_line_op<future_read_op>(std::move(f), t) {}
    future_view_t<T> await_resume() { return read_result<T>(*this->of_.get()); }
    future_view_t<T> result(bool passed) {
        if (!passed)
            throw_future_timeout();
        return await_resume();
    }
};

/// Gives what is there away. If it is not awaited to its end, and nobody else could ask, the work
/// is called off.
template <class T>
class [[nodiscard]] future_take_op : public future_line_op<future_take_op<T>> {
public:
    explicit future_take_op(future_hold f,
                            const operation_type& t = line_kind<future_take_op>) noexcept
        : future_line_op<future_take_op>(std::move(f), t) {}
    future_take_op(future_take_op&&) = default;
    ~future_take_op() {
        if (this->of_.get() != nullptr)
            this->of_->abandon();
    }
    T await_resume() { return take_result<T>(*this->of_.get()); }
    T result(bool passed) {
        if (!passed)
            throw_future_timeout();
        return await_resume();
    }
};

// Is called once, on the thread that ends the future.
class future_callback : public end_listener, public recycled {
public:
    future_callback(const future_callback&) = delete;
    future_callback& operator=(const future_callback&) = delete;

    /// Now, if it has ended already. Takes itself over.
    void attach() noexcept;

protected:
    explicit future_callback(future_hold f) noexcept;
    virtual ~future_callback();
    future_hold of_;

private:
    virtual void call() = 0;
    void run() noexcept;
    static void told(end_listener& l, bool failed) noexcept;
    static const end_listener_type listens;
    context_data* context_; // of who asked
};

} // namespace weft::detail
