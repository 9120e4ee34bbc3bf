// SPDX-License-Identifier: MIT
// Waits, with a lock between processes, until what the lock guards has become so: gives the lock
// back meanwhile, and has it again afterwards.
//
//     struct mailbox {
//         weft::ipc::mutex lock;
//         weft::ipc::condition changed{lock};
//         int letters = 0;
//     };
//     weft::task<> take(weft::ipc::shared<mailbox>& m) {
//         auto held = co_await m->lock.scoped();
//         co_await m->changed.wait([&m] { return m->letters != 0; });
//         --m->letters;
//     }
//     weft::task<> deliver(weft::ipc::shared<mailbox>& m) {
//         auto held = co_await m->lock.scoped();
//         ++m->letters;
//         m->changed.notify();                    // who waits goes on when `held` is gone
//     }
//
// Its members mean what those of weft::condition mean. The lock is found by its distance: it lies
// in the same memory, at the same distance in every process. Without one, a condition has a
// recursive mutex of its own. Bytes of zero aren't a condition yet: whoever makes the memory makes
// it there.
//
// A notification is a claim that a waiter takes when it has the lock again. So one whose waiter is
// killed before is for another one of those who waited, within 50 ms. Who waits isn't told in the
// order of coming when somebody was killed, stopped, or looked for itself.
//
// Threads:      all members, from any thread and process; a task goes on on its own loop. Waiters
//               that were killed count as waiting until the next notify_all(): a notify() may be
//               spent on one of them, and if so, the notify() after it wakes one more.
// Cancellation: who is stopped while waiting gets the lock again first, so that its frames are
//               destroyed under it; a notification stays for another one.
// Errors:       wait and notify throw state_error if the caller doesn't have the lock. A wait
//               throws owner_dead if whoever had the lock meanwhile died with it: then the caller
//               has it again, keep() or not; and not_recoverable, without the lock.
//               std::bad_alloc, with the lock, if the loop can't note one more timer.
// Cost:         a notification makes one system call if somebody waits; a wait takes the lock
//               again. No allocation, but for a frame if there is a predicate.
// Source:       meaning after multiprocessing.Condition.
#pragma once
#include <weft/ipc/mutex.hpp>
#include <weft/ipc/recursive_mutex.hpp>

#include <weft/runtime/task.hpp>

#include <concepts>

namespace weft::ipc {

class condition {
public:
    using lock_op = detail::lock_op<condition, void>;
    using timed_lock_op = detail::lock_op<condition, bool>;
    using scoped_op = detail::lock_op<condition, guard<condition>>;
    class wait_op;

    condition() noexcept : held_(detail::relock::passes) {}
    explicit condition(mutex& m) noexcept : condition(m.held_) {}
    explicit condition(recursive_mutex& m) noexcept : condition(m.held_) {}
    condition(const condition&) = delete;
    condition& operator=(const condition&) = delete;

    // --- With the lock --------------------------------------------------------------------------

    /// Waits until notified. Gives true.
    wait_op wait() noexcept;
    /// Waits until `deadline` at most. Gives whether it was notified. Gives the lock back, and gets
    /// it again, also if there is nothing to wait for.
    wait_op wait_until(time_point deadline) noexcept;
    template <class Rep, class Period>
    wait_op wait_for(std::chrono::duration<Rep, Period> d) noexcept;

    /// Waits until it is so: looks under the lock, at once and after each notification.
    template <std::predicate P>
    task<> wait(P is_so) {
        require_lock();
        return wait_while_not(std::move(is_so));
    }
    /// Until `deadline` at most. Gives what the predicate said at last.
    template <std::predicate P>
    task<bool> wait_until(time_point deadline, P is_so) {
        require_lock();
        return wait_while_not(detail::shared_wait::limit::at(deadline), std::move(is_so));
    }
    /// For `d` at most, counted from the await.
    template <class Rep, class Period, std::predicate P>
    task<bool> wait_for(std::chrono::duration<Rep, Period> d, P is_so) {
        require_lock();
        return wait_while_not(detail::shared_wait::limit::in(d), std::move(is_so));
    }

    /// Lets n of those who wait now go on when they get the lock.
    void notify(std::size_t n = 1);
    /// Lets everybody go on who waits now.
    void notify_all();

    // --- The lock -------------------------------------------------------------------------------

    lock_op lock() noexcept { return lock_op(*this); }
    [[nodiscard]] bool try_lock() { return detail::try_lock(*this); }
    timed_lock_op lock_until(time_point deadline) noexcept {
        return timed_lock_op(*this, detail::shared_wait::limit::at(deadline));
    }
    template <class Rep, class Period>
    timed_lock_op lock_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_lock_op(*this, detail::shared_wait::limit::in(d));
    }
    void unlock() { line().unlock(); }
    void mark_consistent() { line().mark_consistent(); }
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<condition> try_scoped() {
        return try_lock() ? guard<condition>(*this) : guard<condition>();
    }
    scoped_op scoped_until(time_point deadline) noexcept {
        return scoped_op(*this, detail::shared_wait::limit::at(deadline));
    }
    template <class Rep, class Period>
    scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return scoped_op(*this, detail::shared_wait::limit::in(d));
    }

    // Snapshots.
    [[nodiscard]] bool locked() const noexcept { return line().locked(); }
    /// How many wait to be notified.
    [[nodiscard]] std::size_t waiting() const noexcept {
        // Two looks: see "Threads" for what else makes it inexact.
        std::uint32_t there = waiting_.load(std::memory_order_relaxed);
        std::uint32_t told = granted_.load(std::memory_order_relaxed);
        return there > told ? there - told : 0;
    }

private:
    template <class, class>
    friend class detail::lock_op;
    friend bool detail::try_lock<condition>(condition&);
    friend class guard<condition>;
    static constexpr const char* name = "ipc::condition: lock";

    explicit condition(detail::held_word& lock) noexcept
        : held_(detail::relock::passes),
          lock_at_(reinterpret_cast<char*>(&lock) - reinterpret_cast<char*>(&held_)) {}

    [[nodiscard]] detail::held_word& line() const noexcept {
        auto* own = reinterpret_cast<char*>(const_cast<detail::held_word*>(&held_));
        return *reinterpret_cast<detail::held_word*>(own + lock_at_);
    }
    void give_back() noexcept { line().give_back_guarded(); }
    void require_lock() const;

    template <class P>
    task<> wait_while_not(P is_so);
    template <class P>
    task<bool> wait_while_not(detail::shared_wait::limit limit, P is_so);

    detail::held_word held_; // if it was given none
    std::ptrdiff_t lock_at_ = 0;
    weft::detail::futex_word changes_{0}; // how often somebody was notified; what waiters sleep on
    // Guarded by the lock; atomic for those who only look.
    std::atomic<std::uint32_t> waiting_{0};   // since the last notify_all, and not yet on their way
    std::atomic<std::uint32_t> granted_{0};   // of these, how many may go on
    std::atomic<std::uint32_t> everybody_{0}; // how often all were notified
    std::atomic<std::uint32_t> came_{0};      // how many waits have begun
    std::atomic<std::uint32_t> came_before_{0}; // when somebody was notified last
};

/// Sleeps until something changes, gets the lock, and looks whether that was for it.
class [[nodiscard]] condition::wait_op final : public detail::shared_wait {
public:
    wait_op(condition& c, limit time) noexcept : shared_wait(kind, time), at_(&c) {}
    wait_op(wait_op&&) = default;

    [[nodiscard]] bool await_ready() const {
        at_->require_lock();
        return false;
    }
    bool await_resume() {
        if (how_ != detail::taking::taken) [[unlikely]]
            detail::check_taken(how_, nullptr, nullptr);
        return notified_;
    }

private:
    enum class phase : std::uint8_t { begins, sleeps, locks };

    bool advance(detail::sleeping_place& at) noexcept override;
    bool must_look() noexcept override;
    leaving leave(bool by_deadline, bool used_wake_up) noexcept override;
    void give_lock_back() noexcept;
    bool is_for_me() noexcept;
    static const weft::detail::operation_type kind;

    condition* at_;
    detail::lock_attempt lock_;
    weft::detail::identity me_ = 0;
    std::uint32_t depth_ = 0; // of the lock, when it was given back
    std::uint32_t ticket_ = 0;
    std::uint32_t everybody_ = 0;
    std::uint32_t seen_ = 0;
    phase phase_ = phase::begins;
    bool slept_for_lock_ = false;
    bool gives_up_ = false;
    bool late_ = false;
    bool notified_ = false;
    detail::taking how_ = detail::taking::taken;
};

inline condition::wait_op condition::wait() noexcept { return wait_until(never); }
inline condition::wait_op condition::wait_until(time_point deadline) noexcept {
    return wait_op(*this, detail::shared_wait::limit::at(deadline));
}
template <class Rep, class Period>
condition::wait_op condition::wait_for(std::chrono::duration<Rep, Period> d) noexcept {
    return wait_op(*this, detail::shared_wait::limit::in(d));
}

template <class P>
task<> condition::wait_while_not(P is_so) {
    while (!is_so())
        co_await wait();
}

template <class P>
task<bool> condition::wait_while_not(detail::shared_wait::limit limit, P is_so) {
    time_point deadline = limit.deadline(now());
    while (!is_so()) {
        bool notified = co_await wait_until(deadline);
        if (!notified)
            co_return is_so();
    }
    co_return true;
}

} // namespace weft::ipc
