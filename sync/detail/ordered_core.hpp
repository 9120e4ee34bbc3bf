// SPDX-License-Identifier: MIT
// What a queue does that gives its items back in another order than they came in. Items can't have
// an end each for those who put and those who get, so everything happens under both locks of
// queue_state.hpp, whose rules then hold all the more.
//
// Threads:      all of ordered_core, from any thread.
// Cancellation: who is stopped in a line was given no item, or hasn't given its own.
// Errors:       what moving or comparing an item throws, with the items as they were;
//               std::bad_alloc from a put that needs more room; limit_error for the 2^31st item.
// Cost:         two exchanges, and what the store needs.
// Source:       none.
#pragma once
#include <weft/sync/detail/queue_core.hpp>

namespace weft::detail {

/// A capacity of which 0 isn't "no bound", but "no room": an item goes from who puts to who gets.
/// Then who puts must not take part in choices: of two who meet only one can ask first.
struct exact_capacity {
    std::size_t items;
};

/// `Store` has put(U&&), take(receive) and take_all(), and is told how many items to keep memory
/// for.
template <class T, class Store, class Atomics = std_atomics>
class ordered_core {
public:
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>);
    static_assert(std::is_nothrow_destructible_v<T>);
    using value_type = T;
    using get_op = detail::get_op<ordered_core>;
    using put_op = detail::put_op<ordered_core>;

    template <class... Args>
    explicit ordered_core(std::size_t capacity, Args&&... args)
        : limit_(capacity == 0 ? most : static_cast<std::uint32_t>(capacity)),
          bounded_(capacity != 0), items_(kept_for(capacity), std::forward<Args>(args)...) {}
    template <class... Args>
    explicit ordered_core(exact_capacity capacity, Args&&... args)
        : limit_(static_cast<std::uint32_t>(capacity.items)), bounded_(true),
          items_(kept_for(capacity.items), std::forward<Args>(args)...) {}
    ~ordered_core() { s.settle(); }
    ordered_core(const ordered_core&) = delete;
    ordered_core& operator=(const ordered_core&) = delete;

    [[nodiscard]] bool bounded() const noexcept { return bounded_; }
    [[nodiscard]] std::uint32_t limit() const noexcept { return limit_; }

    /// As queue_core's.
    template <class U>
    queue_outcome put_now(U&& item);
    template <class Receive>
    queue_outcome get_now(Receive receive) {
        return get_now(std::move(receive), [] { return true; });
    }
    queue_outcome enter_putters(put_op& op);
    queue_outcome enter_getters(get_op& op);
    void shut_down(bool immediate) noexcept;
    [[nodiscard]] bool is_shut_down() noexcept {
        short_hold back(s.back_lock);
        return s.closed;
    }

    queue_state<Atomics> s; // of which the rings and what is known of them aren't used

private:
    static constexpr std::uint32_t most = (1u << 31) - 1;

    static std::uint32_t kept_for(std::size_t capacity) {
        if (capacity > most)
            throw_bad_capacity();
        constexpr std::size_t prepared_bytes = std::size_t{1} << 20;
        constexpr std::size_t prepared =
            std::bit_floor(std::max(prepared_bytes / sizeof(T), std::size_t{16}));
        return static_cast<std::uint32_t>(
            capacity == 0 ? std::size_t{16} : std::min(std::bit_ceil(capacity), prepared));
    }

    // With both locks.
    [[nodiscard]] std::uint32_t count() const noexcept {
        return s.tail.load(std::memory_order_relaxed) - s.head.load(std::memory_order_relaxed);
    }
    bool has_room() {
        if (count() < limit_)
            return true;
        if (!bounded_)
            throw_too_many_items();
        return false;
    }
    template <class U>
    void store(U&& item) {
        items_.put(std::forward<U>(item));
        note_put();
        std::uint32_t t = s.tail.load(std::memory_order_relaxed) + 1;
        s.tail.store(t, std::memory_order_relaxed);
        s.known_tail.store(t, std::memory_order_relaxed);
    }
    void note_put() noexcept {
        s.ever_put.store(s.ever_put.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    template <class U>
    bool give_or_store(woken_list& woken, U&& item);
    void let_putters_in(woken_list& woken) noexcept;

    /// `claim()` is asked before an item is taken; if it says no, it `waits`.
    template <class Receive, class Claim>
    queue_outcome get_now(Receive receive, Claim claim);

    std::uint32_t limit_;
    bool bounded_;
    Store items_;
};

// -------------------------------------------------------------------------------------------------

template <class T, class Store, class Atomics>
template <class U>
queue_outcome ordered_core<T, Store, Atomics>::put_now(U&& item) {
    woken_list woken;
    {
        short_hold front(s.front_lock);
        short_hold back(s.back_lock);
        if (s.closed)
            return queue_outcome::shut_down;
        if (s.getters.empty() && !has_room())
            return queue_outcome::waits;
        bool given = false;
        if constexpr (std::is_same_v<std::remove_cvref_t<U>, T>) {
            given = give_or_store(woken, std::forward<U>(item));
        } else {
            // Made before anybody is chosen to get it: it may throw.
            T made(std::forward<U>(item));
            given = give_or_store(woken, std::move(made));
        }
        if (!given)
            return queue_outcome::waits;
    }
    woken.wake();
    return queue_outcome::done;
}

template <class T, class Store, class Atomics>
template <class U>
bool ordered_core<T, Store, Atomics>::give_or_store(woken_list& woken, U&& item) {
    // Who waits finds nothing else, so this one is the next in any order.
    auto* op = static_cast<get_op*>(s.getters.claim_first());
    if (op == nullptr) {
        if (!has_room()) // without room at all, and those who waited have been served elsewhere
            return false;
        store(std::forward<U>(item));
        return true;
    }
    op->construct(std::forward<U>(item));
    op->outcome_ = queue_outcome::done;
    note_put();
    woken.take(s.getters, *op);
    return true;
}

template <class T, class Store, class Atomics>
template <class Receive, class Claim>
queue_outcome ordered_core<T, Store, Atomics>::get_now(Receive receive, Claim claim) {
    woken_list woken;
    {
        short_hold front(s.front_lock);
        short_hold back(s.back_lock);
        bool meets = count() == 0 && !s.putters.empty(); // who waits with an item
        if (count() == 0 && !meets)
            return s.closed ? queue_outcome::shut_down : queue_outcome::waits;
        if (!claim())
            return queue_outcome::waits;
        if (meets) {
            auto& op = static_cast<put_op&>(*s.putters.claim_first());
            receive(std::move(op.item_));
            note_put();
            op.outcome_ = queue_outcome::done;
            woken.take(s.putters, op);
        } else {
            items_.take(receive);
            // release: pairs with the acquire in size()
            s.head.store(s.head.load(std::memory_order_relaxed) + 1, std::memory_order_release);
            let_putters_in(woken);
        }
    }
    woken.wake();
    return queue_outcome::done;
}

template <class T, class Store, class Atomics>
void ordered_core<T, Store, Atomics>::let_putters_in(woken_list& woken) noexcept {
    while (count() < limit_) {
        auto* op = static_cast<put_op*>(s.putters.claim_first());
        if (op == nullptr)
            return;
        try {
            store(std::move(op->item_));
        } catch (...) { // it isn't in, and there still is room for the next one
            op->failure_ = std::current_exception();
        }
        op->outcome_ = queue_outcome::done;
        woken.take(s.putters, *op);
    }
}

template <class T, class Store, class Atomics>
queue_outcome ordered_core<T, Store, Atomics>::enter_putters(put_op& op) {
    woken_list woken;
    {
        short_hold front(s.front_lock);
        short_hold back(s.back_lock);
        if (s.closed)
            return queue_outcome::shut_down;
        if (s.getters.empty() && !has_room()) {
            s.putters.push(op);
            return queue_outcome::waits;
        }
        if (!op.claim())
            return queue_outcome::waits;
        if (!give_or_store(woken, std::move(op.item_))) {
            s.putters.push(op);
            return queue_outcome::waits;
        }
    }
    woken.wake();
    return queue_outcome::done;
}

template <class T, class Store, class Atomics>
queue_outcome ordered_core<T, Store, Atomics>::enter_getters(get_op& op) {
    while (true) {
        {
            short_hold front(s.front_lock);
            short_hold back(s.back_lock);
            if (count() == 0 && s.putters.empty()) {
                if (s.closed)
                    return queue_outcome::shut_down;
                s.getters.push(op);
                return queue_outcome::waits;
            }
        }
        bool claimed = true;
        queue_outcome how = get_now([&op](T&& item) { op.construct(std::move(item)); },
                                    [&] { return claimed = op.claim(); });
        if (how != queue_outcome::waits || !claimed) // otherwise somebody else was faster
            return how;
    }
}

template <class T, class Store, class Atomics>
void ordered_core<T, Store, Atomics>::shut_down(bool immediate) noexcept {
    woken_list woken;
    std::optional<typename Store::contents> left; // destroyed without a lock
    {
        short_hold front(s.front_lock);
        short_hold back(s.back_lock);
        s.closed = true;
        while (waiter* w = s.getters.claim_first()) {
            static_cast<get_op&>(*w).outcome_ = queue_outcome::shut_down;
            woken.take(s.getters, *w);
        }
        while (waiter* w = s.putters.claim_first()) {
            static_cast<put_op&>(*w).outcome_ = queue_outcome::shut_down;
            woken.take(s.putters, *w);
        }
        if (immediate) {
            std::uint32_t n = count();
            left.emplace(items_.take_all());
            s.head.store(s.tail.load(std::memory_order_relaxed), std::memory_order_release);
            short_hold held(s.done_lock);
            s.note_done(n, woken);
        }
    }
    // Whoever sees that it is closed may destroy the queue: it isn't touched any more.
    left.reset();
    woken.wake();
}

} // namespace weft::detail
