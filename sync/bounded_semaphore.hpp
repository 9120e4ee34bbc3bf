// SPDX-License-Identifier: MIT
// A semaphore that never has more permits than it began with: to release one that nobody took is an
// error, found where it is made.
//
//     weft::task<int> borrow(weft::bounded_semaphore& desks, weft::task<int> (*work)()) {
//         auto desk = co_await desks.scoped();    // given back on every way out
//         co_return co_await work();
//     }
//
// First come, first served, with the exception that mutex makes.
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: who is stopped while waiting leaves no trace. Who has been given a permit when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       std::invalid_argument for a negative number of permits, for a release of less than
//               one, and for one that would go beyond the initial value, which releases nothing;
//               limit_error for more than max(). One that is destroyed while somebody waits for it
//               ends the program. Timed forms throw std::bad_alloc if they have to wait and the
//               loop can't note one more timer.
// Cost:         one compare-and-swap to acquire, one to release, if nobody waits. No allocation.
// Source:       meaning after Python's BoundedSemaphore.
#pragma once
#include <weft/sync/detail/turnstile.hpp>
#include <weft/sync/stats.hpp>

namespace weft {

class bounded_semaphore {
public:
    using acquire_op = detail::pass_op<bounded_semaphore>;
    using timed_acquire_op = detail::timed_op<acquire_op>;
    using scoped_op = detail::scoped_op<bounded_semaphore>;
    using timed_scoped_op = detail::timed_op<scoped_op>;

    explicit bounded_semaphore(std::ptrdiff_t permits = 1);
    bounded_semaphore(const bounded_semaphore&) = delete;
    bounded_semaphore& operator=(const bounded_semaphore&) = delete;
    ~bounded_semaphore();

    /// The most permits that one can begin with.
    static constexpr std::ptrdiff_t max() noexcept { return detail::turnstile<>::most; }

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

    /// Gives n permits back: each lets one more through, first those who wait.
    void release(std::ptrdiff_t n = 1) {
        if (n < 1 || n > initial_value() || !line_.release(static_cast<std::uint32_t>(n), initial_))
            [[unlikely]]
            bad_release(n);
    }

    /// Acquires a permit and gives a guard that releases it. Those with a deadline, and try_scoped,
    /// give an empty guard if they don't have one.
    scoped_op scoped() noexcept { return scoped_op(*this); }
    [[nodiscard]] guard<bounded_semaphore> try_scoped() noexcept {
        return try_acquire() ? guard<bounded_semaphore>(*this) : guard<bounded_semaphore>();
    }
    timed_scoped_op scoped_until(time_point deadline) noexcept {
        return timed_scoped_op(detail::wait_limit::at(deadline), *this);
    }
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_scoped_op(detail::wait_limit::in(d), *this);
    }

    /// How many permits it began with.
    [[nodiscard]] std::ptrdiff_t initial_value() const noexcept { return initial_; }
    // Snapshots.
    /// How many permits are left.
    [[nodiscard]] std::ptrdiff_t value() const noexcept { return line_.permits(); }
    /// Whether an acquire would wait.
    [[nodiscard]] bool locked() const noexcept { return line_.permits() == 0; }
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats() const noexcept {
        std::uint32_t left = line_.permits();
        return {name, 0, initial_ - left, left, waiting()};
    }

private:
    friend class detail::pass_op<bounded_semaphore>;
    friend class guard<bounded_semaphore>;
    static constexpr const char* name = "bounded_semaphore";
    static constexpr std::uint32_t taken = 1;

    void give_back() noexcept {
        bool fits = line_.release(1, initial_);
        WEFT_ASSERT(fits, "a bounded_semaphore was released while a guard held the permit");
    }
    [[noreturn]] static void bad_release(std::ptrdiff_t n);

    const std::uint32_t initial_;
    detail::turnstile<> line_;
};

} // namespace weft
