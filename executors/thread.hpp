// SPDX-License-Identifier: MIT
// A thread as a thing that is made, started, asked and waited for: by tasks, and by other threads.
//
//     weft::task<> watch(std::string file, int (*copy)(std::stop_token, std::string)) {
//         weft::thread copies({.name = "copier"}, copy, std::move(file));
//         copies.start();
//         bool ended = co_await copies.join_for(std::chrono::minutes(1));
//         if (!ended)
//             copies.request_stop();
//         co_await copies.join();
//         fmt::print("{} is {}\n", copies.name(), copies.alive() ? "alive" : "done");
//     }
//
// For work that comes in pieces a thread_pool is the right thing; this is for a thread that does
// one thing for long. Copies of a handle mean the same thread; a thread whose handles are gone goes
// on. The function may be a coroutine, which runs on a loop of the thread's own.
//
// The end of the program (return from main, std::exit) waits for all threads but daemons. Those are
// asked to stop, and abandoned a second later: the process ends with them, without their clean-up.
//
// Threads:      all members, from any. Signals that are sent to the process don't reach threads
//               made here.
// Cancellation: request_stop() asks the function through its std::stop_token, if it takes one, and
//               stops a coroutine. Nothing else stops a thread. A stopped join disturbs nobody.
// Errors:       what the function throws goes to the unhandled-error hook, with the thread's name;
//               cancelled_error, which says that it was stopped, doesn't. state_error: started
//               twice; joined before the start, or by itself, or a thread that was not made here.
//               std::system_error if no thread can be started; then it may be tried again.
// Cost:         a record, and a thread.
// Source:       Python's threading.Thread.
#pragma once
#include <weft/executors/detail/invocation.hpp>
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/context.hpp>
#include <weft/sync/event.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace weft {

struct thread_options {
    /// Copied. Null: "Thread-N", where N grows.
    const char* name = nullptr;
    /// Whether the end of the program doesn't wait for it. Nothing: as the thread that makes it.
    std::optional<bool> daemon = std::nullopt;
    /// Bytes; 0: as thread_stack_size() says when it is started.
    std::size_t stack_size = 0;
    /// The variables that it begins with, copied. Null: those of who starts it.
    const weft::context* context = nullptr;
};

/// Tells threads from each other while they live; may be used again later. Never 0.
enum class thread_id : std::uintptr_t {};

namespace detail {

class thread_record;
void retain_thread(thread_record& r) noexcept;
void release_thread(thread_record& r) noexcept;

/// A counted handle of a record.
class thread_hold {
public:
    thread_hold() noexcept = default;
    explicit thread_hold(thread_record& r) noexcept : it_(&r) { retain_thread(r); }
    thread_hold(const thread_hold& other) noexcept : it_(other.it_) {
        if (it_ != nullptr)
            retain_thread(*it_);
    }
    thread_hold(thread_hold&& other) noexcept : it_(std::exchange(other.it_, nullptr)) {}
    thread_hold& operator=(thread_hold other) noexcept {
        std::swap(it_, other.it_);
        return *this;
    }
    ~thread_hold() {
        if (it_ != nullptr)
            release_thread(*it_);
    }
    [[nodiscard]] thread_record* get() const noexcept { return it_; }
    thread_record* operator->() const noexcept { return it_; }

private:
    thread_record* it_ = nullptr;
};

/// What a thread runs.
class thread_body {
public:
    thread_body() noexcept = default;
    thread_body(const thread_body&) = delete;
    thread_body& operator=(const thread_body&) = delete;
    virtual ~thread_body() = default;
    virtual void run(std::stop_token stop) = 0;
};

/// Runs a thread's coroutine on the thread.
void run_thread_task(std::stop_token stop, task<> t);
template <class T>
task<> without_result(task<T> t) {
    static_cast<void>(co_await std::move(t));
}
inline task<> without_result(task<void> t) noexcept { return t; }

template <class F, class... A>
class thread_body_of final : public thread_body {
public:
    template <class G, class... As>
    explicit thread_body_of(G&& g, As&&... as)
        : function_(std::forward<G>(g)), arguments_(std::forward<As>(as)...) {}

private:
    using result = typename thread_result<F, A...>::type;
    void run(std::stop_token stop) override {
        auto call = [&](A&... a) -> result {
            if constexpr (wants_stop_token<F, A...>)
                return std::invoke(std::move(function_), stop, std::move(a)...);
            else
                return std::invoke(std::move(function_), std::move(a)...);
        };
        if constexpr (awaitable<result>)
            run_thread_task(stop, without_result(weft::as_task(std::apply(call, arguments_))));
        else
            static_cast<void>(std::apply(call, arguments_));
    }
    F function_;
    std::tuple<A...> arguments_;
};

/// Waits for the end of a thread.
class [[nodiscard]] thread_join_op : public event::wait_op {
public:
    explicit thread_join_op(thread_hold t);
    void await_resume() const noexcept;

private:
    thread_hold of_;
};
class [[nodiscard]] timed_thread_join_op : public event::timed_wait_op {
public:
    timed_thread_join_op(wait_limit limit, thread_hold t);
    bool await_resume();

private:
    thread_hold of_;
};

} // namespace detail

class thread {
public:
    /// None.
    thread() noexcept = default;
    /// A thread that will run `f(args...)`, or `f(stop_token, args...)`, once it is started. Both
    /// are copied or moved here, and destroyed on the thread when the function has ended.
    template <class F, class... A>
        requires detail::callable_somehow<std::decay_t<F>, std::decay_t<A>...>
    explicit thread(F&& f, A&&... args)
        : thread(thread_options(), std::forward<F>(f), std::forward<A>(args)...) {}
    template <class F, class... A>
        requires detail::callable_somehow<std::decay_t<F>, std::decay_t<A>...>
    thread(const thread_options& options, F&& f, A&&... args)
        : thread(options, new detail::thread_body_of<std::decay_t<F>, std::decay_t<A>...>(
                              std::forward<F>(f), std::forward<A>(args)...)) {}

    explicit operator bool() const noexcept { return of_.get() != nullptr; }

    /// Starts it, and returns when it runs.
    void start() const;
    /// Asks it to stop; before the start, too.
    void request_stop() const noexcept;
    [[nodiscard]] std::stop_token get_stop_token() const noexcept;

    /// Waits until the thread has ended, with the destructors of its thread-local variables. A
    /// plain thread blocks in sync_wait(t.join()).
    [[nodiscard]] detail::thread_join_op join() const { return detail::thread_join_op(of_); }
    /// With a deadline. Gives whether it has ended.
    [[nodiscard]] detail::timed_thread_join_op join_until(time_point deadline) const {
        return detail::timed_thread_join_op(detail::wait_limit::at(deadline), of_);
    }
    template <class Rep, class Period>
    [[nodiscard]] detail::timed_thread_join_op
    join_for(std::chrono::duration<Rep, Period> d) const {
        return detail::timed_thread_join_op(detail::wait_limit::in(d), of_);
    }

    [[nodiscard]] std::string name() const;
    /// Also what the system shows, cut to 15 bytes.
    void set_name(std::string_view name) const;
    /// None before the start; stays after the end.
    [[nodiscard]] std::optional<thread_id> ident() const noexcept;
    /// The kernel's number for it. None before the start.
    [[nodiscard]] std::optional<int> native_id() const noexcept;
    /// Whether it has been started and hasn't ended.
    [[nodiscard]] bool alive() const noexcept;
    /// As of a process: none before the end, then 0, or 1 after an error.
    [[nodiscard]] std::optional<int> exit_code() const noexcept;
    [[nodiscard]] bool daemon() const noexcept;
    /// Throws state_error after the start.
    void set_daemon(bool on) const;

    friend bool operator==(const thread& a, const thread& b) noexcept {
        return a.of_.get() == b.of_.get();
    }

private:
    friend thread current_thread();
    friend thread main_thread();
    friend std::vector<thread> threads();
    thread(const thread_options& options, detail::thread_body* body);
    explicit thread(detail::thread_hold h) noexcept : of_(std::move(h)) {}
    detail::thread_hold of_;
};

/// Starts a daemon that nobody needs to wait for.
template <class F, class... A>
    requires detail::callable_somehow<std::decay_t<F>, std::decay_t<A>...>
thread start_thread(F&& f, A&&... args) {
    thread t({.daemon = true}, std::forward<F>(f), std::forward<A>(args)...);
    t.start();
    return t;
}

/// The calling thread. One that was not made here gets a stand-in, which can't be joined and counts
/// as a daemon (the main thread doesn't).
[[nodiscard]] thread current_thread();
/// The thread that the program began on.
[[nodiscard]] thread main_thread();
/// Those that are alive: the main thread, those that were made here, and of others those that have
/// asked for current_thread(). A snapshot.
[[nodiscard]] std::vector<thread> threads();

/// Bytes of stack for threads that are started later and don't say it themselves; 0: the system's
/// default.
[[nodiscard]] std::size_t thread_stack_size() noexcept;
/// Sets it and gives what it was. Throws std::invalid_argument for less than 32 KiB (but 0), and
/// then nothing changes.
std::size_t set_thread_stack_size(std::size_t bytes);

/// As if the signal had come to the main thread. Does nothing if it is ignored; throws
/// std::invalid_argument if there is no such signal.
void interrupt_main(int signal = 2 /* SIGINT */);

} // namespace weft
