// SPDX-License-Identifier: MIT
// A number that is counted down once, and those who wait until it is zero.
//
//     weft::task<> worker(weft::latch& ready, weft::task<> (*prepare)()) {
//         co_await prepare();
//         co_await ready.arrive_and_wait();       // nobody goes on before all have prepared
//     }
//     void tell(weft::latch& ready) { ready.count_down(); }       // any thread, any loop
//     void wait_for_all(weft::latch& ready) { weft::sync_wait(ready.wait()); }    // a plain thread
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: a stopped wait leaves no trace. Who is stopped in arrive_and_wait has arrived all
//               the same.
// Errors:       std::invalid_argument for a negative number, and for counting down by more than is
//               left, which changes nothing. Timed waits throw std::bad_alloc if they have to wait
//               and the loop can't note one more timer. A latch that is destroyed while somebody
//               waits for it ends the program.
// Cost:         counting down is one compare-and-swap, the last one two, and O(waiters). A wait for
//               a latch at zero is one load. No allocation.
// Source:       std::latch, whose members it has.
#pragma once
#include <weft/sync/detail/turnstile.hpp>
#include <weft/sync/stats.hpp>

#include <limits>

namespace weft {

class latch {
public:
    using wait_op = detail::pass_op<latch>;
    using timed_wait_op = detail::timed_op<wait_op>;
    class arrive_op;

    explicit latch(std::ptrdiff_t expected);
    latch(const latch&) = delete;
    latch& operator=(const latch&) = delete;
    ~latch();

    static constexpr std::ptrdiff_t max() noexcept {
        return std::numeric_limits<std::ptrdiff_t>::max();
    }

    /// Counts down by n. At zero everybody who waits goes on, first come, first served.
    void count_down(std::ptrdiff_t n = 1);
    /// Waits until it is zero. Doesn't suspend if it is.
    wait_op wait() noexcept { return wait_op(*this); }
    /// Waits until `deadline` at most. Gives whether it is zero; a past deadline only looks.
    timed_wait_op wait_until(time_point deadline) noexcept {
        return timed_wait_op(detail::wait_limit::at(deadline), *this);
    }
    /// Waits for `d` at most; with zero or less it only looks.
    template <class Rep, class Period>
    timed_wait_op wait_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_wait_op(detail::wait_limit::in(d), *this);
    }
    /// Counts down by n when it is awaited, and waits.
    arrive_op arrive_and_wait(std::ptrdiff_t n = 1) noexcept;

    /// Whether it is zero, which it then stays.
    [[nodiscard]] bool try_wait() const noexcept { return line_.permits() != 0; }
    // Snapshots.
    /// How much is left to count.
    [[nodiscard]] std::ptrdiff_t pending() const noexcept {
        return left_.load(std::memory_order_relaxed);
    }
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats() const noexcept {
        return {name, 0, static_cast<std::size_t>(pending()), try_wait() ? 1u : 0u, waiting()};
    }

private:
    friend class detail::pass_op<latch>;
    static constexpr const char* name = "latch";
    static constexpr std::uint32_t taken = 0; // the permit stays for everybody

    std::atomic<std::ptrdiff_t> left_;
    detail::turnstile<> line_; // open at zero
};

class [[nodiscard]] latch::arrive_op : public detail::pass_op<latch> {
public:
    arrive_op(latch& l, std::ptrdiff_t n) noexcept : pass_op(l), n_(n) {}
    [[nodiscard]] bool await_ready() {
        at_->count_down(n_);
        return pass_now();
    }

private:
    std::ptrdiff_t n_;
};

inline latch::arrive_op latch::arrive_and_wait(std::ptrdiff_t n) noexcept {
    return arrive_op(*this, n);
}

} // namespace weft
