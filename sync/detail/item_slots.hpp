// SPDX-License-Identifier: MIT
// Memory for items that never move: blocks of slots, each twice as large as all before it. Slot i
// stays where it is while more are added.
//
// Threads:      one at a time.
// Cancellation: none.
// Errors:       provide throws std::bad_alloc, with nothing changed.
// Cost:         one allocation for each block; finding a slot takes a few instructions.
// Source:       none.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace weft::detail {

template <class T>
class item_slots {
public:
    /// The first block has at least `first` slots.
    explicit item_slots(std::uint32_t first) noexcept
        : shift_(static_cast<unsigned>(std::bit_width(first < 2 ? 1u : first - 1u))) {}
    item_slots(item_slots&& other) noexcept : shift_(other.shift_) {
        for (unsigned b = 0; b < most_blocks; ++b)
            blocks_[b] = std::exchange(other.blocks_[b], nullptr);
    }
    item_slots& operator=(item_slots&&) = delete;
    ~item_slots() { drop_from(0); }

    /// Sees to it that there is memory for slot i. Those before it were provided already.
    void provide(std::uint32_t i) {
        unsigned b = block_of(i);
        if (blocks_[b] == nullptr)
            blocks_[b] = ::operator new(slots_in(b) * sizeof(T), std::align_val_t{alignof(T)});
    }
    [[nodiscard]] void* place(std::uint32_t i) noexcept {
        unsigned b = block_of(i);
        std::size_t first = b == 0 ? 0 : slots_in(b);
        return static_cast<std::byte*>(blocks_[b]) + (i - first) * sizeof(T);
    }
    [[nodiscard]] T& operator[](std::uint32_t i) noexcept {
        return *std::launder(static_cast<T*>(place(i)));
    }
    /// Gives all memory back but the first block. Precondition: no item is left.
    void shrink() noexcept { drop_from(1); }
    [[nodiscard]] bool can_shrink() const noexcept { return blocks_[1] != nullptr; }

private:
    // Of 2^31 slots at most.
    static constexpr unsigned most_blocks = 33;

    [[nodiscard]] unsigned block_of(std::uint32_t i) const noexcept {
        return static_cast<unsigned>(std::bit_width(i >> shift_));
    }
    [[nodiscard]] std::size_t slots_in(unsigned block) const noexcept {
        return std::size_t{1} << (block == 0 ? shift_ : shift_ + block - 1);
    }
    void drop_from(unsigned first) noexcept {
        for (unsigned b = first; b < most_blocks && blocks_[b] != nullptr; ++b)
            ::operator delete(std::exchange(blocks_[b], nullptr), std::align_val_t{alignof(T)});
    }

    void* blocks_[most_blocks] = {};
    unsigned shift_;
};

} // namespace weft::detail
