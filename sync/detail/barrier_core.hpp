// SPDX-License-Identifier: MIT
// What a barrier is apart from its action: who has come, and what becomes of them.
//
// A cycle fills until all parties are there. Without an action they are let go at once. With one,
// the last to come runs it while the others stand in a line of their own; who comes meanwhile
// belongs to the next cycle, and is counted when the action has ended. So there is one action at a
// time, and a cycle that is complete can't be broken by a deadline any more.
//
// Threads:      all members, from any thread; what is said to be the actor's, by the last to come.
// Cancellation: who is stopped while waiting was not counted.
// Errors:       std::invalid_argument from the constructor; broken_barrier from an arrival.
// Cost:         a short lock for each arrival. No allocation.
// Source:       states after Python's threading.Barrier.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/wait_list.hpp>

namespace weft::detail {

/// Throws std::invalid_argument for less than one.
[[nodiscard]] std::size_t checked_parties(std::ptrdiff_t parties);
[[noreturn]] void throw_broken_barrier();

template <class Atomics>
class basic_arrive_op;

template <class Atomics = std_atomics>
class basic_barrier_core {
public:
    using arrive_op = basic_arrive_op<Atomics>;

    basic_barrier_core(std::ptrdiff_t parties, bool has_action)
        : parties_(checked_parties(parties)), has_action_(has_action) {}
    basic_barrier_core(const basic_barrier_core&) = delete;
    basic_barrier_core& operator=(const basic_barrier_core&) = delete;
    ~basic_barrier_core();

    /// Arrives if that makes the cycle complete, or the barrier is broken.
    bool arrive_now(arrive_op& op) noexcept;
    /// Arrives. True: it stands in a line.
    bool arrive(arrive_op& op) noexcept;
    /// The deadline of one who waits: breaks the barrier. False: its cycle is complete.
    bool give_up(arrive_op& op) noexcept;
    /// The deadline of one who has not even begun to wait.
    void give_up() noexcept;
    /// Takes out one who is stopped. False: it has been let go.
    bool leave(arrive_op& op) noexcept;

    /// The actor's: lets the others go, or breaks the barrier. False: it was broken meanwhile.
    bool end_action(bool succeeded) noexcept;

    void abort() noexcept;
    void reset() noexcept;

    [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
    [[nodiscard]] std::size_t waiting() const noexcept;
    [[nodiscard]] bool broken() const noexcept;

private:
    using state = typename arrive_op::state;
    template <class X>
    using guarded = typename Atomics::template plain<X>; // by the lock

    // All with the lock.
    bool complete_cycle(arrive_op& last, woken_list& woken) noexcept;
    void count_early(woken_list& woken) noexcept;
    void let_go(guarded<wait_list>& line, bool broken, woken_list& woken) noexcept;
    void break_filling(woken_list& woken) noexcept;

    const std::size_t parties_;
    const bool has_action_;
    mutable short_lock<Atomics> lock_; // to count is to lock
    guarded<wait_list> filling_;       // of this cycle, in the order of coming
    guarded<wait_list> complete_;      // of the cycle whose action runs
    guarded<wait_list> early_;         // who came while an action runs
    guarded<std::size_t> count_{0};    // how many are in filling_
    guarded<bool> broken_{false};
    guarded<bool> acting_{false}; // an action runs
    guarded<bool> doomed_{false}; // and its cycle was broken
};

/// Arrives, and waits for the others. Gives the number in the order of coming; who gets the last
/// one runs the action, if there is one, and calls end_action.
template <class Atomics>
class [[nodiscard]] basic_arrive_op : public line_op<basic_arrive_op<Atomics>> {
public:
    static constexpr const char* name = "barrier";
    using core = basic_barrier_core<Atomics>;

    explicit basic_arrive_op(core& at,
                             const operation_type& t = line_kind<basic_arrive_op>) noexcept
        : line_op<basic_arrive_op>(t), at_(&at) {}

    bool pass_now() noexcept { return at_->arrive_now(*this); }
    bool line_up() noexcept { return at_->arrive(*this); }
    bool leave() noexcept { return at_->give_up(*this); }
    bool leave_for_stop() noexcept { return at_->leave(*this); }
    std::size_t await_resume() const { return result(true); }
    [[nodiscard]] std::size_t result(bool) const {
        if (state_ == state::passed) [[likely]]
            return index_;
        if (state_ == state::none) // there was no time to wait
            at_->give_up();
        throw_broken_barrier();
    }

private:
    friend core;
    enum class state : std::uint8_t { none, filling, complete, early, passed, broken };

    core* at_;
    std::size_t index_ = 0;
    state state_ = state::none; // the core's lock guards it while it stands in a line
};

// -------------------------------------------------------------------------------------------------

template <class Atomics>
basic_barrier_core<Atomics>::~basic_barrier_core() {
    short_hold held(lock_); // whoever woke the last one has let go of it
    WEFT_ASSERT(filling_.empty() && complete_.empty() && early_.empty(),
                "a barrier was destroyed while somebody waited at it");
    WEFT_ASSERT(!acting_, "a barrier was destroyed while its action ran");
}

template <class Atomics>
bool basic_barrier_core<Atomics>::arrive_now(arrive_op& op) noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        if (broken_)
            op.state_ = state::broken;
        else if (acting_ || !complete_cycle(op, woken))
            return false;
    }
    woken.wake();
    return true;
}

template <class Atomics>
bool basic_barrier_core<Atomics>::arrive(arrive_op& op) noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        if (broken_) {
            op.state_ = state::broken;
        } else if (acting_) {
            op.state_ = state::early;
            early_.push(op);
            return true;
        } else if (!complete_cycle(op, woken)) {
            op.state_ = state::filling;
            filling_.push(op);
            count_ += 1;
            return true;
        }
    }
    woken.wake();
    return false;
}

// If nobody but `last` is missing: it has come, and the others go or wait for its action.
template <class Atomics>
bool basic_barrier_core<Atomics>::complete_cycle(arrive_op& last, woken_list& woken) noexcept {
    if (count_ + 1 != parties_)
        return false;
    last.state_ = state::passed;
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
            op.state_ = state::complete;
        } else {
            woken.take(filling_, op);
            op.state_ = state::passed;
        }
    }
    return true;
}

// Those who came early have come now, up to the one who completes a cycle: that one runs the next
// action.
template <class Atomics>
void basic_barrier_core<Atomics>::count_early(woken_list& woken) noexcept {
    while (!acting_ && !early_.empty()) {
        auto& op = static_cast<arrive_op&>(*early_.claim_first());
        if (complete_cycle(op, woken)) {
            woken.take(early_, op);
        } else {
            early_.remove(op);
            filling_.push(op);
            op.state_ = state::filling;
            count_ += 1;
        }
    }
}

template <class Atomics>
void basic_barrier_core<Atomics>::let_go(guarded<wait_list>& line, bool broken,
                                         woken_list& woken) noexcept {
    while (waiter* w = line.claim_first()) {
        static_cast<arrive_op&>(*w).state_ = broken ? state::broken : state::passed;
        woken.take(line, *w);
    }
}

template <class Atomics>
void basic_barrier_core<Atomics>::break_filling(woken_list& woken) noexcept {
    broken_ = true;
    let_go(filling_, true, woken);
    let_go(early_, true, woken);
    count_ = 0;
}

template <class Atomics>
bool basic_barrier_core<Atomics>::give_up(arrive_op& op) noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        if (op.state_ == state::filling)
            filling_.remove(op);
        else if (op.state_ == state::early)
            early_.remove(op);
        else
            return false;
        op.state_ = state::broken;
        break_filling(woken);
    }
    woken.wake();
    return true;
}

template <class Atomics>
void basic_barrier_core<Atomics>::give_up() noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        break_filling(woken);
    }
    woken.wake();
}

template <class Atomics>
bool basic_barrier_core<Atomics>::leave(arrive_op& op) noexcept {
    short_hold held(lock_);
    switch (op.state_) {
    case state::filling:
        filling_.remove(op);
        count_ -= 1;
        return true;
    case state::complete:
        complete_.remove(op);
        return true;
    case state::early:
        early_.remove(op);
        return true;
    default:
        return false;
    }
}

template <class Atomics>
bool basic_barrier_core<Atomics>::end_action(bool succeeded) noexcept {
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

template <class Atomics>
void basic_barrier_core<Atomics>::abort() noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        doomed_ = acting_;
        let_go(complete_, true, woken);
        break_filling(woken);
    }
    woken.wake();
}

template <class Atomics>
void basic_barrier_core<Atomics>::reset() noexcept {
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

template <class Atomics>
std::size_t basic_barrier_core<Atomics>::waiting() const noexcept {
    short_hold held(lock_);
    return count_;
}

template <class Atomics>
bool basic_barrier_core<Atomics>::broken() const noexcept {
    short_hold held(lock_);
    return broken_;
}

extern template class basic_barrier_core<std_atomics>;

using barrier_core = basic_barrier_core<>;
using arrive_op = basic_arrive_op<std_atomics>;
using timed_arrive_op = timed_op<arrive_op>;

} // namespace weft::detail
