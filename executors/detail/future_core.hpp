// SPDX-License-Identifier: MIT
// How far the work of a future has come, those who wait for its end, and those who are told of it.
// Knows nothing of results: whoever has written one says so with finish().
//
//     template <class Atomics>
//     void work(weft::detail::future_core<Atomics>& c, int& result) {
//         if (c.start() != weft::detail::future_phase::pending)
//             return;                 // cancelled before
//         result = 42;
//         c.finish(false);            // whoever sees the end sees the 42
//     }
//
// What decides is one word: pending becomes running, claimed or cancelled by compare-and-swap, so
// each future ends once. The line and the list have a lock. Its holder looks at the word, so nobody
// joins them once the end has been told; that everybody who joined before is told follows from the
// end taking both under the lock after the word has changed.
//
// Threads:      all members, from any thread. Who calls finish, cancel or give_up holds the core
//               until that returns.
// Cancellation: a waiter that is stopped leaves the line without a trace.
// Errors:       none; every member is noexcept.
// Cost:         start is one compare-and-swap; the end a store, the lock, and O(waiters).
// Source:       none.
#pragma once
#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/end_listener.hpp>
#include <weft/runtime/detail/wait_list.hpp>

#include <cstdint>

namespace weft::detail {

enum class future_phase : std::uint32_t {
    pending,
    running,
    claimed, // somebody is about to write the result
    cancelled,
    finished,
};

template <class Atomics = std_atomics>
class future_core {
public:
    future_core() noexcept = default;
    future_core(const future_core&) = delete;
    future_core& operator=(const future_core&) = delete;

    /// acquire: pairs with the release in finish(), so that the result is seen with the end.
    [[nodiscard]] future_phase phase() const noexcept {
        return word_.load(std::memory_order_acquire);
    }
    [[nodiscard]] bool ended() const noexcept { return is_end(phase()); }

    /// Makes pending running. Gives what it was before.
    future_phase start() noexcept {
        future_phase before = future_phase::pending;
        // relaxed: what is to be run came to the caller by other ways.
        word_.compare_exchange_strong(before, future_phase::running, std::memory_order_relaxed);
        return before;
    }

    /// For those who may not be the only ones that want to give the result. Gives what it was
    /// before: with pending and running, the result is the caller's to write.
    future_phase claim() noexcept {
        future_phase before = word_.load(std::memory_order_relaxed);
        while (before == future_phase::pending || before == future_phase::running) {
            // acquire: pairs with the release in unclaim(): a result that came to nothing is gone.
            if (word_.compare_exchange_weak(before, future_phase::claimed,
                                            std::memory_order_acquire, std::memory_order_relaxed))
                break;
        }
        return before;
    }
    /// There was no result after all.
    void unclaim(future_phase before) noexcept { word_.store(before, std::memory_order_release); }

    /// The result, or the error, is there. Precondition: it runs or is claimed, by the caller.
    void finish(bool failed) noexcept {
        word_.store(future_phase::finished, std::memory_order_release);
        tell_all(failed);
    }

    /// Ends it if it is pending. Gives what it was before.
    future_phase cancel() noexcept {
        future_phase before = future_phase::pending;
        // relaxed: there is no result to be seen with it.
        if (word_.compare_exchange_strong(before, future_phase::cancelled,
                                          std::memory_order_relaxed))
            tell_all(false);
        return before;
    }
    /// There will be no result. Precondition: it runs, and the caller is who runs it.
    void give_up() noexcept {
        word_.store(future_phase::cancelled, std::memory_order_relaxed);
        tell_all(false);
    }

    /// Puts a waiter into the line. False: there is nothing to wait for.
    bool enter(waiter& w) noexcept {
        short_hold held(lock_);
        // relaxed, as in listen: whoever wants to see the result looks at phase().
        if (is_end(word_.load(std::memory_order_relaxed)))
            return !w.claim();
        line_.push(w);
        return true;
    }
    /// Takes it out. False: it has been woken.
    bool leave(waiter& w) noexcept {
        short_hold held(lock_);
        return line_.remove_if_there(w);
    }

    /// Has somebody told of the end, in order of coming, on the thread that ends it. False: it has
    /// ended.
    bool listen(end_listener& l) noexcept {
        short_hold held(lock_);
        if (is_end(word_.load(std::memory_order_relaxed)))
            return false;
        listeners_.push(l);
        return true;
    }
    /// False: it has been told, or is about to be.
    bool stop_listening(end_listener& l) noexcept {
        short_hold held(lock_);
        // relaxed: if the list has been taken, the lock shows the end; if not, all that counts is
        // that the end has not been decided, or that who decided it will find the list as it is.
        if (is_end(word_.load(std::memory_order_relaxed)))
            return false;
        listeners_.remove(l);
        return true;
    }

private:
    static bool is_end(future_phase p) noexcept { return p >= future_phase::cancelled; }

    void tell_all(bool failed) noexcept {
        woken_list woken;
        end_listeners told;
        {
            short_hold held(lock_);
            woken.take_all(line_);
            told = listeners_.take();
        }
        woken.wake();
        told.tell_all(failed);
    }

    typename Atomics::template atomic<future_phase> word_{future_phase::pending};
    short_lock<Atomics> lock_;
    typename Atomics::template plain<wait_list> line_;
    typename Atomics::template plain<end_listeners> listeners_;
};

} // namespace weft::detail
