// SPDX-License-Identifier: MIT
// Resumes the strands of one thread: the ready queue and the trampoline on which coroutines hand
// over to each other without growing the stack. A loop is a runner; so is a worker of a pool.
//
// Threads:      one thread, except for `post`.
// Cancellation: unwinds stopped strands, innermost frame first, up to the scope that began them.
// Errors:       none: every member is noexcept. Cost: a push, a pop and a resumption each, no
//               allocation.
// Source:       none.
#pragma once
#include <weft/runtime/detail/frame_pool.hpp>
#include <weft/runtime/detail/loan.hpp>
#include <weft/runtime/detail/strand.hpp>

#include <atomic>
#include <cstdint>
#include <utility>

namespace weft {
class loop;
}

namespace weft::detail {

class timer_heap;

/// See task_trace.hpp.
extern std::atomic<bool> tasks_are_traced;
[[nodiscard]] inline bool is_traced() noexcept {
    return tasks_are_traced.load(std::memory_order_relaxed); // a hint
}
/// For those that run other strands than branches, before one's end is told.
void trace_end(strand& s) noexcept;

class runner {
public:
    using post_function = void (*)(runner&, work&) noexcept;
    using look_function = bool (*)(runner&) noexcept;

    runner(post_function f, loop* io, timer_heap* timers = nullptr) noexcept
        : post_(f), io_(io), timers_(timers) {}
    runner(const runner&) = delete;
    runner& operator=(const runner&) = delete;

    /// The runner of the calling thread, or null.
    static runner* current() noexcept { return this_thread_state.current_runner; }

    /// Queues work on the calling thread's own runner.
    void push(work& w) noexcept { ready_.push(w); }

    /// Queues a strand that has what it waited for. Only on the runner's thread.
    void wake(strand& s) noexcept {
        s.flags |= strand::scheduled;
        ready_.push(s);
    }

    /// Queues work from any thread.
    void post(work& w) noexcept { post_(*this, w); }

    /// From within a coroutine that is just suspending: resume `frame` next, as part of `s`.
    void transfer(strand& s, std::coroutine_handle<> frame) noexcept {
        s.leaf = nullptr;
        s.flags &= static_cast<std::uint8_t>(~strand::cancelled);
        current_strand = &s;
        next_frame = frame;
    }

    /// From within a coroutine that is just suspending: unwind `s` next.
    void transfer_unwind(strand& s) noexcept {
        s.leaf = nullptr;
        current_strand = &s;
        next_unwind = &s;
    }

    [[gnu::always_inline]] void run(work& w) noexcept {
        if (w.run != nullptr) {
            current_strand = nullptr;
            w.run(w);
        } else {
            resume(static_cast<strand&>(w));
        }
        drain_transfers();
    }

    /// The same, and tells of it.
    void run_traced(work& w) noexcept;

    [[nodiscard]] bool has_ready() const noexcept { return !ready_.empty(); }
    [[nodiscard]] work& pop_ready() noexcept { return ready_.pop(); }
    /// The loop that does I/O for this thread; null: there is none.
    [[nodiscard]] loop* io() const noexcept { return io_; }
    /// What waits on this thread for its time.
    [[nodiscard]] timer_heap& timers() const noexcept { return *timers_; }
    /// A thread of a pool: a fork_runner.
    [[nodiscard]] bool belongs_to_pool() const noexcept { return look_ != nullptr; }
    /// Where stops may come from other threads: see whether one has come for the current strand.
    /// True: something else waits for this thread, which only what it runs can let it come to.
    bool look_for_stop() noexcept { return look_ != nullptr && look_(*this); }

    // What is on loan to it.
    [[nodiscard]] loan* loan_of(const void* line) noexcept {
        for (loan& l : loans_) {
            if (l.line == line)
                return &l;
        }
        return nullptr;
    }
    /// One for another line; null if it has none left.
    [[nodiscard]] loan* unused_loan() noexcept { return loan_of(nullptr); }
    /// Settles it after those who are ready now.
    void settle_later(loan& l) noexcept { l.queue_in(ready_); }
    /// A runner that stops running has nothing on loan.
    void settle_all() noexcept {
        for (loan& l : loans_) {
            if (l.line != nullptr)
                l.settle(l, true);
        }
    }

    /// From any thread, while one of its strands waits and can't be woken by another: it is to be
    /// there, because something comes soon. answers() changes when it is.
    void call() noexcept {
        // acquire: pairs with the release in answer(), after which `call_` is in no queue
        if (!called_.exchange(true, std::memory_order_acquire))
            post(call_);
    }
    [[nodiscard]] std::uint32_t answers() const noexcept {
        return answers_.load(std::memory_order_relaxed); // what comes is published by a post
    }
    /// Whether it was called and didn't ask since.
    [[nodiscard]] bool expects_mail() noexcept { return std::exchange(expects_mail_, false); }

    // The line in which one of its strands waited last, and in which resumption that one went on.
    const void* passed_line = nullptr;
    std::uint64_t passed_step = 0;

    // The trampoline's registers. A coroutine that suspends or ends sets one of the first two at
    // most.
    std::coroutine_handle<> next_frame;
    strand* next_unwind = nullptr;
    strand* current_strand = nullptr;
    int depth = 0; // of coroutines that started each other inline

    /// How deep coroutines start each other on the stack; from there on the trampoline does it.
    static constexpr int max_depth = 32;

protected:
    void drain_transfers() noexcept {
        while (true) {
            if (auto frame = next_frame) {
                next_frame = nullptr;
                frame.resume();
            } else if (next_unwind != nullptr) [[unlikely]] {
                strand* s = next_unwind;
                next_unwind = nullptr;
                unwind(*s);
            } else {
                break;
            }
        }
    }

    void drain_traced(strand* on) noexcept;

    work_queue ready_;
    look_function look_ = nullptr;

private:
    void resume(strand& s) noexcept {
        std::uint8_t f = s.flags;
        s.flags = f & static_cast<std::uint8_t>(
                          ~(strand::scheduled | strand::unstarted | strand::cancelled));
        s.leaf = nullptr;
        current_strand = &s;
        constexpr std::uint8_t never_run = strand::unstarted | strand::stopping;
        if ((f & strand::unwinding) != 0 || (f & never_run) == never_run) [[unlikely]]
            unwind(s);
        else
            s.frame.resume();
    }

    void unwind(strand& s) noexcept;

    struct call_work : work {
        explicit call_work(runner& r) noexcept : work(answer), called(r) {}
        static void answer(work& w) noexcept { static_cast<call_work&>(w).called.answer(); }
        runner& called;
    };
    void answer() noexcept {
        expects_mail_ = true;
        called_.store(false, std::memory_order_release); // pairs with the acquire in call()
        answers_.store(answers() + 1, std::memory_order_relaxed);
    }

    post_function post_;
    loop* io_;
    timer_heap* timers_;
    loan loans_[4]; // more locks than one program has hot at once
    call_work call_{*this};
    std::atomic<bool> called_{false};
    std::atomic<std::uint32_t> answers_{0};
    bool expects_mail_ = false;
};

/// Makes a strand ready from any thread, by the shortest way. The strand must have been claimed by
/// the caller: only one party may wake it for one suspension.
inline void wake(strand& s) noexcept {
    runner* r = s.run_by;
    if (r == runner::current())
        r->wake(s);
    else
        r->post(s);
}

} // namespace weft::detail
