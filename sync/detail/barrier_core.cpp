// SPDX-License-Identifier: MIT
#include <weft/sync/detail/barrier_core.hpp>

#include <weft/sync/error.hpp>

#include <stdexcept>

namespace weft::detail {

namespace {

std::size_t checked(std::ptrdiff_t parties) {
    if (parties < 1)
        throw std::invalid_argument("a barrier is for one party at least");
    return static_cast<std::size_t>(parties);
}

} // namespace

barrier_core::barrier_core(std::ptrdiff_t parties, bool has_action)
    : parties_(checked(parties)), has_action_(has_action) {}

barrier_core::~barrier_core() {
    short_hold held(lock_); // whoever woke the last one has let go of it
    WEFT_ASSERT(filling_.empty() && complete_.empty() && early_.empty(),
                "a barrier was destroyed while somebody waited at it");
    WEFT_ASSERT(!acting_, "a barrier was destroyed while its action ran");
}

bool barrier_core::arrive_now(arrive_op& op) noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        if (broken_)
            op.state_ = arrive_op::state::broken;
        else if (acting_ || !complete_cycle(op, woken))
            return false;
    }
    woken.wake();
    return true;
}

bool barrier_core::arrive(arrive_op& op) noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        if (broken_) {
            op.state_ = arrive_op::state::broken;
        } else if (acting_) {
            op.state_ = arrive_op::state::early;
            early_.push(op);
            return true;
        } else if (!complete_cycle(op, woken)) {
            op.state_ = arrive_op::state::filling;
            filling_.push(op);
            ++count_;
            return true;
        }
    }
    woken.wake();
    return false;
}

// If nobody but `last` is missing: it has come, and the others go or wait for its action.
bool barrier_core::complete_cycle(arrive_op& last, woken_list& woken) noexcept {
    if (count_ + 1 != parties_)
        return false;
    last.state_ = arrive_op::state::passed;
    last.index_ = count_;
    std::size_t index = 0;
    count_ = 0;
    acting_ = has_action_;
    while (waiter* w = filling_.claim_first()) {
        auto& op = static_cast<arrive_op&>(*w);
        op.index_ = index++;
        if (acting_) {
            filling_.remove(op);
            complete_.push(op);
            op.state_ = arrive_op::state::complete;
        } else {
            woken.take(filling_, op);
            op.state_ = arrive_op::state::passed;
        }
    }
    return true;
}

// Those who came early have come now, up to the one who completes a cycle: that one runs the next
// action.
void barrier_core::count_early(woken_list& woken) noexcept {
    while (!acting_ && !early_.empty()) {
        auto& op = static_cast<arrive_op&>(*early_.claim_first());
        if (complete_cycle(op, woken)) {
            woken.take(early_, op);
        } else {
            early_.remove(op);
            filling_.push(op);
            op.state_ = arrive_op::state::filling;
            ++count_;
        }
    }
}

void barrier_core::let_go(wait_list& line, bool broken, woken_list& woken) noexcept {
    while (waiter* w = line.claim_first()) {
        static_cast<arrive_op&>(*w).state_ =
            broken ? arrive_op::state::broken : arrive_op::state::passed;
        woken.take(line, *w);
    }
}

void barrier_core::break_filling(woken_list& woken) noexcept {
    broken_ = true;
    let_go(filling_, true, woken);
    let_go(early_, true, woken);
    count_ = 0;
}

bool barrier_core::give_up(arrive_op& op) noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        if (op.state_ == arrive_op::state::filling)
            filling_.remove(op);
        else if (op.state_ == arrive_op::state::early)
            early_.remove(op);
        else
            return false;
        op.state_ = arrive_op::state::broken;
        break_filling(woken);
    }
    woken.wake();
    return true;
}

void barrier_core::give_up() noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        break_filling(woken);
    }
    woken.wake();
}

bool barrier_core::leave(arrive_op& op) noexcept {
    short_hold held(lock_);
    switch (op.state_) {
    case arrive_op::state::filling:
        filling_.remove(op);
        --count_;
        return true;
    case arrive_op::state::complete:
        complete_.remove(op);
        return true;
    case arrive_op::state::early:
        early_.remove(op);
        return true;
    default:
        return false;
    }
}

bool barrier_core::end_action(bool succeeded) noexcept {
    woken_list woken;
    bool valid = false;
    {
        short_hold held(lock_);
        valid = !doomed_;
        acting_ = doomed_ = false;
        if (valid) {
            let_go(complete_, !succeeded, woken);
            if (!succeeded)
                break_filling(woken);
        }
        if (!broken_)
            count_early(woken);
    }
    woken.wake();
    return valid;
}

void barrier_core::abort() noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        doomed_ = acting_;
        let_go(complete_, true, woken);
        break_filling(woken);
    }
    woken.wake();
}

void barrier_core::reset() noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        doomed_ = acting_;
        let_go(complete_, true, woken);
        let_go(filling_, true, woken);
        count_ = 0;
        broken_ = false;
    }
    woken.wake();
}

std::size_t barrier_core::waiting() const noexcept {
    short_hold held(lock_);
    return count_;
}

bool barrier_core::broken() const noexcept {
    short_hold held(lock_);
    return broken_;
}

std::size_t arrive_op::result(bool) const {
    if (state_ == state::passed) [[likely]]
        return index_;
    if (state_ == state::none) // there was no time to wait
        at_->give_up();
    throw broken_barrier();
}

} // namespace weft::detail
