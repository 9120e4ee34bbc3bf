// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/barrier_core.hpp>

#include <weft/ipc/lock_error.hpp>

#include <stdexcept>
#include <string>

namespace weft::ipc::detail {

static_assert(std::is_standard_layout_v<barrier_core>);

const weft::detail::operation_type arrive_op::kind{shared_wait::cancel_wait, "ipc::barrier"};

// Holds the lock, and repairs what a dead one left.
class barrier_core::hold {
public:
    explicit hold(barrier_core& b) noexcept : core_(b) {
        for (unsigned round = 1;; ++round) {
            if (b.lock_.try_take(this_process(), true) == taking::taken)
                return;
            // Those who hold it do so for a few instructions, unless they were suspended or killed.
            // On a busy machine each pause may take as long as others' turns.
            if (round % look_for_the_dead == 0) {
                const std::uint64_t holder = lock_word<>::mark_in(b.lock_.state());
                if (holder != 0 && is_gone(holder) && b.lock_.take_from(holder, this_process())) {
                    b.lock_.mark_consistent();
                    b.broken_.store(1, guarded);
                    b.interrupt();
                    return;
                }
            }
            weft::detail::std_atomics::pause(round);
        }
    }
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;
    ~hold() { core_.lock_.give_back(); } // nobody sleeps on it

private:
    static constexpr unsigned look_for_the_dead = 8;
    barrier_core& core_;
};

namespace {
std::uint32_t checked_parties(std::ptrdiff_t parties) {
    if (parties < 1)
        throw std::invalid_argument("a barrier is for one party at least");
    if (parties > static_cast<std::ptrdiff_t>(barrier_core::most_parties))
        throw std::invalid_argument("a barrier between processes is for " +
                                    std::to_string(barrier_core::most_parties) +
                                    " parties at most");
    return static_cast<std::uint32_t>(parties);
}
} // namespace

barrier_core::barrier_core(std::ptrdiff_t parties, bool acts)
    : parties_(checked_parties(parties)), acts_(acts ? 1 : 0) {}

// With the lock: nobody waits any more, and those who did can tell how it ended.
void barrier_core::next_cycle() noexcept {
    acting_.store(0, guarded);
    came_.store(0, guarded);
    for (std::size_t i = 0; i < parties_; ++i)
        places_[i].store(0, guarded);
    turns_.fetch_add(1, guarded);
    weft::detail::futex_wake(turns_, weft::detail::everybody);
}

void barrier_core::interrupt() noexcept {
    const std::uint32_t n = interruptions_.load(guarded);
    ended_before_[n % remembered].store(ended_.load(guarded), guarded);
    interruptions_.store(n + 1, guarded);
    next_cycle();
}

void barrier_core::abort() noexcept {
    hold held(*this);
    if (broken_.exchange(1, guarded) == 0)
        interrupt();
}

void barrier_core::reset() noexcept {
    hold held(*this);
    if (came_.load(guarded) != 0)
        interrupt();
    broken_.store(0, guarded);
}

bool barrier_core::end_action(bool well) noexcept {
    hold held(*this);
    // Whoever interrupts it ends the acting, and a new one takes all parties, of which we are one.
    if (acting_.load(guarded) == 0)
        return false;
    if (well) {
        ended_.fetch_add(1, guarded);
        next_cycle();
    } else {
        broken_.store(1, guarded);
        interrupt();
    }
    return true;
}

bool barrier_core::is_place_dead(std::size_t after) const noexcept {
    for (std::size_t i = 1; i < parties_; ++i) {
        const process_mark next = places_[(after + i) % parties_].load(guarded);
        if (next != 0)
            return is_gone(next);
    }
    return false;
}

// With the lock.
arrive_op::outcome arrive_op::arrive() noexcept {
    barrier_core& b = *at_;
    constexpr auto guarded = barrier_core::guarded;
    if (b.broken_.load(guarded) != 0)
        return outcome::broken;
    // While the last one of a cycle acts all places are taken: who comes too early waits for the
    // next cycle.
    if (b.acting_.load(guarded) != 0) {
        turn_ = b.turns_.load(guarded);
        return outcome::waits;
    }
    came_ = true;
    while (b.places_[place_].load(guarded) != 0)
        ++place_;
    b.places_[place_].store(this_process(), guarded);
    ended_ = b.ended_.load(guarded);
    interruptions_ = b.interruptions_.load(guarded);
    if (b.came_.fetch_add(1, guarded) + 1 < b.parties_) {
        turn_ = b.turns_.load(guarded);
        return outcome::waits;
    }
    acts_ = b.acts_ != 0;
    if (acts_) {
        b.acting_.store(1, guarded);
    } else {
        b.ended_.fetch_add(1, guarded);
        b.next_cycle();
    }
    return outcome::goes;
}

// With the lock.
arrive_op::outcome arrive_op::look() const noexcept {
    const barrier_core& b = *at_;
    constexpr auto guarded = barrier_core::guarded;
    const std::uint32_t since = b.interruptions_.load(guarded) - interruptions_;
    if (since == 0)
        return b.ended_.load(guarded) != ended_ ? outcome::goes : outcome::waits;
    if (since > barrier_core::remembered)
        return outcome::broken;
    return b.ended_before_[interruptions_ % barrier_core::remembered].load(guarded) != ended_
               ? outcome::goes
               : outcome::broken;
}

bool arrive_op::ends_with(outcome o) noexcept {
    broken_ = o == outcome::broken;
    return o != outcome::waits;
}

bool arrive_op::await_ready() noexcept {
    if (!time_limit().only_try())
        return false;
    // Who isn't the last, and hasn't time, breaks it.
    barrier_core::hold held(*at_);
    outcome o = arrive();
    if (o == outcome::waits) {
        at_->broken_.store(1, barrier_core::guarded);
        at_->interrupt();
        o = outcome::broken;
    }
    return ends_with(o);
}

bool arrive_op::advance(sleeping_place& at) noexcept {
    if (!came_ || at_->turns_.load(std::memory_order_relaxed) != turn_ || suspicious()) {
        barrier_core::hold held(*at_);
        outcome o = came_ ? look() : arrive();
        if (came_ && o == outcome::waits && suspicious() && at_->is_place_dead(place_)) {
            at_->broken_.store(1, barrier_core::guarded);
            at_->interrupt();
            o = outcome::broken;
        }
        if (ends_with(o))
            return true;
        turn_ = at_->turns_.load(barrier_core::guarded);
    }
    at = {&at_->turns_, turn_};
    return false;
}

bool arrive_op::must_look() noexcept {
    const std::uint64_t holder = lock_word<>::mark_in(at_->lock_.state());
    return shared_wait::must_look() || (came_ && at_->is_place_dead(place_)) ||
           (holder != 0 && is_gone(holder));
}

shared_wait::leaving arrive_op::leave(bool by_deadline, bool) noexcept {
    barrier_core& b = *at_;
    constexpr auto guarded = barrier_core::guarded;
    barrier_core::hold held(b);
    if (came_ && look() != outcome::waits)
        return leaving::not_now;
    if (by_deadline) {
        if (b.broken_.exchange(1, guarded) == 0)
            b.interrupt();
        broken_ = true;
    } else if (came_) {
        b.places_[place_].store(0, guarded);
        b.came_.fetch_sub(1, guarded);
    }
    return leaving::at_once;
}

void arrive_op::throw_broken() { throw broken_barrier(); }

} // namespace weft::ipc::detail
