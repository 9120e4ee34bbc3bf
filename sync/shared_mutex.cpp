// SPDX-License-Identifier: MIT
#include <weft/sync/shared_mutex.hpp>

#include <weft/runtime/error.hpp>

namespace weft {

using mode = detail::shared_lock_op::mode;

shared_mutex::~shared_mutex() {
    detail::short_hold held(lock_); // whoever woke the last one has let go of it
    WEFT_ASSERT(line_.empty(), "a shared_mutex was destroyed while somebody waited for it");
}

bool shared_mutex::may_pass(mode how) const noexcept {
    return !writer_ && (how == mode::shared || readers_ == 0);
}

void shared_mutex::note(mode how) noexcept {
    if (how == mode::alone)
        writer_ = true;
    else
        ++readers_;
}

bool shared_mutex::try_pass(mode how) noexcept {
    detail::short_hold held(lock_);
    bool passes = line_.empty() && may_pass(how);
    if (passes)
        note(how);
    return passes;
}

bool shared_mutex::enter(lock_op& op) noexcept {
    detail::short_hold held(lock_);
    bool waits = !line_.empty() || !may_pass(op.how_);
    if (waits)
        line_.push(op);
    else
        note(op.how_);
    return waits;
}

// All from the front of the line that may have the lock now: a writer, or the readers before the
// next one.
void shared_mutex::let_pass(detail::woken_list& woken) noexcept {
    // None of them takes part in a choice: to claim one is only to look at it.
    while (detail::waiter* w = line_.claim_first()) {
        mode how = static_cast<lock_op&>(*w).how_;
        if (!may_pass(how))
            return;
        note(how);
        woken.take(line_, *w);
    }
}

bool shared_mutex::leave(lock_op& op) noexcept {
    detail::woken_list woken;
    {
        detail::short_hold held(lock_);
        if (!line_.remove_if_there(op))
            return false;
        let_pass(woken); // it may have been in the way of readers
    }
    woken.wake();
    return true;
}

bool shared_mutex::release(mode how) noexcept {
    detail::woken_list woken;
    {
        detail::short_hold held(lock_);
        if (how == mode::alone ? !writer_ : readers_ == 0)
            return false;
        if (how == mode::alone)
            writer_ = false;
        else
            --readers_;
        let_pass(woken);
    }
    woken.wake();
    return true;
}

void shared_mutex::unlock() {
    if (!release(mode::alone))
        throw state_error("a shared_mutex was unlocked that no writer had locked");
}

void shared_mutex::unlock_shared() {
    if (!release(mode::shared))
        throw state_error("a shared_mutex was unlocked that no reader had locked");
}

void shared_mutex::give_back() noexcept {
    bool was_locked = release(mode::alone);
    WEFT_ASSERT(was_locked, "a shared_mutex was unlocked while a guard held it");
}

void detail::readers_side::give_back() noexcept {
    bool was_locked = static_cast<shared_mutex&>(*this).release(mode::shared);
    WEFT_ASSERT(was_locked, "a shared_mutex was unlocked while a reader's guard held it");
}

bool shared_mutex::locked() const noexcept {
    detail::short_hold held(lock_);
    return writer_;
}

std::size_t shared_mutex::readers() const noexcept {
    detail::short_hold held(lock_);
    return readers_;
}

std::size_t shared_mutex::waiting() const noexcept {
    detail::short_hold held(lock_);
    return line_.size();
}

primitive_stats shared_mutex::stats() const noexcept {
    detail::short_hold held(lock_);
    std::size_t holders = writer_ ? 1 : readers_;
    return {lock_op::name, 0, holders, holders == 0 ? 1u : 0u, line_.size()};
}

} // namespace weft
