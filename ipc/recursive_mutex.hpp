// SPDX-License-Identifier: MIT
// A lock between processes that who has it may lock again: it is free when it was unlocked as
// often.
//
//     struct tree {
//         weft::ipc::recursive_mutex lock;
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
// It belongs to the task or plain thread that locked it, as weft::recursive_mutex does. For the
// rest, in the order of waiting and when its holder dies, it is as ipc::mutex. Bytes of zero aren't
// one yet: whoever makes the memory makes it there.
//
// Threads:      all members, from any thread and process, as ipc::mutex. A guard may be given back
//               by another task or thread, as long as the owner does nothing with the lock
//               meanwhile.
// Cancellation: as ipc::mutex.
// Errors:       as ipc::mutex, but that unlock throws state_error if the caller hasn't locked it.
// Cost:         as ipc::mutex; none of it for who has the lock.
// Source:       meaning after multiprocessing.RLock.
#pragma once
#include <weft/ipc/detail/held_word.hpp>
#include <weft/ipc/lock_error.hpp>
#include <weft/runtime/guard.hpp>

namespace weft::ipc {

class condition;

class recursive_mutex {
public:
    using lock_op = detail::lock_op<recursive_mutex, void>;
    using timed_lock_op = detail::lock_op<recursive_mutex, bool>;
    using scoped_op = detail::lock_op<recursive_mutex, guard<recursive_mutex>>;
    using timed_scoped_op = scoped_op;

    recursive_mutex() noexcept : held_(detail::relock::passes) {}
    recursive_mutex(const recursive_mutex&) = delete;
    recursive_mutex& operator=(const recursive_mutex&) = delete;

    /// Waits for the lock. Who has it gets it once more, at once.
    lock_op lock() noexcept { return lock_op(*this); }
    /// Takes it if it is free, or the caller's already, or its holder dead.
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

    /// Once for each lock. The last one frees it.
    void unlock() { held_.unlock(); }
    /// What it guards has been repaired after owner_dead. Throws state_error unless the caller has
    /// the lock.
    void mark_consistent() { held_.mark_consistent(); }

    /// Locks it and gives a guard that unlocks it. Those with a deadline, and try_scoped, give an
    /// empty guard if they don't have it.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<recursive_mutex> try_scoped() {
        return try_lock() ? guard<recursive_mutex>(*this) : guard<recursive_mutex>();
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
    /// How often the caller has locked it.
    [[nodiscard]] std::size_t depth() const noexcept {
        return held_.noted_here() ? held_.depth() : 0;
    }
    /// How many sleep before it, in all processes; asks the kernel.
    [[nodiscard]] std::size_t waiting() const noexcept { return held_.waiting(); }

private:
    template <class, class>
    friend class detail::lock_op;
    friend bool detail::try_lock<recursive_mutex>(recursive_mutex&);
    friend class condition;
    friend class guard<recursive_mutex>;
    static constexpr const char* name = "ipc::recursive_mutex";

    void give_back() noexcept { held_.give_back_guarded(); }

    detail::held_word held_;
};

} // namespace weft::ipc
