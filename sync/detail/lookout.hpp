// SPDX-License-Identifier: MIT
// Whether it is worth looking out for a moment for what another thread is about to give, instead of
// waiting in line for it: two threads that hand over every single thing spend their time on waking
// each other up. And whether to let more than one come together before looking: two threads that
// are about equally fast take the cache line with the counter from each other for every single one.
//
//     if (nothing_else_to_do)
//         line.look([&] { return !looks_empty(); });      // then line up, or take it
//
// Threads:      any; what is lost when two of them write at once is a guess.
// Cancellation: none: it takes some microseconds at most. Errors: none.
// Cost:         nothing while those who give are on the same thread as those who wait.
// Source:       adaptive mutexes spin while the owner runs; here past successes tell.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/runner.hpp>

#include <cstdint>
#include <type_traits>

namespace weft::detail {

template <class Atomics = std_atomics>
class lookout {
public:
    /// Somebody was woken who waits on `r`: if that is another thread than the caller's, it could
    /// have looked out for it.
    void note_hand_over(const runner& r) noexcept {
        int seen = confidence_.load(std::memory_order_relaxed);
        if (seen < most && &r != runner::current())
            confidence_.store(seen + 1, std::memory_order_relaxed);
    }

    /// Looks for a moment whether `there()`, if that has been worth it lately.
    template <class There>
    void look(There there) noexcept {
        // It is a delay and changes nothing, so models do without.
        if constexpr (std::is_same_v<Atomics, std_atomics>) {
            if (confidence_.load(std::memory_order_relaxed) <= 0)
                return;
            for (int round = 0; round < rounds; ++round) {
                // Each look takes the cache line from who writes there, so not too often.
                Atomics::pause(pause_round);
                if (there()) {
                    confidence_.store(most, std::memory_order_relaxed);
                    gather();
                    return;
                }
            }
            confidence_.store(in_vain, std::memory_order_relaxed);
        }
    }

    /// Everything that is known to be there has been used up: waits a little before the caller
    /// looks for more, if that has brought enough of it lately.
    void gather() noexcept {
        if constexpr (std::is_same_v<Atomics, std_atomics>) {
            if (confidence_.load(std::memory_order_relaxed) > 0 &&
                passes_.load(std::memory_order_relaxed) == 0)
                Atomics::pause(gathering_round);
        }
    }
    /// So many were there.
    void note_found(std::uint32_t n) noexcept {
        if constexpr (std::is_same_v<Atomics, std_atomics>) {
            int seen = passes_.load(std::memory_order_relaxed);
            int next = n >= enough ? 0 : seen == 0 ? passes : seen - 1;
            if (next != seen)
                passes_.store(next, std::memory_order_relaxed);
        }
    }

private:
    static constexpr int most = 4;
    static constexpr int in_vain = -4; // so many hand-overs until the next try
    static constexpr int rounds = 16;
    static constexpr unsigned pause_round = 3;
    static constexpr unsigned gathering_round = 4;
    static constexpr std::uint32_t enough = 4;
    static constexpr int passes = 32; // without gathering, after it was in vain

    typename Atomics::template atomic<int> confidence_{0};
    typename Atomics::template atomic<int> passes_{0};
};

} // namespace weft::detail
