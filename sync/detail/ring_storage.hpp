// SPDX-License-Identifier: MIT
// Where a queue keeps its items: a ring of slots and, if that became too small, the next ring. An
// item never moves from one to the other, so growing can't fail half-way, and neither end needs the
// other's leave for it.
//
// Threads:      one at each end; the queue's counters say which items are there.
// Cancellation: none.
// Errors:       make throws std::bad_alloc.
// Cost:         one allocation for each ring.
// Source:       rings in a list after moodycamel's queues.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace weft::detail {

/// A ring of slots. The item with number i is in slot i, modulo how many there are.
template <class Atomics>
class ring_storage {
public:
    /// `slots` is a power of two.
    template <class T>
    static ring_storage* make(std::uint32_t slots) {
        void* memory = ::operator new(offset<T> + slots * sizeof(T), alignment<T>);
        return ::new (memory) ring_storage(slots);
    }
    /// Precondition: no item is in it.
    template <class T>
    static void drop(ring_storage* r) noexcept {
        std::destroy_at(r);
        ::operator delete(static_cast<void*>(r), alignment<T>);
    }

    [[nodiscard]] std::uint32_t slots() const noexcept { return mask_ + 1; }

    template <class T>
    [[nodiscard]] void* slot(std::uint32_t i) noexcept {
        return reinterpret_cast<std::byte*>(this) + offset<T> + (i & mask_) * sizeof(T);
    }
    template <class T>
    [[nodiscard]] T& item(std::uint32_t i) noexcept {
        return *std::launder(static_cast<T*>(slot<T>(i)));
    }

    /// Asks for the cache line that will be written a little later, which whoever took the items
    /// has: else each first item in a line waits for it.
    template <class T>
    void prepare_after(std::uint32_t i) noexcept {
        constexpr std::uint32_t ahead = sizeof(T) < 64 ? 128 / sizeof(T) : 1;
        __builtin_prefetch(slot<T>(i + ahead), 1);
    }

    /// At the back: the items from number `begin` on are in `r`.
    void continue_in(ring_storage& r, std::uint32_t begin) noexcept {
        end_ = begin;
        next_.store(&r, std::memory_order_release); // pairs with the acquire in next()
    }
    /// At the front: the ring that has item i, which is this or the next. The item must be there.
    [[nodiscard]] ring_storage* with(std::uint32_t i) noexcept {
        ring_storage* n = next();
        return n != nullptr && i == end_ ? n : this;
    }
    /// Null if there is none.
    [[nodiscard]] ring_storage* next() const noexcept {
        return next_.load(std::memory_order_acquire); // pairs with the release in continue_in()
    }

private:
    explicit ring_storage(std::uint32_t slots) noexcept : mask_(slots - 1) {}

    template <class T>
    static constexpr std::align_val_t alignment{alignof(T) > alignof(void*) ? alignof(T)
                                                                            : alignof(void*)};
    template <class T>
    static constexpr std::size_t offset = // of the first slot
        (sizeof(ring_storage) + alignof(T) - 1) / alignof(T) * alignof(T);

    typename Atomics::template atomic<ring_storage*> next_{nullptr};
    // If there is a next one: the first number that is there.
    typename Atomics::template plain<std::uint32_t> end_ = 0;
    std::uint32_t mask_;
};

} // namespace weft::detail
