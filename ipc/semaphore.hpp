// SPDX-License-Identifier: MIT
// A number of permits that tasks and threads of several processes take and give back.
//
//     weft::task<int> fetch_politely(weft::ipc::semaphore& slots, weft::task<int> (*fetch)()) {
//         auto slot = co_await slots.scoped();    // given back on every way out
//         co_return co_await fetch();
//     }
//
// Its members mean what those of weft::semaphore mean. Bytes of zero are one without permits, at
// whichever address each process sees it. The order is that of ipc::mutex.
//
// Threads:      all members, from any thread and process; a task goes on on its own loop. A process
//               that ends takes the permits that it has with it, as with Python's semaphores:
//               nobody knows whose they are. Who is killed while waiting delays nobody for longer
//               than 50 ms.
// Cancellation: who is stopped while waiting leaves no trace. Who has been given a permit when the
//               stop comes goes on with it: await scoped() where a stop may drop the result, as in
//               when_any.
// Errors:       std::invalid_argument for a negative number of permits, and for a release of less
//               than one; limit_error for a release beyond max(). Who has to wait may get
//               std::bad_alloc, if the loop can't note one more timer, and state_error on a thread
//               without a loop.
// Cost:         one compare-and-swap to acquire, one to release, if nobody waits. 4 bytes. No
//               allocation.
// Source:       meaning after multiprocessing.Semaphore.
#pragma once
#include <weft/ipc/detail/permit_line.hpp>
#include <weft/runtime/assert.hpp>

namespace weft::ipc {

class semaphore {
public:
    using acquire_op = detail::acquire_op<semaphore, void>;
    using timed_acquire_op = detail::acquire_op<semaphore, bool>;
    using scoped_op = detail::acquire_op<semaphore, guard<semaphore>>;
    using timed_scoped_op = scoped_op;

    explicit semaphore(std::ptrdiff_t permits = 1);
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;

    /// The most permits that there can be.
    static constexpr std::ptrdiff_t max() noexcept { return most; }

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

    /// Gives n permits: each lets one more through.
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
        return timed_scoped_op(*this, detail::shared_wait::limit::at(deadline));
    }
    template <class Rep, class Period>
    timed_scoped_op scoped_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_scoped_op(*this, detail::shared_wait::limit::in(d));
    }

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
    friend class guard<semaphore>;
    static constexpr const char* name = "ipc::semaphore";
    static constexpr std::uint32_t most = detail::permit_line::most;

    void give_back() noexcept {
        bool fits = line_.release(1, most);
        WEFT_ASSERT(fits, "a semaphore was released more often than its guards know");
    }
    [[noreturn]] static void bad_release(std::ptrdiff_t n);

    detail::permit_line line_;
};

} // namespace weft::ipc
