// SPDX-License-Identifier: MIT
// What all queues offer, whatever the order in which they give their items back.
//
// Threads:      all members, from any thread.
// Cancellation: a stopped get has taken no item, a stopped put has added none.
// Errors:       as sync/queue.hpp says.
// Cost:         the core's.
// Source:       Python's queue.Queue.
#pragma once
#include <weft/sync/detail/queue_core.hpp>
#include <weft/sync/stats.hpp>

#include <concepts>

namespace weft::detail {

template <class Core>
class basic_queue {
public:
    using T = typename Core::value_type;
    using value_type = T;
    using put_op = detail::put_op<Core>;
    using timed_put_op = timed_op<put_op>;
    using get_op = detail::get_op<Core>;
    using timed_get_op = timed_op<get_op>;
    using join_op = join_queue_op<Core>;
    using timed_join_op = timed_op<join_op>;

    basic_queue(const basic_queue&) = delete;
    basic_queue& operator=(const basic_queue&) = delete;

    /// Puts an item; waits while the queue is full.
    put_op put(T item) { return put_op(core_, std::move(item)); }
    /// Waits until `deadline` at most, then throws queue_full.
    timed_put_op put_until(T item, time_point deadline) {
        return timed_put_op(wait_limit::at(deadline), core_, std::move(item));
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
        if (how == queue_outcome::shut_down)
            throw_put_outcome(how);
        return how == queue_outcome::done;
    }

    /// Takes the next item; waits while there is none.
    get_op get() noexcept { return get_op(core_); }
    /// Waits until `deadline` at most, then throws queue_empty.
    timed_get_op get_until(time_point deadline) noexcept {
        return timed_get_op(wait_limit::at(deadline), core_);
    }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    timed_get_op get_for(std::chrono::duration<Rep, Period> d) {
        return timed_get_op(limit(d), core_);
    }
    /// Takes the next item if there is one.
    [[nodiscard]] std::optional<T> try_get() {
        std::optional<T> got;
        auto how = core_.get_now([&got](T&& item) { got.emplace(std::move(item)); });
        if (how == queue_outcome::shut_down)
            throw_get_outcome(how);
        return got;
    }

    /// Says that an item that was got is done.
    void task_done() {
        if (!core_.s.note_done())
            throw_done_too_often();
    }
    /// Waits until every item that was put is done.
    join_op join() noexcept { return join_op(core_); }
    /// With a deadline. Gives whether everything was done.
    timed_join_op join_until(time_point deadline) noexcept {
        return timed_join_op(wait_limit::at(deadline), core_);
    }
    template <class Rep, class Period>
    timed_join_op join_for(std::chrono::duration<Rep, Period> d) noexcept {
        return timed_join_op(wait_limit::in(d), core_);
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
    /// Those who wait are those who get or put.
    [[nodiscard]] primitive_stats stats() const noexcept {
        std::size_t items = size();
        std::size_t room = core_.bounded() ? core_.limit() - items : 0;
        return {"queue", 0, items, room, getting() + putting()};
    }

protected:
    template <class... Args>
        requires std::constructible_from<Core, Args...>
    explicit basic_queue(Args&&... args) : core_(std::forward<Args>(args)...) {}
    ~basic_queue() = default;

private:
    template <class Rep, class Period>
    static wait_limit limit(std::chrono::duration<Rep, Period> d) {
        if (d < d.zero())
            throw_negative_time();
        return wait_limit::in(d);
    }

    mutable Core core_; // to look is to lock
};

} // namespace weft::detail
