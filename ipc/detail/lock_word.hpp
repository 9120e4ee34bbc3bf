// SPDX-License-Identifier: MIT
// The state of a lock between processes: who has it, and how it is handed on.
//
//     template <class Word>
//     bool try_it(Word& w, std::uint64_t me) {
//         return w.try_take(me, false) == weft::ipc::detail::taking::taken;
//     }
//
// One word says it all, so whoever is killed between two steps leaves a state that others can go on
// from. A wake-up is a hint: who sleeps looks at the word from time to time, and finds it free or
// its holder dead.
//
// Who comes may overtake those who sleep. One that was overtaken when it had been woken says so in
// the word (`overtaken`), and from then on the lock is kept for those who have slept, first come,
// first served, until such a one has got it.
//
// Threads:      all members, from any thread and process.
// Cancellation: leave().
// Errors:       none; every member is noexcept.
// Cost:         one compare-and-swap to take, one to give back.
// Source:       the robust futexes of Linux keep the holder in the word as well; "mutex 2" of
//               Drepper's Futexes Are Tricky.
#pragma once
#include <weft/runtime/detail/atomics.hpp>

#include <cstdint>
#include <optional>

namespace weft::ipc::detail {

// An int: g++ and clang differ in who widens a smaller one, and a program and the library may come
// from one each.
enum class taking : int {
    not_free,
    taken,
    taken_from_the_dead, // what it guards is as its holder left it
    lost,                // nobody will have it any more
};

template <class Atomics = weft::detail::std_atomics>
class lock_word {
public:
    // The lower half is what one sleeps on. The upper half is that of the holder's process_mark.
    static constexpr std::uint32_t asleep = 1u << 31;       // somebody may sleep
    static constexpr std::uint32_t inconsistent = 1u << 30; // taken from the dead, not repaired
    static constexpr std::uint32_t overtaken = 1u << 29;    // keep it for those who have slept
    static constexpr std::uint32_t holder = overtaken - 1;  // a pid, 0 for nobody, or one of these
    static constexpr std::uint32_t reserved = holder - 1;   // free for those who have slept
    static constexpr std::uint32_t lost = holder;

    /// What is to be done after giving back.
    struct given_back {
        bool was_held;
        bool wake_one;
        bool wake_all;
    };

    /// Takes it if it is free for one who has slept, or hasn't.
    taking try_take(std::uint64_t me, bool slept, bool was_overtaken = false) noexcept {
        std::uint64_t s = state_.load(relaxed);
        while (true) {
            if (holder_in(s) == lost)
                return taking::lost;
            if (!free_for(s, slept))
                return taking::not_free;
            // Whoever has slept doesn't know whether others do.
            std::uint64_t next = me | (s & (asleep | overtaken)) | (slept ? asleep : 0);
            if (was_overtaken)
                next &= ~std::uint64_t{overtaken};
            // acquire: pairs with the release in give_back()
            if (state_.compare_exchange_weak(s, next, std::memory_order_acquire, relaxed))
                return taking::taken;
        }
    }

    /// The process `dead` is gone. False: it isn't (any more) who has it.
    bool take_from(std::uint64_t dead, std::uint64_t me) noexcept {
        std::uint64_t s = state_.load(relaxed);
        while (mark_in(s) == dead) {
            // acquire: what the dead one found there, at least
            if (state_.compare_exchange_weak(s, me | inconsistent | asleep,
                                             std::memory_order_acquire, relaxed))
                return true;
        }
        return false;
    }

    void mark_consistent() noexcept {
        state_.fetch_and(~std::uint64_t{inconsistent}, relaxed); // the holder's alone
    }

    given_back give_back() noexcept {
        std::uint64_t s = state_.load(relaxed);
        while (true) {
            if (!held_in(s))
                return {false, false, false};
            std::uint64_t next = 0;
            if ((s & inconsistent) != 0)
                next = lost;
            else if ((s & overtaken) != 0)
                next = reserved | asleep | overtaken;
            // release: pairs with the acquire in try_take()
            if (state_.compare_exchange_weak(s, next, std::memory_order_release, relaxed))
                return {true, next != lost && (s & (asleep | overtaken)) != 0, next == lost};
        }
    }

    /// What to sleep on. Nothing: it isn't as it was, look again.
    std::optional<std::uint32_t> line_up(bool slept, bool was_overtaken) noexcept {
        std::uint64_t s = state_.load(relaxed);
        while (true) {
            if (holder_in(s) == lost || free_for(s, slept))
                return std::nullopt;
            std::uint64_t next = s | asleep | (was_overtaken ? overtaken : 0);
            if (next == s || state_.compare_exchange_weak(s, next, relaxed, relaxed))
                return static_cast<std::uint32_t>(next);
        }
    }

    /// One that was overtaken gives up. True: one is to be woken.
    bool leave() noexcept {
        std::uint64_t s = state_.load(relaxed);
        while ((s & overtaken) != 0) {
            bool was_free = holder_in(s) == reserved;
            std::uint64_t next = was_free ? 0 : s & ~std::uint64_t{overtaken};
            if (state_.compare_exchange_weak(s, next, relaxed, relaxed))
                return was_free;
        }
        return false;
    }

    // Snapshots.
    [[nodiscard]] std::uint64_t state() const noexcept { return state_.load(relaxed); }
    [[nodiscard]] static constexpr std::uint32_t holder_in(std::uint64_t s) noexcept {
        return static_cast<std::uint32_t>(s) & holder;
    }
    [[nodiscard]] static constexpr bool held_in(std::uint64_t s) noexcept {
        return holder_in(s) != 0 && holder_in(s) < reserved;
    }
    /// The process_mark of who has it.
    [[nodiscard]] static constexpr std::uint64_t mark_in(std::uint64_t s) noexcept {
        return s & ~std::uint64_t{asleep | inconsistent | overtaken};
    }
    [[nodiscard]] static constexpr bool free_for(std::uint64_t s, bool slept) noexcept {
        return holder_in(s) == 0 || (slept && holder_in(s) == reserved);
    }
    [[nodiscard]] auto& atomic() noexcept { return state_; }

private:
    static constexpr std::memory_order relaxed = std::memory_order_relaxed;

    typename Atomics::template atomic<std::uint64_t> state_{0};
};

} // namespace weft::ipc::detail
