// SPDX-License-Identifier: MIT
// A flag that tasks and threads of several processes wait for.
//
//     struct doors {
//         weft::ipc::event open;
//     };
//     weft::task<> visit(weft::ipc::shared<doors>& d) {
//         co_await d->open.wait();                // suspends until someone calls set()
//         fmt::print("in\n");
//     }
//     void let_all_in(weft::ipc::shared<doors>& d) { d->open.set(); }     // in any process
//
// Its members mean what those of weft::event mean. Bytes of zero are one that is unset, at
// whichever address each process sees it.
//
// Threads:      all members, from any thread and process; a woken task goes on on its own loop. A
//               process that is killed within set() or wait() delays nobody for longer than 50 ms.
// Cancellation: a stopped wait leaves no trace.
// Errors:       none from set, clear and is_set. Waits may throw std::bad_alloc if they have to
//               wait and the loop can't note one more timer, and state_error on a thread without a
//               loop.
// Cost:         a wait for a set event is one load; set() is one compare-and-swap, and one system
//               call if somebody sleeps. A wait looks out for a moment before it sleeps, if that
//               has been worth it lately. 4 bytes. No allocation.
// Source:       meaning after multiprocessing.Event.
#pragma once
#include <weft/ipc/detail/permit_word.hpp>
#include <weft/ipc/detail/shared_wait.hpp>
#include <weft/runtime/detail/atomics.hpp>

#include <cstddef>
#include <type_traits>

namespace weft::ipc {

class event;

namespace detail {

class event_wait : public shared_wait {
public:
    [[nodiscard]] bool await_ready() noexcept;

protected:
    event_wait(event& e, const weft::detail::operation_type& t, limit time) noexcept
        : shared_wait(t, time, first_try::takes), at_(&e) {}
    event_wait(event_wait&&) = default;
    ~event_wait() = default;
    [[nodiscard]] bool passed() const noexcept { return passed_; }

private:
    bool advance(sleeping_place& at) noexcept final;
    bool may_pass() noexcept final;
    leaving leave(bool by_deadline, bool used_wake_up) noexcept final;

    event* at_;
    std::uint32_t then_ = 0;
    bool passed_ = false;
};

/// Gives nothing, or whether it was set.
template <class Result>
class [[nodiscard]] event_op final : public event_wait {
public:
    event_op(event& e, limit time = limit::at(never)) noexcept : event_wait(e, kind, time) {}
    event_op(event_op&&) = default;

    Result await_resume() noexcept { return static_cast<Result>(passed()); }

private:
    static constexpr weft::detail::operation_type kind{shared_wait::cancel_wait, "ipc::event"};
};

} // namespace detail

class event {
public:
    using wait_op = detail::event_op<void>;
    using timed_wait_op = detail::event_op<bool>;

    event() noexcept = default;
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    /// Sets the flag and wakes every waiter. Does nothing if it is set.
    void set() noexcept {
        weft::detail::fetch_to_write(this);
        if (word_.set()) [[unlikely]]
            wake_all();
    }
    /// Unsets the flag. Whoever waited when it was set still returns from its wait.
    void clear() noexcept { word_.clear(); }

    /// Waits until the flag is set. Doesn't suspend if it is.
    wait_op wait() noexcept { return wait_op(*this); }
    /// Waits until `deadline` at most. Gives whether the flag was set; a past deadline only looks.
    timed_wait_op wait_until(time_point deadline) noexcept {
        return timed_wait_op(*this, detail::shared_wait::limit::at(deadline));
    }
    /// Waits for `d` at most; with zero or less it only looks.
    template <class Rep, class Period>
    timed_wait_op wait_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_wait_op(*this, detail::shared_wait::limit::in(d));
    }

    // Snapshots.
    [[nodiscard]] bool is_set() const noexcept { return (word_.look() & word::is_set) != 0; }
    /// How many sleep, in all processes; asks the kernel.
    [[nodiscard]] std::size_t waiting() const noexcept;

private:
    friend class detail::event_wait;
    using word = detail::flag_word<>;
    void wake_all() noexcept;

    word word_;
};

inline bool detail::event_wait::await_ready() noexcept {
    then_ = at_->word_.look();
    passed_ = (then_ & event::word::is_set) != 0;
    return passed_ || time_limit().only_try();
}

} // namespace weft::ipc
