// SPDX-License-Identifier: MIT
// The atomics that what is shared between threads is made of, as a parameter: a model checker puts
// its own in their place and decides who runs next. And the smallest lock, for a few instructions.
//
//     template <class Atomics = weft::detail::std_atomics>
//     class tally {
//     public:
//         void add(int n) noexcept {
//             weft::detail::short_hold held(lock_);
//             sum_ += n;
//         }
//
//     private:
//         weft::detail::short_lock<Atomics> lock_;
//         int sum_ = 0;
//     };
//
// Threads:      any.
// Cancellation: none: nobody waits here for another task, only for a few instructions of another
//               thread.
// Errors:       none; every member is noexcept.
// Cost:         short_lock: one exchange to take, one store to give back, four bytes.
// Source:       test-and-set with back-off after Anderson (1990); fences of which one side pays for
//               both after "Asymmetric Fences" (P1202, Goldblatt), by membarrier(2).
#pragma once
#include <atomic>
#include <cstdint>
#include <type_traits>

namespace weft::detail {

/// What a program uses.
struct std_atomics {
    template <class T>
    using atomic = std::atomic<T>;
    /// What isn't atomic, but guarded by something that is: the model checker watches it for races.
    template <class T>
    using plain = T;

    /// Lets another thread get on with something short: `round` counts the calls. First it burns a
    /// few cycles, then gives the processor away, in the end sleeps: the other one may have been
    /// suspended by the kernel, and may have a lower priority than we do.
    static void pause(unsigned round) noexcept;

    /// A store that its thread's next loads come after, as a sequentially consistent one, but only
    /// for those who call fence_all() between a store and a load of their own: of the two, one sees
    /// the other's store. It costs a plain store, and fence_all() a system call which makes every
    /// thread of the process pass a fence.
    template <class T>
    static void store_ahead(std::atomic<T>& to, std::type_identity_t<T> value) noexcept {
        if (fences_reach_all) [[likely]] {
            to.store(value, std::memory_order_release);
            std::atomic_signal_fence(std::memory_order_seq_cst); // the compiler keeps the order
        } else {
            to.store(value, std::memory_order_seq_cst);
        }
    }
    static void fence_all() noexcept;

    /// Before the first store_ahead(), by whoever makes the threads that use it: asks the kernel
    /// whether it does that. If it doesn't, store_ahead() has its order by itself.
    static void prepare_fences() noexcept;
    /// Changes only while no thread relies on it: see prepare_fences().
    static bool fences_reach_all;
};

/// Asks for the cache line, which is about to be written: to read it first would only bring a copy.
inline void fetch_to_write(const void* at) noexcept {
#if defined(__x86_64__)
    asm volatile("prefetchw (%0)" : : "r"(at)); // compilers make a plain prefetch of the builtin
#else
    __builtin_prefetch(at, 1);
#endif
}

/// Guards a few instructions. Who holds it neither waits nor suspends.
template <class Atomics = std_atomics>
class short_lock {
public:
    short_lock() noexcept = default;
    short_lock(const short_lock&) = delete;
    short_lock& operator=(const short_lock&) = delete;

    void lock() noexcept {
        // acquire: pairs with the release in unlock()
        if (word_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]]
            wait();
    }
    void unlock() noexcept { word_.store(0, std::memory_order_release); }

private:
    void wait() noexcept {
        unsigned round = 0;
        do {
            // Looks before it tries: a failing exchange would take the line from the holder.
            do
                Atomics::pause(round++);
            while (word_.load(std::memory_order_relaxed) != 0);
        } while (word_.exchange(1, std::memory_order_acquire) != 0); // pairs as in lock()
    }

    typename Atomics::template atomic<std::uint32_t> word_{0}; // 1: taken
};

/// Holds a short_lock from here to the end of the block. Instead of std::lock_guard, whose header
/// costs more than all of this.
template <class Atomics>
class [[nodiscard]] short_hold {
public:
    explicit short_hold(short_lock<Atomics>& l) noexcept : lock_(l) { l.lock(); }
    short_hold(const short_hold&) = delete;
    short_hold& operator=(const short_hold&) = delete;
    ~short_hold() { lock_.unlock(); }

private:
    short_lock<Atomics>& lock_;
};

} // namespace weft::detail
