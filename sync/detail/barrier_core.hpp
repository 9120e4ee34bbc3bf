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

class arrive_op;

class barrier_core {
public:
    barrier_core(std::ptrdiff_t parties, bool has_action);
    barrier_core(const barrier_core&) = delete;
    barrier_core& operator=(const barrier_core&) = delete;
    ~barrier_core();

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
    // All with the lock.
    bool complete_cycle(arrive_op& last, woken_list& woken) noexcept;
    void count_early(woken_list& woken) noexcept;
    void let_go(wait_list& line, bool broken, woken_list& woken) noexcept;
    void break_filling(woken_list& woken) noexcept;

    const std::size_t parties_;
    const bool has_action_;
    mutable short_lock<> lock_; // to count is to lock
    wait_list filling_;         // of this cycle, in the order of coming
    wait_list complete_;        // of the cycle whose action runs
    wait_list early_;           // who came while an action runs
    std::size_t count_ = 0;     // how many are in filling_
    bool broken_ = false;
    bool acting_ = false; // an action runs
    bool doomed_ = false; // and its cycle was broken
};

/// Arrives, and waits for the others. Gives the number in the order of coming; who gets the last
/// one runs the action, if there is one, and calls end_action.
class [[nodiscard]] arrive_op : public line_op<arrive_op> {
public:
    static constexpr const char* name = "barrier";

    explicit arrive_op(barrier_core& at, const operation_type& t = line_kind<arrive_op>) noexcept
        : line_op(t), at_(&at) {}

    bool pass_now() noexcept { return at_->arrive_now(*this); }
    bool line_up() noexcept { return at_->arrive(*this); }
    bool leave() noexcept { return at_->give_up(*this); }
    bool leave_for_stop() noexcept { return at_->leave(*this); }
    std::size_t await_resume() const { return result(true); }
    [[nodiscard]] std::size_t result(bool passed) const;

private:
    friend barrier_core;
    enum class state : std::uint8_t { none, filling, complete, early, passed, broken };

    barrier_core* at_;
    std::size_t index_ = 0;
    state state_ = state::none; // the core's lock guards it while it stands in a line
};

using timed_arrive_op = timed_op<arrive_op>;

} // namespace weft::detail
