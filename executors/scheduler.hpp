// SPDX-License-Identifier: MIT
// A list of actions with a time and a priority each, that a task runs one after the other when
// their time has come.
//
//     weft::task<> day(weft::task<> (*feed)()) {
//         weft::scheduler<> s;
//         auto alarm = s.enter_after(std::chrono::hours(8), 1, [] { fmt::print("wake up\n"); });
//         s.enter_every(std::chrono::hours(6), 2, feed);          // function or coroutine
//         s.enter_after(std::chrono::hours(24), 0, [&] { s.clear(); });
//         if (std::rand() % 7 == 0)
//             s.cancel(alarm);
//         co_await s.run();                                       // until nothing is left
//     }
//
// What is due at the same time runs in the order of its priority (lower first), then of entry.
// Actions may enter and cancel others, and take their time: what comes late runs nevertheless.
//
// The time is that of any clock: an object with time_point, duration and now(), that may say with
// delay(duration) how to let time pass (a function, or something to await); if it doesn't, its time
// is taken to go as fast as the loop's.
//
// Threads:      all members, from any; run and run_pending by one task at a time. Actions run as
//               part of the task that awaits run.
// Cancellation: a stop of run unwinds the action that runs; what waits stays, and run can be called
//               again.
// Errors:       what an action throws comes out of run, and the rest stays. state_error from run
//               while another task runs the same scheduler. std::invalid_argument for an interval
//               without time in it. std::bad_alloc.
// Cost:         O(log n) and three allocations to enter an action.
// Source:       Python's sched; unlike there a run that sleeps notices at once what is entered.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/time.hpp>
#include <weft/sync/event.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace weft {

template <class C>
concept scheduler_clock = requires(C& c) {
    typename C::time_point;
    typename C::duration;
    { c.now() } -> std::convertible_to<typename C::time_point>;
};

/// The time of the loop that looks at it.
struct loop_clock {
    using time_point = weft::time_point;
    using duration = weft::duration;
    static time_point now() noexcept { return weft::now(); }
};

/// Names an action of one scheduler; never given twice.
enum class event_id : std::uint64_t {};

namespace detail {

class scheduled_action : public recycled {
public:
    scheduled_action() noexcept = default;
    scheduled_action(const scheduled_action&) = delete;
    scheduled_action& operator=(const scheduled_action&) = delete;
    virtual ~scheduled_action() = default;
    virtual task<> call() = 0;
};

template <class F, class... A>
class scheduled_call final : public scheduled_action {
public:
    template <class G, class... As>
    explicit scheduled_call(G&& g, As&&... as)
        : function_(std::forward<G>(g)), arguments_(std::forward<As>(as)...) {}

private:
    // Called again and again where it repeats, so nothing is moved out.
    task<> call() override {
        if constexpr (awaitable<std::invoke_result_t<F&, A&...>>) {
            auto work = std::apply(function_, arguments_);
            co_await std::move(work);
        } else {
            std::apply(function_, arguments_);
            co_return;
        }
    }
    F function_;
    std::tuple<A...> arguments_;
};

/// All of a scheduler but its clock; times are nanoseconds of that.
class scheduler_core {
public:
    struct pending {
        std::int64_t when;
        int priority;
        std::uint64_t id;
        std::int64_t every;
    };

    scheduler_core();
    scheduler_core(const scheduler_core&) = delete;
    scheduler_core& operator=(const scheduler_core&) = delete;

    std::uint64_t enter(std::int64_t when, int priority, std::int64_t every,
                        std::unique_ptr<scheduled_action> a);
    bool cancel(std::uint64_t id) noexcept;
    void clear() noexcept;
    [[nodiscard]] bool empty() const noexcept;
    [[nodiscard]] std::vector<pending> queue() const;
    task<> run();
    task<std::optional<std::int64_t>> run_pending();

protected:
    ~scheduler_core();
    [[nodiscard]] virtual std::int64_t now_ns() = 0;
    /// Lets that much time pass, or less if something earlier may have been entered.
    virtual task<> delay_ns(std::int64_t d);
    event& changed() noexcept { return changed_; }

private:
    struct state;
    class turn;
    task<std::optional<std::int64_t>> run_due();
    std::unique_ptr<state> state_;
    event changed_; // the first of the list isn't what it was
};

task<> delay_or_change(task<> delay, event& changed);

} // namespace detail

template <scheduler_clock Clock = loop_clock>
class scheduler final : private detail::scheduler_core {
public:
    using time_point = typename Clock::time_point;
    using duration = typename Clock::duration;

    /// An action that waits.
    struct entry {
        event_id id;
        time_point when;
        int priority;
        duration every; // zero: it doesn't repeat
    };

    explicit scheduler(Clock c = Clock()) : clock_(std::move(c)) {}

    /// Has `f(arguments...)` called at `when`, or awaited if it gives something to await.
    template <class F, class... A>
        requires std::invocable<F&, A&...>
    event_id enter_at(time_point when, int priority, F f, A... arguments) {
        return enter_ns(ns(when.time_since_epoch()), priority, 0, std::move(f),
                        std::move(arguments)...);
    }
    /// The same, counted from now.
    template <class Rep, class Period, class F, class... A>
        requires std::invocable<F&, A&...>
    event_id enter_after(std::chrono::duration<Rep, Period> d, int priority, F f, A... arguments) {
        return enter_ns(later(ns(d)), priority, 0, std::move(f), std::move(arguments)...);
    }
    /// At every multiple of `d` from now, until it is cancelled; those that pass while it waits for
    /// its turn, or runs, are left out. An error doesn't end it.
    template <class Rep, class Period, class F, class... A>
        requires std::invocable<F&, A&...>
    event_id enter_every(std::chrono::duration<Rep, Period> d, int priority, F f, A... arguments) {
        return enter_ns(later(ns(d)), priority, every(ns(d)), std::move(f),
                        std::move(arguments)...);
    }
    /// Takes exactly this action out. False: it has run, or runs for the only time, or was
    /// cancelled.
    bool cancel(event_id id) noexcept {
        return scheduler_core::cancel(static_cast<std::uint64_t>(id));
    }
    /// Takes all out.
    void clear() noexcept { scheduler_core::clear(); }

    /// Runs the actions, each when its time has come, until none is left. Lets others run after
    /// each.
    [[nodiscard]] task<> run() { return scheduler_core::run(); }
    /// Runs those that are due, and gives the time that is left to the next one; nothing if there
    /// is none.
    [[nodiscard]] task<std::optional<duration>> run_pending() {
        std::optional<std::int64_t> left = co_await scheduler_core::run_pending();
        if (!left)
            co_return std::nullopt;
        co_return of_ns(*left);
    }

    // Snapshots.
    [[nodiscard]] bool empty() const noexcept { return scheduler_core::empty(); }
    /// What waits, in the order in which it will run.
    [[nodiscard]] std::vector<entry> queue() const {
        std::vector<entry> all;
        for (const pending& p : scheduler_core::queue())
            all.push_back({static_cast<event_id>(p.id), time_point(of_ns(p.when)), p.priority,
                           of_ns(p.every)});
        return all;
    }
    [[nodiscard]] Clock& clock() noexcept { return clock_; }

private:
    template <class Rep, class Period>
    static std::int64_t ns(std::chrono::duration<Rep, Period> d) noexcept {
        return saturate(d).count();
    }
    static duration of_ns(std::int64_t n) noexcept {
        return std::chrono::duration_cast<duration>(std::chrono::nanoseconds(n));
    }
    std::int64_t later(std::int64_t d) {
        return saturated_sum(weft::time_point(weft::duration(now_ns())), weft::duration(d))
            .time_since_epoch()
            .count();
    }
    static std::int64_t every(std::int64_t d) noexcept { return d > 0 ? d : -1; }
    template <class F, class... A>
    event_id enter_ns(std::int64_t when, int priority, std::int64_t every, F f, A... arguments) {
        auto a = std::make_unique<detail::scheduled_call<F, A...>>(std::move(f),
                                                                   std::move(arguments)...);
        return static_cast<event_id>(scheduler_core::enter(when, priority, every, std::move(a)));
    }
    std::int64_t now_ns() override { return ns(time_point(clock_.now()).time_since_epoch()); }
    task<> delay_ns(std::int64_t d) override {
        if constexpr (requires {
                          { clock_.delay(of_ns(d)) } -> awaitable;
                      }) {
            return detail::delay_or_change(weft::as_task(clock_.delay(of_ns(d))), changed());
        } else if constexpr (requires { clock_.delay(of_ns(d)); }) {
            return delay_here(of_ns(d));
        } else {
            return scheduler_core::delay_ns(d);
        }
    }
    task<> delay_here(duration d) {
        clock_.delay(d);
        co_return;
    }

    Clock clock_;
};

} // namespace weft
