// SPDX-License-Identifier: MIT
// A unit of work in the queue of a thread, and that queue: intrusive, first in, first out, for one
// thread.
//
// Threads:      a queue belongs to one thread. Cost: O(1), no allocation.
#pragma once

namespace weft::detail {

/// Something that a runner runs once. With `run` null it is a strand, which the runner resumes.
struct work {
    using function = void (*)(work&) noexcept;

    work() noexcept = default;
    explicit work(function f) noexcept : run(f) {}

    work* next = nullptr;
    function run = nullptr;
};

class work_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }

    void push(work& w) noexcept {
        w.next = nullptr;
        if (head_ == nullptr)
            head_ = &w;
        else
            tail_->next = &w;
        tail_ = &w;
    }

    /// Precondition: not empty.
    work& pop() noexcept {
        work& w = *head_;
        head_ = w.next;
        return w;
    }

    /// Puts a whole chain, first to last, behind what is there.
    void append(work& first, work& last) noexcept {
        last.next = nullptr;
        if (head_ == nullptr)
            head_ = &first;
        else
            tail_->next = &first;
        tail_ = &last;
    }

private:
    work* head_ = nullptr;
    work* tail_ = nullptr;
};

} // namespace weft::detail
