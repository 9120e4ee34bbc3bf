// SPDX-License-Identifier: MIT
// A scope for tasks: it ends when all that were started in it have ended, on every way out.
//
//     weft::task<> fetch_all(std::span<const int> pages, weft::task<> (*fetch)(int)) {
//         co_await weft::with_task_group([&](weft::task_group& g) -> weft::task<> {
//             for (int page : pages)
//                 g.spawn(fetch(page));
//             co_return;
//         });
//         fmt::print("all pages are here\n");
//     }
//
// Threads:      a group and its children belong to one loop. Use spawn(on(loop, task)) for a child
//               elsewhere. In a task on a thread pool the body belongs to one thread, and the
//               children run on any: they are started and asked for by the body only.
// Cancellation: the first error of a child or of the body stops the body and all children. A stop
//               from outside does too; the scope passes it on when all have ended, unless one of
//               them failed: then that is what comes out, and the task is stopped at its next
//               suspension. A child that is stopped alone disturbs nobody.
// Errors:       one exception_group with everything that the body and the children threw, in the
//               order in which they ended. interrupted_error comes out as itself. spawn throws
//               state_error when the group is ending, and on a thread that isn't the group's.
// Cost:         a child is its frame and one record.
// Source:       asyncio.TaskGroup and trio's nurseries.
#pragma once
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/deferred.hpp>
#include <weft/runtime/spawn.hpp>

#include <vector>

namespace weft {

class task_group : protected detail::scope_operation, private detail::child_owner {
public:
    /// Starts a child at the loop's next turn.
    template <awaitable A>
    task_handle<task_result_t<A>> spawn(A a,
                                        std::source_location at = std::source_location::current()) {
        require_open();
        detail::spawned& s =
            detail::spawn_record(weft::as_task(std::move(a)), this, body_, nullptr, at);
        ++children_;
        return task_handle<task_result_t<A>>(s);
    }
    /// Starts `f(args...)`, a coroutine. The callable and its arguments are moved in and live as
    /// long as the child, so a lambda with captures is safe.
    template <class F, class... Args>
        requires detail::task_function<F, Args...>
    auto spawn(F&& f, Args&&... args) {
        require_open();
        using T = detail::call_result_t<std::decay_t<F>, std::decay_t<Args>...>;
        detail::spawned& s = detail::spawn_call(this, body_, std::source_location(),
                                                std::forward<F>(f), std::forward<Args>(args)...);
        ++children_;
        return task_handle<T>(s);
    }

    /// Stops the body and all children. No error comes of it: the scope just ends early.
    void cancel() noexcept;

    /// How many children are running.
    [[nodiscard]] std::size_t size() const noexcept { return children_; }

protected:
    task_group();
    ~task_group() = default;

    struct body : detail::branch {
        body(task_group& g, end_function f) noexcept : branch(f), group(g) {}
        task_group& group;
    };

    void body_ended(detail::ending how, std::exception_ptr e) noexcept;
    /// In await_resume: throws if anything failed. Gives whether the body has a value.
    bool check();

    body body_;

private:
    void require_open();
    void fail(std::exception_ptr e) noexcept;
    void leave_if_empty() noexcept;
    static void child_ended(child_owner& o, detail::ending how, std::exception_ptr e) noexcept;

    std::vector<std::exception_ptr> errors_;
    std::exception_ptr interrupt_;
    std::size_t children_ = 0;
    bool body_done_ = false;
    bool body_stopped_ = false;
    bool child_stopped_ = false;
    bool cancelled_ = false;
    bool closed_ = false;

    template <class F>
    friend class task_group_op;
};

template <class F>
class [[nodiscard]] task_group_op : public task_group {
public:
    using value_type = typename std::invoke_result_t<F&, task_group&>::value_type;

    explicit task_group_op(F f) : function_(std::move(f)) {}

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (!begin(h, where))
            return true;
        // In the tree before the function runs, which may start children at once.
        body_.enter(owner());
        body_.on_end = ended;
        try {
            body_.template adopt<value_type>(function_(static_cast<task_group&>(*this)).release());
        } catch (...) {
            body_ended(detail::ending::finished, std::current_exception());
            return true;
        }
        body_.run_now();
        return true;
    }
    /// The body's value. If the group was cancelled before the body had one, cancelled_error, or
    /// nothing for a body without a value.
    value_type await_resume() {
        if (check())
            return body_.template result_of<value_type>().take();
        if constexpr (!std::is_void_v<value_type>)
            throw cancelled_error();
    }

private:
    static bool ended(detail::continuation& c, detail::ending e) noexcept {
        auto& b = static_cast<body&>(c);
        auto& self = static_cast<task_group_op&>(b.group);
        bool failed = e == detail::ending::finished && b.template result_of<value_type>().failed();
        self.body_ended(e, failed ? b.template result_of<value_type>().take_error() : nullptr);
        return false;
    }
    F function_;
};

/// Runs the task that `f(group)` makes, and then waits for every child.
template <class F>
    requires std::is_invocable_v<F&, task_group&>
[[nodiscard]] auto with_task_group(F f) {
    return detail::deferred<task_group_op<F>, F>(std::move(f));
}

} // namespace weft
