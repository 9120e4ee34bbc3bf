// SPDX-License-Identifier: MIT
// A list of those who are told when something has ended: a started task, a promise.
//
// Threads:      one. Cancellation: whoever doesn't want to be told any more is removed.
// Errors:       none. Cost: O(1), no allocation. Source: none.
#pragma once

namespace weft::detail {

struct end_listener {
    using function = void (*)(end_listener&, bool failed) noexcept;
    explicit end_listener(function f) noexcept : ended(f) {}
    end_listener(end_listener&& other) noexcept : ended(other.ended) {} // one that isn't listed
    end_listener& operator=(end_listener&&) = delete;

    function ended; // called when it has left the list; must not run code of others
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
    void tell_all(bool failed) noexcept {
        while (last_ != nullptr) {
            end_listener& first = *last_->next;
            remove(first);
            first.ended(first, failed);
        }
    }

private:
    end_listener* last_ = nullptr; // of a ring
};

} // namespace weft::detail
