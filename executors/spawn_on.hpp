// SPDX-License-Identifier: MIT
// Runs a task on a loop, asked for from any thread, which gets a future for it.
//
//     weft::task<int> ask(int question) { co_return question + 1; }
//
//     int in_another_thread(weft::runtime& rt) {
//         weft::future<int> answer = weft::spawn_on(rt, ask(41));     // on its first loop
//         return answer.get();                                        // blocks this thread
//     }
//
// Threads:      any. The task runs on the loop from beginning to end.
// Cancellation: cancel() of the future ends it at once and stops the task, which unwinds on its
//               loop in its own time; request_stop() stops the task, and the future ends with it.
//               A loop that ends stops the task, and the future is cancelled.
// Errors:       what the task throws; if the future was cancelled before, that goes to the
//               unhandled-error hook. state_error if the runtime was closed, or, from the future,
//               if the loop was ending.
// Cost:         one record from the recycler, and a post to the loop.
// Source:       asyncio.run_coroutine_threadsafe.
#pragma once
#include <weft/executors/future.hpp>
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/runtime.hpp>

#include <atomic>
#include <exception>
#include <source_location>
#include <utility>

namespace weft {

namespace detail {

/// A task that is on its way to a loop, or there. Holds the record that it is part of until the
/// loop has no more to do with it.
class remote_task : public branch {
public:
    remote_task(future_record& of, loop& there, end_function f, std::source_location at) noexcept;

    [[nodiscard]] work& on_its_way() noexcept { return start_; }
    /// From any thread, as often as one likes.
    void stop() noexcept;

protected:
    ~remote_task() = default;
    /// The task has ended, and its future knows.
    void leave() noexcept;

private:
    struct message : work {
        message(function f, remote_task& t) noexcept : work(f), of(t) {}
        remote_task& of;
    };
    static void arrive(work& w) noexcept;
    static void stop_there(work& w) noexcept;
    void refuse() noexcept;
    void forget() noexcept;

    future_record& of_;
    loop& there_;
    message start_, stop_;
    std::atomic<int> state_{0}; // 1: a stop was sent, 2: the task has ended without one
    bool stop_arrived_ = false; // the loop's thread, as the next
    bool ended_ = false;
};

/// For the end of a task whose future was cancelled: its error is nobody's.
void report_late_error(std::exception_ptr e, std::source_location spawned_at) noexcept;

template <class T>
class remote_future final : public future_record_of<T>, public remote_task {
public:
    remote_future(loop& there, task<T> t, std::source_location at) noexcept
        : remote_task(*this, there, ended, at) {
        adopt<T>(t.release());
    }

private:
    void withdraw() noexcept override { stop(); }
    void ask_to_stop() noexcept override { stop(); }

    static bool ended(continuation& c, ending e) noexcept {
        auto& self =
            static_cast<remote_future&>(static_cast<remote_task&>(static_cast<branch&>(c)));
        std::exception_ptr error;
        if (e == ending::stopped) {
            self.core.cancel();
        } else if (self.core.claim() == future_phase::pending) {
            self.finish();
        } else {
            error = self.template result_of<T>().error();
        }
        self.frame_is_done();
        if (error)
            report_late_error(std::move(error), self.spawned_at);
        self.leave();
        return false;
    }
    void finish() noexcept {
        outcome<T>& from = this->template result_of<T>();
        if (from.failed()) {
            this->finish_error(from.take_error());
            return;
        }
        try {
            if constexpr (!std::is_void_v<T>)
                this->value.set_value(from.take());
        } catch (...) { // its move constructor
            this->finish_error(std::current_exception());
            return;
        }
        this->finish_value();
    }
    void frame_is_done() noexcept {
        if (child)
            std::exchange(child, nullptr).destroy();
    }
};

} // namespace detail

/// Starts something on a loop that runs, or will. Precondition: the loop is there until it ran.
template <awaitable A>
future<task_result_t<A>> spawn_on(loop& there, A a,
                                  std::source_location at = std::source_location::current()) {
    using T = task_result_t<A>;
    auto* record = new detail::remote_future<T>(there, weft::as_task(std::move(a)), at);
    auto f = future<T>::of(detail::future_hold::first_of(*record));
    there.post(record->on_its_way());
    return f;
}

/// The same on a runtime's first loop.
template <awaitable A>
future<task_result_t<A>> spawn_on(runtime& rt, A a,
                                  std::source_location at = std::source_location::current()) {
    runtime::entry open(rt); // or throws
    return weft::spawn_on(rt.get_loop(0), std::move(a), at);
}

} // namespace weft
