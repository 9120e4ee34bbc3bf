// SPDX-License-Identifier: MIT
// A number of permits that tasks and threads take and give back: so many may do something at once.
//
//     weft::task<int> fetch_politely(weft::semaphore& slots, weft::task<int> (*fetch)()) {
//         auto slot = co_await slots.scoped();    // given back on every way out
//         co_return co_await fetch();
//     }
//     void announce(weft::semaphore& arrived, int guests) { arrived.release(guests); }
//
// First come, first served, but for one that several loops want all the time, for a few
// instructions each: see mutex.
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: who is stopped while waiting leaves no trace. Who has been given a permit when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       std::invalid_argument for a negative number of permits, and for a release of less
//               than one; limit_error for a release beyond max(). A semaphore that is destroyed
//               while somebody waits for it ends the program. Timed forms throw std::bad_alloc if
//               they have to wait and the loop can't note one more timer.
// Cost:         one compare-and-swap to acquire, one to release, if nobody waits. No allocation.
// Source:       meaning after Python's Semaphore.
#pragma once
#include <weft/sync/detail/turnstile.hpp>
#include <weft/sync/stats.hpp>

namespace weft {

class semaphore {
public:
    using acquire_op = detail::pass_op<semaphore>;
    using timed_acquire_op = detail::timed_op<acquire_op>;
    using scoped_op = detail::scoped_op<semaphore>;
    using timed_scoped_op = detail::timed_op<scoped_op>;

    explicit semaphore(std::ptrdiff_t permits = 1);
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;
    ~semaphore();

    /// The most permits that there can be.
    static constexpr std::ptrdiff_t max() noexcept { return most; }

    /// Waits for a permit.
    acquire_op acquire() noexcept { return acquire_op(*this); }
    /// Takes one if there is one.
    [[nodiscard]] bool try_acquire() noexcept { return line_.try_pass(taken); }
    /// Waits until `deadline` at most. Gives whether it has a permit.
    timed_acquire_op acquire_until(time_point deadline) noexcept {
        return timed_acquire_op(detail::wait_limit::at(deadline), *this);
    }
    /// Waits for `d` at most; with zero or less it only tries.
    template <class Rep, class Period>
    timed_acquire_op acquire_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_acquire_op(detail::wait_limit::in(d), *this);
    }

    /// Gives n permits: each lets one more through, first those who wait.
    void release(std::ptrdiff_t n = 1) {
        if (n < 1 || n > max() || !line_.release(static_cast<std::uint32_t>(n), most)) [[unlikely]]
            bad_release(n);
    }

    /// Acquires a permit and gives a guard that releases it. Those with a deadline, and try_scoped,
    /// give an empty guard if they don't have one.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<semaphore> try_scoped() noexcept {
        return try_acquire() ? guard<semaphore>(*this) : guard<semaphore>();
    }
    timed_scoped_op scoped_until(time_point deadline) noexcept {
        return timed_scoped_op(detail::wait_limit::at(deadline), *this);
    }
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_scoped_op(detail::wait_limit::in(d), *this);
    }

    // Snapshots.
    /// How many permits are left.
    [[nodiscard]] std::ptrdiff_t value() const noexcept { return line_.permits(); }
    /// Whether an acquire would wait.
    [[nodiscard]] bool locked() const noexcept { return line_.permits() == 0; }
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats() const noexcept {
        return {name, 0, 0, static_cast<std::size_t>(value()), waiting()};
    }

private:
    friend class detail::pass_op<semaphore>;
    friend class guard<semaphore>;
    static constexpr const char* name = "semaphore";
    static constexpr std::uint32_t taken = 1;
    static constexpr std::uint32_t most = detail::turnstile<>::most;

    void give_back() noexcept {
        bool fits = line_.release(1, most);
        WEFT_ASSERT(fits, "a semaphore was released more often than its guards know");
    }
    [[noreturn]] static void bad_release(std::ptrdiff_t n);

    detail::turnstile<> line_;
};

} // namespace weft
