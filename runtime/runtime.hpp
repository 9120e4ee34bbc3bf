// SPDX-License-Identifier: MIT
// Makes loops and runs a program's main task on them.
//
//     weft::task<int> program() {
//         co_await weft::sleep_for(std::chrono::milliseconds(1));
//         co_return 0;
//     }
//     int start() { return weft::run(program()); }
//
//     weft::task<> on_two_cores(weft::runtime& rt, weft::task<int> a, weft::task<int> b) {
//         co_await weft::when_all(weft::on(rt.get_loop(0), std::move(a)),
//                                 weft::on(rt.get_loop(1), std::move(b)));
//     }
//
// Threads:      the thread that makes a runtime runs its first loop, within run(); each further
//               loop has a thread.
// Cancellation: when the main task has ended, everything that is still there is stopped and
//               awaited. What a shield holds is stopped too after a second.
// Errors:       run throws what the main task threw, cancelled_error if it was stopped,
//               interrupted_error if a signal did that. unavailable_error if there is no io_uring,
//               std::system_error if there is no memory for it. state_error: run within a running
//               loop, on another thread than the runtime's, or in a child of a fork; run and post
//               after close.
// Cost:         a ring for each loop: about 26 microseconds and 100 KiB.
// Source:       asyncio.run and asyncio.Runner.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/deferred.hpp>
#include <weft/runtime/loop.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace weft {

class signal_set;

struct runtime_options {
    /// How many loops, each with a thread; the first runs on the caller's.
    unsigned loops = 1;
    /// Entries of each submission queue, one at least; the kernel gives 32768 at most.
    unsigned ring_entries = 256;
    /// The buffers each loop lends for receiving.
    std::uint32_t lent_buffer_size = 16 * 1024;
    std::uint32_t lent_buffers = 64;
    /// Null: the kernel that the program runs on.
    const weft::kernel* kernel = nullptr;
    kernel_feature features = kernel_feature::all;
    /// During run, the first SIGINT stops the main task; if that ends it, run throws
    /// interrupted_error. From then on the signal has its former effect: a second one ends the
    /// program. Threads that weft didn't start must block it, or it may strike there.
    bool handle_interrupt = false;
};

namespace detail {

// The root of what run() and sync_wait() run.
struct main_branch : branch {
    main_branch() noexcept : branch(nullptr) { name = "main"; }
    template <class T>
    void set(task<T> t) noexcept {
        on_end = ended;
        adopt<T>(t.release());
    }
    static bool ended(continuation& c, ending) noexcept {
        static_cast<main_branch&>(c).done = true;
        return false;
    }
    bool done = false;
};

} // namespace detail

class runtime {
public:
    explicit runtime(const runtime_options& options = {});
    /// Stops what still runs on the loops and waits for it.
    ~runtime();
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    /// Runs a task on the first loop until it ends, then what it left behind. May be called again.
    template <class T>
    T run(task<T> main) {
        detail::main_branch b;
        b.set<T>(std::move(main));
        run_branch(b);
        return b.result_of<T>().take();
    }

    /// Stops the main task, from any thread; if that ends it, run throws interrupted_error with
    /// this signal's number. Does nothing while no task is run.
    void request_stop(int signal) noexcept;

    /// Runs `f()` on the first loop, from any thread. What is posted while nothing runs waits for
    /// the next run, or for close().
    template <std::invocable F>
    void post(F f) {
        entry open(*this);
        get_loop(0).post(std::move(f));
    }

    /// Ends all loops, with what still runs on them: for good, and on the thread that made it. What
    /// is posted meanwhile runs or is refused. The destructor does it, too.
    void close();
    [[nodiscard]] bool closed() const noexcept { return closed_.load(); }
    /// While there is one, close() waits: for a moment in which something is handed to a loop.
    /// Throws state_error if it is closed.
    class [[nodiscard]] entry {
    public:
        explicit entry(runtime& r);
        entry(const entry&) = delete;
        entry& operator=(const entry&) = delete;
        ~entry() { in_.entries_.fetch_sub(1); }

    private:
        runtime& in_;
    };

    [[nodiscard]] std::size_t loops() const noexcept { return loops_.size(); }
    [[nodiscard]] loop& get_loop(std::size_t i) noexcept { return *loops_[i]; }

private:
    struct helper;
    // The request to stop on its way to the first loop: there is never more than one.
    struct stop_message : detail::work {
        explicit stop_message(runtime& r) noexcept : work(arrived), of(r) {}
        static void arrived(work& w) noexcept;
        runtime& of;
        std::atomic<bool> sent{false};
    };
    void run_branch(detail::main_branch& b);
    task<> stop_on_interrupt(std::optional<signal_set>& interrupts);
    void end_helpers() noexcept;
    void end_loops() noexcept;

    runtime_options options_;
    std::vector<std::unique_ptr<loop>> loops_;
    std::vector<std::unique_ptr<helper>> helpers_;
    const void* owner_ = nullptr;         // the thread that made it
    detail::main_branch* main_ = nullptr; // while it runs; for the first loop's thread
    std::atomic<int> interrupted_by_{0};
    stop_message stop_{*this};
    std::optional<context> variables_; // from one run to the next
    std::atomic<bool> closed_{false};  // with entries_: each sees the other's change, or is seen
    std::atomic<unsigned> entries_{0};
};

/// Runs a program on a runtime of its own.
template <class T>
T run(task<T> main, const runtime_options& options = {}) {
    runtime r(options);
    return r.run(std::move(main));
}

/// The same for anything else that can be awaited.
template <awaitable A>
    requires(!detail::is_task<std::remove_cvref_t<A>>)
task_result_t<A> run(A main, const runtime_options& options = {}) {
    return weft::run(weft::as_task(std::move(main)), options);
}

namespace detail {

// Runs a branch on another loop and comes back with its end.
class on_scope : public operation {
protected:
    explicit on_scope(loop& there) noexcept;
    ~on_scope() = default;

    struct body : branch {
        explicit body(on_scope& s) noexcept : branch(ended), scope(s) {}
        static bool ended(continuation& c, ending e) noexcept;
        on_scope& scope;
    };
    struct message : work {
        message(function f, on_scope& s) noexcept : work(f), scope(s) {}
        on_scope& scope;
    };

    void start() noexcept;

    body body_;

private:
    void leave() noexcept;
    static void arrive(work& w) noexcept;
    static void stop_there(work& w) noexcept;
    static void back_home(work& w) noexcept;
    static void cancel_on(operation& op) noexcept;
    static const operation_type kind;

    loop& there_;
    message start_, stop_, back_;
    bool stop_sent_ = false;    // home thread
    std::atomic<int> state_{0}; // 1: a stop was sent, 2: the body has ended without one
    bool stop_arrived_ = false; // the other loop's thread
    bool ended_ = false;
    bool stopped_ = false;
};

template <class T>
class [[nodiscard]] on_op : public on_scope {
public:
    on_op(loop& there, task<T> t) noexcept : on_scope(there) { body_.adopt<T>(t.release()); }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }
    T await_resume() { return body_.template result_of<T>().take(); }
};

} // namespace detail

/// Runs an awaitable on another loop; the awaiting task goes on at home with its result. A stop is
/// passed on.
template <awaitable A>
[[nodiscard]] auto on(loop& there, A a) {
    using T = task_result_t<A>;
    return detail::deferred<detail::on_op<T>, std::reference_wrapper<loop>, task<T>>(
        std::ref(there), weft::as_task(std::move(a)));
}

} // namespace weft
