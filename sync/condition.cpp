// SPDX-License-Identifier: MIT
#include <weft/sync/condition.hpp>

#include <weft/runtime/error.hpp>

#include <limits>

namespace weft {

const detail::operation_type condition::wait_op::kind{cancel_wait, "condition"};

condition::~condition() {
    detail::short_hold held(list_lock_); // whoever woke the last one has let go of it
    WEFT_ASSERT(list_.empty() && inside_.load(std::memory_order_relaxed) == 0,
                "a condition was destroyed while somebody waited for it");
    WEFT_ASSERT(!own_.has_waiters(),
                "a condition was destroyed while somebody waited for its lock");
}

void condition::require_lock() const {
    if (!line_.noted_here())
        throw state_error(detail::describe_caller() +
                          " used a condition without having locked its lock");
}

void condition::notify(std::size_t n) {
    require_lock();
    detail::woken_list woken;
    {
        detail::short_hold held(list_lock_);
        for (; n != 0 && !list_.empty(); --n)
            move_first(woken);
    }
    woken.wake();
}

void condition::notify_all() { notify(std::numeric_limits<std::size_t>::max()); }

std::size_t condition::waiting() const noexcept {
    detail::short_hold held(list_lock_);
    return list_.size();
}

primitive_stats condition::stats() const noexcept {
    primitive_stats s = line_.stats("condition");
    s.waiting = waiting();
    return s;
}

// Lets the first one stand in line for the lock. With the list's lock.
void condition::move_first(detail::woken_list& woken) noexcept {
    auto& first = static_cast<wait_op&>(*list_.claim_first());
    list_.remove(first);
    first.how_ = wait_op::outcome::notified;
    if (!line_.enter(first)) { // somebody else has unlocked it: the lock is the waiter's at once
        list_.push(first);
        woken.take(list_, first);
    }
}

void condition::wait_op::start() {
    bool waits = false;
    try {
        waits = detail::start_deadline(owner(), *this, limit_);
    } catch (...) {
        owner().leaf = nullptr;
        throw;
    }
    detail::held_line& lock = at_->line_;
    depth_ = lock.depth();
    me_ = detail::identity_of(owner());
    at_->inside_.fetch_add(1, std::memory_order_relaxed); // read by who destroys it, afterwards
    if (waits) {
        {
            detail::short_hold held(at_->list_lock_);
            at_->list_.push(*this);
        }
        lock.release(); // from here on it may be notified
    } else {
        how_ = outcome::timed_out;
        lock.release();
        if (!lock.enter(*this))
            complete(); // nobody wanted it; but others may run
    }
}

void condition::wait_op::has_lock_again() noexcept {
    at_->line_.restore(me_, depth_);
    at_->inside_.fetch_sub(1, std::memory_order_relaxed);
}

void condition::wait_op::expired(timer& t) noexcept {
    auto& self = static_cast<wait_op&>(t);
    bool has_lock = false;
    {
        detail::short_hold held(self.at_->list_lock_);
        if (self.how_ != outcome::none)
            return; // was notified before
        self.at_->list_.remove(self);
        self.how_ = outcome::timed_out;
        has_lock = !self.at_->line_.enter(self);
    }
    if (has_lock)
        self.complete();
}

void condition::wait_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<wait_op&>(op);
    condition& c = *self.at_;
    self.disarm(); // whatever comes now, it isn't the deadline
    detail::woken_list woken;
    bool has_lock = false;
    {
        detail::short_hold held(c.list_lock_);
        if (self.how_ == outcome::none) {
            c.list_.remove(self);
            has_lock = !c.line_.enter(self);
        } else if (!c.line_.stands(self)) {
            return; // has the lock, and goes on
        } else if (self.how_ == outcome::notified && !c.list_.empty()) {
            c.move_first(woken); // the notification is for somebody who can use it
        }
        // Set before anybody else can see that it has the lock: the waker is another thread, but
        // what it posts is run by this one.
        self.how_ = outcome::stopped;
        self.owner().flags |= detail::strand::unwinding;
    }
    woken.wake();
    if (has_lock)
        self.stopped();
}

} // namespace weft
