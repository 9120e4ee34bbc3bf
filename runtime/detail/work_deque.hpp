// SPDX-License-Identifier: MIT
// What one thread has to do, and others may take from it: the owner pushes and pops at one end, the
// newest first, thieves take from the other end, the oldest first.
//
//     void share(weft::detail::work_deque<int>& d, int& job) {    // on the owner's thread
//         if (d.reserve(1))
//             d.push(job);
//         if (int* mine = d.pop())             // null: a thief was faster
//             fmt::print("{}\n", *mine);
//     }
//
// Threads:      steal and looks_empty, any; the rest, the owner's. A push is ordered before its
//               thread's next loads, for those who call Atomics::fence_all() before they look here.
// Cancellation: none.
// Errors:       reserve gives false if there is no memory; the rest can't fail.
// Cost:         push and pop: plain stores and loads. A steal is one system call: the thief fences
//               for both. Where the kernel can't do that, push and pop are an exchange of the
//               processor's each, and a steal costs no call. The array doubles, and stays that
//               large.
// Source:       Chase and Lev (2005), with the memory orders of Le, Pop, Cohen and Nardelli,
//               "Correct and Efficient Work-Stealing for Weak Memory Models" (PPoPP 2013). For
//               their fences see Atomics::store_ahead; or they are sequentially consistent
//               accesses, which the thread sanitizer knows, unlike fences that stand alone.
#pragma once
#include <weft/runtime/detail/atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace weft::detail {

template <class T, class Atomics = std_atomics, std::size_t FirstSize = 256>
class work_deque {
    static_assert((FirstSize & (FirstSize - 1)) == 0, "a power of two");

public:
    work_deque() noexcept = default;
    work_deque(const work_deque&) = delete;
    work_deque& operator=(const work_deque&) = delete;
    ~work_deque() {
        array* a = arrays_;
        while (a != nullptr) {
            array* older = a->older;
            delete a;
            a = older;
        }
    }

    /// Makes room for `n` more. False: there is no memory.
    [[nodiscard]] bool reserve(std::size_t n) noexcept {
        std::int64_t b = bottom_.load(std::memory_order_relaxed); // our own
        if (b + static_cast<std::int64_t>(n) <= limit_) [[likely]]
            return true;
        return make_room(b, n);
    }

    /// Precondition: there is room.
    void push(T& item) noexcept {
        push(1, [&item](std::size_t) -> T& { return item; });
    }
    /// The same for n of them, `item(0)` first.
    template <class Item>
    void push(std::size_t n, Item item) noexcept {
        std::int64_t b = bottom_.load(std::memory_order_relaxed); // our own
        for (std::size_t i = 0; i < n; ++i, ++b)
            at(b).store(&item(i), std::memory_order_relaxed); // published below
        // Pairs with the load in steal(). Not only a release: whoever pushes looks at once whether
        // somebody sleeps, and who goes to sleep looks here.
        Atomics::store_ahead(bottom_, b);
    }

    /// The newest, or null.
    [[nodiscard]] T* pop() noexcept {
        std::int64_t b = bottom_.load(std::memory_order_relaxed) - 1; // our own
        // Of the owner who takes the last one and a thief who does, one sees what the other
        // announced. Where both store_ahead() and fence_all() rely on it, loads are seq_cst, as are
        // all accesses to top_.
        Atomics::store_ahead(bottom_, b);
        std::int64_t t = top_.load(std::memory_order_seq_cst);
        if (t < b) [[likely]]
            return at(b).load(std::memory_order_relaxed); // our own
        T* item = nullptr;
        if (t == b) { // the last: who moves the top has it
            item = at(b).load(std::memory_order_relaxed);
            if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst,
                                              std::memory_order_relaxed))
                item = nullptr;
        }
        // release: who steals by this value later sees the array and what was pushed before
        bottom_.store(b + 1, std::memory_order_release);
        limit_ = b + 1 + size_;
        return item;
    }

    /// The oldest; null if there is none, or somebody else was faster. It begins with a fence for
    /// all threads.
    [[nodiscard]] T* steal() noexcept {
        std::int64_t t = top_.load(std::memory_order_seq_cst);
        Atomics::fence_all();
        std::int64_t b = bottom_.load(std::memory_order_seq_cst); // pairs with push()
        if (t >= b)
            return nullptr;
        array* a = array_.load(std::memory_order_acquire); // pairs with the release in make_room()
        T* item = a->at(t).load(std::memory_order_relaxed);
        if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst,
                                          std::memory_order_relaxed))
            return nullptr; // what was read may be something else by now
        return item;
    }

    /// A snapshot; after fence_all(), in the order of all pushes and of those who go to sleep.
    /// Where the top is old it looks fuller than it is.
    [[nodiscard]] bool looks_empty() const noexcept {
        std::int64_t t = top_.load(std::memory_order_relaxed);
        return bottom_.load(std::memory_order_seq_cst) <= t;
    }

private:
    using slot = typename Atomics::template atomic<T*>;

    struct array {
        array(std::int64_t n, array* before)
            : older(before), mask(n - 1), slots(new slot[static_cast<std::size_t>(n)]) {}
        array(const array&) = delete;
        array& operator=(const array&) = delete;
        ~array() { delete[] slots; }
        slot& at(std::int64_t i) const noexcept { return slots[i & mask]; }
        array* older; // thieves may still read there, so they stay
        std::int64_t mask;
        slot* slots;
    };

    [[nodiscard]] slot& at(std::int64_t i) const noexcept { return slots_[i & (size_ - 1)]; }

    bool make_room(std::int64_t b, std::size_t n) noexcept {
        // acquire: pairs with the exchange in steal(), which has read a slot that we may fill again
        std::int64_t t = top_.load(std::memory_order_acquire);
        std::int64_t needed = b - t + static_cast<std::int64_t>(n);
        if (needed > size_) {
            std::int64_t size = size_ == 0 ? static_cast<std::int64_t>(FirstSize) : size_;
            while (size < needed)
                size *= 2;
            array* larger = nullptr;
            try {
                larger = new array(size, arrays_);
            } catch (const std::bad_alloc&) {
                return false;
            }
            for (std::int64_t i = t; i < b; ++i)
                larger->at(i).store(at(i).load(std::memory_order_relaxed),
                                    std::memory_order_relaxed); // published below
            arrays_ = larger;
            slots_ = larger->slots;
            size_ = size;
            array_.store(larger, std::memory_order_release); // pairs with the acquire in steal()
        }
        limit_ = t + size_;
        return true;
    }

    alignas(64) typename Atomics::template atomic<std::int64_t> top_{0};    // of the oldest item
    alignas(64) typename Atomics::template atomic<std::int64_t> bottom_{0}; // behind the newest
    typename Atomics::template atomic<array*> array_{nullptr};
    // The owner's.
    array* arrays_ = nullptr; // the same, with all that it outgrew
    slot* slots_ = nullptr;   // those of the same
    std::int64_t size_ = 0;
    std::int64_t limit_ = 0; // how far the bottom may go, by where the top was at some time
};

} // namespace weft::detail
