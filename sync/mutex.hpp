// SPDX-License-Identifier: MIT
// A lock for tasks and threads. Who finds it locked suspends; those who wait get it one after the
// other, first come, first served.
//
//     struct account {
//         weft::mutex lock;
//         int balance = 0;
//     };
//     weft::task<bool> withdraw(account& a, int amount, weft::task<> (*dispense)(int)) {
//         auto held = co_await a.lock.scoped();
//         if (a.balance < amount)
//             co_return false;
//         co_await dispense(amount);              // others wait meanwhile
//         a.balance -= amount;
//         co_return true;
//     }
//     bool locked_by_now(weft::mutex& m) {        // on a plain thread
//         return weft::sync_wait(m.lock_for(std::chrono::milliseconds(10)));
//     }
//
// It knows who locked it: a task, with the timeouts, shields and group bodies that it is in, and on
// whichever loop it goes on; or a plain thread. Another one may unlock it. It isn't recursive: who
// locks it again would wait for ever, and gets an error instead; with a deadline it waits. See
// recursive_mutex for one that may be locked again.
//
// The order is that of coming, whoever waits: tasks of one loop, of several, threads. One exception
// keeps a lock usable that several loops want all the time, for a few instructions each. If it has
// been handed from one thread to another 16 times in a row, each time by a task that unlocked it in
// the same resumption in which it had got it, and somebody has waited all the while, then the
// loops take turns: for 250 us one of them may lock it again without waiting in line, and who waits
// on this loop gets it after 256 such locks at most, in the order of coming. Then it is for the
// first in line, as soon as the thread of that one is awake. So the first in line is overtaken for
// one turn at most. A lock that is held across an await, or that some unlock outside of loops,
// never comes to that; and it ends when somebody suspends with the lock, or nobody waits any more.
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: who is stopped while waiting leaves no trace. Who has been given the lock when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       unlock throws state_error if it isn't locked. lock and scoped throw
//               std::system_error (resource_deadlock_would_occur), with the task's name, if the
//               caller has it already. A mutex that is destroyed while somebody waits for it ends
//               the program. Timed forms throw std::bad_alloc if they have to wait and the loop
//               can't note one more timer.
// Cost:         one compare-and-swap to lock, one to unlock, if nobody waits, and a note of who has
//               it. No allocation.
// Source:       meaning after Python's Lock; unlocking hands over to the first who waits, as
//               asyncio's Lock does. The turns: see detail/turnstile.hpp.
#pragma once
#include <weft/sync/detail/held_line.hpp>

namespace weft {

class condition;

class mutex {
public:
    using lock_op = detail::lock_op<mutex>;
    using timed_lock_op = detail::timed_op<lock_op>;
    using scoped_op = detail::scoped_lock_op<mutex>;
    using timed_scoped_op = detail::timed_op<scoped_op>;

    mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex();

    /// Waits for the lock.
    lock_op lock() noexcept { return lock_op(*this); }
    /// Takes it if it is free.
    [[nodiscard]] bool try_lock() noexcept { return line_.try_lock(); }
    /// Waits until `deadline` at most. Gives whether it has the lock.
    timed_lock_op lock_until(time_point deadline) noexcept {
        return timed_lock_op(detail::wait_limit::at(deadline), *this);
    }
    /// Waits for `d` at most; with zero or less it only tries.
    template <class Rep, class Period>
    timed_lock_op lock_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_lock_op(detail::wait_limit::in(d), *this);
    }

    /// Gives it to the next one who waits, or frees it.
    void unlock() { line_.unlock(); }

    /// Locks it and gives a guard that unlocks it. Those with a deadline, and try_scoped, give an
    /// empty guard if they don't have it.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<mutex> try_scoped() noexcept {
        return try_lock() ? guard<mutex>(*this) : guard<mutex>();
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
    /// Whether the caller locked it, and nobody unlocked it since.
    [[nodiscard]] bool locked_here() const noexcept { return line_.held_here(); }
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats() const noexcept { return line_.stats(name); }

private:
    friend class detail::lock_op<mutex>;
    friend class condition;
    friend class guard<mutex>;
    static constexpr const char* name = "mutex";

    void give_back() noexcept { line_.give_back(); }

    detail::held_line line_{detail::relock::waits};
};

} // namespace weft
