// SPDX-License-Identifier: MIT
// A queue between tasks and threads, first in, first out. With a bound, who puts waits for room.
//
//     weft::task<> produce(weft::queue<std::string>& lines, weft::task<std::string> (*read)()) {
//         for (int i = 0; i < 100; ++i)
//             co_await lines.put(co_await read());        // waits while the queue is full
//         lines.shutdown();
//     }
//     weft::task<> consume(weft::queue<std::string>& lines) {
//         try {
//             while (true)
//                 fmt::print("{}\n", co_await lines.get());
//         } catch (const weft::queue_shut_down&) {        // everything was put, and got
//         }
//     }
//     std::string next(weft::queue<std::string>& lines) {  // on a plain thread
//         return weft::sync_wait(lines.get());
//     }
//
// Every item is delivered once. Those who wait are served first come, first served, and an item
// goes straight to one who waits for it.
//
// Threads:      all members, from any thread; a task goes on on its own loop.
// Cancellation: a stopped get has taken no item, a stopped put has added none and destroys its own.
//               Who has been given an item when the stop comes goes on with it.
// Errors:       queue_shut_down from put and get after shutdown; queue_empty and queue_full from
//               those with a deadline, and the item of such a put is gone (try_put leaves it where
//               it is); std::invalid_argument for a negative duration, for a task_done too many,
//               and for a capacity beyond 2^31 - 1. What moving an item throws comes out of the put
//               or get that needs it, and the queue stays as it was; an item that can't be moved
//               out of a finished get is lost. std::bad_alloc if there is no memory for more items.
//               A queue that is destroyed while somebody waits ends the program.
// Cost:         a put or a get that needn't wait takes one exchange and two moves of the item. No
//               allocation with a bound (of a MiB of items; beyond that, and without a bound, when
//               there are more items than ever). After 256 items in a row a task lets others run.
// Source:       meaning after Python's queue.Queue; see detail/queue_state.hpp for how.
#pragma once
#include <weft/sync/detail/queue_core.hpp>

namespace weft {

template <class T, class Atomics = detail::std_atomics>
class queue {
public:
    using value_type = T;
    using put_op = detail::put_op<T, Atomics>;
    using timed_put_op = detail::timed_op<put_op>;
    using get_op = detail::get_op<T, Atomics>;
    using timed_get_op = detail::timed_op<get_op>;
    using join_op = detail::join_queue_op<T, Atomics>;
    using timed_join_op = detail::timed_op<join_op>;

    /// A capacity of 0: no bound.
    explicit queue(std::size_t capacity = 0) : core_(capacity) {}
    queue(const queue&) = delete;
    queue& operator=(const queue&) = delete;

    /// Puts an item at the end; waits while the queue is full.
    put_op put(T item) { return put_op(core_, std::move(item)); }
    /// Waits until `deadline` at most, then throws queue_full.
    timed_put_op put_until(T item, time_point deadline) {
        return timed_put_op(detail::wait_limit::at(deadline), core_, std::move(item));
    }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    timed_put_op put_for(T item, std::chrono::duration<Rep, Period> d) {
        return timed_put_op(limit(d), core_, std::move(item));
    }
    /// Puts an item if there is room. If there isn't, the item stays where it is.
    template <class U = T>
        requires std::constructible_from<T, U>
    [[nodiscard]] bool try_put(U&& item) {
        auto how = core_.put_now(std::forward<U>(item));
        if (how == detail::queue_outcome::shut_down)
            detail::throw_put_outcome(how);
        return how == detail::queue_outcome::done;
    }

    /// Takes the first item; waits while there is none.
    get_op get() noexcept { return get_op(core_); }
    /// Waits until `deadline` at most, then throws queue_empty.
    timed_get_op get_until(time_point deadline) noexcept {
        return timed_get_op(detail::wait_limit::at(deadline), core_);
    }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    timed_get_op get_for(std::chrono::duration<Rep, Period> d) {
        return timed_get_op(limit(d), core_);
    }
    /// Takes the first item if there is one.
    [[nodiscard]] std::optional<T> try_get() {
        std::optional<T> got;
        auto how = core_.get_now([&got](T&& item) { got.emplace(std::move(item)); });
        if (how == detail::queue_outcome::shut_down)
            detail::throw_get_outcome(how);
        return got;
    }

    /// Says that an item that was got is done.
    void task_done() {
        if (!core_.s.note_done())
            detail::throw_done_too_often();
    }
    /// Waits until every item that was put is done.
    join_op join() noexcept { return join_op(core_); }
    /// With a deadline. Gives whether everything was done.
    timed_join_op join_until(time_point deadline) noexcept {
        return timed_join_op(detail::wait_limit::at(deadline), core_);
    }
    template <class Rep, class Period>
    timed_join_op join_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_join_op(detail::wait_limit::in(d), core_);
    }

    /// From now on nothing can be put; who waits to put throws queue_shut_down, and so does who
    /// gets when nothing is left. `immediate` also throws away what is left, as if it had been got
    /// and done. May be repeated, but not taken back.
    void shutdown(bool immediate = false) noexcept { core_.shut_down(immediate); }
    [[nodiscard]] bool is_shutdown() const noexcept { return core_.is_shut_down(); }

    // Snapshots: other threads may change them before the caller looks at the answer.
    [[nodiscard]] std::size_t size() const noexcept {
        return std::min(core_.s.size(), core_.limit());
    }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] bool full() const noexcept { return core_.bounded() && size() == core_.limit(); }
    /// 0: no bound.
    [[nodiscard]] std::size_t capacity() const noexcept {
        return core_.bounded() ? core_.limit() : 0;
    }
    /// Items that were put and aren't done.
    [[nodiscard]] std::size_t unfinished() const noexcept { return core_.s.unfinished(); }
    /// How many wait for an item, for room, in join; counts them.
    [[nodiscard]] std::size_t getting() const noexcept { return core_.s.count_getters(); }
    [[nodiscard]] std::size_t putting() const noexcept { return core_.s.count_putters(); }
    [[nodiscard]] std::size_t joining() const noexcept { return core_.s.count_joiners(); }

private:
    template <class Rep, class Period>
    static detail::wait_limit limit(std::chrono::duration<Rep, Period> d) {
        if (d < d.zero())
            detail::throw_negative_time();
        return detail::wait_limit::in(d);
    }

    mutable detail::queue_core<T, Atomics> core_; // to look is to lock
};

} // namespace weft
