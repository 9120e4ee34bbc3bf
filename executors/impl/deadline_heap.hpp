// SPDX-License-Identifier: MIT
// The tasks of a process pool that have a deadline, the earliest first: a pairing heap whose links
// lie in the tasks, so that nothing is allocated and each can be taken out.
//
// Threads: who holds the pool's lock. Cancellation: remove. Errors: none.
// Cost:    add is O(1), remove O(log n) amortised.
// Source:  Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap" (1986).
#pragma once
#include <weft/executors/detail/pool_task.hpp>

#include <utility>

namespace weft::detail {

class deadline_heap {
public:
    [[nodiscard]] time_point next() const noexcept {
        return root_ == nullptr ? never : root_->deadline;
    }
    /// Precondition: not empty.
    [[nodiscard]] pool_task& first() const noexcept { return *root_; }

    void add(pool_task& t) noexcept {
        t.heap.in = true;
        root_ = meld(root_, &t);
    }
    /// Does nothing if it isn't there.
    void remove(pool_task& t) noexcept {
        if (!std::exchange(t.heap.in, false))
            return;
        if (&t == root_) {
            root_ = nullptr;
        } else {
            pool_task& b = *t.heap.before;
            (b.heap.below == &t ? b.heap.below : b.heap.after) = t.heap.after;
            if (t.heap.after != nullptr)
                t.heap.after->heap.before = &b;
            t.heap.before = t.heap.after = nullptr;
        }
        root_ = meld(root_, in_pairs(std::exchange(t.heap.below, nullptr)));
    }

private:
    // Of two heaps, whose roots have nobody beside them.
    static pool_task* meld(pool_task* a, pool_task* b) noexcept {
        if (a == nullptr || b == nullptr)
            return a == nullptr ? b : a;
        if (b->deadline < a->deadline)
            std::swap(a, b);
        b->heap.before = a;
        b->heap.after = a->heap.below;
        if (a->heap.below != nullptr)
            a->heap.below->heap.before = b;
        a->heap.below = b;
        return a;
    }
    // Of a row of them: by twos from the front, then all from the back.
    static pool_task* in_pairs(pool_task* row) noexcept {
        pool_task* pairs = nullptr; // linked backwards
        while (row != nullptr) {
            pool_task* a = row;
            pool_task* b = a->heap.after;
            row = b == nullptr ? nullptr : b->heap.after;
            a->heap.after = a->heap.before = nullptr;
            if (b != nullptr)
                b->heap.after = b->heap.before = nullptr;
            pool_task* both = meld(a, b);
            both->heap.after = pairs;
            pairs = both;
        }
        pool_task* all = nullptr;
        while (pairs != nullptr) {
            pool_task* next = std::exchange(pairs->heap.after, nullptr);
            all = meld(all, pairs);
            pairs = next;
        }
        return all;
    }

    pool_task* root_ = nullptr;
};

} // namespace weft::detail
