// SPDX-License-Identifier: MIT
// Starts a task beside the running one. Prefer a task_group, which waits for its children; a
// detached task is waited for by nobody but the loop, which stops it when it ends itself.
//
//     weft::task<> server(weft::task<> (*heartbeat)()) {
//         weft::task_handle<> beat = weft::spawn(heartbeat());    // starts at the loop's next turn
//         co_await weft::sleep_for(std::chrono::seconds(1));
//         beat.cancel();
//     }
//
// Threads:      a handle belongs to the loop of its task.
// Cancellation: handle.cancel() stops the task; one that hasn't started never will. join() can be
//               stopped without harm to the task.
// Errors:       what the task threw comes out of join(). If nobody asks for it, it goes to the
//               unhandled-error hook.
// Cost:         the frame, and one record of 192 bytes from the same recycler.
// Source:       asyncio.create_task.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/end_listener.hpp>
#include <weft/runtime/error.hpp>

#include <cstdint>
#include <optional>
#include <tuple>

namespace weft {

template <class T>
class task_handle;

namespace detail {

// What a group knows of its children.
struct child_owner {
    /// A child has ended. Called before its record can go away; `e` is null unless it failed.
    void (*ended)(child_owner&, ending how, std::exception_ptr e) noexcept;
};

// A started task: strand, root frame and those who wait for its end. Counted by its handle and by
// itself while it runs.
struct spawned : branch, recycled {
    spawned(end_function f, child_owner* o, const char* n, std::source_location at) noexcept
        : branch(f), owner(o) {
        name = n;
        spawned_at = at;
        flags = joinable;
    }
    virtual ~spawned() = default; // records that also hold a callable and its arguments are larger

    void release() noexcept {
        if (--references == 0)
            delete this;
    }
    void end(ending how, std::exception_ptr e) noexcept;
    void drop_handle(std::exception_ptr e) noexcept;

    child_owner* owner;
    end_listeners listeners;
    std::uint32_t references = 1; // itself
    bool done = false;
    bool failed = false;
    bool error_fetched = false; // somebody has it, or is going to get it
};

template <class T>
bool spawned_ended(continuation& c, ending e) noexcept {
    auto& self = static_cast<spawned&>(c);
    self.end(e, e == ending::finished ? self.result_of<T>().error() : nullptr);
    return false;
}

inline void start_record(spawned& s, strand& above) noexcept {
    if (s.owner == nullptr)
        s.start_later(above);
    else
        s.start_beside(above);
    copy_context_to(s);
}

template <class T>
spawned& spawn_record(task<T> t, child_owner* owner, strand& above, const char* name,
                      std::source_location at) {
    auto* s = new spawned(spawned_ended<T>, owner, name, at);
    s->adopt<T>(t.release());
    start_record(*s, above);
    return *s;
}

// Keeps the callable and its arguments for as long as the task runs: a lambda's captures belong to
// the lambda.
template <class F, class... Args>
struct spawned_call : spawned {
    template <class G, class... As>
    spawned_call(end_function f, child_owner* o, const char* n, std::source_location at, G&& g,
                 As&&... as)
        : spawned(f, o, n, at), function(std::forward<G>(g)), arguments(std::forward<As>(as)...) {}
    F function;
    std::tuple<Args...> arguments;
};

template <class F, class... Args>
using call_result_t = typename std::invoke_result_t<F&, Args&&...>::value_type;

template <class F, class... Args>
spawned& spawn_call(child_owner* owner, strand& above, std::source_location at, F&& f,
                    Args&&... args) {
    using record = spawned_call<std::decay_t<F>, std::decay_t<Args>...>;
    using T = call_result_t<std::decay_t<F>, std::decay_t<Args>...>;
    auto* s = new record(spawned_ended<T>, owner, nullptr, at, std::forward<F>(f),
                         std::forward<Args>(args)...);
    try {
        task<T> t =
            std::apply([s](auto&... a) { return s->function(std::move(a)...); }, s->arguments);
        s->template adopt<T>(t.release());
    } catch (...) {
        delete s;
        throw;
    }
    start_record(*s, above);
    return *s;
}

template <class F, class... Args>
concept task_function =
    requires { requires is_task<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&&...>>; };

strand& detached_parent();

// Waits for the end of a started task.
class join_op_base : public operation, private end_listener {
public:
    explicit join_op_base(spawned& s) noexcept;
    join_op_base(join_op_base&&) = default; // before it has begun

    /// Awaiting it won't suspend.
    [[nodiscard]] bool already_done() const noexcept { return record_.done; }

protected:
    ~join_op_base() {
        if (waiting_)
            record_.release();
    }
    void enter() noexcept;
    spawned& record_;

private:
    bool waiting_ = false; // and so holds the record, whatever becomes of the handle
    static void cancel_join(operation& op) noexcept;
    static void task_ended(end_listener& l, bool failed) noexcept;
    static const strand* who_waits(const end_listener& l) noexcept;
    static const operation_type kind;
    static const end_listener_type listens;
};

template <class T>
class [[nodiscard]] join_op : public join_op_base {
public:
    using join_op_base::join_op_base;
    [[nodiscard]] bool await_ready() const noexcept { return already_done(); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            enter();
        return true;
    }
    decltype(auto) await_resume() {
        if (!record_.child)
            throw cancelled_error();
        auto& from = record_.result_of<T>();
        if (from.failed()) {
            record_.error_fetched = true;
            std::rethrow_exception(from.error());
        }
        return from.value();
    }
};

} // namespace detail

/// A started task. May be dropped; the task goes on.
template <class T = void>
class task_handle {
public:
    using value_type = T;

    task_handle() noexcept = default;
    explicit task_handle(detail::spawned& s) noexcept : record_(&s) { ++s.references; }
    task_handle(task_handle&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
    task_handle& operator=(task_handle&& other) noexcept {
        std::swap(record_, other.record_);
        return *this;
    }
    ~task_handle() {
        if (record_ != nullptr)
            record_->drop_handle(failure());
    }

    explicit operator bool() const noexcept { return record_ != nullptr; }

    /// Waits for the end and gives a reference to the value, which lives as long as the handle.
    /// Throws what the task threw, or cancelled_error if it was stopped. Any number of tasks may
    /// wait, also after the end.
    [[nodiscard]] detail::join_op<T> join() const noexcept { return detail::join_op<T>(*record_); }

    /// Asks the task to stop. False if it has ended already.
    bool cancel() noexcept {
        if (record_->done)
            return false;
        record_->request_stop();
        return true;
    }
    /// How many requests to stop are standing.
    [[nodiscard]] unsigned cancelling() const noexcept { return record_->stop_requests; }
    /// Takes one request back and gives how many are left. At zero, a stop that the task hasn't
    /// noticed is forgotten.
    unsigned uncancel() noexcept {
        record_->withdraw_stop();
        return record_->stop_requests;
    }

    [[nodiscard]] bool done() const noexcept { return record_->done; }
    /// Whether it ended by a stop.
    [[nodiscard]] bool stopped() const noexcept { return record_->done && !record_->child; }

    /// The name shown in dumps; the text must live as long as the task (a literal does).
    void set_name(const char* name) noexcept { record_->name = name; }
    [[nodiscard]] const char* name() const noexcept {
        return record_->name == nullptr ? "" : record_->name;
    }

    /// For those who write combinators.
    [[nodiscard]] detail::spawned* record() const noexcept { return record_; }

private:
    [[nodiscard]] std::exception_ptr failure() const noexcept {
        bool failed = record_->done && record_->child && !record_->error_fetched;
        return failed ? record_->template result_of<T>().error() : nullptr;
    }
    detail::spawned* record_ = nullptr;
};

/// Starts a detached task on this thread's loop. Throws state_error if the thread runs no loop or
/// the loop is ending.
template <awaitable A>
task_handle<task_result_t<A>> spawn(A a,
                                    std::source_location at = std::source_location::current()) {
    detail::strand& above = detail::detached_parent();
    return task_handle<task_result_t<A>>(
        detail::spawn_record(weft::as_task(std::move(a)), nullptr, above, nullptr, at));
}

} // namespace weft
