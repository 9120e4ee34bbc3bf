// SPDX-License-Identifier: MIT
// A number of permits and the line of those who wait for one: what a mutex (one permit), a
// semaphore (many) and an event (one that is never used up) are made of.
//
//     class gate {
//     public:
//         static constexpr const char* name = "gate";
//         static constexpr std::uint32_t taken = 0;     // how many permits passing uses up
//         using pass_op = weft::detail::pass_op<gate>;
//         pass_op pass() noexcept { return pass_op(*this); }
//         void open() noexcept { line_.open(); }
//         weft::detail::turnstile<> line_{0};
//     };
//
// All state is in one word: permits, whether somebody waits, and whether somebody is busy with the
// line. Without waiters every operation is one compare-and-swap. While there are any there is no
// permit: what is given back goes to the first of them, and nobody overtakes.
//
// With one exception. If tasks of two threads always wait for a permit, those of the one and the
// other tend to stand in the line by turns. Then each section, however short, costs a hand-over
// between processors, and often a wake-up: a microsecond and more for ten nanoseconds of work. So a
// turnstile becomes hot that has been handed to another thread many times in a row, always by
// somebody who didn't suspend between being let through and giving the permit back. Then loops
// take turns: for a slice of time one of them has the line on loan. Meanwhile a permit that is
// given back there is there for whoever runs on this loop. After a burst of that, or when none of
// those who are ready there wants it, it goes to the first in line who waits on this loop. After
// the slice it goes to the first of all, and the next slice is that loop's. Its thread is called
// before, and the borrower goes on until it is awake: nobody could have used the permit earlier. So
// the first in line is overtaken for a slice and a burst at most. It is over as soon as nobody
// waits, or somebody suspends with the permit: what is held across an await is always handed over
// in the order of coming.
//
// While the line is on loan the borrower alone lets anybody through. In the line stands one of its
// own (loan::next), so the turnstile lasts; when there is none any more, the loan ends.
//
// Threads:      all members, from any thread.
// Cancellation: see wait_list: who is stopped leaves the line, and was given nothing.
// Errors:       none; every member is noexcept.
// Cost:         32 bytes. O(1) but for release(n) and open(), which are O(woken); a loan begins
//               with a look at those who stand before the borrower's first.
// Source:       the split into a word for the fast way and a list for the slow one is futex lore;
//               handing over instead of giving back is what makes it fair. Loans are a form of lock
//               cohorting (Dice, Marathe, Shavit, 2012), with the slices of WebKit's ParkingLot.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/wait_list.hpp>
#include <weft/runtime/guard.hpp>

#include <algorithm>

namespace weft::detail {

/// When a turnstile is hot, and what that changes.
struct loop_pace {
    /// Hand-overs to another thread, in a row.
    static constexpr std::uint32_t hot = 16;
    /// How long one loop has it, in nanoseconds.
    static constexpr std::int64_t slice = 250'000;
    /// How often those who run may take it before the next one in line gets it. Bursts become
    /// longer while they are quick: in nanoseconds, too.
    static constexpr std::uint32_t longest_burst = 256;
    static constexpr std::int64_t quick = 10'000;
    /// How far one looks for the first who waits on the same loop.
    static constexpr unsigned reach = 64;

    /// How long a loop is called again that doesn't stay awake, in nanoseconds.
    static constexpr std::int64_t patience = 1'000'000;

    /// How many tasks and functions have had their turn.
    static std::uint64_t step(const runner& r) noexcept;
    static std::int64_t now(const runner& r) noexcept;
    static bool is_awake(const runner& r) noexcept;
};

template <class Atomics = std_atomics, class Pace = loop_pace>
class turnstile {
public:
    /// The most permits that there can be.
    static constexpr std::uint32_t most = (1u << 29) - 1;

    explicit turnstile(std::uint32_t permits) noexcept : word_(permits) {}
    turnstile(const turnstile&) = delete;
    turnstile& operator=(const turnstile&) = delete;

    /// Takes `taken` permits if there is one. Never waits.
    bool try_pass(std::uint32_t taken) noexcept {
        // acquire: pairs with the release of whoever gave the permit. What isn't used up is taken
        // by the load already.
        std::uint32_t seen = word_.load(std::memory_order_acquire);
        if ((seen & permits_bits) == 0)
            return false;
        if (taken == 0)
            return true;
        return ((seen & (busy | on_loan)) == 0 &&
                word_.compare_exchange_weak(seen, seen - taken, std::memory_order_acquire,
                                            std::memory_order_relaxed)) ||
               try_again(seen, taken);
    }

    /// Passes, or puts `w` into the line. True: it stands there, or is done with waiting otherwise.
    bool enter(waiter& w, std::uint32_t taken) noexcept;
    /// Takes `w` out of the line. False: it has been let through.
    bool leave(waiter& w) noexcept;
    /// Whether `w`, which entered, hasn't been let through yet.
    [[nodiscard]] bool stands(const waiter& w) const noexcept;

    /// Gives n permits: to those who wait, and what is left to those who come. False, and nothing
    /// is done, if there would be more than `limit` then.
    bool release(std::uint32_t n, std::uint32_t limit) noexcept {
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        while ((seen & (busy | waited_for)) == 0) {
            if (n > limit - seen)
                return false;
            // release: pairs with the acquire of whoever takes a permit
            if (word_.compare_exchange_weak(seen, seen + n, std::memory_order_release,
                                            std::memory_order_relaxed))
                return true;
        }
        return release_on_loan(n, limit);
    }

    /// Somebody who waited has been let through, and goes on now.
    void note_passed() const noexcept;

    /// Lets everybody through who waits, and everybody who comes: there is one permit.
    void open() noexcept;
    /// There is no permit.
    void close() noexcept;

    // Snapshots.
    /// What is on loan isn't there for everybody.
    [[nodiscard]] std::uint32_t permits() const noexcept {
        std::uint32_t seen = word_.load(std::memory_order_acquire); // as in try_pass
        return (seen & on_loan) != 0 ? 0 : seen & permits_bits;
    }
    /// How many nobody has, and acquires what everybody wrote who has given one until now.
    [[nodiscard]] std::uint32_t settled_permits() const noexcept {
        std::uint32_t state = lock();
        unlock(state);
        return state & permits_bits;
    }
    [[nodiscard]] bool has_waiters() const noexcept {
        return (word_.load(std::memory_order_relaxed) & waited_for) != 0;
    }
    /// How many wait.
    [[nodiscard]] std::size_t waiting() const noexcept;

private:
    static constexpr std::uint32_t busy = 1u << 31;       // somebody has the line
    static constexpr std::uint32_t waited_for = 1u << 30; // somebody is in the line
    static constexpr std::uint32_t on_loan = 1u << 29;    // one runner has a loan of the line
    static constexpr std::uint32_t permits_bits = most;

    /// Until unlock() the line is the caller's, and nobody else changes the word. Gives the permits
    /// and whether it is on loan.
    std::uint32_t lock() const noexcept;
    /// Gives the line back; the word says anew whether it is empty.
    void unlock(std::uint32_t state) const noexcept;
    bool try_again(std::uint32_t seen, std::uint32_t taken) noexcept;
    bool release_on_loan(std::uint32_t n, std::uint32_t limit) noexcept;
    [[gnu::noinline]] bool release_to_line(std::uint32_t n, std::uint32_t limit) noexcept;

    /// The loan of this line, if it is the caller's runner that has it.
    [[nodiscard]] loan* loan_here() const noexcept {
        runner* me = runner::current();
        return me == nullptr ? nullptr : me->loan_of(this);
    }
    // With the line. Those with a loan only where it is.
    void hand_out(std::uint32_t& state, woken_list& woken) noexcept;
    [[nodiscard]] bool lends(std::uint32_t& state) noexcept;
    [[nodiscard]] bool next_is_there(loan& l, std::int64_t now) const noexcept;
    void settle(loan& l, std::uint32_t& state, woken_list& woken) noexcept;
    void end(loan& l, std::uint32_t& state) noexcept;
    static void settle_loan(loan& l, bool at_once) noexcept;

    mutable typename Atomics::template atomic<std::uint32_t> word_; // to count is to lock
    typename Atomics::template plain<std::uint32_t> heat_{0};       // see loop_pace::hot
    typename Atomics::template plain<wait_list> line_;
    typename Atomics::template plain<std::int64_t> slice_ends_{0}; // 0: nobody has one
};

template <class Atomics, class Pace>
std::uint32_t turnstile<Atomics, Pace>::lock() const noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (unsigned round = 0;;) {
        if ((seen & busy) != 0) {
            Atomics::pause(round++);
            seen = word_.load(std::memory_order_relaxed);
        } else if (word_.compare_exchange_weak(seen, seen | busy, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
            return seen & (permits_bits | on_loan); // acquire: pairs with the release in unlock()
        }
    }
}

template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::unlock(std::uint32_t state) const noexcept {
    word_.store(state | (line_.empty() ? 0 : waited_for), std::memory_order_release);
}

/// From the second try on, and where the line may be on loan.
template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::try_again(std::uint32_t seen, std::uint32_t taken) noexcept {
    for (unsigned round = 0; (seen & permits_bits) != 0;) {
        if ((seen & busy) != 0) {
            Atomics::pause(round++);
            seen = word_.load(std::memory_order_relaxed);
        } else if ((seen & on_loan) != 0 && loan_here() == nullptr) {
            return false;
        } else if (word_.compare_exchange_weak(seen, seen - taken, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
            return true; // acquire: as in try_pass
        }
    }
    return false;
}

template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::note_passed() const noexcept {
    runner& me = *runner::current();
    me.passed_line = this;
    me.passed_step = Pace::step(me);
}

template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::enter(waiter& w, std::uint32_t taken) noexcept {
    std::uint32_t state = lock();
    bool is_there = (state & permits_bits) != 0;
    if ((state & on_loan) != 0)
        is_there = is_there && loan_here() != nullptr && &w.home() == runner::current();
    if (!is_there)
        line_.push(w);
    bool passes = is_there && w.claim();
    unlock(passes ? state - taken : state);
    return !passes;
}

template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::leave(waiter& w) noexcept {
    woken_list woken;
    std::uint32_t state = lock();
    loan* mine = (state & on_loan) != 0 ? loan_here() : nullptr;
    if (mine != nullptr && mine->next == &w)
        mine->next = line_.next_of(w, *runner::current(), Pace::reach);
    bool waited = line_.remove_if_there(w);
    if (mine != nullptr && mine->next == nullptr) {
        end(*mine, state);
        hand_out(state, woken);
    }
    unlock(state);
    woken.wake();
    return waited;
}

template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::stands(const waiter& w) const noexcept {
    std::uint32_t state = lock();
    bool waits = line_.stands(w);
    unlock(state);
    return waits;
}

/// Leaves what is given back to who comes next here, where a loan allows that.
template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::release_on_loan(std::uint32_t n, std::uint32_t limit) noexcept {
    loan* mine = loan_here();
    if (mine != nullptr && mine->left != 0) {
        --mine->left;
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        // release: pairs with the acquire in lock(); the next one to take it is on this thread.
        if ((seen & busy) == 0 && n <= limit - (seen & permits_bits) &&
            word_.compare_exchange_strong(seen, seen + n, std::memory_order_release,
                                          std::memory_order_relaxed))
            return true;
    }
    return release_to_line(n, limit);
}

template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::release_to_line(std::uint32_t n, std::uint32_t limit) noexcept {
    loan* mine = loan_here();
    woken_list woken;
    std::uint32_t state = lock();
    bool fits = n <= limit - (state & permits_bits);
    if (fits) {
        state += n;
        if (mine != nullptr) {
            if (mine->left == 0)
                settle(*mine, state, woken);
        } else if ((state & on_loan) == 0 && !lends(state)) {
            hand_out(state, woken);
        }
    }
    unlock(state); // the last look at this object: who is woken may destroy it
    woken.wake();
    return fits;
}

template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::open() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    while ((seen & (busy | waited_for)) == 0) {
        // Also if it is open: what the caller wrote before is seen by whoever passes from now on.
        if (word_.compare_exchange_weak(seen, 1, std::memory_order_release,
                                        std::memory_order_relaxed))
            return; // release: pairs with the acquire in try_pass()
    }
    woken_list woken;
    lock();
    woken.take_all(line_);
    unlock(1); // the last look at this object
    woken.wake();
}

template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::close() noexcept {
    lock();
    unlock(0);
}

template <class Atomics, class Pace>
std::size_t turnstile<Atomics, Pace>::waiting() const noexcept {
    std::uint32_t state = lock();
    std::size_t n = line_.size();
    unlock(state);
    return n;
}

/// Gives what is there to the first of those who wait.
template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::hand_out(std::uint32_t& state, woken_list& woken) noexcept {
    for (; (state & permits_bits) != 0; --state) {
        waiter* first = line_.claim_first();
        if (first == nullptr)
            break;
        if (&first->home() != runner::current()) {
            if (heat_ < Pace::hot)
                heat_ = heat_ + 1;
            slice_ends_ = 0;
        }
        woken.take(line_, *first);
    }
    if (line_.empty()) {
        heat_ = 0;
        slice_ends_ = 0;
    }
}

/// Whether what has been given back goes on loan, and to the caller's runner, instead of to the
/// first who waits.
template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::lends(std::uint32_t& state) noexcept {
    runner* me = runner::current();
    if (me == nullptr || me->passed_line != this || me->passed_step != Pace::step(*me)) {
        heat_ = 0; // somebody had it for more than a moment, or nobody else wanted it until now
        return false;
    }
    loan* l = heat_ < Pace::hot ? nullptr : me->unused_loan();
    waiter* next = l == nullptr ? nullptr : line_.first_of(*me, Pace::reach);
    if (next == nullptr)
        return false;
    std::int64_t now = Pace::now(*me);
    if (slice_ends_ == 0) {
        slice_ends_ = now + Pace::slice;
    } else if (now >= slice_ends_) {
        slice_ends_ = 0;
        return false;
    }
    l->line = this;
    l->settle = settle_loan;
    l->next = next;
    l->since = now;
    l->burst = l->left = 1;
    l->given = false;
    l->called = nullptr;
    me->settle_later(*l);
    state |= on_loan;
    return true;
}

/// Whether the first of all who wait can go on at once. While its thread sleeps or is busy nobody
/// loses anything if the borrower goes on, so it is called. It comes and looks out for a moment; if
/// it has gone to sleep again meanwhile, because the borrower was held up, it is called again.
template <class Atomics, class Pace>
bool turnstile<Atomics, Pace>::next_is_there(loan& l, std::int64_t now) const noexcept {
    runner& home = line_.first()->home();
    if (&home == runner::current())
        return true;
    if (l.called != &home)
        l.patient_until = now + Pace::patience;
    else if (l.answers == home.answers())
        return false;
    else if (Pace::is_awake(home) || now >= l.patient_until)
        return true;
    l.called = &home;
    l.answers = home.answers();
    home.call(); // with the line: so one of its strands waits here until it has been called
    return false;
}

/// There is a permit, and a burst is over, or those who were ready have had their turn.
template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::settle(loan& l, std::uint32_t& state, woken_list& woken) noexcept {
    runner& me = *runner::current();
    std::int64_t now = Pace::now(me);
    if (now >= slice_ends_ && next_is_there(l, now)) {
        slice_ends_ = 0;
        end(l, state);
        hand_out(state, woken);
        return;
    }
    l.burst = now - l.since < Pace::quick ? std::min(2 * l.burst, Pace::longest_burst)
                                          : std::max(l.burst / 2, 1u);
    l.left = l.burst;
    l.since = now;
    while (l.next != nullptr) {
        waiter& w = *l.next;
        l.next = line_.next_of(w, me, Pace::reach);
        if (w.claim()) {
            woken.take(line_, w);
            l.given = true;
            --state;
            break;
        }
        line_.remove(w); // it has got something elsewhere
    }
    if (l.next == nullptr) {
        end(l, state);
        hand_out(state, woken);
    }
}

template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::end(loan& l, std::uint32_t& state) noexcept {
    l.line = nullptr;
    state &= ~on_loan;
}

template <class Atomics, class Pace>
void turnstile<Atomics, Pace>::settle_loan(loan& l, bool at_once) noexcept {
    auto& self = *static_cast<turnstile*>(const_cast<void*>(l.line));
    woken_list woken;
    std::uint32_t state = self.lock();
    if (at_once) {
        self.end(l, state);
        self.hand_out(state, woken);
    } else if ((state & permits_bits) != 0) {
        self.settle(l, state, woken);
    } else if (l.given) {
        l.given = false; // who got it stands behind us
    } else {
        self.end(l, state); // who has it has suspended: that takes longer than a moment
        self.heat_ = 0;
    }
    bool goes_on = l.line != nullptr;
    self.unlock(state); // the last look at this object
    woken.wake();
    if (goes_on)
        runner::current()->settle_later(l);
}

extern template class turnstile<std_atomics>;

/// Waits at the turnstile of a primitive: of `Primitive::taken` permits each, called
/// `Primitive::name` in dumps; the turnstile is its member `line_`.
template <class Primitive>
class [[nodiscard]] pass_op : public line_op<pass_op<Primitive>> {
public:
    static constexpr const char* name = Primitive::name;
    static constexpr bool selectable = true;

    explicit pass_op(Primitive& p, const operation_type& t = line_kind<pass_op>) noexcept
        : line_op<pass_op>(t), at_(&p) {}

    bool pass_now() noexcept { return at_->line_.try_pass(Primitive::taken); }
    bool line_up() noexcept { return at_->line_.enter(*this, Primitive::taken); }
    bool leave() noexcept { return at_->line_.leave(*this); }
    void await_resume() const noexcept { static_cast<void>(result(true)); }
    [[nodiscard]] bool result(bool passed) const noexcept {
        if (Primitive::taken != 0 && passed && this->has_begun())
            at_->line_.note_passed();
        return passed;
    }

protected:
    Primitive* at_;
};

/// The same with a guard as its result; an empty one if a deadline came before.
template <class Primitive>
class [[nodiscard]] scoped_op : public pass_op<Primitive> {
public:
    explicit scoped_op(Primitive& p, const operation_type& t = line_kind<scoped_op>) noexcept
        : pass_op<Primitive>(p, t) {}

    guard<Primitive> await_resume() const noexcept { return result(true); }
    [[nodiscard]] guard<Primitive> result(bool passed) const noexcept {
        return pass_op<Primitive>::result(passed) ? guard<Primitive>(*this->at_)
                                                  : guard<Primitive>();
    }
};

} // namespace weft::detail
