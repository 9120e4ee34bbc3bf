// SPDX-License-Identifier: MIT
// A place where a fixed number of tasks and threads wait for each other, again and again.
//
//     weft::task<> simulate(weft::barrier<>& all_there, weft::task<> (*step)(int)) {
//         for (int i = 0; i < 100; ++i) {
//             co_await step(i);
//             co_await all_there.arrive_and_wait();       // nobody is a step ahead
//         }
//     }
//     weft::barrier steps(4, [] { fmt::print("a step is done\n"); });         // with an action
//
// Each cycle ends when all parties are there. Then the last to come runs the action, a function or
// a coroutine, and all go on, each with its number in the order of coming. A party that doesn't
// come in time breaks the barrier for all; so does an action that throws or is stopped, and
// abort(). It stays broken until reset().
//
// Threads:      all members, from any thread; a task goes on on its own loop, and the action runs
//               on that of the last to come.
// Cancellation: who is stopped while waiting hasn't come, and breaks nothing. Who has been let go
//               when the stop comes goes on.
// Errors:       std::invalid_argument for less than one party. Arriving throws broken_barrier, and
//               what the action throws, to the one who runs it; std::bad_alloc if it has to wait
//               and the loop can't note one more deadline. A barrier that is destroyed while
//               somebody waits at it, or while its action runs, ends the program.
// Cost:         a short lock for each arrival, O(parties) for the last. No allocation, but for a
//               frame if there is an action.
// Source:       meaning after Python's Barrier: threading's, and asyncio's where it comes to stops.
#pragma once
#include <weft/sync/detail/barrier_core.hpp>

#include <weft/runtime/awaitable.hpp>
#include <weft/sync/error.hpp>
#include <weft/sync/stats.hpp>

#include <concepts>

namespace weft {

/// Of a barrier that has nothing to do.
struct no_action {
    void operator()() const noexcept {}
};

template <std::invocable Action = no_action>
class barrier {
    static constexpr bool has_action = !std::same_as<Action, no_action>;

public:
    /// What arriving is: gives the number of the caller, from 0 to parties() - 1.
    using arrive_op = std::conditional_t<has_action, task<std::size_t>, detail::timed_arrive_op>;

    /// `default_time` is how long arrive_and_wait() waits.
    explicit barrier(std::ptrdiff_t parties, Action action = Action(),
                     duration default_time = duration::max())
        : core_(parties, has_action), action_(std::move(action)), default_time_(default_time) {}

    /// Waits for the other parties.
    arrive_op arrive_and_wait() { return arrive(detail::wait_limit::in(default_time_)); }
    /// Waits until `deadline`. If they aren't there by then, breaks the barrier.
    arrive_op arrive_and_wait_until(time_point deadline) {
        return arrive(detail::wait_limit::at(deadline));
    }
    /// Waits for `d`; with zero or less, whoever isn't the last breaks it at once.
    template <class Rep, class Period>
    arrive_op arrive_and_wait_for(std::chrono::duration<Rep, Period> d) {
        return arrive(detail::wait_limit::in(d));
    }

    /// Breaks it: those who wait, and all who come, get broken_barrier.
    void abort() noexcept { core_.abort(); }
    /// Makes it empty, and usable if it was broken. Those who wait get broken_barrier; those who
    /// have been let go aren't disturbed.
    void reset() noexcept { core_.reset(); }

    [[nodiscard]] std::size_t parties() const noexcept { return core_.parties(); }
    // Snapshots.
    /// How many have come and wait for others; 0 while the action runs.
    [[nodiscard]] std::size_t waiting() const noexcept { return core_.waiting(); }
    [[nodiscard]] bool broken() const noexcept { return core_.broken(); }
    [[nodiscard]] primitive_stats stats() const noexcept {
        std::size_t came = waiting();
        return {"barrier", 0, came, parties() - came, came};
    }

private:
    arrive_op arrive(detail::wait_limit limit) {
        if constexpr (has_action)
            return arrive_and_act(limit);
        else
            return detail::timed_arrive_op(limit, core_);
    }
    task<std::size_t> arrive_and_act(detail::wait_limit limit);

    // Unless the action has ended well, the barrier breaks: also if a stop ends it.
    class running_action {
    public:
        explicit running_action(detail::barrier_core& c) noexcept : core_(c) {}
        running_action(const running_action&) = delete;
        running_action& operator=(const running_action&) = delete;
        ~running_action() {
            if (!ended_)
                core_.end_action(false);
        }
        void succeeded() {
            ended_ = true;
            if (!core_.end_action(true))
                throw broken_barrier();
        }

    private:
        detail::barrier_core& core_;
        bool ended_ = false;
    };

    detail::barrier_core core_;
    [[no_unique_address]] Action action_;
    duration default_time_;
};

barrier(std::ptrdiff_t) -> barrier<>;

// -------------------------------------------------------------------------------------------------

template <std::invocable Action>
task<std::size_t> barrier<Action>::arrive_and_act(detail::wait_limit limit) {
    std::size_t index = co_await detail::timed_arrive_op(limit, core_);
    if (index + 1 == core_.parties()) {
        running_action running(core_);
        if constexpr (awaitable<std::invoke_result_t<Action&>>) {
            auto work = action_();
            co_await std::move(work);
        } else {
            action_();
        }
        running.succeeded();
    }
    co_return index;
}

} // namespace weft
