// SPDX-License-Identifier: MIT
// What a queue is apart from its items: two ends with a lock each, counters, and three lines.
//
// Items have numbers: `head` is the next to be taken, `tail` the next to be put. The lock of the
// back guards tail and the line of those who wait to get; the lock of the front guards head and the
// line of those who wait to put. Because they are crossed, either end gets by with its own lock:
//
// - Who finds the queue empty and holds the lock of the back knows that it stays so, and may stand
//   in line. So while somebody waits to get, the queue is empty, and who puts an item hands it to
//   the first of them.
// - Who finds it full and holds both locks may stand in line. So while somebody waits to put, the
//   queue is full, and who gets an item brings in that of the first of them, under both locks.
//
// Each is true whenever the lock of its line is free, so nobody overtakes those in line. The lock
// of the front is taken before that of the back. `closed` is written under both and read under
// either.
//
// Threads:      as said above; what is said to be without a lock, from any.
// Cancellation: who is stopped leaves the line.
// Errors:       none; every member is noexcept.
// Cost:         the ends are on cache lines of their own. One looks at the other's counter only if
//               it knows of no item, or of no room, any more.
// Source:       two locks after Michael and Scott (1996), known counters after Lamport's ring.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/wait_list.hpp>
#include <weft/sync/detail/lookout.hpp>
#include <weft/sync/detail/ring_storage.hpp>

namespace weft::detail {

/// How a put or a get ended, if it did.
enum class queue_outcome : int {
    waits,     // there is no item, or no room
    done,      // the item was moved
    shut_down, // the queue takes none any more, or has none any more
};

template <class Atomics = std_atomics>
struct queue_state {
    using counter = typename Atomics::template atomic<std::uint32_t>;
    template <class T>
    using plain = typename Atomics::template plain<T>;
    using storage = ring_storage<Atomics>;

    /// How many items in a row are put, or are taken, before the task lets others run: a queue that
    /// is never empty must not keep its reader's loop from timers and I/O.
    static constexpr std::uint32_t turn = 256;

    // --- The back -------------------------------------------------------------------------------
    alignas(64) short_lock<Atomics> back_lock;
    counter tail{0};
    plain<std::uint32_t> room_until = 0; // before that number there is room, without a look at head
    plain<std::uint32_t> ring_begin = 0; // no item of back_ring has a lower number
    plain<storage*> back_ring = nullptr;
    plain<wait_list> getters;
    lookout<Atomics> for_items;
    counter ever_put{0}; // items, those included that went past the ring to one who waited
    plain<bool> closed = false;

    // --- The front ------------------------------------------------------------------------------
    alignas(64) short_lock<Atomics> front_lock;
    counter head{0};
    counter known_tail{0}; // before that number there are items, without a look at tail
    plain<storage*> front_ring = nullptr;
    plain<wait_list> putters;
    lookout<Atomics> for_room;

    // --- What was put and isn't done ------------------------------------------------------------
    alignas(64) short_lock<Atomics> done_lock;
    plain<std::uint32_t> done = 0;
    plain<wait_list> joiners;

    /// Whether there is an item. With the lock of the front.
    bool has_item() noexcept {
        std::uint32_t h = head.load(std::memory_order_relaxed);
        if (h != known_tail.load(std::memory_order_relaxed))
            return true;
        // acquire: pairs with the release of whoever put the items
        std::uint32_t t = tail.load(std::memory_order_acquire);
        known_tail.store(t, std::memory_order_relaxed);
        if (h != t)
            for_items.note_found(t - h);
        return h != t;
    }

    // Without a lock: guesses and snapshots.
    [[nodiscard]] bool looks_empty() const noexcept {
        return knows_of_none() &&
               head.load(std::memory_order_relaxed) == tail.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool knows_of_none() const noexcept {
        return head.load(std::memory_order_relaxed) == known_tail.load(std::memory_order_relaxed);
    }
    [[nodiscard]] static bool turn_is_over(const counter& c) noexcept {
        return c.load(std::memory_order_relaxed) % turn == turn - 1;
    }
    [[nodiscard]] std::uint32_t size() const noexcept {
        // acquire: pairs with the release of whoever took the items, and had seen that they were
        // there. So the tail that is read next isn't before this head.
        std::uint32_t h = head.load(std::memory_order_acquire);
        return tail.load(std::memory_order_relaxed) - h;
    }

    bool leave_getters(waiter& w) noexcept {
        short_hold back(back_lock);
        return getters.remove_if_there(w);
    }
    bool leave_putters(waiter& w) noexcept {
        short_hold front(front_lock);
        return putters.remove_if_there(w);
    }
    bool leave_joiners(waiter& w) noexcept {
        short_hold held(done_lock);
        return joiners.remove_if_there(w);
    }
    /// False: everything is done.
    bool enter_joiners(waiter& w) noexcept;
    [[nodiscard]] std::uint32_t unfinished() noexcept;
    /// Notes that an item is done. False: there is none that isn't.
    bool note_done() noexcept;
    /// The same for n items, with the lock; fewer if there aren't that many. Who waits in join is
    /// taken if that was all.
    void note_done(std::uint32_t n, woken_list& woken) noexcept;

    // How many stand in each line: counts them.
    [[nodiscard]] std::size_t count_getters() noexcept {
        short_hold back(back_lock);
        return getters.size();
    }
    [[nodiscard]] std::size_t count_putters() noexcept {
        short_hold front(front_lock);
        return putters.size();
    }
    [[nodiscard]] std::size_t count_joiners() noexcept {
        short_hold held(done_lock);
        return joiners.size();
    }

    /// Before the end: waits until those have left who are about to give a lock back, having woken
    /// whoever now destroys the queue. Asserts that nobody stands in line.
    void settle() noexcept;

private:
    // With the lock. Who has got an item knows that it was counted.
    [[nodiscard]] std::uint32_t left() const noexcept {
        return ever_put.load(std::memory_order_relaxed) - done;
    }
};

template <class Atomics>
bool queue_state<Atomics>::enter_joiners(waiter& w) noexcept {
    short_hold held(done_lock);
    bool waits = left() != 0;
    if (waits)
        joiners.push(w);
    return waits;
}

template <class Atomics>
std::uint32_t queue_state<Atomics>::unfinished() noexcept {
    short_hold held(done_lock);
    return left();
}

template <class Atomics>
bool queue_state<Atomics>::note_done() noexcept {
    woken_list woken;
    {
        short_hold held(done_lock);
        if (left() == 0)
            return false;
        note_done(1, woken);
    }
    woken.wake();
    return true;
}

template <class Atomics>
void queue_state<Atomics>::note_done(std::uint32_t n, woken_list& woken) noexcept {
    std::uint32_t most = left(); // may grow meanwhile, but was so at this moment
    done += n < most ? n : most;
    if (n >= most)
        woken.take_all(joiners);
}

template <class Atomics>
void queue_state<Atomics>::settle() noexcept {
    short_hold front(front_lock);
    short_hold back(back_lock);
    short_hold held(done_lock);
    WEFT_ASSERT(getters.empty(), "a queue was destroyed while somebody waited for an item");
    WEFT_ASSERT(putters.empty(), "a queue was destroyed while somebody waited for room");
    WEFT_ASSERT(joiners.empty(), "a queue was destroyed while somebody waited in join");
}

extern template struct queue_state<std_atomics>;

/// Throws what an outcome other than `done` means.
[[noreturn]] void throw_get_outcome(queue_outcome how);
[[noreturn]] void throw_put_outcome(queue_outcome how);
[[noreturn]] void throw_too_many_items();
[[noreturn]] void throw_bad_capacity();
[[noreturn]] void throw_negative_time();
[[noreturn]] void throw_done_too_often();

} // namespace weft::detail
