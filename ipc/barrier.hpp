// SPDX-License-Identifier: MIT
// A place where a fixed number of tasks and threads of several processes wait for each other, again
// and again.
//
//     struct plan {
//         weft::ipc::barrier<> all_there{4};
//     };
//     weft::task<> simulate(weft::ipc::shared<plan>& p, weft::task<> (*step)(int)) {
//         for (int i = 0; i < 100; ++i) {
//             co_await step(i);
//             co_await p->all_there.arrive_and_wait();    // nobody is a step ahead
//         }
//     }
//
// Each cycle ends when all parties are there. Then the last to come runs the action, a function or
// a coroutine, and all go on, each with its number, which is that of coming unless somebody was
// stopped. A party that doesn't come in time breaks the barrier for all; so does an action that
// throws or is stopped, abort(), and the death of one that waits. It stays broken until reset().
//
// The action is known by its type, for an object would mean something in one process alone: it is a
// function object without members, as a lambda that captures nothing. Bytes of zero aren't a
// barrier yet: whoever makes the memory makes it there.
//
// Threads:      all members, from any thread and process; a task goes on on its own loop, and the
//               action runs on that of the last to come. If a process ends while one of its tasks
//               waits here or runs the action, the others get broken_barrier within 50 ms. A party
//               that dies elsewhere just doesn't come: wait with a deadline.
// Cancellation: who is stopped while waiting hasn't come, and breaks nothing. Who has been let go
//               when the stop comes goes on.
// Errors:       std::invalid_argument for less than one party, and for more than max_parties().
//               Arriving throws broken_barrier, and what the action throws, to the one who runs it;
//               std::bad_alloc if it has to wait and the loop can't note one more timer;
//               state_error on a thread without a loop.
// Cost:         a short lock for each arrival, O(parties) for the last. 600 bytes. No allocation,
//               but for a frame if there is an action.
// Source:       meaning after multiprocessing.Barrier; stops as asyncio's.
#pragma once
#include <weft/ipc/detail/barrier_core.hpp>
#include <weft/ipc/lock_error.hpp>

#include <weft/runtime/awaitable.hpp>

#include <concepts>
#include <type_traits>

namespace weft::ipc {

/// Of a barrier that has nothing to do.
struct no_action {
    void operator()() const noexcept {}
};

template <std::invocable Action = no_action>
    requires std::is_empty_v<Action> && std::is_default_constructible_v<Action>
class barrier {
    static constexpr bool has_action = !std::same_as<Action, no_action>;

public:
    /// What arriving is: gives the number of the caller, from 0 to parties() - 1.
    using arrive_op = std::conditional_t<has_action, task<std::size_t>, detail::arrive_op>;

    /// `default_time` is how long arrive_and_wait() waits.
    explicit barrier(std::ptrdiff_t parties, Action = Action(),
                     duration default_time = duration::max())
        : core_(parties, has_action), default_time_(default_time) {}
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;

    /// The most parties that there can be.
    static constexpr std::size_t max_parties() noexcept {
        return detail::barrier_core::most_parties;
    }

    /// Waits for the other parties.
    arrive_op arrive_and_wait() { return arrive(detail::shared_wait::limit::in(default_time_)); }
    /// Waits until `deadline`. If they aren't there by then, breaks the barrier.
    arrive_op arrive_and_wait_until(time_point deadline) {
        return arrive(detail::shared_wait::limit::at(deadline));
    }
    /// Waits for `d`; with zero or less, whoever isn't the last breaks it at once.
    template <class Rep, class Period>
    arrive_op arrive_and_wait_for(std::chrono::duration<Rep, Period> d) {
        return arrive(detail::shared_wait::limit::in(d));
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

private:
    arrive_op arrive(detail::shared_wait::limit limit) {
        if constexpr (has_action)
            return arrive_and_act(limit);
        else
            return detail::arrive_op(core_, limit);
    }
    task<std::size_t> arrive_and_act(detail::shared_wait::limit limit);

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
    duration default_time_;
};

barrier(std::ptrdiff_t) -> barrier<>;

// -------------------------------------------------------------------------------------------------

template <std::invocable Action>
    requires std::is_empty_v<Action> && std::is_default_constructible_v<Action>
task<std::size_t> barrier<Action>::arrive_and_act(detail::shared_wait::limit limit) {
    detail::arrive_op arrives(core_, limit);
    std::size_t index = co_await arrives;
    if (arrives.acts()) {
        running_action running(core_);
        Action action;
        if constexpr (awaitable<std::invoke_result_t<Action&>>) {
            auto work = action();
            co_await std::move(work);
        } else {
            action();
        }
        running.succeeded();
    }
    co_return index;
}

} // namespace weft::ipc
