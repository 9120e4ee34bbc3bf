// SPDX-License-Identifier: MIT
#include <weft/ipc/condition.hpp>

#include <algorithm>

namespace weft::ipc {

static_assert(std::is_standard_layout_v<mutex> && std::is_standard_layout_v<recursive_mutex>);
static_assert(std::is_standard_layout_v<condition>);

const weft::detail::operation_type condition::wait_op::kind{shared_wait::cancel_wait,
                                                            "ipc::condition"};

namespace {
constexpr std::memory_order guarded = std::memory_order_relaxed; // by the lock
} // namespace

void condition::require_lock() const {
    if (!line().noted_here())
        throw state_error("a condition is used by one that doesn't have its lock");
}

void condition::notify(std::size_t n) {
    require_lock();
    const std::uint32_t granted = granted_.load(guarded);
    const std::uint32_t waiting = waiting_.load(guarded);
    const std::size_t more = std::min<std::size_t>(n, waiting - granted);
    if (more == 0)
        return;
    granted_.store(granted + static_cast<std::uint32_t>(more), guarded);
    came_before_.store(came_.load(guarded), guarded);
    changes_.fetch_add(1, guarded);
    weft::detail::futex_wake(changes_, static_cast<int>(more));
}

void condition::notify_all() {
    require_lock();
    if (waiting_.load(guarded) == 0)
        return;
    everybody_.fetch_add(1, guarded);
    waiting_.store(0, guarded);
    granted_.store(0, guarded);
    changes_.fetch_add(1, guarded);
    weft::detail::futex_wake(changes_, weft::detail::everybody);
}

void condition::wait_op::give_lock_back() noexcept {
    seen_ = at_->changes_.load(guarded);
    phase_ = phase::sleeps;
    slept_for_lock_ = false;
    lock_ = {};
    at_->line().release();
}

// With the lock.
bool condition::wait_op::is_for_me() noexcept {
    condition& c = *at_;
    if (c.everybody_.load(guarded) != everybody_) {
        notified_ = true;
        return true;
    }
    // A killed waiter is still counted, so neither number is smaller than it should be.
    const std::uint32_t granted = c.granted_.load(guarded);
    const std::uint32_t waiting = c.waiting_.load(guarded);
    const bool was_there = static_cast<std::int32_t>(c.came_before_.load(guarded) - ticket_) > 0;
    notified_ = granted != 0 && was_there && (!gives_up_ || late_);
    if (!notified_ && !gives_up_)
        return false;
    c.waiting_.store(waiting - 1, guarded);
    const std::uint32_t left = notified_ ? granted - 1 : std::min(granted, waiting - 1);
    c.granted_.store(left, guarded);
    if (!notified_ && left != 0) // somebody else may have what it was woken for
        weft::detail::futex_wake(c.changes_, 1);
    return true;
}

bool condition::wait_op::advance(detail::sleeping_place& at) noexcept {
    condition& c = *at_;
    if (phase_ == phase::begins) {
        me_ = weft::detail::identity_of(owner());
        depth_ = c.line().depth();
        everybody_ = c.everybody_.load(guarded);
        ticket_ = c.came_.fetch_add(1, guarded);
        c.waiting_.fetch_add(1, guarded);
        give_lock_back();
    }
    while (true) {
        if (phase_ == phase::sleeps) {
            if (!gives_up_ && c.changes_.load(guarded) == seen_) {
                at = {&c.changes_, seen_};
                return false;
            }
            phase_ = phase::locks;
        }
        const bool woken_for_lock = slept_for_lock_ && woken();
        if (!lock_.advance(c.line(), at, slept_for_lock_, woken_for_lock, suspicious())) {
            slept_for_lock_ = true;
            return false;
        }
        how_ = lock_.how;
        if (how_ == detail::taking::lost)
            return true;
        gives_up_ = gives_up_ || how_ == detail::taking::taken_from_the_dead;
        if (is_for_me()) {
            c.line().restore(depth_, me_);
            return true;
        }
        give_lock_back();
    }
}

bool condition::wait_op::must_look() noexcept {
    if (phase_ == phase::locks)
        return detail::lock_attempt::must_look(at_->line(), armed_value());
    return shared_wait::must_look();
}

detail::shared_wait::leaving condition::wait_op::leave(bool by_deadline,
                                                       bool used_wake_up) noexcept {
    // What it used up was for another one, if nothing is left to be had: it looks with the lock.
    if (used_wake_up && phase_ == phase::sleeps)
        weft::detail::futex_wake(at_->changes_, 1);
    gives_up_ = true;
    late_ = by_deadline;
    return leaving::later;
}

} // namespace weft::ipc
