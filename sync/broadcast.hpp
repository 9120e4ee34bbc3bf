// SPDX-License-Identifier: MIT
// Sends each item to everybody who listens. Who is too slow is told how many it has missed.
//
//     weft::task<> listen(weft::broadcast<std::string>& news) {
//         auto reader = news.subscribe();                     // from here on
//         while (true) {
//             auto one = co_await reader.get();
//             if (one.missed() != 0)
//                 fmt::print("(missed {})\n", one.missed());
//             fmt::print("{}\n", *one);
//         }
//     }
//     void tell(weft::broadcast<std::string>& news) { news.put("it rains"); }
//
// Threads:      all members, from any thread; a task goes on on its own loop. A subscription is for
//               one task at a time.
// Cancellation: a stopped get() has seen nothing: the item comes again.
// Errors:       queue_shut_down from put after shutdown, and from get when everything was seen;
//               queue_empty from a get with a deadline; std::bad_alloc from put, which then has
//               sent nothing; std::invalid_argument for a capacity of 0. Destroyed while somebody
//               waits, it ends the program.
// Cost:         put allocates the item once, which readers share, and is O(those who wait); it
//               never waits. As many items are kept as the capacity says, seen or not. A
//               subscription is two words and costs nobody anything.
// Source:       tokio's broadcast channel.
#pragma once
#include <weft/sync/detail/publication.hpp>
#include <weft/sync/error.hpp>

#include <optional>

namespace weft {

/// What a reader gets: an item, shared with the others, and how many it missed before that.
template <class T>
class broadcast_item {
public:
    broadcast_item(std::shared_ptr<const T> item, std::uint64_t missed) noexcept
        : item_(std::move(item)), missed_(missed) {}
    const T& operator*() const noexcept { return *item_; }
    const T* operator->() const noexcept { return item_.get(); }
    [[nodiscard]] const std::shared_ptr<const T>& share() const noexcept { return item_; }
    [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

private:
    std::shared_ptr<const T> item_;
    std::uint64_t missed_;
};

template <class T, class Atomics = detail::std_atomics>
class broadcast {
    using core = detail::publication<T, Atomics>;

public:
    class [[nodiscard]] get_op : public detail::next_op<T, Atomics> {
        using base = detail::next_op<T, Atomics>;

    public:
        using base::base;
        broadcast_item<T> await_resume() { return result(true); }
        broadcast_item<T> result(bool) {
            if (this->how() != detail::queue_outcome::done)
                detail::throw_get_outcome(this->how());
            auto item = this->take();
            return broadcast_item<T>(std::move(item), this->missed());
        }
    };
    using timed_get_op = detail::timed_op<get_op>;

    /// Sees everything that is sent from its making on.
    class subscription {
    public:
        explicit subscription(broadcast& to) noexcept : to_(&to.core_), at_(to.core_.count()) {}
        /// The next item; waits for it.
        get_op get() noexcept { return get_op(*to_, at_); }
        /// Waits until `deadline` at most.
        timed_get_op get_until(time_point deadline) noexcept {
            return timed_get_op(detail::wait_limit::at(deadline), *to_, at_);
        }
        /// Waits for `d` at most; zero or less only looks.
        template <class Rep, class Period>
        timed_get_op get_for(std::chrono::duration<Rep, Period> d) noexcept {
            return timed_get_op(detail::wait_limit::in(d), *to_, at_);
        }
        /// The next item if there is one.
        [[nodiscard]] std::optional<broadcast_item<T>> try_get() {
            std::shared_ptr<const T> item;
            std::uint64_t missed = 0;
            std::optional<broadcast_item<T>> got;
            auto how = to_->look(at_, item, missed);
            if (how == detail::queue_outcome::shut_down)
                detail::throw_get_outcome(how);
            if (how == detail::queue_outcome::done)
                got.emplace(std::move(item), missed);
            return got;
        }
        /// How many it hasn't seen, those that are gone included. A snapshot.
        [[nodiscard]] std::uint64_t unseen() const noexcept { return to_->count() - at_; }

    private:
        core* to_;
        std::uint64_t at_; // the number of the next item
    };

    /// Keeps the last `capacity` items for those who are slow.
    explicit broadcast(std::size_t capacity) : core_(capacity) {}

    /// Sends an item to all who have subscribed. It doesn't wait for them.
    void put(T item) {
        if (!core_.publish(std::make_shared<const T>(std::move(item))))
            detail::throw_put_outcome(detail::queue_outcome::shut_down);
    }
    /// Nothing more comes. Readers see what is kept, and then the end.
    void shutdown() noexcept { core_.close(); }
    [[nodiscard]] bool is_shutdown() const noexcept { return core_.is_closed(); }

    [[nodiscard]] subscription subscribe() noexcept { return subscription(*this); }
    [[nodiscard]] std::size_t capacity() const noexcept { return core_.kept(); }
    /// How many wait for the next item; counts them.
    [[nodiscard]] std::size_t getting() const noexcept { return core_.waiting(); }

private:
    core core_;
};

} // namespace weft
