// SPDX-License-Identifier: MIT
// What a pool and one of its workers share: memory with a lane there and a lane back, of slots for
// a message each, and a bell at each end for who sleeps there. Nobody else has it, so workers
// disturb each other neither by locks nor by what they do to it.
//
//     // Who sends                                 // Who receives
//     write_slot(slot, header, bytes, 0);          if (slot.word.take())
//     slot.word.fill();                                read(slot_content(slot));
//     bell.ring_all(wake);                         else
//                                                      look out, or announce, look, and sleep
//
// Each end goes round its slots in order. A message that was put can be withdrawn until the other
// end takes it, so the last ones are never out of reach; who withdraws them uses the slots again.
// The slot of a task stays taken, and its arguments in place, until it is answered. What is larger
// than a slot comes by another way, and the slot says that it does.
//
// Threads:      one at each end of a lane, of two processes.
// Cancellation: see above. Death: leaves what was put, and whether it was taken.
// Errors:       slot_content throws protocol_error: what the other process wrote is looked at once,
//               and believed only so far as it can be.
// Cost:         a message is one exchange of a word at each end, and two cache lines that move.
// Source:       the sequence words of Vyukov's bounded queue, without the sequence.
#pragma once
#include "pool_frame.hpp"

#include <weft/ipc/detail/doorbell.hpp>
#include <weft/ipc/shared_memory.hpp>
#include <weft/runtime/detail/atomics.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::detail {

/// Whose a slot is.
template <class Atomics = std_atomics>
class lane_word {
public:
    // For who sends.
    /// acquire: pairs with clear(), so that what was there has been read.
    [[nodiscard]] bool is_free() const noexcept {
        return word_.load(std::memory_order_acquire) == empty;
    }
    /// The same for who has said that it will sleep. seq_cst: pairs with clear().
    [[nodiscard]] bool is_free_now() const noexcept {
        return word_.load(std::memory_order_seq_cst) == empty;
    }
    /// The message is there. seq_cst: who sends looks for sleepers next; pairs with is_full_now().
    void fill() noexcept { word_.store(full, std::memory_order_seq_cst); }
    /// Takes back what was put. False: the other end has it.
    [[nodiscard]] bool withdraw() noexcept {
        // relaxed: of what the message was nothing is known to us but what we wrote
        std::uint32_t is = full;
        return word_.compare_exchange_strong(is, empty, std::memory_order_relaxed,
                                             std::memory_order_relaxed);
    }
    /// Whether what was put could still be withdrawn. When the other process is gone.
    [[nodiscard]] bool was_left() const noexcept {
        return word_.load(std::memory_order_relaxed) == full;
    }

    // For who receives.
    /// acquire: pairs with fill(), so that the message is seen.
    [[nodiscard]] bool is_full() const noexcept {
        return word_.load(std::memory_order_acquire) == full;
    }
    /// The same for who has said that it will sleep. seq_cst: pairs with fill().
    [[nodiscard]] bool is_full_now() const noexcept {
        return word_.load(std::memory_order_seq_cst) == full;
    }
    /// From a sender that may withdraw. acquire: as in is_full().
    [[nodiscard]] bool take() noexcept {
        std::uint32_t is = full;
        return word_.compare_exchange_strong(is, taken, std::memory_order_acquire,
                                             std::memory_order_relaxed);
    }
    /// The message was read. seq_cst: who receives looks for those who wait for room next; pairs
    /// with is_free_now().
    void clear() noexcept { word_.store(empty, std::memory_order_seq_cst); }

private:
    static constexpr std::uint32_t empty = 0, full = 1, taken = 2;
    typename Atomics::template atomic<std::uint32_t> word_{empty};
};

/// Two for the first cache line of a message of up to 32 bytes. Not a power of two, so that the
/// first lines of all slots don't meet in one set of a cache.
struct alignas(64) lane_slot {
    static constexpr std::size_t room = 65 * 64 - 32;

    lane_word<> word;
    std::uint16_t kind;
    std::uint16_t marks;
    std::uint64_t task;
    std::uint64_t length;    // of the payload
    std::uint64_t block;     // the id of the one that the payload is in
    std::byte payload[room]; // NOLINT(modernize-avoid-c-arrays): of shared memory
};
static_assert(sizeof(lane_slot) == 65 * 64 && offsetof(lane_slot, payload) == 32);

// Marks of a slot.
inline constexpr std::uint16_t stop_was_seen = 1; // as in frame_header
inline constexpr std::uint16_t by_stream = 2;     // the whole frame comes by the stream
inline constexpr std::uint16_t in_a_block = 4;
inline constexpr std::uint16_t brings_block = 8; // its descriptor comes by the blocks' socket
inline constexpr std::uint16_t keeps_block = 16; // it will be used again

/// Of zeros at first.
struct worker_memory {
    static constexpr unsigned slots = 16;

    alignas(64) ipc::detail::doorbell<> worker_bell;
    alignas(64) ipc::detail::doorbell<> pool_bell;
    /// Not 0: the kernel of the pool's loop can't wait for a word, so the worker sends a frame.
    alignas(64) std::atomic<std::uint32_t> pool_hears_frames;
    /// How often the pool couldn't take a block that it was lent.
    std::atomic<std::uint32_t> pool_lost_blocks;
    lane_slot tasks[slots];   // NOLINT(modernize-avoid-c-arrays)
    lane_slot answers[slots]; // NOLINT(modernize-avoid-c-arrays)
};

/// What a slot says, read once.
struct slot_content {
    /// Throws if it can't be.
    explicit slot_content(const lane_slot& s);

    frame_header header;
    bool streamed;
    bool new_block = false;             // its descriptor comes
    bool kept_block = false;            // it will be used again
    std::uint64_t block;                // 0: none
    std::span<const std::byte> payload; // where it lies, if that is in the slot
};

/// Precondition: the slot is free; a payload that doesn't come by other ways fits.
void write_slot(lane_slot& s, frame_kind kind, std::uint64_t task, std::uint16_t marks,
                std::span<const std::byte> payload, std::uint64_t block = 0) noexcept;

[[nodiscard]] ipc::shared_memory make_worker_memory();
/// Whose descriptor a worker was given. Throws protocol_error.
[[nodiscard]] ipc::shared_memory open_worker_memory(descriptor d);
[[nodiscard]] worker_memory& lanes_in(const ipc::shared_memory& m) noexcept;

/// Whether it is worth to look out for a moment before one goes to sleep: a guess from how it went.
/// It is a short one, and then others on the same processor have their turn in between: where there
/// are more workers than processors, what one looks out for is done by them.
class lane_lookout {
public:
    lane_lookout() noexcept;
    [[nodiscard]] bool is_worth_it() const noexcept { return confidence_ > 0; }
    void saw_it() noexcept { confidence_ = most; }
    /// The same when others had had turns.
    void saw_it_after(std::chrono::nanoseconds time) noexcept {
        if (time < too_long)
            saw_it();
        else
            saw_nothing();
    }
    void saw_nothing() noexcept {
        confidence_ = confidence_ - in_vain < least ? least : confidence_ - in_vain;
    }
    /// What it slept for came so soon that it could have looked out for it.
    void slept_briefly() noexcept {
        if (possible_ && confidence_ < most)
            ++confidence_;
    }

    /// Before others have a turn: some microseconds.
    static constexpr unsigned looks = 64;
    /// As a round of pause().
    static constexpr unsigned giving_way = 8;
    /// About as long as it takes to wake somebody up and to have an answer.
    static constexpr std::chrono::microseconds brief{50};

private:
    static constexpr int most = 8;
    static constexpr int in_vain = 3; // so many times for each time that it looked in vain
    static constexpr int least = -8;
    // Who sleeps is woken sooner than the turn of somebody ends who has nothing to do with us.
    static constexpr std::chrono::milliseconds too_long{1};
    int confidence_ = 0;
    bool possible_; // there is another processor
};

} // namespace weft::detail
