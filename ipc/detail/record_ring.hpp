// SPDX-License-Identifier: MIT
// Records of any size in a ring of bytes that processes share: those who put work at its back,
// those who get at its front. Each end has a lock, which is a word that says who holds it, and one
// store is all that makes a record there or gone: so whoever dies at an end leaves it as if it
// hadn't begun, and the word is taken from the dead.
//
//     using ring = weft::ipc::detail::record_ring<>;
//     bool send(ring& r, std::uint64_t who, std::uint32_t number) {
//         using namespace weft::ipc::detail;
//         return r.put(who, record_kind::whole, sizeof number, [&](std::byte* to) {
//             std::memcpy(to, &number, sizeof number);
//         }) == ring_outcome::done;
//     }
//
// A place is how many items have passed that end, and the granule (8 bytes) that it has come to:
// one word, so that both change at once. The memory of the records is mapped twice, one behind the
// other, so each of them lies in one block. An item that is larger than the ring goes through it
// in parts; meanwhile the end is engaged by who puts, or gets, that item. If one of them is gone,
// the rest of the parts is dropped. A lane is a ring with one who puts and one who gets at a time:
// it does without the locks.
//
// Threads:      any number at each end (in a lane, one) and of any process. Nobody waits here: who
//               finds a lock taken is told so. Who holds one copies, and calls nothing that waits.
// Cancellation: none.
// Errors:       what `fill` and `receive` throw, with the ring as it was. `damaged` if what the
//               shared memory says can't be: nothing in it is used as a place or a length
//               unchecked.
// Cost:         put and get: one exchange for the lock (none in a lane) and one for the place, a
//               copy of the record, and a look at the other end only when no more is known of.
// Source:       two locks after Michael and Scott (1996), known places after Lamport's ring.
#pragma once
#include <weft/runtime/detail/atomics.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weft::ipc::detail {

enum class ring_outcome : int {
    done,
    full,       // there is no room for it now
    empty,      // nothing is there now
    busy,       // somebody is at work at that end
    engaged,    // somebody is in the middle of an item in parts at that end
    broken_off, // of the item whose parts were being got there won't be any more
    refused,    // by who gets
    shut_down,
    damaged, // the memory says what can't be
};

/// A whole item, or a part of one.
enum class record_kind : std::uint32_t { whole, first, more, last };

/// What the processes share, before the records. Of zeros at first.
template <class Atomics = weft::detail::std_atomics>
struct ring_control {
    template <class T>
    using atomic = typename Atomics::template atomic<T>;
    struct end {
        atomic<std::uint64_t> place{0};
        atomic<std::uint64_t> lock{0};    // who is at work here
        atomic<std::uint64_t> engaged{0}; // who is in the middle of an item in parts
        atomic<std::uint64_t> seen{0};    // the other end's place, at some time; with the lock
    };
    static constexpr std::uint32_t closed_bit = 1;  // nothing can be put
    static constexpr std::uint32_t dropped_bit = 2; // nor got

    alignas(64) end back;
    alignas(64) end front;
    alignas(64) atomic<std::uint32_t> closed{0}; // the first bit with the back's lock, the
                                                 // second with the front's
    alignas(64) atomic<std::uint32_t> done{0};   // how many were said to be
};

/// Memory that is mapped twice.
class mirrored_bytes {
public:
    static constexpr std::size_t granule = 8;
    mirrored_bytes(std::byte* begin, std::uint32_t granules) noexcept
        : begin_(begin), mask_(granules - 1) {}
    [[nodiscard]] std::byte* at(std::uint32_t g) const noexcept {
        return begin_ + std::size_t{g & mask_} * granule;
    }
    /// Asks for the lines that will be written a little later, which whoever read there last has:
    /// else each record waits for them.
    void prepare(std::uint32_t from, std::uint32_t granules) const noexcept {
        constexpr std::uint32_t line = 64 / granule;
        for (std::uint32_t g = 0; g < granules && g < most_prepared; g += line)
            weft::detail::fetch_to_write(at(from + ahead + g));
    }

private:
    static constexpr std::uint32_t ahead = 128 / granule;
    static constexpr std::uint32_t most_prepared = 256 / granule;

    std::byte* begin_;
    std::uint32_t mask_;
};

template <class Atomics = weft::detail::std_atomics, class Memory = mirrored_bytes>
class record_ring {
public:
    using control = ring_control<Atomics>;
    static constexpr std::uint32_t granule = 8;

    /// `granules` is a power of two, and how many the memory has, whatever the shared memory says;
    /// so is everything else here that is not in `shared`. A capacity of 0: as many items as fit.
    record_ring(control& shared, Memory memory, std::uint32_t granules, std::uint32_t capacity,
                bool lane) noexcept
        : s_(&shared), memory_(memory), granules_(granules), capacity_(capacity), lane_(lane) {}

    /// The largest record.
    [[nodiscard]] std::uint32_t largest() const noexcept { return (granules_ - 1) * granule; }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] bool is_lane() const noexcept { return lane_; }

    /// Puts a record, which `fill(std::byte*)` writes. Precondition: it isn't larger than
    /// largest(); `who` isn't 0. `first` engages the back, `last` ends that.
    template <class Fill>
    ring_outcome put(std::uint64_t who, record_kind kind, std::uint32_t size, Fill fill);

    /// Gives the next record to `receive(record_kind, const std::byte*, std::uint32_t size)`, and
    /// takes it out when that has returned true; with false it is `refused`. `first` engages the
    /// front, `last` ends that; in between the caller `continues`.
    template <class Receive>
    ring_outcome get(std::uint64_t who, bool continues, Receive receive);

    /// Gives whole items that are there to `receive(const std::byte*, std::uint32_t size)`, in
    /// their order and up to `most`, as long as it returns true and they are whole; all that it did
    /// are taken out at once. It doesn't throw. Gives how many; none also if get() would give
    /// another reason than that it is empty.
    template <class Receive>
    std::uint32_t get_more(std::uint64_t who, std::uint32_t most, Receive receive) noexcept;

    /// Ends an item in parts without its last one. Only for who has engaged the back.
    void break_off() noexcept {
        s_->back.engaged.store(0,
                               std::memory_order_relaxed); // parts that are seen later get dropped
    }
    /// Who gets an item in parts doesn't want the rest. Only for who has engaged the front.
    void drop_rest() noexcept { s_->front.engaged.store(0, std::memory_order_relaxed); }

    /// From now on nothing can be put. With `dropped`, what is there isn't got any more either.
    /// `busy`: try again.
    ring_outcome shut_down(std::uint64_t who, bool dropped) noexcept;

    enum class done_outcome : std::uint8_t { some_left, all_done, too_often };
    /// Notes that an item that was got is done.
    done_outcome note_done() noexcept;
    /// Items that were put and aren't done.
    [[nodiscard]] std::uint32_t unfinished() const noexcept {
        // seq_cst: who waits until all is done has said so before it looks
        return ever_put() - s_->done.load(std::memory_order_seq_cst);
    }

    /// Takes from somebody who is dead what it holds. Gives whether that was anything.
    bool bury(std::uint64_t dead) noexcept;
    /// Who holds something now; 0: nobody.
    [[nodiscard]] std::array<std::uint64_t, 4> holders() const noexcept {
        constexpr auto relaxed = std::memory_order_relaxed; // whoever is dead stays so
        return {s_->back.lock.load(relaxed), s_->back.engaged.load(relaxed),
                s_->front.lock.load(relaxed), s_->front.engaged.load(relaxed)};
    }

    // Snapshots.
    /// Items that are wholly there.
    [[nodiscard]] std::uint32_t size() const noexcept {
        if ((closed() & control::dropped_bit) != 0)
            return 0;
        // acquire: what is read next isn't older than this front has seen
        std::uint32_t gone = items(s_->front.place.load(std::memory_order_acquire));
        return items(s_->back.place.load(std::memory_order_relaxed)) - gone;
    }
    /// How many items were ever put (modulo 2^32), and aren't dropped.
    [[nodiscard]] std::uint32_t ever_put() const noexcept {
        // seq_cst: as in unfinished()
        bool dropped = (s_->closed.load(std::memory_order_seq_cst) & control::dropped_bit) != 0;
        const auto& counts = dropped ? s_->front : s_->back;
        // Who got an item has seen that it was put.
        return items(counts.place.load(std::memory_order_relaxed));
    }
    // For those who decide whether to look out.
    /// How many items who gets knows to be there without a look at the back.
    [[nodiscard]] std::uint32_t known_items() const noexcept {
        return items(s_->front.seen.load(std::memory_order_relaxed)) -
               items(s_->front.place.load(std::memory_order_relaxed));
    }
    [[nodiscard]] bool knows_of_none() const noexcept {
        return s_->front.seen.load(std::memory_order_relaxed) ==
               s_->front.place.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool looks_empty() const noexcept {
        // seq_cst: pairs with the store in put(). Who was woken sees what was put by those who left
        // it to it to ring for the next.
        return granules(s_->back.place.load(std::memory_order_seq_cst)) ==
               granules(s_->front.place.load(std::memory_order_relaxed));
    }
    /// Whether a whole record of that size would find room.
    [[nodiscard]] bool looks_full(std::uint32_t record_size) const noexcept {
        std::uint64_t gone = s_->front.place.load(std::memory_order_relaxed);
        return !fits(s_->back.place.load(std::memory_order_relaxed), gone, needed(record_size),
                     true);
    }
    [[nodiscard]] std::uint32_t closed() const noexcept {
        return s_->closed.load(std::memory_order_relaxed);
    }

private:
    using end = typename control::end;

    struct header {
        std::uint32_t size;
        std::uint32_t kind;
    };
    static_assert(sizeof(header) == granule);

    // A place.
    static std::uint32_t items(std::uint64_t p) noexcept {
        return static_cast<std::uint32_t>(p >> 32);
    }
    static std::uint32_t granules(std::uint64_t p) noexcept {
        return static_cast<std::uint32_t>(p);
    }
    static std::uint64_t behind(std::uint64_t p, std::uint32_t n, record_kind kind) noexcept {
        bool ends = kind == record_kind::whole || kind == record_kind::last;
        return std::uint64_t{items(p) + (ends ? 1u : 0u)} << 32 | (granules(p) + n);
    }
    static std::uint32_t needed(std::uint32_t size) noexcept {
        return static_cast<std::uint32_t>((std::uint64_t{size} + 2 * granule - 1) / granule);
    }
    static bool begins_item(record_kind k) noexcept {
        return k == record_kind::whole || k == record_kind::first;
    }
    /// Also false if the places can't be.
    [[nodiscard]] bool fits(std::uint64_t back, std::uint64_t front, std::uint32_t n,
                            bool begins) const noexcept {
        std::uint32_t used = granules(back) - granules(front);
        return used <= granules_ && n <= granules_ - used &&
               (!begins || capacity_ == 0 || items(back) - items(front) < capacity_);
    }

    /// Holds the lock of an end, if it was free.
    class [[nodiscard]] hold {
    public:
        hold(end& e, std::uint64_t who, bool lane) noexcept : end_(lane ? nullptr : &e) {
            std::uint64_t nobody = 0;
            // acquire: pairs with the release of who had it before, and of bury()
            busy_ = !lane && !e.lock.compare_exchange_strong(nobody, who, std::memory_order_acquire,
                                                             std::memory_order_relaxed);
        }
        hold(const hold&) = delete;
        hold& operator=(const hold&) = delete;
        ~hold() {
            if (end_ != nullptr && !busy_)
                end_->lock.store(0, std::memory_order_release); // pairs with the constructor
        }
        [[nodiscard]] bool busy() const noexcept { return busy_; }

    private:
        end* end_;
        bool busy_;
    };

    ring_outcome nothing_there(std::uint64_t back, bool engaged) noexcept;

    control* s_;
    [[no_unique_address]] Memory memory_;
    std::uint32_t granules_;
    std::uint32_t capacity_;
    bool lane_;
};

// -------------------------------------------------------------------------------------------------

template <class Atomics, class Memory>
template <class Fill>
ring_outcome record_ring<Atomics, Memory>::put(std::uint64_t who, record_kind kind,
                                               std::uint32_t size, Fill fill) {
    end& mine = s_->back;
    hold held(mine, who, lane_);
    if (held.busy())
        return ring_outcome::busy;
    if (s_->closed.load(std::memory_order_relaxed) != 0)
        return ring_outcome::shut_down;
    std::uint64_t engaged = mine.engaged.load(std::memory_order_relaxed);
    if (engaged != 0 && (engaged != who || begins_item(kind)))
        return ring_outcome::engaged;
    std::uint64_t here = mine.place.load(std::memory_order_relaxed);
    std::uint32_t n = needed(size);
    if (!fits(here, mine.seen.load(std::memory_order_relaxed), n, begins_item(kind))) {
        // seq_cst: pairs with the store in get(). Who is about to sleep until there is room has
        // said so before it looks.
        std::uint64_t there = s_->front.place.load(std::memory_order_seq_cst);
        if (granules(here) - granules(there) > granules_)
            return ring_outcome::damaged;
        if (!fits(here, there, n, begins_item(kind)))
            return ring_outcome::full;
        mine.seen.store(there, std::memory_order_relaxed);
    }
    std::byte* record = memory_.at(granules(here));
    header h{size, static_cast<std::uint32_t>(kind)};
    std::memcpy(record, &h, sizeof h);
    fill(record + sizeof h);
    if (kind == record_kind::first)
        mine.engaged.store(who, std::memory_order_relaxed); // published by the next line
    // The record is there from here on. seq_cst: pairs with the load in get(); and who puts looks
    // for sleepers next.
    mine.place.store(behind(here, n, kind), std::memory_order_seq_cst);
    memory_.prepare(granules(here) + n, n);
    if (kind == record_kind::last)
        mine.engaged.store(0, std::memory_order_release); // pairs with the acquire in get()
    return ring_outcome::done;
}

template <class Atomics, class Memory>
template <class Receive>
ring_outcome record_ring<Atomics, Memory>::get(std::uint64_t who, bool continues, Receive receive) {
    end& mine = s_->front;
    hold held(mine, who, lane_);
    if (held.busy())
        return ring_outcome::busy;
    if ((s_->closed.load(std::memory_order_relaxed) & control::dropped_bit) != 0)
        return ring_outcome::shut_down;
    std::uint64_t engaged = mine.engaged.load(std::memory_order_relaxed);
    if (engaged != 0 && (engaged != who || !continues))
        return ring_outcome::engaged;
    std::uint64_t here = mine.place.load(std::memory_order_relaxed);
    while (true) {
        std::uint64_t there = mine.seen.load(std::memory_order_relaxed);
        if (granules(there) == granules(here)) {
            // seq_cst: pairs with the store in put(). Who is about to sleep until there is
            // something has said so before it looks.
            there = s_->back.place.load(std::memory_order_seq_cst);
            if (granules(there) == granules(here)) {
                ring_outcome how = nothing_there(there, engaged != 0);
                if (how == ring_outcome::done)
                    continue;
                return how;
            }
            mine.seen.store(there, std::memory_order_relaxed);
        }
        std::uint32_t used = granules(there) - granules(here);
        const std::byte* record = memory_.at(granules(here));
        header h; // read once
        std::memcpy(&h, record, sizeof h);
        if (used > granules_ || h.size > largest() || needed(h.size) > used ||
            h.kind > static_cast<std::uint32_t>(record_kind::last))
            return ring_outcome::damaged;
        auto kind = static_cast<record_kind>(h.kind);
        if (begins_item(kind) && engaged != 0) {
            mine.engaged.store(0, std::memory_order_relaxed); // guarded by the lock
            return ring_outcome::broken_off;
        }
        std::uint64_t next = behind(here, needed(h.size), kind);
        bool dropped = !begins_item(kind) && engaged == 0; // who had its first part is gone
        if (!dropped) {
            if (!receive(kind, record + sizeof h, h.size))
                return ring_outcome::refused;
            if (kind == record_kind::first)
                mine.engaged.store(who, std::memory_order_relaxed); // guarded by the lock
        }
        // The record is gone from here on. seq_cst: pairs with the load in put(); and who gets
        // looks for those who wait for room next.
        mine.place.store(next, std::memory_order_seq_cst);
        if (!dropped) {
            if (kind == record_kind::last)
                mine.engaged.store(0, std::memory_order_relaxed); // guarded by the lock
            return ring_outcome::done;
        }
        here = next;
    }
}

template <class Atomics, class Memory>
template <class Receive>
std::uint32_t record_ring<Atomics, Memory>::get_more(std::uint64_t who, std::uint32_t most,
                                                     Receive receive) noexcept {
    end& mine = s_->front;
    hold held(mine, who, lane_);
    if (held.busy() || (s_->closed.load(std::memory_order_relaxed) & control::dropped_bit) != 0 ||
        mine.engaged.load(std::memory_order_relaxed) != 0)
        return 0;
    std::uint64_t here = mine.place.load(std::memory_order_relaxed);
    // acquire: pairs with the store in put()
    const std::uint64_t there = s_->back.place.load(std::memory_order_acquire);
    std::uint32_t n = 0;
    while (n != most && granules(there) != granules(here)) {
        header h; // read once
        const std::byte* record = memory_.at(granules(here));
        std::memcpy(&h, record, sizeof h);
        const std::uint32_t used = granules(there) - granules(here);
        // What is damaged is told by the next get().
        if (used > granules_ || h.size > largest() || needed(h.size) > used ||
            h.kind != static_cast<std::uint32_t>(record_kind::whole) ||
            !receive(record + sizeof h, h.size))
            break;
        here = behind(here, needed(h.size), record_kind::whole);
        ++n;
    }
    if (n != 0) {
        mine.seen.store(there, std::memory_order_relaxed); // guarded by the lock
        mine.place.store(here, std::memory_order_seq_cst); // as in get()
    }
    return n;
}

/// `done`: there is something, after all.
template <class Atomics, class Memory>
ring_outcome record_ring<Atomics, Memory>::nothing_there(std::uint64_t back,
                                                         bool engaged) noexcept {
    // acquire, both: what was put before is seen after them
    if (engaged) {
        if (s_->back.engaged.load(std::memory_order_acquire) != 0)
            return ring_outcome::empty;
    } else if (s_->closed.load(std::memory_order_acquire) == 0) {
        return ring_outcome::empty;
    }
    if (s_->back.place.load(std::memory_order_relaxed) != back)
        return ring_outcome::done;
    if (!engaged)
        return ring_outcome::shut_down;
    s_->front.engaged.store(0, std::memory_order_relaxed); // guarded by the lock
    return ring_outcome::broken_off;
}

template <class Atomics, class Memory>
ring_outcome record_ring<Atomics, Memory>::shut_down(std::uint64_t who, bool dropped) noexcept {
    {
        hold held(s_->back, who, lane_);
        if (held.busy())
            return ring_outcome::busy;
        // release: pairs with the acquire in nothing_there()
        s_->closed.fetch_or(control::closed_bit, std::memory_order_release);
    }
    if (!dropped)
        return ring_outcome::done;
    hold held(s_->front, who, lane_);
    if (held.busy())
        return ring_outcome::busy;
    // seq_cst: pairs with the load in ever_put()
    s_->closed.fetch_or(control::dropped_bit, std::memory_order_seq_cst);
    return ring_outcome::done;
}

template <class Atomics, class Memory>
auto record_ring<Atomics, Memory>::note_done() noexcept -> done_outcome {
    std::uint32_t was = s_->done.load(std::memory_order_relaxed); // compared below
    do {
        if (ever_put() == was)
            return done_outcome::too_often;
        // seq_cst: pairs with the load in unfinished(); who calls this looks for sleepers next
    } while (!s_->done.compare_exchange_weak(was, was + 1, std::memory_order_seq_cst,
                                             std::memory_order_relaxed));
    return ever_put() == was + 1 ? done_outcome::all_done : done_outcome::some_left;
}

template <class Atomics, class Memory>
bool record_ring<Atomics, Memory>::bury(std::uint64_t dead) noexcept {
    bool any = false;
    // release: who comes next sees what we know of the dead's work, by way of the kernel
    auto take = [&any, dead](auto& word) {
        std::uint64_t expected = dead;
        if (word.compare_exchange_strong(expected, 0, std::memory_order_release,
                                         std::memory_order_relaxed))
            any = true;
    };
    for (end* e : {&s_->back, &s_->front}) {
        take(e->engaged);
        take(e->lock);
    }
    return any;
}

} // namespace weft::ipc::detail
