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
// Threads:      all members, from any thread.
// Cancellation: see wait_list: who is stopped leaves the line, and was given nothing.
// Errors:       none; every member is noexcept.
// Cost:         16 bytes and the word. O(1) but for release(n) and open(), which are O(woken).
// Source:       the split into a word for the fast way and a list for the slow one is futex lore;
//               handing over instead of giving back is what makes it fair.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/wait_list.hpp>
#include <weft/sync/guard.hpp>

namespace weft::detail {

template <class Atomics = std_atomics>
class turnstile {
public:
    /// The most permits that there can be.
    static constexpr std::uint32_t most = (1u << 30) - 1;

    explicit turnstile(std::uint32_t permits) noexcept : word_(permits) {}
    turnstile(const turnstile&) = delete;
    turnstile& operator=(const turnstile&) = delete;

    /// Takes `taken` permits if there is one. Never waits.
    bool try_pass(std::uint32_t taken) noexcept {
        // acquire: pairs with the release of whoever gave the permit. What isn't used up is taken
        // by the load already.
        std::uint32_t seen = word_.load(std::memory_order_acquire);
        for (unsigned round = 0; (seen & permits_bits) != 0;) {
            if (taken == 0)
                return true;
            if ((seen & busy) != 0) {
                Atomics::pause(round++);
                seen = word_.load(std::memory_order_relaxed);
            } else if (word_.compare_exchange_weak(seen, seen - taken, std::memory_order_acquire,
                                                   std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
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
        return release_to_line(n, limit);
    }

    /// Lets everybody through who waits, and everybody who comes: there is one permit.
    void open() noexcept;
    /// There is no permit.
    void close() noexcept;

    // Snapshots.
    [[nodiscard]] std::uint32_t permits() const noexcept {
        return word_.load(std::memory_order_acquire) & permits_bits; // as in try_pass
    }
    /// The same, and acquires what everybody wrote who has given a permit until now.
    [[nodiscard]] std::uint32_t settled_permits() const noexcept {
        std::uint32_t permits = lock();
        unlock(permits);
        return permits;
    }
    [[nodiscard]] bool has_waiters() const noexcept {
        return (word_.load(std::memory_order_relaxed) & waited_for) != 0;
    }
    /// How many wait.
    [[nodiscard]] std::size_t waiting() const noexcept;

private:
    static constexpr std::uint32_t busy = 1u << 31;       // somebody has the line
    static constexpr std::uint32_t waited_for = 1u << 30; // somebody is in the line
    static constexpr std::uint32_t permits_bits = most;

    /// Until unlock() the line is the caller's, and nobody else changes the word.
    std::uint32_t lock() const noexcept;
    /// Gives the line back; the word says anew whether it is empty.
    void unlock(std::uint32_t permits) const noexcept;
    bool release_to_line(std::uint32_t n, std::uint32_t limit) noexcept;

    mutable typename Atomics::template atomic<std::uint32_t> word_; // to count is to lock
    typename Atomics::template plain<wait_list> line_;
};

template <class Atomics>
std::uint32_t turnstile<Atomics>::lock() const noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (unsigned round = 0;;) {
        if ((seen & busy) != 0) {
            Atomics::pause(round++);
            seen = word_.load(std::memory_order_relaxed);
        } else if (word_.compare_exchange_weak(seen, seen | busy, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
            return seen & permits_bits; // acquire: pairs with the release in unlock()
        }
    }
}

template <class Atomics>
void turnstile<Atomics>::unlock(std::uint32_t permits) const noexcept {
    word_.store(permits | (line_.empty() ? 0 : waited_for), std::memory_order_release);
}

template <class Atomics>
bool turnstile<Atomics>::enter(waiter& w, std::uint32_t taken) noexcept {
    std::uint32_t permits = lock();
    if (permits == 0)
        line_.push(w);
    bool passes = permits != 0 && w.claim();
    unlock(passes ? permits - taken : permits);
    return !passes;
}

template <class Atomics>
bool turnstile<Atomics>::leave(waiter& w) noexcept {
    std::uint32_t permits = lock();
    bool waited = line_.remove_if_there(w);
    unlock(permits);
    return waited;
}

template <class Atomics>
bool turnstile<Atomics>::stands(const waiter& w) const noexcept {
    std::uint32_t permits = lock();
    bool waits = line_.stands(w);
    unlock(permits);
    return waits;
}

template <class Atomics>
bool turnstile<Atomics>::release_to_line(std::uint32_t n, std::uint32_t limit) noexcept {
    woken_list woken;
    std::uint32_t permits = lock();
    bool fits = n <= limit - permits;
    if (fits) {
        for (; n != 0; --n) {
            waiter* first = line_.claim_first();
            if (first == nullptr)
                break;
            woken.take(line_, *first);
        }
        permits += n;
    }
    unlock(permits); // the last look at this object: who is woken may destroy it
    woken.wake();
    return fits;
}

template <class Atomics>
void turnstile<Atomics>::open() noexcept {
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

template <class Atomics>
void turnstile<Atomics>::close() noexcept {
    lock();
    unlock(0);
}

template <class Atomics>
std::size_t turnstile<Atomics>::waiting() const noexcept {
    std::uint32_t permits = lock();
    std::size_t n = line_.size();
    unlock(permits);
    return n;
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
    void await_resume() const noexcept {}
    [[nodiscard]] bool result(bool passed) const noexcept { return passed; }

protected:
    Primitive* at_;
};

/// The same with a guard as its result; an empty one if a deadline came before.
template <class Primitive>
class [[nodiscard]] scoped_op : public pass_op<Primitive> {
public:
    explicit scoped_op(Primitive& p, const operation_type& t = line_kind<scoped_op>) noexcept
        : pass_op<Primitive>(p, t) {}

    guard<Primitive> await_resume() const noexcept { return guard<Primitive>(*this->at_); }
    [[nodiscard]] guard<Primitive> result(bool passed) const noexcept {
        return passed ? guard<Primitive>(*this->at_) : guard<Primitive>();
    }
};

} // namespace weft::detail
