// SPDX-License-Identifier: MIT
// A queue without a bound and without an end. To put never waits, so it can be done where nothing
// may: in a posted function, a destructor, another thread's callback.
//
//     void report(weft::simple_queue<std::string>& log, std::string line) {
//         log.put(std::move(line));                   // from anywhere
//     }
//     weft::task<> write(weft::simple_queue<std::string>& log) {
//         while (true)
//             fmt::print("{}\n", co_await log.get());
//     }
//
// Threads:      all members, from any thread; a task goes on on its own loop. The destructor of an
//               item may put into the queue that it was taken from. Not for signal handlers, which
//               may not allocate: see signal.hpp for those.
// Cancellation: a stopped get has taken no item.
// Errors:       std::bad_alloc and limit_error (the 2^31st item) from put; queue_empty from a get
//               with a deadline; std::invalid_argument for a negative duration. What moving an item
//               throws comes out of the put or get that needs it.
// Cost:         as queue's: one exchange and two moves of the item.
// Source:       meaning after Python's queue.SimpleQueue.
#pragma once
#include <weft/sync/queue.hpp>

namespace weft {

template <class T, class Atomics = detail::std_atomics>
class simple_queue {
public:
    using value_type = T;
    using get_op = typename queue<T, Atomics>::get_op;
    using timed_get_op = typename queue<T, Atomics>::timed_get_op;

    simple_queue() = default;
    simple_queue(const simple_queue&) = delete;
    simple_queue& operator=(const simple_queue&) = delete;

    /// Puts an item at the end.
    template <class U = T>
        requires std::constructible_from<T, U>
    void put(U&& item) {
        static_cast<void>(items_.try_put(std::forward<U>(item)));
    }

    /// Takes the first item; waits while there is none.
    get_op get() noexcept { return items_.get(); }
    /// Waits until `deadline` at most, then throws queue_empty.
    timed_get_op get_until(time_point deadline) noexcept { return items_.get_until(deadline); }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    timed_get_op get_for(std::chrono::duration<Rep, Period> d) {
        return items_.get_for(d);
    }
    /// Takes the first item if there is one.
    [[nodiscard]] std::optional<T> try_get() { return items_.try_get(); }

    // Snapshots: other threads may change them before the caller looks at the answer.
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    /// How many wait for an item; counts them.
    [[nodiscard]] std::size_t getting() const noexcept { return items_.getting(); }

private:
    queue<T, Atomics> items_;
};

} // namespace weft
