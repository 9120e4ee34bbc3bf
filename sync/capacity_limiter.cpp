// SPDX-License-Identifier: MIT
#include <weft/sync/capacity_limiter.hpp>

#include <weft/runtime/error.hpp>

namespace weft {

namespace {

std::ptrdiff_t checked_total(std::ptrdiff_t total) {
    if (total < 1)
        throw std::invalid_argument("a capacity_limiter has one token at least");
    return total;
}

} // namespace

capacity_limiter::capacity_limiter(std::ptrdiff_t total) : total_(checked_total(total)) {}

capacity_limiter::~capacity_limiter() {
    detail::short_hold held(lock_); // whoever woke the last one has let go of it
    WEFT_ASSERT(line_.empty(), "a capacity_limiter was destroyed while somebody waited for it");
}

// Addresses are smaller than 2^63, and so are the numbers of tasks: the highest bit tells one from
// the other.
capacity_limiter::key capacity_limiter::key_of(const void* borrower) noexcept {
    if (borrower == nullptr)
        return detail::current_identity();
    return reinterpret_cast<std::uintptr_t>(borrower) | (key{1} << 63);
}

bool capacity_limiter::take(key who, acquire_op* op, asking how) {
    while (true) {
        std::size_t slots = 0;
        {
            detail::short_hold held(lock_);
            if (known_.find(who) != nullptr)
                break;
            bool passes = line_.empty() && borrowed_ < total_;
            if (!passes && how == asking::once)
                return false;
            if (known_.has_room()) {
                known_.insert(who).has_token = passes;
                if (passes)
                    ++borrowed_;
                else
                    line_.push(*op); // from here on it may be woken, when the lock is free
                return passes;
            }
            slots = known_.next_slots();
        }
        detail::borrower_set larger(slots);
        detail::short_hold held(lock_);
        if (!known_.has_room() && known_.next_slots() == slots) { // nobody was faster
            larger.take_all(known_);
            std::swap(known_, larger);
        }
    }
    throw state_error("a borrower of a capacity_limiter asked for a second token");
}

bool capacity_limiter::try_acquire(const void* borrower) {
    return take(key_of(borrower), nullptr, asking::once);
}

capacity_limiter::token capacity_limiter::try_scoped(const void* borrower) {
    key who = key_of(borrower);
    return take(who, nullptr, asking::once) ? token(*this, who) : token();
}

void capacity_limiter::let_pass(detail::woken_list& woken) noexcept {
    while (borrowed_ < total_ && !line_.empty()) {
        auto& op = static_cast<acquire_op&>(*line_.claim_first());
        known_.find(op.who_)->has_token = true;
        ++borrowed_;
        woken.take(line_, op);
    }
}

bool capacity_limiter::leave(acquire_op& op) noexcept {
    detail::short_hold held(lock_);
    if (!line_.remove_if_there(op))
        return false;
    known_.erase(op.who_);
    return true;
}

bool capacity_limiter::give_back(key who) noexcept {
    detail::woken_list woken;
    {
        detail::short_hold held(lock_);
        const detail::borrower_set::entry* e = known_.find(who);
        if (e == nullptr || !e->has_token)
            return false;
        known_.erase(who);
        --borrowed_;
        let_pass(woken);
    }
    woken.wake();
    return true;
}

void capacity_limiter::release(const void* borrower) {
    if (!give_back(key_of(borrower)))
        throw state_error("a token was given back to a capacity_limiter that hadn't lent it");
}

void capacity_limiter::set_total(std::ptrdiff_t n) {
    checked_total(n);
    detail::woken_list woken;
    {
        detail::short_hold held(lock_);
        total_ = n;
        let_pass(woken);
    }
    woken.wake();
}

std::ptrdiff_t capacity_limiter::total() const noexcept {
    detail::short_hold held(lock_);
    return total_;
}

std::ptrdiff_t capacity_limiter::borrowed() const noexcept {
    detail::short_hold held(lock_);
    return borrowed_;
}

std::ptrdiff_t capacity_limiter::available() const noexcept {
    detail::short_hold held(lock_);
    return total_ - borrowed_;
}

bool capacity_limiter::has(const void* borrower) const noexcept {
    key who = key_of(borrower);
    detail::short_hold held(lock_);
    const detail::borrower_set::entry* e = known_.find(who);
    return e != nullptr && e->has_token;
}

std::size_t capacity_limiter::waiting() const noexcept {
    detail::short_hold held(lock_);
    return line_.size();
}

primitive_stats capacity_limiter::stats() const noexcept {
    detail::short_hold held(lock_);
    auto left = borrowed_ < total_ ? static_cast<std::size_t>(total_ - borrowed_) : 0;
    return {acquire_op::name, 0, static_cast<std::size_t>(borrowed_), left, line_.size()};
}

} // namespace weft
