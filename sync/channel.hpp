// SPDX-License-Identifier: MIT
// A queue with two ends, each of which says when it has enough: when the last sender is gone, who
// receives gets what is left and then the end; when the last receiver is gone, nobody can send any
// more. Without room (capacity 0) sender and receiver meet: put goes on when the item is taken.
//
//     weft::task<> produce(weft::channel_sender<int> to) { // the end goes with the task
//         for (int i = 0; i < 10; ++i)
//             co_await to.put(i);
//     }
//     weft::task<> consume(weft::channel_receiver<int> from) {
//         try {
//             while (true)
//                 fmt::print("{}\n", co_await from.get());
//         } catch (const weft::queue_shut_down&) {                // every sender is gone
//         }
//     }
//     weft::task<> both() {
//         auto [to, from] = weft::make_channel<int>();
//         co_await weft::when_all(produce(std::move(to)), consume(std::move(from)));
//     }
//
// Threads:      put and get, from any thread; a task goes on on its own loop. To copy, move or
//               close a handle is for one thread at a time; copies are independent. Items are moved
//               under a lock: that must not use the channel.
// Cancellation: a stopped get has taken no item; a stopped put has sent none and destroys its own.
//               Who has met the other end when the stop comes goes on.
// Errors:       queue_shut_down from put when no receiver is left, from get when nothing and no
//               sender is left; queue_empty and queue_full from those with a deadline;
//               std::invalid_argument for a negative duration; state_error from a handle that was
//               closed or moved from; what moving an item throws; std::bad_alloc. A channel whose
//               last handle goes while somebody waits in it ends the program.
// Cost:         one allocation for the channel, and one for a MiB of items. A put or a get that
//               needn't wait takes two exchanges and two moves of the item.
// Source:       Rust's mpsc and Go's channels.
#pragma once
#include <weft/sync/detail/fifo_store.hpp>
#include <weft/sync/detail/ordered_core.hpp>

#include <atomic>
#include <memory>
#include <utility>

namespace weft {

namespace detail {

[[noreturn]] void throw_closed_end();

template <class T>
struct channel_state {
    using core_type = ordered_core<T, fifo_store<T>>;
    explicit channel_state(std::size_t capacity)
        : core(exact_capacity{capacity}, static_cast<std::uint32_t>(capacity)) {}
    core_type core;
    std::atomic<std::size_t> senders{1};
    std::atomic<std::size_t> receivers{1};
};

// In a meeting of two that each wait for several things neither could decide first, so only the one
// who gets takes part in choices.
template <class Core>
class [[nodiscard]] channel_put_op : public put_op<Core> {
public:
    static constexpr bool selectable = false;
    using put_op<Core>::put_op;
};

// One end: counts its copies.
template <class T>
class channel_end {
public:
    /// Gives this end up; the last one of its side ends that side.
    void close() noexcept {
        if (auto s = std::move(state_)) {
            // acq_rel: what other copies did comes before the end
            if (counter(*s).fetch_sub(1, std::memory_order_acq_rel) == 1)
                s->core.shut_down(!sends_);
        }
    }
    /// False when it was closed or moved from.
    explicit operator bool() const noexcept { return state_ != nullptr; }
    /// Whether one of the two sides has ended.
    [[nodiscard]] bool is_shutdown() const { return core().is_shut_down(); }
    [[nodiscard]] std::size_t capacity() const { return core().limit(); }
    // Snapshots.
    [[nodiscard]] std::size_t size() const { return core().s.size(); }
    [[nodiscard]] std::size_t getting() const { return core().s.count_getters(); }
    [[nodiscard]] std::size_t putting() const { return core().s.count_putters(); }

protected:
    using core_type = typename channel_state<T>::core_type;
    channel_end(std::shared_ptr<channel_state<T>> s, bool sends) noexcept
        : state_(std::move(s)), sends_(sends) {}
    channel_end(const channel_end& other) noexcept : state_(other.state_), sends_(other.sends_) {
        if (state_)
            counter(*state_).fetch_add(1, std::memory_order_relaxed);
    }
    channel_end(channel_end&&) noexcept = default;
    channel_end& operator=(channel_end other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~channel_end() { close(); }

    [[nodiscard]] core_type& core() const {
        if (!state_) [[unlikely]]
            throw_closed_end();
        return state_->core;
    }
    template <class Rep, class Period>
    static wait_limit limit(std::chrono::duration<Rep, Period> d) {
        if (d < d.zero())
            throw_negative_time();
        return wait_limit::in(d);
    }

private:
    std::atomic<std::size_t>& counter(channel_state<T>& s) const noexcept {
        return sends_ ? s.senders : s.receivers;
    }
    std::shared_ptr<channel_state<T>> state_;
    bool sends_;
};

} // namespace detail

template <class T>
class channel_receiver;

template <class T>
class channel_sender : public detail::channel_end<T> {
public:
    using value_type = T;
    using put_op = detail::channel_put_op<typename detail::channel_state<T>::core_type>;
    using timed_put_op = detail::timed_op<put_op>;

    /// Sends an item; waits until there is room for it, or, if there is none at all, until it is
    /// taken.
    put_op put(T item) { return put_op(this->core(), std::move(item)); }
    /// Waits until `deadline` at most, then throws queue_full.
    timed_put_op put_until(T item, time_point deadline) {
        return timed_put_op(detail::wait_limit::at(deadline), this->core(), std::move(item));
    }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    timed_put_op put_for(T item, std::chrono::duration<Rep, Period> d) {
        return timed_put_op(this->limit(d), this->core(), std::move(item));
    }
    /// Sends an item if there is room, or somebody waits for one. Otherwise it stays where it is.
    template <class U = T>
        requires std::constructible_from<T, U>
    [[nodiscard]] bool try_put(U&& item) {
        auto how = this->core().put_now(std::forward<U>(item));
        if (how == detail::queue_outcome::shut_down)
            detail::throw_put_outcome(how);
        return how == detail::queue_outcome::done;
    }

private:
    explicit channel_sender(std::shared_ptr<detail::channel_state<T>> s) noexcept
        : detail::channel_end<T>(std::move(s), true) {}
    template <class U>
    friend std::pair<channel_sender<U>, channel_receiver<U>> make_channel(std::size_t capacity);
};

template <class T>
class channel_receiver : public detail::channel_end<T> {
public:
    using value_type = T;
    using get_op = detail::get_op<typename detail::channel_state<T>::core_type>;
    using timed_get_op = detail::timed_op<get_op>;

    /// Takes the first item; waits while there is none.
    get_op get() { return get_op(this->core()); }
    /// Waits until `deadline` at most, then throws queue_empty.
    timed_get_op get_until(time_point deadline) {
        return timed_get_op(detail::wait_limit::at(deadline), this->core());
    }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    timed_get_op get_for(std::chrono::duration<Rep, Period> d) {
        return timed_get_op(this->limit(d), this->core());
    }
    /// Takes an item if there is one, or somebody waits with one.
    [[nodiscard]] std::optional<T> try_get() {
        std::optional<T> got;
        auto how = this->core().get_now([&got](T&& item) { got.emplace(std::move(item)); });
        if (how == detail::queue_outcome::shut_down)
            detail::throw_get_outcome(how);
        return got;
    }

private:
    explicit channel_receiver(std::shared_ptr<detail::channel_state<T>> s) noexcept
        : detail::channel_end<T>(std::move(s), false) {}
    template <class U>
    friend std::pair<channel_sender<U>, channel_receiver<U>> make_channel(std::size_t capacity);
};

/// Both ends of a new channel, with room for so many items between them.
template <class T>
[[nodiscard]] std::pair<channel_sender<T>, channel_receiver<T>>
make_channel(std::size_t capacity = 0) {
    auto s = std::make_shared<detail::channel_state<T>>(capacity);
    channel_sender<T> to(s);
    return {std::move(to), channel_receiver<T>(std::move(s))};
}

} // namespace weft
