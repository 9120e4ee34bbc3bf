// SPDX-License-Identifier: MIT
// Calls functions on other threads: for what blocks, or computes for long, and may share the heap.
//
//     weft::task<std::size_t> count_lines(weft::thread_pool& pool, std::string path) {
//         auto count = [](const std::string& p) {
//             std::ifstream file(p);                      // may block: this isn't the loop
//             std::istreambuf_iterator<char> begin(file), end;
//             return static_cast<std::size_t>(std::count(begin, end, '\n'));
//         };
//         co_return co_await pool.call(count, std::move(path));
//     }
//
// A function that can be called with a std::stop_token in front of its arguments, and not without,
// is told through it that it should stop.
//
// What comes from outside waits in a queue with three levels of priority. Forks and children of
// tasks that run here (on_pool.hpp) go before that, because what has begun is to end; but each 64th
// time the queue goes first.
//
// Threads:      all members, from any thread. The awaiting task goes on on its own loop. Threads
//               are started when there is work for them, up to the pool's size; idle ones sleep.
// Cancellation: a queued call is withdrawn at once. A running one is asked through its stop_token
//               and awaited: a thread can't be stopped from outside. A function that returns after
//               it was asked counts as stopped; one that takes no stop_token gives its result, and
//               an error that it throws is never lost.
// Errors:       what the function throws; state_error after shutdown; pool_terminated if the pool
//               is destroyed before the call had its turn; broken_thread_pool if an initialiser
//               has thrown; std::system_error if there is no thread and none can be started.
//               std::invalid_argument from the constructor for options that make no sense.
// Cost:         no allocation: function, arguments and result are in the awaiting frame. A short
//               lock, and a wake-up only if all threads sleep that could look for work. One that
//               has nothing to do looks out for some 20 microseconds and then sleeps.
// Source:       concurrent.futures.ThreadPoolExecutor; idle threads are woken last in, first out,
//               each at a futex of its own. Coroutines run there by `on`: see on_pool.hpp.
//
// Those who write executors hand their own nodes in: see detail/pool_work.hpp.
#pragma once
#include <weft/executors/detail/invocation.hpp>
#include <weft/executors/detail/pool_work.hpp>
#include <weft/executors/detail/submitted.hpp>
#include <weft/executors/executor.hpp>
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/time.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weft {

struct thread_pool_options {
    /// How many threads at most. Nothing: one for each CPU that the process may use, by its
    /// affinity and by the quota of its control groups (usable_cpus()), because a pool is for what
    /// computes, and more threads would only take turns. For functions that mostly wait there is
    /// default_pool(), which has Python's default, min(32, CPUs + 4).
    std::optional<int> threads = std::nullopt;
    /// What the threads are called: this, an underscore and a number; cut to the 15 bytes that the
    /// system shows. Copied. Null: "weft-pool-K", where K counts such pools.
    const char* name = nullptr;
    /// Bytes of stack for each; 0: as thread_stack_size() says when one is started.
    std::size_t stack_size = 0;
    /// Thread N runs on the CPU cpus[N % cpus.size()] and nowhere else, and without `threads` there
    /// is one for each. Copied. Empty: where the system wants.
    std::span<const int> cpus = {};
    /// How many extra threads there may be for functions that block, and how long one stays that
    /// has nothing to do. See work_options.
    int blocking_threads = 32;
    duration blocking_idle = std::chrono::seconds(10);
    /// When calls have waited for so long while no thread came to any, that is reported to the
    /// unhandled-error hook, as a timeout_error: all threads are busy, or block. Zero: it isn't.
    duration starving_after = duration::zero();
};

struct work_options {
    /// Who has been passed over 16 times by more urgent ones is next, so nobody waits for ever.
    task_priority priority = task_priority::normal;
    /// The function waits rather than computes: it gets an extra thread, so that it doesn't keep
    /// the pool's from computing, up to the pool's `blocking_threads`. Its priority means nothing.
    bool blocks = false;
};

struct thread_pool_statistics {
    unsigned threads = 0; // that exist
    unsigned idle = 0;
    unsigned blocking = 0; // extra threads
    std::size_t queued = 0;
    std::uint64_t begun = 0; // calls that had their turn, or have it
};

namespace detail {
class thread_pool_state;
template <class F, class... A>
class thread_call;
class thread_pool_shutdown_op;
} // namespace detail

class thread_pool {
public:
    explicit thread_pool(const thread_pool_options& options = {});
    /// Each thread calls `initialiser()` before anything else. If that throws, the pool is broken:
    /// what waits fails, and so does all that comes later, with broken_thread_pool.
    thread_pool(const thread_pool_options& options, std::function<void()> initialiser);
    /// Calls that wait fail; those that run are asked to stop and waited for, which blocks the
    /// calling thread. Await shutdown() before, where something may be running.
    ~thread_pool();
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;

    /// Calls `function(arguments...)` on a thread of the pool, once this is awaited. Both are moved
    /// or copied here.
    template <class F, class... A>
        requires(!std::is_same_v<std::decay_t<F>, work_options>)
    [[nodiscard]] auto call(F&& function, A&&... arguments) {
        return detail::thread_call<std::decay_t<F>, std::decay_t<A>...>(
            *state_, work_options(), std::forward<F>(function), std::forward<A>(arguments)...);
    }

    /// The same with options: pool.call({.blocks = true}, f, 1).
    template <class F, class... A>
    [[nodiscard]] auto call(const work_options& options, F&& function, A&&... arguments) {
        return detail::thread_call<std::decay_t<F>, std::decay_t<A>...>(
            *state_, options, std::forward<F>(function), std::forward<A>(arguments)...);
    }

    /// The same at once, whether or not anybody awaits it, for a future.
    template <class F, class... A>
        requires detail::callable_somehow<std::decay_t<F>, std::decay_t<A>...>
    [[nodiscard]] future<detail::thread_result_t<F, A...>> submit(F&& function, A&&... arguments) {
        return submit(work_options(), std::forward<F>(function), std::forward<A>(arguments)...);
    }
    template <class F, class... A>
        requires detail::callable_somehow<std::decay_t<F>, std::decay_t<A>...>
    [[nodiscard]] future<detail::thread_result_t<F, A...>> submit(const work_options& options,
                                                                  F&& function, A&&... arguments) {
        return detail::submit_to(*state_, &drops_, options.priority, options.blocks,
                                 std::forward<F>(function), std::forward<A>(arguments)...);
    }

    /// Takes no more calls, waits until the accepted ones are done and the threads have ended. If
    /// the wait is stopped, the pool goes on ending.
    [[nodiscard]] detail::thread_pool_shutdown_op shutdown() noexcept;
    /// The same with a choice of what becomes of futures that are pending, and of waiting. May be
    /// awaited again, and by several.
    [[nodiscard]] task<> shutdown(shutdown_options how);

    /// How many threads there may be.
    [[nodiscard]] unsigned size() const noexcept;
    /// A snapshot.
    [[nodiscard]] thread_pool_statistics statistics() const;

    /// For those who write executors.
    [[nodiscard]] detail::thread_pool_state& state() noexcept { return *state_; }

private:
    std::atomic<bool> drops_{false}; // futures that are pending are to be cancelled at their turn
    std::unique_ptr<detail::thread_pool_state> state_;
};

static_assert(executor<thread_pool>);

// -------------------------------------------------------------------------------------------------

namespace detail {

/// A call that waits or runs, whatever it is of.
class thread_call_base : public operation, private pool_work {
public:
    thread_call_base(thread_call_base&& other) noexcept;
    thread_call_base& operator=(thread_call_base&&) = delete;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }

protected:
    using call_function = void (*)(thread_call_base&) noexcept;

    thread_call_base(thread_pool_state& pool, const work_options& o, call_function f) noexcept;
    ~thread_call_base() = default;

    std::exception_ptr error_;
    std::optional<std::stop_source> stop_; // of functions that take a token

private:
    std::optional<travelling_setting> setting_; // of who awaits it, once that begins

    struct homecoming : work {
        explicit homecoming(thread_call_base& c) noexcept;
        thread_call_base& call;
    };

    void start() noexcept;
    static void take_turn(pool_work& w, pool_turn turn) noexcept;
    [[nodiscard]] bool given_up() const noexcept;
    static void cancel_call(operation& op) noexcept;
    static const operation_type kind;

    thread_pool_state& pool_;
    call_function call_;
    homecoming homecoming_;
    std::atomic<bool> cancelled_{false};
};

template <class F, class... A>
class [[nodiscard]] thread_call : public thread_call_base {
    static_assert(std::is_invocable_v<F, A...> || wants_stop_token<F, A...>,
                  "the function can't be called with these arguments");
    static constexpr bool with_token = wants_stop_token<F, A...>;
    using result_type = typename thread_result<F, A...>::type;

public:
    template <class G, class... As>
    thread_call(thread_pool_state& pool, const work_options& o, G&& function, As&&... arguments)
        : thread_call_base(pool, o, run), function_(std::forward<G>(function)),
          arguments_(std::forward<As>(arguments)...) {
        if constexpr (with_token)
            stop_.emplace();
    }
    thread_call(thread_call&&) = default;
    thread_call& operator=(thread_call&&) = delete;
    ~thread_call() = default;

    result_type await_resume() {
        if (error_)
            std::rethrow_exception(std::move(error_));
        return result_.value.take();
    }

private:
    static void run(thread_call_base& base) noexcept {
        auto& self = static_cast<thread_call&>(base);
        try {
            auto call = [&self](A&... arguments) -> result_type {
                if constexpr (with_token)
                    return std::invoke(std::move(self.function_), self.stop_->get_token(),
                                       std::move(arguments)...);
                else
                    return std::invoke(std::move(self.function_), std::move(arguments)...);
            };
            if constexpr (std::is_void_v<result_type>)
                std::apply(call, self.arguments_);
            else
                self.result_.value.set_value(std::apply(call, self.arguments_));
        } catch (...) {
            self.error_ = std::current_exception();
        }
    }

    // Empty as long as the call may be moved.
    struct result_place {
        result_place() noexcept = default;
        result_place(result_place&&) noexcept {}
        result_place& operator=(result_place&&) = delete;
        ~result_place() = default;
        outcome<result_type> value;
    };

    F function_;
    std::tuple<A...> arguments_;
    result_place result_;
};

class [[nodiscard]] thread_pool_shutdown_op : public operation {
public:
    explicit thread_pool_shutdown_op(thread_pool_state& pool) noexcept;
    thread_pool_shutdown_op(thread_pool_shutdown_op&& other) noexcept;
    thread_pool_shutdown_op& operator=(thread_pool_shutdown_op&&) = delete;
    ~thread_pool_shutdown_op() = default;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }
    void await_resume() noexcept;

private:
    friend class thread_pool_state;
    void start() noexcept;
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;

    thread_pool_state& pool_;
    thread_pool_shutdown_op* next_ = nullptr;
};

} // namespace detail
} // namespace weft
