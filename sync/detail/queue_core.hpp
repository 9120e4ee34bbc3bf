// SPDX-License-Identifier: MIT
// What a queue does with its items, and the operations that wait in its lines. The rules that this
// stands on are at the head of queue_state.hpp.
//
// Threads:      all of queue_core, from any thread.
// Cancellation: who is stopped in a line was given no item, or hasn't given its own.
// Errors:       what moving an item throws, with the item where it was; std::bad_alloc from a put
//               that needs more room; limit_error for the 2^31st item.
// Cost:         one exchange and two moves for a put or a get that needn't wait.
// Source:       see queue_state.hpp.
#pragma once
#include <weft/sync/detail/queue_state.hpp>

#include <algorithm>
#include <bit>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>

namespace weft::detail {

template <class Core>
class get_op;
template <class Core>
class put_op;

template <class T, class Atomics = std_atomics>
class queue_core {
public:
    using value_type = T;
    using get_op = detail::get_op<queue_core>;
    using put_op = detail::put_op<queue_core>;
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>);
    static_assert(std::is_nothrow_destructible_v<T>);

    explicit queue_core(std::size_t capacity);
    ~queue_core() {
        s.settle();
        discard(s.front_ring, s.head.load(std::memory_order_relaxed),
                s.tail.load(std::memory_order_relaxed));
    }
    queue_core(const queue_core&) = delete;
    queue_core& operator=(const queue_core&) = delete;

    [[nodiscard]] bool bounded() const noexcept { return bounded_; }
    [[nodiscard]] std::uint32_t limit() const noexcept { return limit_; }

    /// `waits` means that it is full. The item is moved from only if it is done.
    template <class U>
    queue_outcome put_now(U&& item);
    /// Calls `receive(T&&)` with the first item. `waits` means that it is empty.
    template <class Receive>
    queue_outcome get_now(Receive receive) {
        return get_now(std::move(receive), [] { return true; });
    }

    /// The same, but `waits` means that the operation stands in line, or is done with waiting by
    /// its choice: it isn't touched any more.
    queue_outcome enter_putters(put_op& op);
    queue_outcome enter_getters(get_op& op);

    void shut_down(bool immediate) noexcept;
    [[nodiscard]] bool is_shut_down() noexcept {
        short_hold back(s.back_lock);
        return s.closed;
    }

    queue_state<Atomics> s;

private:
    using state = queue_state<Atomics>;
    using storage = typename state::storage;

    static constexpr std::uint32_t most = (1u << 31) - 1;
    static constexpr std::uint32_t first_slots = 16; // of a queue without a bound
    /// So much is allocated at once for a queue with a bound; the rest when it is needed.
    static constexpr std::size_t prepared_bytes = std::size_t{1} << 20;

    // With the lock of the back.
    bool has_room(std::uint32_t t) { return t != s.room_until || finds_room(t); }
    bool finds_room(std::uint32_t t);
    void use_ring(std::uint32_t slots, std::uint32_t begin);
    template <class U>
    void store(std::uint32_t t, U&& item) {
        std::construct_at(static_cast<T*>(s.back_ring->template slot<T>(t)), std::forward<U>(item));
        s.back_ring->template prepare_after<T>(t);
        count();
        s.tail.store(t + 1, std::memory_order_release); // pairs with the acquire in has_item()
    }
    /// Gives the item to the first who waits for one. False: nobody does.
    template <class U>
    bool hand_over(woken_list& woken, U&& item);
    void count() noexcept {
        s.ever_put.store(s.ever_put.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    template <class U>
    void give_or_store(woken_list& woken, std::uint32_t t, U&& item);

    /// `claim()` is asked before an item is taken; if it says no, it `waits`.
    template <class Receive, class Claim>
    queue_outcome get_now(Receive receive, Claim claim);

    // With the lock of the front.
    put_op* first_putter() noexcept { return static_cast<put_op*>(s.putters.claim_first()); }
    T& front_item(std::uint32_t h) noexcept;
    // With both.
    void let_putters_in(woken_list& woken) noexcept;

    static void discard(storage* ring, std::uint32_t from, std::uint32_t to) noexcept;

    std::uint32_t limit_; // items
    bool bounded_;
};

/// Waits for an item, which it then holds.
template <class Core>
class [[nodiscard]] get_op : public line_op<get_op<Core>> {
public:
    static constexpr const char* name = "queue: get";
    using T = typename Core::value_type;
    /// Who has been chosen to get an item can't be spared it when moving it throws.
    static constexpr bool selectable = std::is_nothrow_move_constructible_v<T>;

    explicit get_op(Core& from, const operation_type& t = line_kind<get_op>) noexcept
        : line_op<get_op>(t), from_(&from) {}
    get_op(get_op&& other) noexcept : line_op<get_op>(std::move(other)), from_(other.from_) {}
    ~get_op() {
        if (outcome_ == queue_outcome::done)
            std::destroy_at(std::addressof(item_));
    }

    [[nodiscard]] bool await_ready() {
        // The guess saves taking a lock in vain: line_up() looks again.
        if (from_->s.knows_of_none()) {
            from_->s.for_items.gather();
            if (from_->s.looks_empty())
                return false;
        }
        return !from_->s.turn_is_over(from_->s.head) && pass_now();
    }
    bool pass_now() {
        return note(from_->get_now([this](T&& item) { construct(std::move(item)); }));
    }
    bool line_up() {
        if (this->has_time())
            from_->s.for_items.look([this] { return !from_->s.looks_empty(); });
        bool turn_is_over = from_->s.turn_is_over(from_->s.head);
        queue_outcome how = from_->enter_getters(*this);
        if (how == queue_outcome::waits || !this->claim())
            return true;
        note(how);
        if (!turn_is_over)
            return false;
        this->complete_without_line();
        return true;
    }
    bool leave() noexcept { return from_->s.leave_getters(*this); }
    T await_resume() { return result(true); }
    T result(bool) {
        if (outcome_ != queue_outcome::done) [[unlikely]]
            throw_get_outcome(outcome_);
        return std::move(item_);
    }

private:
    friend Core;
    bool note(queue_outcome how) noexcept {
        outcome_ = how;
        return how != queue_outcome::waits;
    }
    template <class U>
    void construct(U&& item) {
        std::construct_at(std::addressof(item_), std::forward<U>(item));
    }

    Core* from_;
    union {
        T item_; // if done
    };
    queue_outcome outcome_ = queue_outcome::waits;
};

/// Waits for room for the item that it holds.
template <class Core>
class [[nodiscard]] put_op : public line_op<put_op<Core>> {
public:
    static constexpr const char* name = "queue: put";
    using T = typename Core::value_type;
    static constexpr bool selectable = true;

    template <class U>
    put_op(Core& to, U&& item, const operation_type& t = line_kind<put_op>)
        : line_op<put_op>(t), to_(&to), item_(std::forward<U>(item)) {}
    put_op(put_op&&) = default;

    [[nodiscard]] bool await_ready() { return !to_->s.turn_is_over(to_->s.ever_put) && pass_now(); }
    bool pass_now() { return note(to_->put_now(std::move(item_))); }
    bool line_up() {
        if (this->has_time())
            to_->s.for_room.look([this] { return to_->s.size() < to_->limit(); });
        bool turn_is_over = to_->s.turn_is_over(to_->s.ever_put);
        queue_outcome how = to_->enter_putters(*this);
        if (how == queue_outcome::waits || !this->claim())
            return true;
        note(how);
        if (!turn_is_over)
            return false;
        this->complete_without_line();
        return true;
    }
    bool leave() noexcept { return to_->s.leave_putters(*this); }
    void await_resume() { result(true); }
    void result(bool) {
        if (outcome_ != queue_outcome::done) [[unlikely]]
            throw_put_outcome(outcome_);
        if (failure_) [[unlikely]]
            std::rethrow_exception(std::move(failure_));
    }

private:
    friend Core;
    bool note(queue_outcome how) noexcept {
        outcome_ = how;
        return how != queue_outcome::waits;
    }

    Core* to_;
    T item_;
    std::exception_ptr failure_; // of moving the item, when somebody else did it
    queue_outcome outcome_ = queue_outcome::waits;
};

/// Waits until everything that was put is done.
template <class Core>
class [[nodiscard]] join_queue_op : public line_op<join_queue_op<Core>> {
public:
    static constexpr const char* name = "queue: join";
    static constexpr bool selectable = true;

    explicit join_queue_op(Core& q, const operation_type& t = line_kind<join_queue_op>) noexcept
        : line_op<join_queue_op>(t), at_(&q) {}

    bool pass_now() noexcept { return at_->s.unfinished() == 0; }
    bool line_up() noexcept { return at_->s.enter_joiners(*this); }
    bool leave() noexcept { return at_->s.leave_joiners(*this); }
    void await_resume() const noexcept {}
    [[nodiscard]] bool result(bool passed) const noexcept { return passed; }

private:
    Core* at_;
};

// -------------------------------------------------------------------------------------------------

template <class T, class Atomics>
queue_core<T, Atomics>::queue_core(std::size_t capacity)
    : limit_(capacity == 0 ? most : static_cast<std::uint32_t>(capacity)), bounded_(capacity != 0) {
    if (capacity > most)
        throw_bad_capacity();
    constexpr std::size_t prepared =
        std::bit_floor(std::max(prepared_bytes / sizeof(T), std::size_t{first_slots}));
    use_ring(static_cast<std::uint32_t>(bounded_ ? std::min(std::bit_ceil(capacity), prepared)
                                                 : first_slots),
             0);
    s.front_ring = s.back_ring;
}

template <class T, class Atomics>
void queue_core<T, Atomics>::use_ring(std::uint32_t slots, std::uint32_t begin) {
    storage* ring = storage::template make<T>(slots);
    if (s.back_ring != nullptr)
        s.back_ring->continue_in(*ring, begin);
    s.back_ring = ring;
    s.ring_begin = begin;
}

template <class T, class Atomics>
bool queue_core<T, Atomics>::finds_room(std::uint32_t t) {
    // acquire: pairs with the release in get_now(), after which the item's slot is free
    std::uint32_t h = s.head.load(std::memory_order_acquire);
    std::uint32_t used = t - h;
    if (used >= limit_) {
        if (!bounded_)
            throw_too_many_items();
        return false;
    }
    // Rings before the last one may still hold some of them.
    if (t - s.ring_begin > used)
        s.ring_begin = h;
    std::uint32_t here = t - s.ring_begin;
    std::uint32_t slots = s.back_ring->slots();
    if (here == slots) {
        use_ring(2 * slots, t);
    } else if (!bounded_ && slots > 64 * first_slots && used < slots / 16) {
        use_ring(slots / 4, t); // a burst is over: give its memory back
    }
    here = t - s.ring_begin;
    s.for_room.note_found(limit_ - used);
    s.room_until = t + std::min(limit_ - used, s.back_ring->slots() - here);
    return true;
}

template <class T, class Atomics>
template <class U>
bool queue_core<T, Atomics>::hand_over(woken_list& woken, U&& item) {
    auto* op = static_cast<get_op*>(s.getters.claim_first());
    if (op == nullptr)
        return false;
    op->construct(std::forward<U>(item));
    op->outcome_ = queue_outcome::done;
    s.for_items.note_hand_over(op->home());
    count();
    woken.take(s.getters, *op);
    return true;
}

template <class T, class Atomics>
template <class U>
queue_outcome queue_core<T, Atomics>::put_now(U&& item) {
    woken_list woken;
    {
        short_hold back(s.back_lock);
        std::uint32_t t = s.tail.load(std::memory_order_relaxed);
        if (s.getters.empty()) [[likely]] {
            if (t == s.room_until) [[unlikely]] {
                if (s.closed)
                    return queue_outcome::shut_down;
                if (!finds_room(t))
                    return queue_outcome::waits;
            }
            store(t, std::forward<U>(item));
            return queue_outcome::done;
        }
        if constexpr (std::is_same_v<std::remove_cvref_t<U>, T>) {
            give_or_store(woken, t, std::forward<U>(item));
        } else {
            // Made before anybody is chosen to get it: it may throw.
            T made(std::forward<U>(item));
            give_or_store(woken, t, std::move(made));
        }
    }
    woken.wake();
    return queue_outcome::done;
}

template <class T, class Atomics>
template <class U>
void queue_core<T, Atomics>::give_or_store(woken_list& woken, std::uint32_t t, U&& item) {
    if (hand_over(woken, std::forward<U>(item)))
        return;
    bool fits = has_room(t);
    WEFT_ASSERT(fits, "a queue was full while somebody waited for its items");
    store(t, std::forward<U>(item));
}

template <class T, class Atomics>
T& queue_core<T, Atomics>::front_item(std::uint32_t h) noexcept {
    storage* ring = s.front_ring->with(h);
    if (ring != s.front_ring) [[unlikely]] {
        storage::template drop<T>(s.front_ring);
        s.front_ring = ring;
    }
    return ring->template item<T>(h);
}

template <class T, class Atomics>
template <class Receive, class Claim>
queue_outcome queue_core<T, Atomics>::get_now(Receive receive, Claim claim) {
    woken_list woken;
    {
        short_hold front(s.front_lock);
        if (!s.has_item()) {
            // What was put before it was closed is seen after that is.
            bool no_more = s.closed && !s.has_item();
            return no_more ? queue_outcome::shut_down : queue_outcome::waits;
        }
        if (!claim())
            return queue_outcome::waits;
        std::uint32_t h = s.head.load(std::memory_order_relaxed);
        T& item = front_item(h);
        receive(std::move(item));
        std::destroy_at(std::addressof(item));
        if (s.putters.empty()) [[likely]] {
            s.head.store(h + 1, std::memory_order_release); // pairs with the one in finds_room()
            return queue_outcome::done;
        }
        // From here on nobody may take the room before those who have waited for it.
        short_hold back(s.back_lock);
        s.head.store(h + 1, std::memory_order_release); // pairs with the acquire in size()
        let_putters_in(woken);
    }
    woken.wake();
    return queue_outcome::done;
}

template <class T, class Atomics>
void queue_core<T, Atomics>::let_putters_in(woken_list& woken) noexcept {
    while (!s.putters.empty()) {
        put_op* op = nullptr;
        std::exception_ptr failure; // it isn't in, and there still is room for the next one
        try {
            std::uint32_t t = s.tail.load(std::memory_order_relaxed);
            if (!has_room(t))
                return;
            op = first_putter();
            if (op != nullptr)
                store(t, std::move(op->item_));
        } catch (...) {
            failure = std::current_exception();
            if (op == nullptr)
                op = first_putter();
        }
        if (op == nullptr)
            return;
        op->failure_ = std::move(failure);
        op->outcome_ = queue_outcome::done;
        s.for_room.note_hand_over(op->home());
        woken.take(s.putters, *op);
    }
}

template <class T, class Atomics>
queue_outcome queue_core<T, Atomics>::enter_putters(put_op& op) {
    woken_list woken;
    {
        short_hold front(s.front_lock);
        short_hold back(s.back_lock);
        std::uint32_t t = s.tail.load(std::memory_order_relaxed);
        if (s.closed)
            return queue_outcome::shut_down;
        if (s.getters.empty() && !has_room(t)) {
            s.putters.push(op);
            return queue_outcome::waits;
        }
        if (!op.claim())
            return queue_outcome::waits;
        give_or_store(woken, t, std::move(op.item_));
    }
    woken.wake();
    return queue_outcome::done;
}

template <class T, class Atomics>
queue_outcome queue_core<T, Atomics>::enter_getters(get_op& op) {
    while (true) {
        {
            short_hold back(s.back_lock);
            // Nothing is put meanwhile, so once head has reached tail it stays there.
            if (s.head.load(std::memory_order_relaxed) == s.tail.load(std::memory_order_relaxed)) {
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

template <class T, class Atomics>
void queue_core<T, Atomics>::shut_down(bool immediate) noexcept {
    woken_list woken;
    storage* left = nullptr;
    std::uint32_t h = 0;
    std::uint32_t t = 0;
    {
        short_hold front(s.front_lock);
        short_hold back(s.back_lock);
        s.closed = true;
        h = s.head.load(std::memory_order_relaxed);
        t = s.tail.load(std::memory_order_relaxed);
        s.room_until = t; // who puts looks at `closed` before it looks for more
        while (waiter* w = s.getters.claim_first()) {
            static_cast<get_op&>(*w).outcome_ = queue_outcome::shut_down;
            woken.take(s.getters, *w);
        }
        while (waiter* w = s.putters.claim_first()) {
            static_cast<put_op&>(*w).outcome_ = queue_outcome::shut_down;
            woken.take(s.putters, *w);
        }
        if (immediate) {
            left = std::exchange(s.front_ring, nullptr);
            s.back_ring = nullptr;
            s.head.store(t, std::memory_order_release); // pairs with the acquire in size()
            s.known_tail.store(t, std::memory_order_relaxed);
            short_hold held(s.done_lock);
            s.note_done(t - h, woken);
        }
    }
    // Whoever sees that it is closed may destroy the queue: it isn't touched any more.
    if (left != nullptr)
        discard(left, h, t);
    woken.wake();
}

template <class T, class Atomics>
void queue_core<T, Atomics>::discard(storage* ring, std::uint32_t from, std::uint32_t to) noexcept {
    for (; from != to; ++from) {
        while (ring->with(from) != ring)
            storage::template drop<T>(std::exchange(ring, ring->next()));
        std::destroy_at(std::addressof(ring->template item<T>(from)));
    }
    while (ring != nullptr)
        storage::template drop<T>(std::exchange(ring, ring->next()));
}

} // namespace weft::detail
