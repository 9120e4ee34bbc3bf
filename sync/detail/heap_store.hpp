// SPDX-License-Identifier: MIT
// Items of which the smallest is the first to be taken: a binary heap of the numbers of their
// slots. The items themselves stay where they were put, and are compared before anything changes.
//
// Threads:      one at a time.
// Cancellation: none.
// Errors:       what comparing or moving an item throws, and std::bad_alloc, with nothing changed.
// Cost:         O(log n) comparisons and one move to put, and to take; four bytes an item besides
//               the memory of item_slots.
// Source:       Williams' heap (1964).
#pragma once
#include <weft/sync/detail/item_slots.hpp>

#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace weft::detail {

template <class T, class Compare>
class heap_store {
public:
    /// Keeps memory for `kept` items.
    heap_store(std::uint32_t kept, Compare before) : items_(kept), before_(std::move(before)) {
        items_.slots.provide(0);
        items_.order.reserve(kept);
    }

    /// What it holds, and then doesn't any more. Destroys it in the end.
    class contents {
    public:
        explicit contents(std::uint32_t kept) noexcept : slots(kept) {}
        contents(contents&& other) noexcept
            : slots(std::move(other.slots)), order(std::exchange(other.order, {})),
              count(std::exchange(other.count, 0)) {}
        contents& operator=(contents&&) = delete;
        ~contents() {
            while (count != 0)
                std::destroy_at(std::addressof(slots[order[--count]]));
        }
        item_slots<T> slots;
        // The first `count` are the heap, the others the slots that are free.
        std::vector<std::uint32_t> order;
        std::uint32_t count = 0;
    };
    [[nodiscard]] contents take_all() noexcept { return std::move(items_); }

    template <class U>
    void put(U&& item) {
        if constexpr (!std::is_same_v<std::remove_cvref_t<U>, T>) {
            T made(std::forward<U>(item));
            put(std::move(made));
        } else {
            auto& order = items_.order;
            std::uint32_t n = items_.count;
            std::uint32_t at = n;
            while (at != 0 && is_before(item, items_.slots[order[above(at)]]))
                at = above(at);
            if (n == order.size()) {
                items_.slots.provide(n);
                order.push_back(n);
            }
            std::uint32_t slot = order[n];
            std::construct_at(static_cast<T*>(items_.slots.place(slot)), std::forward<U>(item));
            // From here on nothing can fail.
            for (std::uint32_t i = n; i != at; i = above(i))
                order[i] = order[above(i)];
            order[at] = slot;
            ++items_.count;
        }
    }

    /// Calls `receive(T&&)` with the next item. Precondition: there is one.
    template <class Receive>
    void take(Receive& receive) {
        auto& order = items_.order;
        auto& slots = items_.slots;
        std::uint32_t last = items_.count - 1;
        // Whose numbers go up, so that the last one finds its place in theirs.
        std::uint32_t way[32];
        unsigned steps = 0;
        for (std::uint32_t at = 0; 2 * at + 1 < last; ++steps) {
            std::uint32_t child = 2 * at + 1;
            if (child + 1 < last && is_before(slots[order[child + 1]], slots[order[child]]))
                ++child;
            if (!is_before(slots[order[child]], slots[order[last]]))
                break;
            way[steps] = at = child;
        }
        std::uint32_t slot = order[0];
        receive(std::move(slots[slot]));
        std::destroy_at(std::addressof(slots[slot]));
        std::uint32_t at = 0;
        for (unsigned i = 0; i < steps; ++i) {
            order[at] = order[way[i]];
            at = way[i];
        }
        order[at] = order[last];
        order[last] = slot;
        items_.count = last;
        if (last == 0 && slots.can_shrink()) { // a burst is over
            slots.shrink();
            std::vector<std::uint32_t>().swap(order);
        }
    }

private:
    static constexpr std::uint32_t above(std::uint32_t i) noexcept { return (i - 1) / 2; }
    bool is_before(const T& a, const T& b) { return static_cast<bool>(before_(a, b)); }

    contents items_;
    [[no_unique_address]] Compare before_;
};

} // namespace weft::detail
