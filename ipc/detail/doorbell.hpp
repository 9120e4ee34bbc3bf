// SPDX-License-Identifier: MIT
// A word in shared memory that sleepers are rung at. Who rings makes a system call only if somebody
// may be asleep.
//
//     // Who waits                                   // Who has made true what it waits for
//     std::uint32_t seen = bell.announce();          bell.ring_one(wake);
//     if (!is_true())
//         sleep_while(bell.word, seen);              // a futex
//
// Bit 0 says that somebody may be asleep; the rest counts. Each announcement and each ring changes
// the count, so nobody falls asleep who has been rung for, and the bit is taken away only if nobody
// was asleep and nobody has announced itself since. Nothing there depends on a sleeper that dies.
//
// Threads:      any, of any process.
// Cancellation: who was woken and doesn't want it any more rings for the next.
// Errors:       none.
// Cost:         without sleepers a ring is one load. With sleepers, one system call, and one more
//               when the last has been woken.
// Source:       event counts (Reed and Kanodia, 1979); the kernel's answer tells if there are more.
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
            mine = (was + 2) | asleep;
            // seq_cst: before the look. Pairs with the load in ring().
        } while (!word.compare_exchange_weak(was, mine, std::memory_order_seq_cst,
                                             std::memory_order_relaxed));
        return mine;
    }

    /// Wakes one. `wake(word, n)` wakes that many sleepers at most, and tells how many there were.
    template <class Wake>
    void ring_one(Wake wake) noexcept {
        // seq_cst: after what the sleepers wait for. Pairs with announce().
        if ((word.load(std::memory_order_seq_cst) & asleep) == 0)
            return;
        // Who is about to sleep sees that something has changed. The kernel orders that.
        std::uint32_t now = word.fetch_add(2, std::memory_order_relaxed) + 2;
        if (wake(word, 1u) == 0)
            word.compare_exchange_strong(now, now & ~asleep, std::memory_order_relaxed,
                                         std::memory_order_relaxed);
    }

    /// Wakes all.
    template <class Wake>
    void ring_all(Wake wake) noexcept {
        // seq_cst: as in ring_one()
        std::uint32_t was = word.load(std::memory_order_seq_cst);
        do {
            if ((was & asleep) == 0)
                return;
        } while (!word.compare_exchange_weak(was, (was + 2) & ~asleep, std::memory_order_relaxed,
                                             std::memory_order_relaxed));
        wake(word, all);
    }

private:
    static constexpr std::uint32_t asleep = 1;
};

} // namespace weft::ipc::detail
