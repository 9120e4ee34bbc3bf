// SPDX-License-Identifier: MIT
// A lock that who has it may lock again: it is free when it was unlocked as often.
//
//     struct tree {
//         weft::recursive_mutex lock;
//         int leaves = 0;
//     };
//     weft::task<> add(tree& t, int depth) {
//         auto held = co_await t.lock.scoped();   // at each level, and at once but for the first
//         if (depth == 0)
//             ++t.leaves;
//         else
//             co_await add(t, depth - 1);
//     }
//
// It belongs to the task that locked it, on whichever loop that goes on, and with the timeouts,
// shields and group bodies that it is in; or to a plain thread. What runs beside a task, as its
// children and the parts of when_all do, is somebody else.
//
// Threads:      all members, from any thread; a task goes on on its own loop. A guard may be given
//               back by another task or thread, as long as the owner does nothing with the lock
//               meanwhile.
// Cancellation: who is stopped while waiting leaves no trace. Who has been given the lock when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       unlock throws state_error if the caller hasn't locked it. One that is destroyed
//               while somebody waits for it ends the program. Timed forms throw std::bad_alloc if
//               they have to wait and the loop can't note one more timer.
// Cost:         one compare-and-swap to lock, one to unlock, if nobody waits; none for who has it.
//               No allocation.
// Source:       meaning after Python's RLock. The order is that of mutex.
#pragma once
#include <weft/sync/detail/held_line.hpp>

namespace weft {

class condition;

class recursive_mutex {
public:
    using lock_op = detail::lock_op<recursive_mutex>;
    using timed_lock_op = detail::timed_op<lock_op>;
    using scoped_op = detail::scoped_lock_op<recursive_mutex>;
    using timed_scoped_op = detail::timed_op<scoped_op>;

    recursive_mutex() noexcept = default;
    recursive_mutex(const recursive_mutex&) = delete;
    recursive_mutex& operator=(const recursive_mutex&) = delete;
    ~recursive_mutex();

    /// Waits for the lock. Who has it gets it once more, at once.
    lock_op lock() noexcept { return lock_op(*this); }
    /// Takes it if it is free, or the caller's already.
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

    /// Once for each lock. The last one gives it to the first who waits, or frees it.
    void unlock() { line_.unlock(); }

    /// Locks it and gives a guard that unlocks it. Those with a deadline, and try_scoped, give an
    /// empty guard if they don't have it.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<recursive_mutex> try_scoped() noexcept {
        return try_lock() ? guard<recursive_mutex>(*this) : guard<recursive_mutex>();
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
    /// How often the caller has locked it.
    [[nodiscard]] std::size_t depth() const noexcept {
        return line_.noted_here() ? line_.depth() : 0;
    }
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats() const noexcept { return line_.stats(name); }

private:
    friend class detail::lock_op<recursive_mutex>;
    friend class condition;
    friend class guard<recursive_mutex>;
    static constexpr const char* name = "recursive_mutex";

    void give_back() noexcept { line_.give_back(); }

    detail::held_line line_{detail::relock::passes};
};

} // namespace weft
