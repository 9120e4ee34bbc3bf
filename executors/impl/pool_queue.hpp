// SPDX-License-Identifier: MIT
// What waits for a thread of a pool: the most urgent first, and within a level who came first. A
// level that has been passed over too often has a turn all the same, so that nothing starves.
//
// Threads: who holds the pool's lock. Cancellation, Errors: none. Cost: O(1) but for take_*.
// Source:  none.
#pragma once
#include "pool_work_list.hpp"

#include <cstddef>

namespace weft::detail {

class pool_queue {
public:
    static constexpr unsigned levels = 3;    // of task_priority
    static constexpr unsigned patience = 16; // how often a level is passed over at most

    /// What was taken out at once.
    struct taken {
        pool_work_list lists[levels];

        [[nodiscard]] std::size_t count() const noexcept {
            std::size_t n = 0;
            for (const pool_work_list& l : lists)
                for (const pool_work* c = l.first(); c != nullptr; c = pool_work_list::after(*c))
                    ++n;
            return n;
        }
        /// Gives each its turn, which may be its end.
        void run_all(pool_turn turn) const noexcept {
            for (const pool_work_list& l : lists)
                l.run_all(turn);
        }
    };

    void push(pool_work& c) noexcept { of(c).push(c); }
    void remove(pool_work& c) noexcept { of(c).remove(c); }
    /// Takes out who is next, or gives null.
    [[nodiscard]] pool_work* pop() noexcept {
        unsigned chosen = levels;
        bool overdue = false;
        for (unsigned i = 0; i < levels; ++i) {
            if (lists_[i].empty())
                continue;
            if (chosen == levels) {
                chosen = i;
            } else if (++passed_over_[i] > patience && !overdue) {
                chosen = i;
                overdue = true;
            }
        }
        if (chosen == levels)
            return nullptr;
        passed_over_[chosen] = 0;
        pool_work* next = lists_[chosen].first();
        lists_[chosen].remove(*next);
        return next;
    }

    [[nodiscard]] taken take_droppable() noexcept {
        taken t;
        for (unsigned i = 0; i < levels; ++i)
            t.lists[i] = lists_[i].take_droppable();
        return t;
    }
    [[nodiscard]] taken take_all() noexcept {
        taken t;
        for (unsigned i = 0; i < levels; ++i)
            t.lists[i] = lists_[i].take_all();
        return t;
    }

private:
    [[nodiscard]] pool_work_list& of(const pool_work& c) noexcept {
        return lists_[static_cast<unsigned>(c.priority)];
    }

    pool_work_list lists_[levels];
    unsigned passed_over_[levels] = {};
};

} // namespace weft::detail
