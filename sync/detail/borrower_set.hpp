// SPDX-License-Identifier: MIT
// Who has a token of a capacity_limiter, or waits for one: a hash table of numbers. It grows only
// when the owner says so, because that allocates, and the owner mustn't while it holds its lock.
//
// Threads:      one at a time. Cancellation: none.
// Errors:       make throws std::bad_alloc. Cost: O(1) on average; 16 bytes for half a slot.
// Source:       linear probing with backward shifts, after Knuth 6.4.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace weft::detail {

class borrower_set {
public:
    using key = std::uint64_t; // 0 is none

    struct entry {
        key who = 0;
        bool has_token = false;
    };

    borrower_set() noexcept = default;
    /// An empty one with so many slots, a power of two.
    explicit borrower_set(std::size_t slots)
        : slots_(std::make_unique<entry[]>(slots)), mask_(slots - 1) {}

    [[nodiscard]] bool has_room() const noexcept {
        return slots_ != nullptr && 2 * (size_ + 1) <= mask_ + 1; // half of it stays free
    }
    [[nodiscard]] std::size_t next_slots() const noexcept {
        return slots_ == nullptr ? 16 : 2 * (mask_ + 1);
    }
    /// Takes over what the other one has. Precondition: there is room.
    void take_all(const borrower_set& other) noexcept;

    /// Null if it isn't there. Valid until the next insert or erase.
    [[nodiscard]] entry* find(key who) const noexcept;
    /// Precondition: it isn't there, and there is room.
    entry& insert(key who) noexcept;
    /// Precondition: it is there.
    void erase(key who) noexcept;

private:
    [[nodiscard]] std::size_t home(key who) const noexcept {
        return static_cast<std::size_t>((who * 0x9e3779b97f4a7c15u) >> 32) & mask_; // Fibonacci's
    }

    std::unique_ptr<entry[]> slots_;
    std::size_t mask_ = 0;
    std::size_t size_ = 0;
};

} // namespace weft::detail
