// SPDX-License-Identifier: MIT
// Items of which the last one that was put is the first to be taken.
//
// Threads:      one at a time.
// Cancellation: none.
// Errors:       what moving an item throws, and std::bad_alloc, with nothing changed.
// Cost:         one move to put and one to take; memory as item_slots.
// Source:       none.
#pragma once
#include <weft/sync/detail/item_slots.hpp>

#include <memory>
#include <utility>

namespace weft::detail {

template <class T>
class stack_store {
public:
    /// Keeps memory for `kept` items.
    explicit stack_store(std::uint32_t kept) : items_(kept) { items_.slots.provide(0); }

    /// What it holds, and then doesn't any more. Destroys it in the end.
    class contents {
    public:
        explicit contents(std::uint32_t kept) noexcept : slots(kept) {}
        contents(contents&& other) noexcept
            : slots(std::move(other.slots)), count(std::exchange(other.count, 0)) {}
        contents& operator=(contents&&) = delete;
        ~contents() {
            while (count != 0)
                std::destroy_at(std::addressof(slots[--count]));
        }
        item_slots<T> slots;
        std::uint32_t count = 0;
    };
    [[nodiscard]] contents take_all() noexcept { return std::move(items_); }

    template <class U>
    void put(U&& item) {
        items_.slots.provide(items_.count);
        std::construct_at(static_cast<T*>(items_.slots.place(items_.count)), std::forward<U>(item));
        ++items_.count;
    }
    /// Calls `receive(T&&)` with the next item. Precondition: there is one.
    template <class Receive>
    void take(Receive& receive) {
        T& item = items_.slots[items_.count - 1];
        receive(std::move(item));
        std::destroy_at(std::addressof(item));
        if (--items_.count == 0 && items_.slots.can_shrink())
            items_.slots.shrink(); // a burst is over
    }

private:
    contents items_;
};

} // namespace weft::detail
