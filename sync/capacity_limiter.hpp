// SPDX-License-Identifier: MIT
// A number of tokens that are lent, one to each borrower: limits how many do something at once,
// knows who they are, and can be changed while it is in use.
//
//     weft::task<int> crunch(weft::capacity_limiter& cores, weft::task<int> (*work)()) {
//         auto token = co_await cores.scoped();   // given back on every way out
//         co_return co_await work();
//     }
//     void on_battery(weft::capacity_limiter& cores) { cores.set_total(1); }
//
// The borrower is the calling task (see mutex for who that is), or whatever the caller names: the
// address of a connection, of a job (in when_any and select, too, whose parts are tasks of their
// own). Nobody borrows twice. If the total becomes less than what is
// lent, nothing is lent until enough has come back.
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: who is stopped while waiting leaves no trace. Who has been lent a token when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       std::invalid_argument for a total below one. state_error for who has a token, or
//               waits for one, and asks again; and from a release by who has none. std::bad_alloc
//               if there is no memory to note one more borrower, or one more timer. A limiter that
//               is destroyed while somebody waits for it ends the program.
// Cost:         a short lock and a look into a hash table each. Allocates when there are more
//               borrowers, those who wait included, than ever.
// Source:       anyio's CapacityLimiter; first come, first served.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/identity.hpp>
#include <weft/runtime/detail/wait_list.hpp>
#include <weft/sync/detail/borrower_set.hpp>
#include <weft/sync/stats.hpp>

namespace weft {

class capacity_limiter {
public:
    class acquire_op;
    class scoped_op;
    class token;
    using timed_acquire_op = detail::timed_op<acquire_op>;
    using timed_scoped_op = detail::timed_op<scoped_op>;

    explicit capacity_limiter(std::ptrdiff_t total);
    capacity_limiter(const capacity_limiter&) = delete;
    capacity_limiter& operator=(const capacity_limiter&) = delete;
    ~capacity_limiter();

    // Null stands for the calling task, at the time of the await.

    /// Waits for a token.
    acquire_op acquire(const void* borrower = nullptr) noexcept;
    /// Takes one if there is one.
    [[nodiscard]] bool try_acquire(const void* borrower = nullptr);
    /// Waits until `deadline` at most. Gives whether it has a token.
    timed_acquire_op acquire_until(time_point deadline, const void* borrower = nullptr) noexcept;
    /// Waits for `d` at most; with zero or less it only tries.
    template <class Rep, class Period>
    timed_acquire_op acquire_for(std::chrono::duration<Rep, Period> d,
                                 const void* borrower = nullptr) noexcept;
    /// Gives the token back.
    void release(const void* borrower = nullptr);

    /// Acquires a token that gives itself back. Those with a deadline, and try_scoped, give an
    /// empty one if there is none.
    scoped_op scoped(const void* borrower = nullptr) noexcept;
    [[nodiscard]] token try_scoped(const void* borrower = nullptr);
    timed_scoped_op scoped_until(time_point deadline, const void* borrower = nullptr) noexcept;
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d,
                               const void* borrower = nullptr) noexcept;

    /// How many may be lent. Raising it lets those go on who wait.
    void set_total(std::ptrdiff_t n);

    // Snapshots.
    [[nodiscard]] std::ptrdiff_t total() const noexcept;
    [[nodiscard]] std::ptrdiff_t borrowed() const noexcept;
    /// How many are left to lend; negative if the total became less than what is lent.
    [[nodiscard]] std::ptrdiff_t available() const noexcept;
    /// Whether the borrower has a token.
    [[nodiscard]] bool has(const void* borrower = nullptr) const noexcept;
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept;
    [[nodiscard]] primitive_stats stats() const noexcept;

private:
    using key = detail::borrower_set::key;
    enum class asking : int { once, waits };

    static key key_of(const void* borrower) noexcept;
    /// Gives whether it has a token. If not, the operation is in line, or nothing is noted.
    bool take(key who, acquire_op* op, asking how);
    bool leave(acquire_op& op) noexcept;
    bool give_back(key who) noexcept;
    void let_pass(detail::woken_list& woken) noexcept; // with the lock

    mutable detail::short_lock<> lock_; // to look is to lock
    std::ptrdiff_t total_;
    std::ptrdiff_t borrowed_ = 0;
    detail::borrower_set known_; // who has a token or waits for one
    detail::wait_list line_;
};

/// Somebody's token. Gives it back when it is destroyed, by whomever.
class [[nodiscard]] capacity_limiter::token {
public:
    /// None.
    token() noexcept = default;
    token(token&& other) noexcept : of_(std::exchange(other.of_, nullptr)), who_(other.who_) {}
    token& operator=(token&& other) noexcept {
        token taken(std::move(other));
        std::swap(of_, taken.of_);
        std::swap(who_, taken.who_);
        return *this;
    }
    ~token() { reset(); }

    explicit operator bool() const noexcept { return of_ != nullptr; }
    /// Gives it back now.
    void reset() noexcept {
        if (capacity_limiter* l = std::exchange(of_, nullptr)) {
            bool was_lent = l->give_back(who_);
            WEFT_ASSERT(was_lent, "a token was given back while its guard held it");
        }
    }

private:
    friend capacity_limiter;
    friend capacity_limiter::scoped_op;
    token(capacity_limiter& l, key who) noexcept : of_(&l), who_(who) {}

    capacity_limiter* of_ = nullptr;
    key who_ = 0;
};

class [[nodiscard]] capacity_limiter::acquire_op : public detail::line_op<acquire_op> {
public:
    static constexpr const char* name = "capacity_limiter";

    acquire_op(capacity_limiter& l, const void* borrower,
               const detail::operation_type& t = detail::line_kind<acquire_op>) noexcept
        : line_op(t), at_(&l), borrower_(borrower) {}

    bool pass_now() {
        who_ = key_of(borrower_);
        return at_->take(who_, this, asking::once);
    }
    bool line_up() { return !at_->take(who_, this, asking::waits); }
    bool leave() noexcept { return at_->leave(*this); }
    void await_resume() const noexcept {}
    [[nodiscard]] bool result(bool passed) const noexcept { return passed; }

protected:
    friend capacity_limiter;
    capacity_limiter* at_;
    const void* borrower_;
    key who_ = 0;
};

class [[nodiscard]] capacity_limiter::scoped_op : public acquire_op {
public:
    scoped_op(capacity_limiter& l, const void* borrower,
              const detail::operation_type& t = detail::line_kind<scoped_op>) noexcept
        : acquire_op(l, borrower, t) {}
    token await_resume() const noexcept { return result(true); }
    [[nodiscard]] token result(bool passed) const noexcept {
        return passed ? token(*at_, who_) : token();
    }
};

// -------------------------------------------------------------------------------------------------

inline capacity_limiter::acquire_op capacity_limiter::acquire(const void* borrower) noexcept {
    return acquire_op(*this, borrower);
}
inline capacity_limiter::timed_acquire_op
capacity_limiter::acquire_until(time_point deadline, const void* borrower) noexcept {
    return timed_acquire_op(detail::wait_limit::at(deadline), *this, borrower);
}
template <class Rep, class Period>
capacity_limiter::timed_acquire_op
capacity_limiter::acquire_for(std::chrono::duration<Rep, Period> d, const void* borrower) noexcept {
    return timed_acquire_op(detail::wait_limit::in(d), *this, borrower);
}
inline capacity_limiter::scoped_op capacity_limiter::scoped(const void* borrower) noexcept {
    return scoped_op(*this, borrower);
}
inline capacity_limiter::timed_scoped_op
capacity_limiter::scoped_until(time_point deadline, const void* borrower) noexcept {
    return timed_scoped_op(detail::wait_limit::at(deadline), *this, borrower);
}
template <class Rep, class Period>
capacity_limiter::timed_scoped_op capacity_limiter::scoped_for(std::chrono::duration<Rep, Period> d,
                                                               const void* borrower) noexcept {
    return timed_scoped_op(detail::wait_limit::in(d), *this, borrower);
}

} // namespace weft
