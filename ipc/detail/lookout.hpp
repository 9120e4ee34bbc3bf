// SPDX-License-Identifier: MIT
// Whether it is worth looking out for a moment for what another process is about to do, before one
// goes to sleep: two that work into each other's hands would otherwise spend their time on waking
// each other. And whether to let several things come together before one looks: two that are about
// equally fast would take the same cache lines from each other for every single one.
//
//     bool comes_soon(weft::ipc::detail::lookout& habit, const std::atomic<bool>& there) {
//         return habit.look([&] { return there.load(std::memory_order_relaxed); },
//                           [] { return false; });
//     }
//
// It begins when what one slept for came soon, and ends when it was in vain a few times; the more
// often that happens, the later it is tried again. Two on one processor give it to each other
// meanwhile, which takes less than to sleep and be woken; if a third one has it for long, that was
// in vain, too.
//
// Threads:      any; what is lost when two of them write at once is a guess.
// Cancellation: none: it takes a tenth of a millisecond at most.
// Errors:       none.
// Cost:         one load if it isn't worth it.
// Source:       to look for about as long as sleeping would take: Karlin and others (1991).
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/time.hpp>

#include <atomic>
#include <cstdint>

namespace weft::ipc::detail {

class lookout {
public:
    constexpr lookout() noexcept = default;

    /// Looks for a moment whether `there()`, if that has been worth it lately; not any more when
    /// `has_other_work()`.
    template <class There, class Busy>
    bool look(There there, Busy has_other_work) noexcept {
        if (confidence_.load(relaxed) <= 0)
            return false;
        // Now and then it sees whether that is still so.
        const unsigned turns = turns_given_.load(relaxed);
        const bool gives_way = turns % 32 != 0;
        for (unsigned n = 0; n != looks && !gives_way; ++n) {
            if (there()) {
                confidence_.store(most, relaxed);
                turns_given_.store(0, relaxed);
                return true;
            }
            if (has_other_work())
                return false;
            weft::detail::std_atomics::pause(0);
        }
        const time_point until = clock::now() + longest;
        bool first = true;
        do {
            weft::detail::std_atomics::pause(giving_way);
            if (there()) {
                note_found(first, clock::now() < until);
                return true;
            }
            if (has_other_work())
                return false;
            first = false;
        } while (clock::now() < until);
        note_found(false, false);
        return false;
    }

    /// It slept so long for what has come.
    void note_slept(duration time) noexcept {
        if (time > soon)
            return;
        const int seen = confidence_.load(relaxed);
        if (seen < most)
            confidence_.store(seen + 1, relaxed);
    }

    /// All that is known to be there has been used up: waits a little for more, if that has been
    /// worth it lately. True: see how much there is, and say it.
    bool gather() noexcept {
        if (confidence_.load(relaxed) <= 0)
            return false;
        const std::uint32_t n = passes_.load(relaxed);
        if (n != 0) {
            passes_.store(n - 1, relaxed);
            return false;
        }
        weft::detail::std_atomics::pause(gathering_round);
        return true;
    }
    void note_gathered(std::uint32_t n) noexcept {
        const std::uint32_t then = most_passes_.load(relaxed);
        if (n >= enough) {
            most_passes_.store(first_passes, relaxed);
        } else {
            passes_.store(then, relaxed);
            most_passes_.store(then < 1024 ? then * 2 : then, relaxed);
        }
    }

private:
    static constexpr std::memory_order relaxed = std::memory_order_relaxed; // all of it are guesses
    // As long as it takes to wake somebody up and to have an answer: if both go to sleep, they find
    // out of it.
    static constexpr duration longest = std::chrono::microseconds(100);
    // A sleep that was so short would have been spared: being woken took its part of it. One that
    // was longer says nothing: who counts it looks in vain, and has unlearned looking when things
    // begin to come sooner.
    static constexpr duration soon = 2 * longest;
    static constexpr unsigned looks = 64; // some microseconds; then it lets others have a turn
    static constexpr unsigned giving_way = 8;
    static constexpr int most = 8;
    static constexpr int in_vain = 3; // so much confidence is lost
    static constexpr int first_penalty = 2;
    static constexpr int last_penalty = 64;
    static constexpr unsigned gathering_round = 4;
    static constexpr std::uint32_t enough = 4;
    static constexpr std::uint32_t first_passes = 32;

    void note_found(bool at_first_turn, bool in_time) noexcept;

    std::atomic<int> confidence_{0};
    std::atomic<int> vain_{first_penalty}; // how often it sleeps when it has given up
    std::atomic<unsigned> turns_given_{0}; // and that was it: the other one is on this processor
    std::atomic<std::uint32_t> passes_{0}; // without gathering
    std::atomic<std::uint32_t> most_passes_{first_passes};
};

} // namespace weft::ipc::detail
