// SPDX-License-Identifier: MIT
// A word in shared memory that sleepers are rung at. Who rings makes a system call only if somebody
// may be asleep.
//
//     // Who waits                                   // Who has made true what it waits for
//     std::uint32_t seen = bell.announce();          bell.ring_one(wake);
//     if (!is_true()) {
//         sleep_while(bell.word, seen);              // a futex
//         bell.arrive();
//     }
//
// Bit 0 says that somebody may be asleep, bit 1 that somebody was woken by ring_one() and hasn't
// arrived: as long as that is so, nobody else is woken. So whoever arrives looks, takes what is
// there for it, and rings for the next one if there is more. The rest of the word counts. Each
// announcement and each ring changes the count, so nobody falls asleep who has been rung for, and
// bit 0 is taken away only if nobody was asleep and nobody has announced itself since. If one that
// was woken dies, those who look by themselves now and then arrive in its place.
//
// Threads:      any, of any process.
// Cancellation: who was woken and doesn't want it any more arrives, and rings for the next.
// Errors:       none.
// Cost:         without sleepers a ring is one load, and so it is while one is on its way. With
//               sleepers, one system call. To arrive is an exchange.
// Source:       event counts (Reed and Kanodia, 1979); the kernel's answer tells if there are more;
//               one on its way after Go's spinning workers.
#pragma once
#include <weft/runtime/detail/atomics.hpp>

#include <cstdint>

namespace weft::ipc::detail {

template <class Atomics = weft::detail::std_atomics>
struct doorbell {
    static constexpr unsigned all = 0x7fffffff;

    typename Atomics::template atomic<std::uint32_t> word{0};

    /// Says that the caller is about to sleep while the word is what this gives. It must look again
    /// before it does.
    std::uint32_t announce() noexcept {
        std::uint32_t was = word.load(std::memory_order_relaxed); // compared below
        std::uint32_t mine = 0;
        do {
            mine = (was + once) | asleep;
            // seq_cst: before the look. Pairs with the loads in ring_one() and ring_all().
        } while (!word.compare_exchange_weak(was, mine, std::memory_order_seq_cst,
                                             std::memory_order_relaxed));
        return mine;
    }

    /// Who has slept is there, and looks next.
    void arrive() noexcept {
        // seq_cst: before the look. Pairs with the loads in ring_one().
        word.fetch_and(~called, std::memory_order_seq_cst);
    }

    /// Whether a ring has anything to do.
    [[nodiscard]] bool may_be_asleep() const noexcept {
        // seq_cst: after what the sleepers wait for. Pairs with announce().
        return (word.load(std::memory_order_seq_cst) & asleep) != 0;
    }

    /// Wakes one, unless one is on its way. `wake(word, n)` wakes that many sleepers at most, and
    /// tells how many there were.
    template <class Wake>
    void ring_one(Wake wake) noexcept {
        while (true) {
            // seq_cst: after what the sleepers wait for. Pairs with announce() and arrive(): what
            // somebody relies on one who is on its way for, that one sees.
            std::uint32_t was = word.load(std::memory_order_seq_cst);
            if ((was & (asleep | called)) != asleep)
                return;
            // Who is about to sleep sees that something has changed. The kernel orders that.
            const std::uint32_t mine = (was + once) | called;
            if (!word.compare_exchange_weak(was, mine, std::memory_order_relaxed,
                                            std::memory_order_relaxed))
                continue;
            if (wake(word, 1u) != 0)
                return;
            was = mine;
            if (word.compare_exchange_strong(was, mine & ~(asleep | called),
                                             std::memory_order_relaxed, std::memory_order_relaxed))
                return;
            // Who has announced itself since may be asleep now, while others relied on our call.
            word.fetch_and(~called, std::memory_order_relaxed);
        }
    }

    /// Wakes all.
    template <class Wake>
    void ring_all(Wake wake) noexcept {
        // seq_cst: as in ring_one()
        std::uint32_t was = word.load(std::memory_order_seq_cst);
        do {
            if ((was & asleep) == 0)
                return;
        } while (!word.compare_exchange_weak(was, (was + once) & ~(asleep | called),
                                             std::memory_order_relaxed, std::memory_order_relaxed));
        wake(word, all);
    }

private:
    static constexpr std::uint32_t asleep = 1;
    static constexpr std::uint32_t called = 2;
    static constexpr std::uint32_t once = 4;
};

} // namespace weft::ipc::detail
