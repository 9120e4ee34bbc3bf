// SPDX-License-Identifier: MIT
// A value of which only the latest counts, and that tasks wait for to change: a configuration, a
// state, a progress.
//
//     weft::task<> follow(weft::watch<int>& progress) {
//         auto watcher = progress.subscribe();
//         while (true) {
//             auto percent = co_await watcher.next();         // a change that it hasn't seen
//             fmt::print("{} %\n", *percent);
//         }
//     }
//     void step(weft::watch<int>& progress) { progress.set(*progress.get() + 1); }
//
// Values are shared, not copied: who holds one keeps it as it was.
//
// Threads:      all members, from any thread; a task goes on on its own loop. A subscription is for
//               one task at a time.
// Cancellation: a stopped next() has seen nothing.
// Errors:       queue_shut_down from set after shutdown, and from next when the last value was
//               seen; std::bad_alloc from the constructor and from set, which then changes nothing.
//               Destroyed while somebody waits, it ends the program.
// Cost:         set allocates the value once and is O(those who wait); get takes one exchange. Who
//               is slow sees the latest value and none in between.
// Source:       tokio's watch channel.
#pragma once
#include <weft/sync/detail/publication.hpp>
#include <weft/sync/error.hpp>

namespace weft {

template <class T, class Atomics = detail::std_atomics>
class watch {
    using core = detail::publication<T, Atomics>;

public:
    using pointer = std::shared_ptr<const T>;

    class [[nodiscard]] next_op : public detail::next_op<T, Atomics> {
        using base = detail::next_op<T, Atomics>;

    public:
        using base::base;
        pointer await_resume() { return result(true); }
        pointer result(bool) {
            if (this->how() == detail::queue_outcome::shut_down)
                detail::throw_get_outcome(this->how());
            return this->take();
        }
    };
    using timed_next_op = detail::timed_op<next_op>;

    /// Knows which value its task has seen last: at first, the one that was there when it was made.
    class subscription {
    public:
        explicit subscription(watch& to) noexcept : to_(&to.core_), at_(to.core_.count()) {}
        /// Waits until there is a value that it hasn't seen, and gives the latest of that moment.
        next_op next() noexcept { return next_op(*to_, at_); }
        /// Waits until `deadline` at most, and then gives null.
        timed_next_op next_until(time_point deadline) noexcept {
            return timed_next_op(detail::wait_limit::at(deadline), *to_, at_);
        }
        /// Waits for `d` at most; zero or less only looks.
        template <class Rep, class Period>
        timed_next_op next_for(std::chrono::duration<Rep, Period> d) noexcept {
            return timed_next_op(detail::wait_limit::in(d), *to_, at_);
        }
        /// The latest value if it hasn't seen that, or null.
        [[nodiscard]] pointer try_next() {
            pointer value;
            std::uint64_t skipped = 0;
            auto how = to_->look(at_, value, skipped);
            if (how == detail::queue_outcome::shut_down)
                detail::throw_get_outcome(how);
            return value;
        }
        [[nodiscard]] bool has_changed() const noexcept { return to_->count() != at_; }

    private:
        core* to_;
        std::uint64_t at_;
    };

    explicit watch(T first) : core_(1) {
        core_.publish(std::make_shared<const T>(std::move(first)));
    }

    void set(T value) {
        if (!core_.publish(std::make_shared<const T>(std::move(value))))
            detail::throw_put_outcome(detail::queue_outcome::shut_down);
    }
    /// The latest value, never null.
    [[nodiscard]] pointer get() const noexcept { return core_.latest(); }
    /// It won't change any more.
    void shutdown() noexcept { core_.close(); }
    [[nodiscard]] bool is_shutdown() const noexcept { return core_.is_closed(); }

    [[nodiscard]] subscription subscribe() noexcept { return subscription(*this); }
    /// How many wait for a change; counts them.
    [[nodiscard]] std::size_t waiting() const noexcept { return core_.waiting(); }

private:
    core core_;
};

} // namespace weft
