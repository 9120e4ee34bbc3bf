// SPDX-License-Identifier: MIT
// Nodes that wait for their turn on a pool: linked, first come first served.
//
// Threads: who holds the lock of the list. Cancellation, Errors: none. Cost: O(1). Source: none.
#pragma once
#include <weft/executors/detail/pool_work.hpp>

namespace weft::detail {

class pool_work_list {
public:
    using place = pool_work::place;

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] pool_work* first() const noexcept { return first_; }
    [[nodiscard]] static pool_work* after(const pool_work& c) noexcept { return c.next_; }

    void push(pool_work& c) noexcept {
        c.next_ = nullptr;
        c.previous_ = last_;
        (last_ == nullptr ? first_ : last_->next_) = &c;
        last_ = &c;
    }
    void remove(pool_work& c) noexcept {
        (c.previous_ == nullptr ? first_ : c.previous_->next_) = c.next_;
        (c.next_ == nullptr ? last_ : c.next_->previous_) = c.previous_;
    }
    /// Takes out what may be dropped; it is nowhere then.
    [[nodiscard]] pool_work_list take_droppable() noexcept {
        pool_work_list taken;
        for (pool_work* c = first_; c != nullptr;) {
            pool_work* next = c->next_;
            if (c->droppable) {
                remove(*c);
                taken.push(*c);
                put(*c, place::nowhere);
            }
            c = next;
        }
        return taken;
    }
    [[nodiscard]] pool_work_list take_all() noexcept {
        pool_work_list taken = *this;
        first_ = last_ = nullptr;
        for (pool_work* c = taken.first_; c != nullptr; c = c->next_)
            put(*c, place::nowhere);
        return taken;
    }

    [[nodiscard]] static place where(const pool_work& c) noexcept {
        return c.at_.load(std::memory_order_acquire); // pairs with the release in put()
    }
    /// Who finds a node nowhere needn't look at the pool, which may be gone.
    static void put(pool_work& c, place p) noexcept { c.at_.store(p, std::memory_order_release); }
    /// Gives a node its turn, which may be its end.
    static void run(pool_work& c, pool_turn turn) noexcept { c.run_(c, turn); }
    /// The same for all.
    void run_all(pool_turn turn) const noexcept {
        for (pool_work* c = first_; c != nullptr;) {
            pool_work* next = c->next_;
            run(*c, turn);
            c = next;
        }
    }

private:
    pool_work* first_ = nullptr;
    pool_work* last_ = nullptr;
};

} // namespace weft::detail
