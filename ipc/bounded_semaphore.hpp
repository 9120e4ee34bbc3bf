// SPDX-License-Identifier: MIT
// A semaphore between processes that never has more permits than it began with: to release one that
// nobody took is an error, found where it is made.
//
//     weft::task<int> borrow(weft::ipc::bounded_semaphore& desks, weft::task<int> (*work)()) {
//         auto desk = co_await desks.scoped();    // given back on every way out
//         co_return co_await work();
//     }
//
// Its members mean what those of weft::bounded_semaphore mean. The order is that of ipc::mutex.
//
// Threads:      as ipc::semaphore, also as to processes that end.
// Cancellation: as ipc::semaphore.
// Errors:       std::invalid_argument for a negative number of permits, for a release of less than
//               one, and for one that would go beyond the initial value, which releases nothing;
//               limit_error for more than max(). Waiting: as ipc::semaphore.
// Cost:         as ipc::semaphore; 8 bytes.
// Source:       meaning after multiprocessing.BoundedSemaphore.
#pragma once
#include <weft/ipc/detail/permit_line.hpp>
#include <weft/runtime/assert.hpp>

namespace weft::ipc {

class bounded_semaphore {
public:
    using acquire_op = detail::acquire_op<bounded_semaphore, void>;
    using timed_acquire_op = detail::acquire_op<bounded_semaphore, bool>;
    using scoped_op = detail::acquire_op<bounded_semaphore, guard<bounded_semaphore>>;
    using timed_scoped_op = scoped_op;

    explicit bounded_semaphore(std::ptrdiff_t permits = 1);
    bounded_semaphore(const bounded_semaphore&) = delete;
    bounded_semaphore& operator=(const bounded_semaphore&) = delete;

    /// The most permits that one can begin with.
    static constexpr std::ptrdiff_t max() noexcept { return detail::permit_line::most; }

    /// Waits for a permit.
    acquire_op acquire() noexcept { return acquire_op(*this); }
    /// Takes one if there is one.
    [[nodiscard]] bool try_acquire() noexcept { return line_.try_take(); }
    /// Waits until `deadline` at most. Gives whether it has a permit.
    timed_acquire_op acquire_until(time_point deadline) noexcept {
        return timed_acquire_op(*this, detail::shared_wait::limit::at(deadline));
    }
    /// Waits for `d` at most; with zero or less it only tries.
    template <class Rep, class Period>
    timed_acquire_op acquire_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_acquire_op(*this, detail::shared_wait::limit::in(d));
    }

    /// Gives n permits back: each lets one more through.
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
        return timed_scoped_op(*this, detail::shared_wait::limit::at(deadline));
    }
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_scoped_op(*this, detail::shared_wait::limit::in(d));
    }

    /// How many permits it began with.
    [[nodiscard]] std::ptrdiff_t initial_value() const noexcept { return initial_; }
    // Snapshots.
    /// How many permits are left.
    [[nodiscard]] std::ptrdiff_t value() const noexcept { return line_.permits(); }
    /// Whether an acquire would wait.
    [[nodiscard]] bool locked() const noexcept { return line_.permits() == 0; }
    /// How many sleep before it, in all processes; asks the kernel.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }

private:
    template <class, class>
    friend class detail::acquire_op;
    friend class guard<bounded_semaphore>;
    static constexpr const char* name = "ipc::bounded_semaphore";

    void give_back() noexcept {
        bool fits = line_.release(1, initial_);
        WEFT_ASSERT(fits, "a bounded_semaphore was released while a guard held the permit");
    }
    [[noreturn]] static void bad_release(std::ptrdiff_t n);

    std::uint32_t initial_;
    detail::permit_line line_;
};

} // namespace weft::ipc
