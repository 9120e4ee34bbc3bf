// SPDX-License-Identifier: MIT
// The timers of a loop: a heap of four children a node, whose entries hold the deadline beside the
// pointer, so that a comparison touches no timer. A timer knows its place, so that it can be taken
// out. Costs no ring operation.
//
// Threads:      one. Cancellation: remove. Errors: add throws std::bad_alloc, with nothing changed.
// Cost:         O(log n); adding the latest deadline is O(1). 16 bytes an entry.
// Source:       d-ary heaps after Johnson (1975); four children fit a cache line.
#pragma once
#include <weft/runtime/time.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft::detail {

struct timer {
    using function = void (*)(timer&) noexcept;
    explicit timer(function f) noexcept : fire(f) {}
    timer(timer&& other) noexcept : fire(other.fire) {} // one that isn't active
    timer& operator=(timer&&) = delete;

    static constexpr std::uint32_t idle = ~std::uint32_t{0};
    [[nodiscard]] bool active() const noexcept { return index != idle; }

    function fire;              // called after it was taken out
    std::uint32_t index = idle; // its place in the heap
};

class timer_heap {
public:
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] time_point next() const noexcept { return entries_.front().when; }

    void add(timer& t, time_point when);
    void remove(timer& t) noexcept;
    /// Takes out the earliest. Precondition: not empty.
    timer& pop() noexcept;

private:
    struct entry {
        time_point when;
        timer* what;
    };
    void place(std::size_t at, entry e) noexcept {
        entries_[at] = e;
        e.what->index = static_cast<std::uint32_t>(at);
    }
    void sift_up(std::size_t at, entry e) noexcept;
    void sift_down(std::size_t at, entry e) noexcept;
    std::vector<entry> entries_;
};

} // namespace weft::detail
