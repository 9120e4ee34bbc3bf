// SPDX-License-Identifier: MIT
// Waits, with a lock, until what the lock guards has become so: gives the lock back meanwhile, and
// has it again afterwards.
//
//     struct mailbox {
//         weft::mutex lock;
//         weft::condition changed{lock};
//         std::vector<std::string> letters;
//     };
//     weft::task<std::string> take(mailbox& m) {
//         auto held = co_await m.lock.scoped();
//         co_await m.changed.wait([&m] { return !m.letters.empty(); });
//         std::string letter = std::move(m.letters.back());
//         m.letters.pop_back();
//         co_return letter;
//     }
//     weft::task<> deliver(mailbox& m, std::string letter) {
//         auto held = co_await m.lock.scoped();
//         m.letters.push_back(std::move(letter));
//         m.changed.notify();                     // who waits goes on when `held` is gone
//     }
//
// Several conditions may share a lock. Without one, a condition has a recursive mutex of its own.
// Of a recursive mutex all levels are given back, and there again afterwards.
//
// Who is notified stands in the lock's line from then on, in the order of waiting. There are no
// notifications in store: without a waiter they do nothing. Whoever waits without a predicate must
// look for itself whether it is so: somebody else may have had the lock in between.
//
// Threads:      all members, from any thread; a task goes on on its own loop. A plain thread that
//               waits in sync_wait must have the lock itself.
// Cancellation: who is stopped while waiting gets the lock again first, so that its frames are
//               destroyed under it; a notification that it had been given goes to the next one. Who
//               has got the lock again when the stop comes goes on.
// Errors:       wait and notify throw state_error if the caller doesn't have the lock; see mutex
//               for who that is. A wait with a deadline throws std::bad_alloc, and keeps the lock,
//               if the loop can't note one more timer. A condition that is destroyed while
//               somebody is in wait ends the program.
// Cost:         wait and notify take a short lock each, and what the mutex takes. No allocation,
//               but for a frame if there is a predicate.
// Source:       meaning after Python's Condition; that waiters move to the lock's line after
//               "wait morphing".
#pragma once
#include <weft/sync/mutex.hpp>
#include <weft/sync/recursive_mutex.hpp>

#include <weft/runtime/task.hpp>

#include <concepts>

namespace weft {

class condition {
public:
    using lock_op = detail::lock_op<condition>;
    using timed_lock_op = detail::timed_op<lock_op>;
    using scoped_op = detail::scoped_lock_op<condition>;
    using timed_scoped_op = detail::timed_op<scoped_op>;
    class wait_op;

    condition() noexcept : line_(own_) {}
    explicit condition(mutex& m) noexcept : line_(m.line_) {}
    explicit condition(recursive_mutex& m) noexcept : line_(m.line_) {}
    condition(const condition&) = delete;
    condition& operator=(const condition&) = delete;
    ~condition();

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
        return wait_while_not(detail::wait_limit::at(deadline), std::move(is_so));
    }
    /// For `d` at most, counted from the await.
    template <class Rep, class Period, std::predicate P>
    task<bool> wait_for(std::chrono::duration<Rep, Period> d, P is_so) {
        require_lock();
        return wait_while_not(detail::wait_limit::in(d), std::move(is_so));
    }

    /// Lets the first n who wait now go on when they get the lock.
    void notify(std::size_t n = 1);
    /// Lets everybody go on who waits now.
    void notify_all();

    // --- The lock -------------------------------------------------------------------------------

    lock_op lock() noexcept { return lock_op(*this); }
    [[nodiscard]] bool try_lock() noexcept { return line_.try_lock(); }
    timed_lock_op lock_until(time_point deadline) noexcept {
        return timed_lock_op(detail::wait_limit::at(deadline), *this);
    }
    template <class Rep, class Period>
    timed_lock_op lock_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_lock_op(detail::wait_limit::in(d), *this);
    }
    void unlock() { line_.unlock(); }
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<condition> try_scoped() noexcept {
        return try_lock() ? guard<condition>(*this) : guard<condition>();
    }
    timed_scoped_op scoped_until(time_point deadline) noexcept {
        return timed_scoped_op(detail::wait_limit::at(deadline), *this);
    }
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_scoped_op(detail::wait_limit::in(d), *this);
    }

    // Snapshots.
    [[nodiscard]] bool locked() const noexcept { return line_.locked(); }
    /// How many wait to be notified; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept;
    /// Of its lock; but those who wait are those who wait to be notified.
    [[nodiscard]] primitive_stats stats() const noexcept;

private:
    friend class detail::lock_op<condition>;
    friend class guard<condition>;
    static constexpr const char* name = "condition: lock";

    void give_back() noexcept { line_.give_back(); }
    void require_lock() const;
    void move_first(detail::woken_list& woken) noexcept;

    template <class P>
    task<> wait_while_not(P is_so);
    template <class P>
    task<bool> wait_while_not(detail::wait_limit limit, P is_so);

    detail::held_line own_{detail::relock::passes}; // if it was given none
    detail::held_line& line_;
    mutable detail::short_lock<> list_lock_; // is taken before the lock's line; to count is to lock
    detail::wait_list list_;
    std::atomic<std::uint32_t> inside_{0}; // how many are in wait
};

/// Waits in the list of the condition, and then in the line of the lock.
class [[nodiscard]] condition::wait_op : public detail::waiter, private detail::timer {
public:
    wait_op(condition& c, detail::wait_limit limit) noexcept
        : waiter(kind), timer(expired), at_(&c), limit_(limit) {}
    wait_op(wait_op&&) = default;
    ~wait_op() {
        if (how_ == outcome::stopped)
            has_lock_again(); // as the frames that it is in get destroyed
    }

    [[nodiscard]] bool await_ready() const {
        at_->require_lock();
        return false;
    }
    template <detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    bool await_resume() noexcept {
        disarm();
        has_lock_again();
        return how_ == outcome::notified;
    }

private:
    friend condition;
    enum class outcome : std::uint8_t { none, notified, timed_out, stopped };

    void start();
    void disarm() noexcept {
        if (active())
            detail::stop_deadline(owner(), *this);
    }
    void has_lock_again() noexcept;
    static void expired(timer& t) noexcept;
    static void cancel_wait(operation& op) noexcept;
    static const detail::operation_type kind;

    condition* at_;
    detail::wait_limit limit_;
    outcome how_ = outcome::none; // none: is in the list, which guards this
    std::uint32_t depth_ = 0;     // of the lock, when it was given back
    detail::identity me_ = 0;
};

inline condition::wait_op condition::wait() noexcept { return wait_until(never); }
inline condition::wait_op condition::wait_until(time_point deadline) noexcept {
    return wait_op(*this, detail::wait_limit::at(deadline));
}
template <class Rep, class Period>
condition::wait_op condition::wait_for(std::chrono::duration<Rep, Period> d) noexcept {
    return wait_op(*this, detail::wait_limit::in(d));
}

template <class P>
task<> condition::wait_while_not(P is_so) {
    while (!is_so())
        co_await wait();
}

template <class P>
task<bool> condition::wait_while_not(detail::wait_limit limit, P is_so) {
    time_point deadline = limit.deadline(now());
    while (!is_so()) {
        if (!co_await wait_until(deadline))
            co_return is_so();
    }
    co_return true;
}

} // namespace weft
