// SPDX-License-Identifier: MIT
// A lock for tasks and threads of several processes, in memory that they share.
//
//     struct account {
//         weft::ipc::mutex lock;
//         int balance = 0;
//     };
//     weft::task<bool> withdraw(weft::ipc::shared<account>& a, int amount) {
//         auto held = co_await a->lock.scoped();
//         if (a->balance < amount)
//             co_return false;
//         a->balance -= amount;
//         co_return true;
//     }
//
// Its members mean what those of weft::mutex mean. Bytes of zero are one that is free, at whichever
// address each process sees it.
//
// It is nearly first come, first served: whoever comes while it is free takes it, even if one that
// has slept is just waking up. That one then has it kept for those who have slept, in the order in
// which they fell asleep, until it has had its turn: nobody starves.
//
// Threads:      all members, from any thread and process; a task goes on on its own loop. If the
//               process that has it ends, in whatever way but exec, the next one to lock it finds
//               that out within 50 ms, gets owner_dead, and has it: see lock_error.hpp. Who is
//               killed while waiting delays nobody for longer than that. Processes that share it
//               are in one pid namespace.
// Cancellation: who is stopped while waiting leaves no trace. Who has been given the lock when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       every way to lock it throws owner_dead, with the lock, and not_recoverable. unlock
//               throws state_error if it isn't locked; lock and scoped throw std::system_error
//               (resource_deadlock_would_occur) if the caller has it already. Who has to wait may
//               get std::bad_alloc, if the loop can't note one more timer, and state_error on a
//               thread without a loop.
// Cost:         one compare-and-swap to lock, one to unlock, if nobody waits, and a note of who has
//               it. A try that fails looks whether the holder lives: some system calls. 32 bytes.
//               No allocation.
// Source:       meaning after multiprocessing.Lock; robust mutexes of POSIX.
#pragma once
#include <weft/ipc/detail/held_word.hpp>
#include <weft/ipc/lock_error.hpp>
#include <weft/runtime/guard.hpp>

namespace weft::ipc {

class condition;

class mutex {
public:
    using lock_op = detail::lock_op<mutex, void>;
    using timed_lock_op = detail::lock_op<mutex, bool>;
    using scoped_op = detail::lock_op<mutex, guard<mutex>>;
    using timed_scoped_op = scoped_op;

    mutex() noexcept : held_(detail::relock::waits) {}
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;

    /// Waits for the lock.
    lock_op lock() noexcept { return lock_op(*this); }
    /// Takes it if it is free, or its holder dead.
    [[nodiscard]] bool try_lock() { return detail::try_lock(*this); }
    /// Waits until `deadline` at most. Gives whether it has the lock.
    timed_lock_op lock_until(time_point deadline) noexcept {
        return timed_lock_op(*this, detail::shared_wait::limit::at(deadline));
    }
    /// Waits for `d` at most; with zero or less it only tries.
    template <class Rep, class Period>
    timed_lock_op lock_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_lock_op(*this, detail::shared_wait::limit::in(d));
    }

    /// Gives it to the next one who waits, or frees it.
    void unlock() { held_.unlock(); }
    /// What it guards has been repaired after owner_dead. Throws state_error unless the caller has
    /// the lock.
    void mark_consistent() { held_.mark_consistent(); }

    /// Locks it and gives a guard that unlocks it. Those with a deadline, and try_scoped, give an
    /// empty guard if they don't have it.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<mutex> try_scoped() {
        return try_lock() ? guard<mutex>(*this) : guard<mutex>();
    }
    timed_scoped_op scoped_until(time_point deadline) noexcept {
        return timed_scoped_op(*this, detail::shared_wait::limit::at(deadline));
    }
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_scoped_op(*this, detail::shared_wait::limit::in(d));
    }

    // Snapshots.
    [[nodiscard]] bool locked() const noexcept { return held_.locked(); }
    /// Whether the caller locked it, and nobody unlocked it since.
    [[nodiscard]] bool locked_here() const noexcept { return held_.noted_here(); }
    /// How many sleep before it, in all processes; asks the kernel.
    [[nodiscard]] std::size_t waiting() const noexcept { return held_.waiting(); }

private:
    template <class, class>
    friend class detail::lock_op;
    friend bool detail::try_lock<mutex>(mutex&);
    friend class condition;
    friend class guard<mutex>;
    static constexpr const char* name = "ipc::mutex";

    void give_back() noexcept { held_.give_back_guarded(); }

    detail::held_word held_;
};

} // namespace weft::ipc
