// SPDX-License-Identifier: MIT
// Items in the order in which they were put, a fixed number at most.
//
// Threads:      one at a time.
// Cancellation: none.
// Errors:       what moving an item throws, and std::bad_alloc, with nothing changed.
// Cost:         one move to put and one to take; memory as item_slots, up to the capacity.
// Source:       none.
#pragma once
#include <weft/sync/detail/item_slots.hpp>

#include <memory>
#include <utility>

namespace weft::detail {

template <class T>
class fifo_store {
public:
    /// Keeps memory for `kept` of at most `capacity` items.
    fifo_store(std::uint32_t kept, std::uint32_t capacity) : items_(kept, capacity) {}

    /// What it holds, and then doesn't any more. Destroys it in the end.
    class contents {
    public:
        contents(std::uint32_t kept, std::uint32_t n) noexcept : slots(kept), capacity(n) {}
        contents(contents&& other) noexcept
            : slots(std::move(other.slots)), capacity(other.capacity), first(other.first),
              count(std::exchange(other.count, 0)) {}
        contents& operator=(contents&&) = delete;
        ~contents() {
            for (; count != 0; leave())
                std::destroy_at(std::addressof(slots[first]));
        }
        void leave() noexcept {
            first = first + 1 == capacity ? 0 : first + 1;
            --count;
        }
        item_slots<T> slots;
        std::uint32_t capacity;
        std::uint32_t first = 0;
        std::uint32_t count = 0;
    };
    [[nodiscard]] contents take_all() noexcept { return std::move(items_); }

    template <class U>
    void put(U&& item) {
        std::uint32_t left = items_.capacity - items_.first;
        std::uint32_t at = items_.count < left ? items_.first + items_.count : items_.count - left;
        items_.slots.provide(at); // one after the other at first, then they are there
        std::construct_at(static_cast<T*>(items_.slots.place(at)), std::forward<U>(item));
        ++items_.count;
    }
    /// Calls `receive(T&&)` with the next item. Precondition: there is one.
    template <class Receive>
    void take(Receive& receive) {
        T& item = items_.slots[items_.first];
        receive(std::move(item));
        std::destroy_at(std::addressof(item));
        items_.leave();
    }

private:
    contents items_;
};

} // namespace weft::detail
