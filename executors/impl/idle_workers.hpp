// SPDX-License-Identifier: MIT
// Who of a pool's workers sleeps, and who looks for work. Nobody is woken while somebody looks; who
// has looked and found something, and was the last to look, wakes the next one if there is more. So
// there are as many awake as there is work for, and no work lies around while all sleep.
//
//     struct worker { detail::idle_workers<>::bed bed; };
//     post:    put the work into a queue (seq_cst); b = rouse_one(); if b, wake it
//     worker:  start_search(); looks;
//              found: end_search() -> "the last": as in post, if there is more
//              not found: lie_down(); looks once more; found: get_up(); else sleeps while `asleep`
//
// Threads:      any. Cancellation: none. Errors: none.
// Cost:         a load for who posts to a pool that is awake; a short lock to lie down and to wake.
// Source:       the searching workers of Go's and Tokio's schedulers.
#pragma once
#include <weft/runtime/detail/atomics.hpp>

#include <cstdint>

namespace weft::detail {

template <class Atomics = std_atomics>
class idle_workers {
    template <class T>
    using atomic = typename Atomics::template atomic<T>;
    template <class T>
    using plain = typename Atomics::template plain<T>;

public:
    struct bed {
        atomic<std::uint32_t> asleep{0}; // what its worker sleeps on: 0, it goes on
        plain<bed*> above{nullptr};      // guarded by the lock
        plain<bed*> below{nullptr};
    };

    static constexpr std::uint32_t one_searches = 1;
    static constexpr std::uint32_t one_sleeps = 1u << 16;

    /// For those who look at it often: who searches in the lower half, who sleeps in the upper one.
    [[nodiscard]] const atomic<std::uint32_t>& counts() const noexcept { return counts_; }
    /// Whether rouse_one makes sense, by these counts.
    [[nodiscard]] static bool worth_rousing(std::uint32_t counts) noexcept {
        return counts >= one_sleeps && counts % one_sleeps == 0;
    }
    [[nodiscard]] std::uint32_t asleep() const noexcept {
        return counts_.load(std::memory_order_relaxed) / one_sleeps;
    }

    /// Takes the one who lay down last, if there is one and nobody searches; the caller wakes it.
    /// From then on it counts as searching.
    [[nodiscard]] bed* rouse_one() noexcept {
        // seq_cst, with what was posted before: see lie_down()
        if (!worth_rousing(counts_.load(std::memory_order_seq_cst)))
            return nullptr;
        short_hold held(lock_);
        if (!worth_rousing(counts_.load(std::memory_order_relaxed)))
            return nullptr;
        bed* b = top_;
        take(*b);
        return b;
    }

    /// The same for whoever it is that lay down last, though others search.
    [[nodiscard]] bed* rouse_any() noexcept {
        short_hold held(lock_);
        bed* b = top_;
        if (b != nullptr)
            take(*b);
        return b;
    }

    /// The same for this one. False: it doesn't sleep.
    [[nodiscard]] bool rouse(bed& b) noexcept {
        // seq_cst, with what was posted before: see lie_down()
        if (b.asleep.load(std::memory_order_seq_cst) == 0)
            return false;
        short_hold held(lock_);
        if (b.asleep.load(std::memory_order_relaxed) == 0)
            return false;
        take(b);
        return true;
    }

    /// False: others search already. Then the caller sleeps at once.
    [[nodiscard]] bool start_search(std::uint32_t most) noexcept {
        if (counts_.load(std::memory_order_relaxed) % one_sleeps >= most)
            return false;
        // seq_cst: who posts sees it, or is seen by the search
        counts_.fetch_add(one_searches, std::memory_order_seq_cst);
        return true;
    }

    /// True: nobody else searches, and the caller must see whether there is more to do.
    [[nodiscard]] bool end_search() noexcept {
        return counts_.fetch_sub(one_searches, std::memory_order_seq_cst) % one_sleeps == 1;
    }

    /// After that the worker looks once more, at everything, and then sleeps.
    void lie_down(bed& b, bool searching) noexcept {
        short_hold held(lock_);
        b.above = nullptr;
        b.below = top_;
        if (top_ != nullptr)
            top_->above = &b;
        top_ = &b;
        // seq_cst, both: of one who posts and then looks for sleepers, and one who lies down and
        // then looks for work, one sees the other.
        b.asleep.store(1, std::memory_order_seq_cst);
        counts_.fetch_add(one_sleeps - (searching ? one_searches : 0), std::memory_order_seq_cst);
    }

    /// It doesn't sleep after all, and counts as searching, whoever saw to that.
    void get_up(bed& b) noexcept {
        short_hold held(lock_);
        if (b.asleep.load(std::memory_order_relaxed) != 0)
            take(b);
    }

    /// For one that was roused and can't be woken: it lies below all others from now on.
    void put_back(bed& b) noexcept {
        short_hold held(lock_);
        bed* last = top_;
        while (last != nullptr && last->below != nullptr)
            last = last->below;
        b.above = last;
        b.below = nullptr;
        if (last == nullptr)
            top_ = &b;
        else
            last->below = &b;
        b.asleep.store(1, std::memory_order_relaxed);
        counts_.fetch_add(one_sleeps - one_searches, std::memory_order_relaxed);
    }

private:
    void take(bed& b) noexcept {
        bed* above = b.above;
        bed* below = b.below;
        if (above == nullptr)
            top_ = below;
        else
            above->below = below;
        if (below != nullptr)
            below->above = above;
        counts_.fetch_add(one_searches - one_sleeps, std::memory_order_seq_cst);
        b.asleep.store(0, std::memory_order_release); // pairs with the acquire of who slept
    }

    alignas(64) atomic<std::uint32_t> counts_{0};
    short_lock<Atomics> lock_;
    plain<bed*> top_{nullptr};
};

} // namespace weft::detail
