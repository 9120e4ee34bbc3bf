// SPDX-License-Identifier: MIT
// Waiting for a word in shared memory to change, in another process too: a futex that is awaited.
//
//     weft::task<> pass(std::atomic<std::uint32_t>& gate) {           // 0: shut
//         while (gate.load(std::memory_order_acquire) == 0)
//             co_await weft::detail::futex_wait(gate, 0);
//     }
//     void open(std::atomic<std::uint32_t>& gate) {
//         gate.store(1, std::memory_order_release);
//         weft::detail::futex_wake(gate, weft::detail::everybody);
//     }
//
// What is certain, and nothing else is:
// - If the word isn't `expected` when the kernel looks at it, the wait ends. The look and falling
//   asleep are one step for those who wake: who changes the word first and then wakes misses
//   nobody. The kernel looks when the loop next enters it, not within co_await.
// - A wake-up ends up to n waits that were asleep, in the order in which these fell asleep, whether
//   they sleep in a ring, in a helper's thread or in futex(2). A loop that sleeps there itself, as
//   it waits for nothing else, falls asleep anew when mail or a timer has ended its sleep.
// - A wait also ends for no reason. What it gives is a hint; the state is in the word: look again.
// - It orders no memory. Load the word with acquire, store it with release.
// - A wait that is stopped leaves no trace: a wake-up that it had used up in the kernel goes on to
//   the next one. One that had ended before the stop came goes on, as everywhere, and whoever drops
//   what it gives (in when_any) has to pass the wake-up on: futex_wake(word, 1).
// - A process that is killed while one of its waits had been woken and hadn't gone on takes that
//   wake-up with it. Whoever shares memory with processes that may be killed looks at the word from
//   time to time (with_timeout around the wait).
//
// Any memory will do, shared or not; all processes mean the same word, at whichever address. It
// must stay mapped until the wait has ended.
//
// Threads:      the loop's, also that of sync_wait. futex_wake from any, and in any process.
// Cancellation: at once, or when the kernel has let go.
// Errors:       std::bad_alloc as io_operation's; std::system_error if the kernel has neither a
//               ring operation for it nor futex_waitv, or no thread can be made to call that;
//               state_error on a thread without a loop. futex_wake: none.
// Cost:         one request, without allocation; of a loop that waits for nothing else, the system
//               call that it sleeps in. Kernels before 6.7 don't know the request: there a thread
//               of the process, "weft-futex", waits for up to 127 words and posts to the loops.
//               futex_wake is one system call: see who waits before.
// Source:       futex(2), futex_waitv(2), io_uring_prep_futex_wait(3).
#pragma once
#include <weft/runtime/detail/io_operation.hpp>
#include <weft/runtime/kernel.hpp>

#include <atomic>

namespace weft::detail {

struct futex_thread;
class futex_operation;

using futex_word = std::atomic<std::uint32_t>;
static_assert(sizeof(futex_word) == 4 && futex_word::is_always_lock_free);

/// The ring's operation, 6.7, as a feature that can be masked. Known once tried.
inline constexpr auto ring_futexes = static_cast<kernel_feature>(1u << 9);

/// A loop that waits for nothing but one word, and its mail, does so without its ring: a feature
/// that can be masked, too.
inline constexpr auto parked_futexes = static_cast<kernel_feature>(1u << 10);

inline constexpr int everybody = 0x7fffffff;

/// Wakes up to n of those who wait for the word. Gives how many.
int futex_wake(const futex_word& word, int n) noexcept;
/// How many sleep there now; a system call. A wait that its loop hasn't handed over isn't counted.
[[nodiscard]] int futex_sleepers(const futex_word& word) noexcept;

/// A wait where the ring has none: see impl/futex_thread.hpp.
struct futex_waiter : work {
    explicit futex_waiter(function f) noexcept : work(f) {}
    const futex_word* word = nullptr;
    runner* home = nullptr; // where `run` is posted at the end
    futex_operation* operation = nullptr;
    futex_thread* thread = nullptr;
    std::uint32_t expected = 0;
    std::uint32_t place = 0; // at the thread
    std::int32_t outcome = 0;
};

/// What waits for words, one after the other, as often as it wants.
class futex_operation : public io_operation {
public:
    /// 0: was woken. -EAGAIN: the word was another. -ECANCELED: disarmed. -EINTR: for no reason.
    /// Else an error.
    using end_function = void (*)(futex_operation&, std::int32_t result) noexcept;

    futex_operation(futex_operation&& other) noexcept // before it has begun
        : io_operation(std::move(other)), waiter_(told), end_(other.end_) {}

protected:
    futex_operation(const operation_type& t, end_function f) noexcept
        : io_operation(t, completed), waiter_(told), end_(f) {}
    ~futex_operation() = default;

    /// Begins to wait while `w` is `while_it_is`; the function is called at the end. Throws as said
    /// above.
    void arm(const futex_word& w, std::uint32_t while_it_is);
    /// Asks the wait to end. It does so within the call or later, with -ECANCELED or what came
    /// first.
    void disarm() noexcept;
    /// What it waits for, or has waited for last.
    [[nodiscard]] const futex_word& armed_word() const noexcept { return *waiter_.word; }
    [[nodiscard]] std::uint32_t armed_value() const noexcept { return waiter_.expected; }

private:
    friend class ::weft::loop;
    enum class place : std::uint8_t { kept, ring, thread };

    void hand_over();
    void hand_over_or_end() noexcept;
    static void completed(completion_target& t, std::int32_t r, std::uint32_t flags) noexcept;
    static void told(work& w) noexcept;

    futex_waiter waiter_;
    end_function end_;
    place where_ = place::ring;
    bool disarmed_ = false;
};

class [[nodiscard]] futex_wait_op : public futex_operation {
public:
    futex_wait_op(const futex_word& word, std::uint32_t expected) noexcept
        : futex_operation(kind, ended), at_(&word), while_(expected) {}
    futex_wait_op(futex_wait_op&&) = default;

    [[nodiscard]] bool await_ready() const noexcept {
        return at_->load(std::memory_order_relaxed) != while_; // a hint
    }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    /// Whether a wake-up ended it, as far as one can tell.
    bool await_resume() const {
        if (result_ < 0) [[unlikely]]
            check_end();
        return has_begun() && result_ == 0;
    }

private:
    void start();
    void check_end() const;
    static void ended(futex_operation& op, std::int32_t result) noexcept;
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;

    const futex_word* at_;
    std::uint32_t while_;
    std::int32_t result_ = 0;
    bool stopping_ = false;
};

/// Waits while the word is `expected`, until woken.
inline futex_wait_op futex_wait(const futex_word& word, std::uint32_t expected) noexcept {
    return futex_wait_op(word, expected);
}

} // namespace weft::detail
