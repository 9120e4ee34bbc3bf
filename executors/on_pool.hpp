// SPDX-License-Identifier: MIT
// Runs tasks on a thread pool: coroutines that compute, and share the work among its threads.
//
//     weft::task<long> fibonacci(int n) {
//         if (n < 2)
//             co_return n;
//         auto [a, b] = co_await weft::when_all(fibonacci(n - 1), fibonacci(n - 2));
//         co_return a + b;
//     }
//     weft::task<> program(weft::thread_pool& pool) {
//         long f = co_await weft::on(pool, fibonacci(30));     // comes back to this loop
//         fmt::print("{}\n", f);
//     }
//
// On the pool, when_all forks: the task goes on with the first child itself, as if it awaited it
// alone, and idle threads take the others. What nobody takes costs little more than a plain await,
// so tasks may be small: a microsecond is plenty.
//
// Threads:      `on` from any loop, also from a task that runs on a pool. A task that waits for its
//               children may go on on any thread of the pool. One that waits for anything else
//               (mutexes, queues, events, on(loop, ...)) goes on on the thread it was on.
//               Its sleeps and timeouts are kept by that thread, which comes to them when what it
//               runs waits or ends. Sockets and files belong to loops: there they throw
//               state_error; await on(loop, ...) instead.
//               The children of other scopes (task_group, when_any, when_all_settled) run on any
//               thread, too. The scope itself stays on the one that it began on, and so does what a
//               timeout, a shield or a group has for a body, of which when_all's parts run on any.
//               What computes for long awaits checkpoint(): its thread may have others to see to.
// Cancellation: a task that had no turn yet is withdrawn. Else it stops where it waits, forks or
//               awaits checkpoint(), and is waited for.
// Errors:       what the task throws; state_error after shutdown; pool_terminated if the pool was
//               destroyed before the end, which stops the task.
// Cost:         no allocation beyond the frames. A stolen child is one record from the recycler.
// Source:       work stealing after Blumofe and Leiserson (1999); see detail/fork.hpp.
#pragma once
#include <weft/executors/thread_pool.hpp>
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/deferred.hpp>
#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/when_all.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>

namespace weft {

namespace detail {

class pool_scope : public operation, protected pool_work {
public:
    pool_scope(const pool_scope&) = delete;
    pool_scope& operator=(const pool_scope&) = delete;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }

protected:
    struct body : fork_strand, continuation {
        explicit body(pool_scope& s) noexcept : continuation(ended), scope(s) {}
        ~body() {
            if (child)
                child.destroy();
        }
        static bool ended(continuation& c, ending e) noexcept;
        pool_scope& scope;
    };

    pool_scope(thread_pool_state& pool, std::coroutine_handle<> task, promise_base& p) noexcept;
    ~pool_scope() = default;

    /// In await_resume: throws if there is no result.
    void check() const;

    body body_;

private:
    struct message : work {
        explicit message(pool_scope& s) noexcept : work(arrived), scope(s) {}
        static void arrived(work& w) noexcept;
        pool_scope& scope;
    };
    enum class progress : std::uint8_t {
        runs,
        asking, // home is just telling the pool about a stop
        asked,
        ended,
    };

    void start() noexcept;
    void come_home() noexcept;
    static void take_turn(pool_work& w, pool_turn turn) noexcept;
    static void cancel_on(operation& op) noexcept;
    static const operation_type kind;

    thread_pool_state& pool_;
    message back_;
    stop_point stop_;
    std::exception_ptr error_;
    std::atomic<progress> progress_{progress::runs};
    std::atomic<bool> terminated_{false}; // by the pool's end
    bool stopped_ = false;
};

template <class T>
class [[nodiscard]] on_pool_op : public pool_scope {
public:
    on_pool_op(thread_pool& pool, task_priority p, task<T> t) noexcept
        : on_pool_op(pool, t.release()) {
        priority = p;
    }
    T await_resume() {
        check();
        return std::coroutine_handle<task_promise<T>>::from_address(body_.child.address())
            .promise()
            .result.take();
    }

private:
    on_pool_op(thread_pool& pool, typename task<T>::handle_type h) noexcept
        : pool_scope(pool.state(), h, h.promise()) {}
};

} // namespace detail

/// Runs an awaitable on a pool; the awaiting task goes on at home with its result. Context
/// variables, the deadline and stops go with it. The priority is that of its beginning.
template <awaitable A>
[[nodiscard]] auto on(thread_pool& there, task_priority priority, A a) {
    using T = task_result_t<A>;
    return detail::deferred<detail::on_pool_op<T>, std::reference_wrapper<thread_pool>,
                            task_priority, task<T>>(std::ref(there), priority,
                                                    weft::as_task(std::move(a)));
}
template <awaitable A>
[[nodiscard]] auto on(thread_pool& there, A a) {
    return weft::on(there, task_priority::normal, std::move(a));
}

} // namespace weft
