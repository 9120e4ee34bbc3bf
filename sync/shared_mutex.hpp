// SPDX-License-Identifier: MIT
// A lock that one writer has alone, or any number of readers together.
//
//     struct table {
//         weft::shared_mutex lock;
//         std::map<std::string, int> entries;
//     };
//     weft::task<int> look_up(table& t, std::string key) {
//         auto held = co_await t.lock.scoped_shared();
//         co_return t.entries.at(key);
//     }
//     weft::task<> change(table& t, std::string key, int value) {
//         auto held = co_await t.lock.scoped();
//         t.entries[key] = value;
//     }
//
// First come, first served, so nobody starves: a reader that comes after a waiting writer waits
// for it, and readers that wait side by side get the lock together. So a reader that locks it once
// more may wait for ever: a writer may have come in between.
//
// Threads:      all members, from any thread; a task goes on on its own loop. Whoever has it or
//               not may unlock it.
// Cancellation: who is stopped while waiting leaves no trace; readers that waited behind a stopped
//               writer go on if others read. Who has been given the lock when the stop comes goes
//               on with it: await the scoped forms where a stop may drop the result, as in
//               when_any.
// Errors:       unlock throws state_error if no writer has it, unlock_shared if no reader has it.
//               One that is destroyed while somebody waits for it ends the program. Timed forms
//               throw std::bad_alloc if they have to wait and the loop can't note one more timer.
// Cost:         a short lock to lock, and to unlock. No allocation.
// Source:       std::shared_mutex's members, awaited; the order after "fair" reader-writer locks.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/wait_list.hpp>
#include <weft/runtime/guard.hpp>
#include <weft/sync/stats.hpp>

namespace weft {

class shared_mutex;

namespace detail {

/// Waits for a shared_mutex, as a writer or as a reader.
class [[nodiscard]] shared_lock_op : public line_op<shared_lock_op> {
public:
    static constexpr const char* name = "shared_mutex";
    enum class mode : int { alone, shared };

    shared_lock_op(shared_mutex& m, mode how,
                   const operation_type& t = line_kind<shared_lock_op>) noexcept
        : line_op(t), at_(&m), how_(how) {}

    bool pass_now() noexcept;
    bool line_up() noexcept;
    bool leave() noexcept;
    void await_resume() const noexcept {}
    [[nodiscard]] bool result(bool passed) const noexcept { return passed; }

protected:
    friend shared_mutex;
    shared_mutex* at_;
    mode how_;
};

/// The same with a guard, of what `Side` is: the mutex, or its readers' side.
template <class Side, shared_lock_op::mode How>
class [[nodiscard]] scoped_shared_op : public shared_lock_op {
public:
    explicit scoped_shared_op(shared_mutex& m,
                              const operation_type& t = line_kind<scoped_shared_op>) noexcept
        : shared_lock_op(m, How, t) {}
    guard<Side> await_resume() const noexcept { return result(true); }
    [[nodiscard]] guard<Side> result(bool passed) const noexcept;
};

/// What a reader's guard holds.
class readers_side {
protected:
    readers_side() noexcept = default;
    ~readers_side() = default;

private:
    friend class guard<readers_side>;
    void give_back() noexcept;
};

} // namespace detail

class shared_mutex : private detail::readers_side {
public:
    using lock_op = detail::shared_lock_op;
    using timed_lock_op = detail::timed_op<lock_op>;
    using shared_guard = guard<detail::readers_side>;
    using scoped_op = detail::scoped_shared_op<shared_mutex, lock_op::mode::alone>;
    using scoped_shared_op = detail::scoped_shared_op<detail::readers_side, lock_op::mode::shared>;

    shared_mutex() noexcept = default;
    shared_mutex(const shared_mutex&) = delete;
    shared_mutex& operator=(const shared_mutex&) = delete;
    ~shared_mutex();

    // --- Alone ----------------------------------------------------------------------------------

    /// Waits until nobody else has it.
    lock_op lock() noexcept { return lock_op(*this, lock_op::mode::alone); }
    [[nodiscard]] bool try_lock() noexcept { return try_pass(lock_op::mode::alone); }
    /// Waits until `deadline` at most. Gives whether it has the lock.
    timed_lock_op lock_until(time_point deadline) noexcept {
        return timed(detail::wait_limit::at(deadline), lock_op::mode::alone);
    }
    /// Waits for `d` at most; with zero or less it only tries.
    template <class Rep, class Period>
    timed_lock_op lock_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed(detail::wait_limit::in(d), lock_op::mode::alone);
    }
    void unlock();

    /// Locks it and gives a guard that unlocks it. Those with a deadline, and those that try, give
    /// an empty guard if they don't have it.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<shared_mutex> try_scoped() noexcept {
        return try_lock() ? guard<shared_mutex>(*this) : guard<shared_mutex>();
    }
    detail::timed_op<scoped_op> scoped_until(time_point deadline) noexcept {
        return detail::timed_op<scoped_op>(detail::wait_limit::at(deadline), *this);
    }
    template <class Rep, class Period>
    detail::timed_op<scoped_op> scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return detail::timed_op<scoped_op>(detail::wait_limit::in(d), *this);
    }

    // --- Together with other readers ------------------------------------------------------------

    /// Waits until no writer has it, and none waits that came before.
    lock_op lock_shared() noexcept { return lock_op(*this, lock_op::mode::shared); }
    [[nodiscard]] bool try_lock_shared() noexcept { return try_pass(lock_op::mode::shared); }
    timed_lock_op lock_shared_until(time_point deadline) noexcept {
        return timed(detail::wait_limit::at(deadline), lock_op::mode::shared);
    }
    template <class Rep, class Period>
    timed_lock_op lock_shared_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed(detail::wait_limit::in(d), lock_op::mode::shared);
    }
    void unlock_shared();

    scoped_shared_op scoped_shared() noexcept { return scoped_shared_op(*this); }
    [[nodiscard]] shared_guard try_scoped_shared() noexcept {
        return try_lock_shared() ? shared_guard(*this) : shared_guard();
    }
    detail::timed_op<scoped_shared_op> scoped_shared_until(time_point deadline) noexcept {
        return detail::timed_op<scoped_shared_op>(detail::wait_limit::at(deadline), *this);
    }
    template <class Rep, class Period>
    detail::timed_op<scoped_shared_op>
    scoped_shared_for(std::chrono::duration<Rep, Period> d) noexcept {
        return detail::timed_op<scoped_shared_op>(detail::wait_limit::in(d), *this);
    }

    // Snapshots.
    /// Whether a writer has it.
    [[nodiscard]] bool locked() const noexcept;
    /// How many readers have it.
    [[nodiscard]] std::size_t readers() const noexcept;
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept;
    [[nodiscard]] primitive_stats stats() const noexcept;

private:
    friend class detail::shared_lock_op;
    friend class detail::readers_side;
    template <class Side, detail::shared_lock_op::mode How>
    friend class detail::scoped_shared_op;
    friend class guard<shared_mutex>;

    timed_lock_op timed(detail::wait_limit limit, lock_op::mode how) noexcept {
        return timed_lock_op(limit, *this, how);
    }
    bool try_pass(lock_op::mode how) noexcept;
    bool enter(lock_op& op) noexcept;
    bool leave(lock_op& op) noexcept;
    bool release(lock_op::mode how) noexcept;
    void give_back() noexcept;

    // With the short lock.
    [[nodiscard]] bool may_pass(lock_op::mode how) const noexcept;
    void note(lock_op::mode how) noexcept;
    void let_pass(detail::woken_list& woken) noexcept;

    mutable detail::short_lock<> lock_; // to look is to lock
    bool writer_ = false;
    std::size_t readers_ = 0;
    detail::wait_list line_;
};

// -------------------------------------------------------------------------------------------------

inline bool detail::shared_lock_op::pass_now() noexcept { return at_->try_pass(how_); }
inline bool detail::shared_lock_op::line_up() noexcept { return at_->enter(*this); }
inline bool detail::shared_lock_op::leave() noexcept { return at_->leave(*this); }

template <class Side, detail::shared_lock_op::mode How>
guard<Side> detail::scoped_shared_op<Side, How>::result(bool passed) const noexcept {
    return passed ? guard<Side>(*at_) : guard<Side>();
}

} // namespace weft
