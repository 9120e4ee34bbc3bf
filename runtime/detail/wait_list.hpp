// SPDX-License-Identifier: MIT
// Those who wait for something that another task or thread will give: nodes in the awaiting
// frames, linked first come, first served. And what all operations that stand in such a line have
// in common.
//
//     class ticket_op : public weft::detail::line_op<ticket_op> {
//     public:
//         static constexpr const char* name = "ticket";
//         explicit ticket_op(office& o, const weft::detail::operation_type& t =
//                                           weft::detail::line_kind<ticket_op>) noexcept
//             : line_op(t), at_(&o) {}
//         bool pass_now() { return at_->try_take(); }         // true: has it, without waiting
//         bool line_up() { return at_->enter(*this); }        // true: in line now; false: has it
//         bool leave() noexcept { return at_->leave(*this); } // true: was in line until now
//         void await_resume() const noexcept {}
//         bool result(bool passed) const noexcept { return passed; } // of a wait with a deadline
//         ...
//     };
//     using timed_ticket_op = weft::detail::timed_op<ticket_op>;    // wait_limit, office&
//
// How a wait ends is decided under the lock that guards the line: whoever finds the node in it and
// takes it out decides. A waker that does so has given something, and wakes the waiter when it has
// let go of the lock. A stop or a deadline that does so ends the wait with nothing. Whoever doesn't
// find the node there is late and does nothing. So what was given is always received, and who
// leaves early was given nothing.
//
// A waiter may be one of several that stand in different lines for one task, which takes what comes
// first: then they share a `choice`, and whoever decides also has to claim that. A waker that can't
// drops the node and turns to the next one.
//
// Threads:      a line belongs to whoever holds its lock. Stops and deadlines come on the waiter's
//               own thread, a waker may be on any.
// Cancellation: who is stopped leaves the line without a trace.
// Errors:       what pass_now and line_up throw comes out of co_await; std::bad_alloc if the
//               thread can't note a deadline.
// Cost:         O(1) without allocation: three pointers more than an operation has. A deadline
//               costs what a timer does, and only if one has to wait.
// Source:       none.
#pragma once
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/time.hpp>

#include <atomic>
#include <cstddef>
#include <utility>

namespace weft::detail {

/// Which of several waiters, or what else, has decided how a wait ends.
class choice {
public:
    choice() noexcept = default;
    choice(const choice&) = delete;
    choice& operator=(const choice&) = delete;

    /// False: it is somebody else's. Relaxed: all that counts is that one gets it. What the winner
    /// was given is published by waking it up.
    bool claim(const void* who) noexcept {
        const void* winner = nullptr;
        return winner_.compare_exchange_strong(winner, who, std::memory_order_relaxed) ||
               winner == who;
    }
    /// Null while nobody has it.
    [[nodiscard]] const void* winner() const noexcept {
        return winner_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<const void*> winner_{nullptr};
};

/// An operation that can stand in a line.
class waiter : public operation {
public:
    waiter(waiter&& other) noexcept : operation(std::move(other)) {}
    waiter& operator=(waiter&&) = delete;

    /// Before it lines up: it is one of several that `s` is suspended on.
    void take_part(strand& s, choice& c) noexcept {
        belong_to(s);
        choice_ = &c;
        in_line_ = false;
    }
    /// Where it goes on.
    [[nodiscard]] runner& home() const noexcept { return *owner().run_by; }
    /// Whether nothing else is ready there, nor has to be lined up for.
    [[nodiscard]] bool has_time() const noexcept {
        return choice_ == nullptr && !home().has_ready();
    }
    /// Whoever is about to give it something asks first. False: the wait has been decided.
    bool claim() noexcept { return choice_ == nullptr || choice_->claim(this); }

protected:
    explicit waiter(const operation_type& t) noexcept : operation(t) {}
    ~waiter() = default;

    /// It has what it came for, and goes on after those who are ready. A stop or a deadline that
    /// comes before its turn is late.
    void complete_without_line() noexcept {
        in_line_ = false;
        complete();
    }

private:
    friend class wait_list;
    friend class woken_list;

    // These get values when it suspends. Most waits end before they have to wait, and pay for
    // nothing.
    waiter* next_;
    waiter* previous_;
    choice* choice_ = nullptr; // that it takes part in
    bool in_line_;
};

class wait_list {
public:
    wait_list() noexcept = default;
    wait_list(const wait_list&) = delete;
    wait_list& operator=(const wait_list&) = delete;

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    /// Null if there is none.
    [[nodiscard]] const waiter* first() const noexcept { return first_; }
    /// The first that can be given something, which it then has to be; null if there is none. The
    /// others before it are dropped.
    [[nodiscard]] waiter* claim_first() noexcept {
        while (first_ != nullptr && !first_->claim()) [[unlikely]]
            remove(*first_);
        return first_;
    }

    void push(waiter& w) noexcept {
        w.next_ = nullptr;
        w.previous_ = last_;
        w.in_line_ = true;
        (last_ == nullptr ? first_ : last_->next_) = &w;
        last_ = &w;
    }
    /// Precondition: it stands here.
    void remove(waiter& w) noexcept {
        (w.previous_ == nullptr ? first_ : w.previous_->next_) = w.next_;
        (w.next_ == nullptr ? last_ : w.next_->previous_) = w.previous_;
        w.in_line_ = false;
    }
    /// False if it doesn't stand here any more.
    bool remove_if_there(waiter& w) noexcept {
        if (!w.in_line_)
            return false;
        remove(w);
        return true;
    }
    /// The first who goes on on `r`, if that is one of the first `reach`; else null.
    [[nodiscard]] waiter* first_of(const runner& r, unsigned reach) const noexcept {
        return find(first_, r, reach);
    }
    /// The same among those behind w.
    [[nodiscard]] waiter* next_of(const waiter& w, const runner& r, unsigned reach) const noexcept {
        return find(w.next_, r, reach);
    }
    /// Whether w stands here, or in another line: who calls it knows that there is no other.
    [[nodiscard]] bool stands(const waiter& w) const noexcept { return w.in_line_; }
    /// Counts them.
    [[nodiscard]] std::size_t size() const noexcept;

private:
    static waiter* find(waiter* from, const runner& r, unsigned reach) noexcept {
        for (waiter* w = from; w != nullptr && reach != 0; w = w->next_, --reach) {
            if (&w->home() == &r)
                return w;
        }
        return nullptr;
    }

    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
};

/// Those who have been taken out of a line and are woken when its lock has been given back.
class woken_list {
public:
    woken_list() noexcept = default;
    woken_list(const woken_list&) = delete;
    woken_list& operator=(const woken_list&) = delete;

    /// Takes one who stands in `from`.
    void take(wait_list& from, waiter& w) noexcept {
        from.remove(w);
        w.next_ = nullptr;
        (last_ == nullptr ? first_ : last_->next_) = &w;
        last_ = &w;
    }
    void take_all(wait_list& from) noexcept {
        while (waiter* w = from.claim_first())
            take(from, *w);
    }
    /// Lets them go on, in their order, each on its own thread. They may be gone afterwards.
    void wake() noexcept {
        for (waiter* w = first_; w != nullptr;) {
            waiter* after = w->next_;
            w->wake_from_anywhere();
            w = after;
        }
    }

private:
    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
};

/// What the tree of tasks knows of such an operation.
template <class Op>
inline constexpr operation_type line_kind{Op::cancel_wait, Op::name};

/// What operations that wait in a line have in common: see the example above.
template <class Op>
class line_op : public waiter {
public:
    static void cancel_wait(operation& op) noexcept {
        auto& self = static_cast<Op&>(op);
        if (self.leave_for_stop())
            self.stopped();
    }
    /// For operations that leave in another way if a stop makes them than at a deadline.
    bool leave_for_stop() noexcept { return self().leave(); }

    [[nodiscard]] bool await_ready() { return self().pass_now(); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        return !begin(h, where) || suspends();
    }

protected:
    explicit line_op(const operation_type& t) noexcept : waiter(t) {}
    line_op(line_op&&) = default;
    ~line_op() = default;

    bool suspends() {
        try {
            // Once it stands in line it may be woken, elsewhere: it isn't touched any more here.
            if (self().line_up())
                return true;
        } catch (...) {
            goes_on();
            throw;
        }
        goes_on();
        return false;
    }
    /// It didn't come to waiting: the coroutine runs, so its strand waits for nothing.
    void goes_on() noexcept { owner().leaf = nullptr; }

private:
    Op& self() noexcept { return static_cast<Op&>(*this); }
};

/// How long a wait may take.
class wait_limit {
public:
    static wait_limit at(time_point when) noexcept {
        return wait_limit(when.time_since_epoch(), false);
    }
    /// Counted from the await. Zero or less: not at all.
    template <class Rep, class Period>
    static wait_limit in(std::chrono::duration<Rep, Period> d) noexcept {
        return wait_limit(saturate(d), true);
    }

    /// Whether there is nothing to wait for.
    [[nodiscard]] bool only_try() const noexcept { return relative_ && ns_ <= duration::zero(); }
    /// As a point in time, seen from `now`.
    [[nodiscard]] time_point deadline(time_point now) const noexcept {
        return relative_ ? saturated_sum(now, ns_) : time_point(ns_);
    }
    [[nodiscard]] bool endless() const noexcept { return ns_ == duration::max(); }

private:
    wait_limit(duration ns, bool relative) noexcept : ns_(ns), relative_(relative) {}
    duration ns_;
    bool relative_;
};

/// Starts `t` on the thread of a strand. False: the time is over already. Throws std::bad_alloc.
[[nodiscard]] bool start_deadline(strand& s, timer& t, wait_limit limit);
void stop_deadline(strand& s, timer& t) noexcept;

/// A wait in line with a deadline. Gives what `result(passed)` of the operation gives.
template <class Op>
class [[nodiscard]] timed_op : public Op, private timer {
public:
    static constexpr bool selectable = false; // its deadline is an end of its own

    template <class... Args>
    explicit timed_op(wait_limit limit, Args&&... args)
        : Op(std::forward<Args>(args)..., line_kind<timed_op>), timer(expire), limit_(limit) {}
    timed_op(timed_op&&) = default;

    [[nodiscard]] bool await_ready() {
        if (!limit_.only_try())
            return Op::await_ready();
        passed_ = this->pass_now();
        return true;
    }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        return !this->begin(h, where) || suspends_until();
    }
    decltype(auto) await_resume() {
        disarm();
        return this->result(passed_);
    }

    static void cancel_wait(operation& op) noexcept {
        auto& self = static_cast<timed_op&>(op);
        if (self.leave_for_stop()) {
            self.disarm();
            self.stopped();
        }
    }

private:
    bool suspends_until() {
        try {
            passed_ = start_deadline(this->owner(), *this, limit_);
            if (passed_)
                return this->suspends();
        } catch (...) {
            disarm();
            this->goes_on();
            throw;
        }
        this->goes_on();
        return false;
    }
    void disarm() noexcept {
        if (active())
            stop_deadline(this->owner(), *this);
    }
    static void expire(timer& t) noexcept {
        auto& self = static_cast<timed_op&>(t);
        if (!self.leave())
            return; // was given it just before
        self.passed_ = false;
        self.complete();
    }

    wait_limit limit_;
    bool passed_ = true;
};

} // namespace weft::detail
