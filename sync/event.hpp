// SPDX-License-Identifier: MIT
// A flag that tasks and threads wait for.
//
//     weft::task<> consumer(weft::event& ready) {
//         co_await ready.wait();                  // suspends until someone calls set()
//         fmt::print("go\n");
//     }
//     void producer(weft::event& ready) { ready.set(); }      // any thread, any loop
//
// Threads:      all members, from any thread; a woken task goes on on its own loop.
// Cancellation: a stopped wait leaves no trace.
// Errors:       none from set, clear and is_set. Timed waits throw std::bad_alloc if they have to
//               wait and the loop can't note one more timer. An event that is destroyed while
//               somebody waits for it ends the program.
// Cost:         a wait for a set event is one load; set() is one compare-and-swap, and O(waiters)
//               if there are any, with one wake-up per idle loop. No allocation.
// Source:       meaning after Python's threading.Event.
#pragma once
#include <weft/sync/detail/turnstile.hpp>
#include <weft/sync/stats.hpp>

namespace weft {

class event {
public:
    using wait_op = detail::pass_op<event>;
    using timed_wait_op = detail::timed_op<wait_op>;

    event() noexcept : line_(0) {}
    event(const event&) = delete;
    event& operator=(const event&) = delete;
    ~event();

    /// Sets the flag and wakes every waiter, first come, first served. Does nothing if it is set.
    void set() noexcept { line_.open(); }
    /// Unsets the flag. Whoever was woken before still returns from its wait.
    void clear() noexcept { line_.close(); }

    /// Waits until the flag is set. Doesn't suspend if it is.
    wait_op wait() noexcept { return wait_op(*this); }
    /// Waits until `deadline` at most. Gives whether the flag was set; a past deadline only looks.
    timed_wait_op wait_until(time_point deadline) noexcept {
        return timed_wait_op(detail::wait_limit::at(deadline), *this);
    }
    /// Waits for `d` at most; with zero or less it only looks.
    template <class Rep, class Period>
    timed_wait_op wait_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_wait_op(detail::wait_limit::in(d), *this);
    }

    // Snapshots: another thread may change it before the caller looks at the answer.
    [[nodiscard]] bool is_set() const noexcept { return line_.permits() != 0; }
    /// How many wait; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats() const noexcept {
        return {name, 0, 0, is_set() ? 1u : 0u, waiting()};
    }

private:
    friend class detail::pass_op<event>;
    static constexpr const char* name = "event";
    static constexpr std::uint32_t taken = 0; // the permit stays for everybody

    detail::turnstile<> line_;
};

} // namespace weft
