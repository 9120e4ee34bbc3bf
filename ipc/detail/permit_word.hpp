// SPDX-License-Identifier: MIT
// The state of a semaphore between processes, and that of an event.
//
//     template <class Word>
//     bool try_it(Word& w) {
//         return w.try_take(false).taken;
//     }
//
// As in lock_word, a wake-up is a hint. A release wakes as many as it has permits, and each of them
// that leaves some wakes the next: so nobody counts who sleeps, and who is killed isn't missed. The
// same bit lets one that was overtaken have its turn.
//
// Threads:      all members, from any thread and process.
// Cancellation: leave().
// Errors:       none; every member is noexcept.
// Cost:         one compare-and-swap each.
// Source:       as lock_word's.
#pragma once
#include <weft/runtime/detail/atomics.hpp>

#include <cstdint>
#include <optional>

namespace weft::ipc::detail {

template <class Atomics = weft::detail::std_atomics>
class permit_word {
public:
    static constexpr std::uint32_t asleep = 1u << 31;
    static constexpr std::uint32_t overtaken = 1u << 30;
    static constexpr std::uint32_t most = overtaken - 1;

    struct took {
        bool taken;
        bool wake_one; // there are more
    };
    struct released {
        bool fits;
        bool wake; // as many as were released
    };

    explicit permit_word(std::uint32_t permits) noexcept : state_(permits) {}

    took try_take(bool slept, bool was_overtaken = false) noexcept {
        std::uint32_t s = state_.load(relaxed);
        while (free_for(s, slept)) {
            std::uint32_t next = (s - 1) | (slept ? asleep : 0);
            if (was_overtaken)
                next &= ~overtaken;
            // acquire: pairs with the release in release()
            if (state_.compare_exchange_weak(s, next, std::memory_order_acquire, relaxed))
                return {true, slept && (next & most) != 0};
        }
        return {false, false};
    }

    /// Beyond `limit` nothing is released.
    released release(std::uint32_t n, std::uint32_t limit) noexcept {
        std::uint32_t s = state_.load(relaxed);
        while (true) {
            if (limit - (s & most) < n)
                return {false, false};
            // release: pairs with the acquire in try_take()
            if (state_.compare_exchange_weak(s, (s + n) & ~asleep, std::memory_order_release,
                                             relaxed))
                return {true, (s & (asleep | overtaken)) != 0};
        }
    }

    /// What to sleep on. Nothing: it isn't as it was, look again.
    std::optional<std::uint32_t> line_up(bool slept, bool was_overtaken) noexcept {
        std::uint32_t s = state_.load(relaxed);
        while (!free_for(s, slept)) {
            std::uint32_t next = s | asleep | (was_overtaken ? overtaken : 0);
            if (next == s || state_.compare_exchange_weak(s, next, relaxed, relaxed))
                return next;
        }
        return std::nullopt;
    }

    /// One that was overtaken gives up. True: one is to be woken.
    bool leave() noexcept { return (state_.fetch_and(~overtaken, relaxed) & most) != 0; }

    // Snapshots.
    [[nodiscard]] std::uint32_t permits() const noexcept { return state_.load(relaxed) & most; }
    [[nodiscard]] bool is_free() const noexcept { return free_for(state_.load(relaxed), false); }
    /// Whether the permits are kept for those who have slept.
    [[nodiscard]] bool is_kept() const noexcept {
        std::uint32_t s = state_.load(relaxed);
        return (s & most) != 0 && (s & overtaken) != 0;
    }
    [[nodiscard]] static constexpr bool free_for(std::uint32_t s, bool slept) noexcept {
        return (s & most) != 0 && (slept || (s & overtaken) == 0);
    }
    [[nodiscard]] auto& atomic() noexcept { return state_; }

private:
    static constexpr std::memory_order relaxed = std::memory_order_relaxed;

    typename Atomics::template atomic<std::uint32_t> state_;
};

/// A flag, and how often it has been set: who waits is released by the setting, even if it has been
/// unset again before it looks.
template <class Atomics = weft::detail::std_atomics>
class flag_word {
public:
    static constexpr std::uint32_t is_set = 1;
    static constexpr std::uint32_t asleep = 2;
    static constexpr std::uint32_t once = 4; // what each setting adds

    /// True: all who sleep are to be woken.
    bool set() noexcept {
        std::uint32_t s = state_.load(relaxed);
        while (true) {
            // Also if it is set: who sees it set sees what was done before this.
            std::uint32_t next = (s & is_set) != 0 ? s : ((s + once) | is_set) & ~asleep;
            // release: pairs with the acquire in look()
            if (state_.compare_exchange_weak(s, next, std::memory_order_release, relaxed))
                return next != s && (s & asleep) != 0;
        }
    }
    void clear() noexcept { state_.fetch_and(~is_set, relaxed); }

    [[nodiscard]] std::uint32_t look() const noexcept {
        return state_.load(std::memory_order_acquire);
    }
    /// Whether one that came when it was `then` may go on.
    [[nodiscard]] static constexpr bool passes(std::uint32_t s, std::uint32_t then) noexcept {
        return (s & is_set) != 0 || (s ^ then) >= once;
    }
    /// What to sleep on, for one that came when it was `then`. Nothing: look again.
    std::optional<std::uint32_t> line_up(std::uint32_t then) noexcept {
        std::uint32_t s = state_.load(relaxed);
        while (!passes(s, then)) {
            std::uint32_t next = s | asleep;
            if (next == s || state_.compare_exchange_weak(s, next, relaxed, relaxed))
                return next;
        }
        return std::nullopt;
    }
    [[nodiscard]] auto& atomic() noexcept { return state_; }

private:
    static constexpr std::memory_order relaxed = std::memory_order_relaxed;

    typename Atomics::template atomic<std::uint32_t> state_{0};
};

} // namespace weft::ipc::detail
