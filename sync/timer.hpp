// SPDX-License-Identifier: MIT
// Runs a function when some time is over, once or again and again, unless it is cancelled before.
//
//     weft::task<> watch(weft::task<> (*work)()) {
//         weft::timer warn(std::chrono::seconds(5), [] { fmt::print("still working\n"); });
//         warn.start();
//         co_await work();
//         warn.cancel();
//     }
//     weft::timer heartbeat(std::chrono::seconds(1), [] { fmt::print("tick\n"); },
//                           {.repeats = true});
//
// The function, or coroutine, runs as a task of its own on the loop that the timer was started on.
// One that repeats does so at multiples of its time from the start; those that pass while the
// function runs are left out.
//
// Threads:      all members, from any thread. start() on a thread that runs a loop; start_on() from
//               any.
// Cancellation: cancel() keeps a function from running that hasn't begun, and from running again;
//               one that runs goes on. Destroying a timer cancels it. A loop that ends stops its
//               timers. A stopped join disturbs nobody.
// Errors:       start throws state_error if it was started before, or the thread runs no loop; join
//               throws it before the start. std::invalid_argument for one that repeats without time
//               in between. What the function throws goes to the unhandled-error hook, and one that
//               repeats goes on. std::bad_alloc from the constructor, and from start, after which
//               the timer is over.
// Cost:         a record, and a task while it waits. Never early.
// Source:       meaning after Python's threading.Timer; repeating after asyncio's periodic calls.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/sync/event.hpp>

#include <concepts>

namespace weft {

struct timer_options {
    bool repeats = false;
    /// What its task is called in dumps; must live as long as the timer (a literal does).
    const char* name = "timer";
};

namespace detail {

class timer_hold;

// What the timer and its task share: counted by both.
class timer_record : public recycled {
public:
    timer_record(duration every, const timer_options& options);
    timer_record(const timer_record&) = delete;
    timer_record& operator=(const timer_record&) = delete;
    virtual ~timer_record() = default;

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        // acq_rel: whoever is last sees what the other one did.
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete this;
    }

    void start(loop* there);
    bool cancel() noexcept;
    [[nodiscard]] bool started() const noexcept { return started_.load(); }
    [[nodiscard]] bool running() const noexcept { return state_.load() == state::runs; }
    [[nodiscard]] event& ended() noexcept { return ended_; }

private:
    friend timer_hold;
    enum class state : std::uint8_t { waits, runs, over };

    virtual task<> call() = 0;
    static task<> run(timer_hold self, time_point next);
    static void spawn_here(timer_hold self, time_point first);
    bool begin() noexcept;
    bool again() noexcept;
    [[nodiscard]] time_point after(time_point last) const noexcept;

    std::atomic<std::uint32_t> references_{1};
    std::atomic<bool> started_{false};
    std::atomic<bool> cancelled_{false};
    std::atomic<state> state_{state::waits}; // who takes it out of waits decides
    event cancel_;
    event ended_;
    duration every_;
    timer_options options_;
};

/// Holds a record. Its end is the end of the timer's task, however that comes.
class timer_hold {
public:
    explicit timer_hold(timer_record& r) noexcept : it_(&r) { r.retain(); }
    timer_hold(timer_hold&& other) noexcept : it_(std::exchange(other.it_, nullptr)) {}
    timer_hold& operator=(timer_hold&&) = delete;
    ~timer_hold() {
        if (it_ != nullptr) {
            it_->state_.store(timer_record::state::over);
            it_->ended_.set();
            it_->release();
        }
    }
    timer_record* operator->() const noexcept { return it_; }

private:
    timer_record* it_;
};

template <class F>
class timer_call final : public timer_record {
public:
    timer_call(duration every, const timer_options& options, F f)
        : timer_record(every, options), function_(std::move(f)) {}

private:
    task<> call() override {
        if constexpr (awaitable<std::invoke_result_t<F&>>) {
            auto work = function_();
            co_await std::move(work);
        } else {
            function_();
            co_return;
        }
    }
    F function_;
};

} // namespace detail

class timer {
public:
    using join_op = event::wait_op;
    using timed_join_op = event::timed_wait_op;

    /// Runs `f()` when `d` is over, counted from the start.
    template <class Rep, class Period, std::invocable F>
    timer(std::chrono::duration<Rep, Period> d, F f, const timer_options& options = {})
        : record_(new detail::timer_call<F>(saturate(d), options, std::move(f))) {}
    timer(timer&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
    timer& operator=(timer&& other) noexcept {
        timer taken(std::move(other));
        std::swap(record_, taken.record_);
        return *this;
    }
    ~timer() {
        if (record_ != nullptr) {
            record_->cancel();
            record_->release();
        }
    }

    /// Starts it on the loop that this thread runs.
    void start() { record_->start(nullptr); }
    /// Starts it on a loop that runs, or will.
    void start_on(loop& there) { record_->start(&there); }
    /// From now on the function doesn't begin any more. Gives whether that changed anything: false
    /// if it has run already, or runs for the only time, or was cancelled before.
    bool cancel() noexcept { return record_->cancel(); }

    /// Waits until it is over: has run, or was cancelled.
    [[nodiscard]] join_op join() const {
        require_start();
        return record_->ended().wait();
    }
    /// With a deadline. Gives whether it is over.
    [[nodiscard]] timed_join_op join_until(time_point deadline) const {
        require_start();
        return record_->ended().wait_until(deadline);
    }
    template <class Rep, class Period>
    [[nodiscard]] timed_join_op join_for(std::chrono::duration<Rep, Period> d) const {
        require_start();
        return record_->ended().wait_for(d);
    }

    // Snapshots.
    /// Whether it was started and isn't over.
    [[nodiscard]] bool alive() const noexcept {
        return record_->started() && !record_->ended().is_set();
    }
    /// Whether the function runs now.
    [[nodiscard]] bool running() const noexcept { return record_->running(); }

private:
    void require_start() const;

    detail::timer_record* record_;
};

} // namespace weft
