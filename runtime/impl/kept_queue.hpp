// SPDX-License-Identifier: MIT
// A queue, first in first out, that keeps its memory when it is empty. std::deque gives back and
// takes a block of the heap each time that it has come to the end of one.
//
// Threads:      one. Cancellation: none. Errors: push throws std::bad_alloc, with nothing changed.
// Cost:         amortised O(1); as much memory as the queue was ever long, at most doubled.
// Source:       none.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace weft::detail {

template <class T>
class kept_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - first_; }
    void push(T item) {
        if (first_ > 0 && items_.size() == items_.capacity()) {
            items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
            first_ = 0;
        }
        items_.push_back(std::move(item));
    }
    /// Precondition: not empty.
    T pop() noexcept {
        T item = std::move(items_[first_]);
        ++first_;
        if (first_ == items_.size())
            clear();
        return item;
    }
    void clear() noexcept {
        items_.clear();
        first_ = 0;
    }

private:
    std::vector<T> items_; // those before first_ are taken
    std::size_t first_ = 0;
};

} // namespace weft::detail
