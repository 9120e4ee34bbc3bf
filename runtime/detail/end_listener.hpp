// SPDX-License-Identifier: MIT
// A list of those who are told when something has ended: a started task, a promise, a future.
//
// Threads:      one, or whoever holds the list's lock.
// Cancellation: whoever doesn't want to be told any more is removed.
// Errors:       none. Cost: O(1), no allocation. Source: none.
#pragma once

namespace weft::detail {

struct strand;
struct end_listener;

struct end_listener_type {
    /// Called when it has left the list; must not run code of others.
    void (*ended)(end_listener&, bool failed) noexcept;
    /// Which strand waits, for dumps of the task tree: null if none does now, or ever.
    const strand* (*waiter)(const end_listener&) noexcept;
};

struct end_listener {
    explicit end_listener(const end_listener_type& t) noexcept : type(&t) {}
    end_listener(end_listener&& other) noexcept : type(other.type) {} // one that isn't listed
    end_listener& operator=(end_listener&&) = delete;

    [[nodiscard]] const strand* waiter() const noexcept {
        return type->waiter == nullptr ? nullptr : type->waiter(*this);
    }

    const end_listener_type* type;
    end_listener* next = nullptr;
    end_listener* previous = nullptr;
};

/// First come, first served.
class end_listeners {
public:
    [[nodiscard]] bool empty() const noexcept { return last_ == nullptr; }
    void push(end_listener& l) noexcept {
        end_listener* before = last_ == nullptr ? &l : last_;
        end_listener* after = last_ == nullptr ? &l : last_->next;
        l.previous = before;
        l.next = after;
        before->next = &l;
        after->previous = &l;
        last_ = &l;
    }
    void remove(end_listener& l) noexcept {
        l.previous->next = l.next;
        l.next->previous = l.previous;
        if (last_ == &l)
            last_ = l.previous == &l ? nullptr : l.previous;
        l.next = l.previous = nullptr;
    }
    /// All of them, as a list of their own.
    [[nodiscard]] end_listeners take() noexcept {
        end_listeners taken = *this;
        last_ = nullptr;
        return taken;
    }
    void tell_all(bool failed) noexcept {
        while (last_ != nullptr) {
            end_listener& first = *last_->next;
            remove(first);
            first.type->ended(first, failed);
        }
    }
    template <class F>
    void for_each(F f) const {
        const end_listener* l = last_;
        while (l != nullptr) {
            l = l->next;
            f(*l);
            if (l == last_)
                break;
        }
    }

private:
    end_listener* last_ = nullptr; // of a ring
};

} // namespace weft::detail
