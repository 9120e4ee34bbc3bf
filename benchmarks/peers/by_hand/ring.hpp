// SPDX-License-Identifier: MIT
// A bounded queue of many producers and many consumers, each slot with a turn counter: about the
// least that such a queue can do. After Dmitry Vyukov's.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace by_hand {

template <std::size_t Slots>
class ring {
    static_assert((Slots & (Slots - 1)) == 0);

public:
    ring() {
        for (std::size_t i = 0; i < Slots; ++i)
            slots_[i].turn.store(i, std::memory_order_relaxed);
    }
    bool try_put(uint64_t item) noexcept {
        std::size_t at = tail_.load(std::memory_order_relaxed);
        while (true) {
            slot& s = slots_[at % Slots];
            std::size_t turn = s.turn.load(std::memory_order_acquire);
            if (turn == at) {
                if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
                    s.item = item;
                    s.turn.store(at + 1, std::memory_order_release);
                    return true;
                }
            } else if (static_cast<std::ptrdiff_t>(turn - at) < 0) {
                return false;
            } else {
                at = tail_.load(std::memory_order_relaxed);
            }
        }
    }
    bool try_get(uint64_t& item) noexcept {
        std::size_t at = head_.load(std::memory_order_relaxed);
        while (true) {
            slot& s = slots_[at % Slots];
            std::size_t turn = s.turn.load(std::memory_order_acquire);
            if (turn == at + 1) {
                if (head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
                    item = s.item;
                    s.turn.store(at + Slots, std::memory_order_release);
                    return true;
                }
            } else if (static_cast<std::ptrdiff_t>(turn - (at + 1)) < 0) {
                return false;
            } else {
                at = head_.load(std::memory_order_relaxed);
            }
        }
    }

private:
    struct slot {
        std::atomic<std::size_t> turn;
        uint64_t item;
    };
    alignas(64) std::atomic<std::size_t> tail_{0};
    alignas(64) std::atomic<std::size_t> head_{0};
    alignas(64) slot slots_[Slots];
};

/// Waits a little longer each time: spins, then lets other threads run.
class patience {
public:
    void wait() noexcept {
        if (++rounds_ < 64)
            __builtin_ia32_pause();
        else
            std::this_thread::yield();
    }

private:
    unsigned rounds_ = 0;
};

} // namespace by_hand
