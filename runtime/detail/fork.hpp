// SPDX-License-Identifier: MIT
// Fork and join on the threads of a pool: how when_all runs there.
//
// A forking coroutine puts all of its children but the first into the deque of its thread and runs
// the first itself, as if it awaited it. When that has ended it takes back the next, and so on; a
// child that wasn't stolen meanwhile costs a push and a pop. Nothing of the strand is touched by
// anybody else, and a child that is run in this way belongs to the strand of its parent. A thief
// makes a strand for what it steals. Where something was stolen, all count down at the end, and the
// last one goes on with the parent: a strand that waits for its forks wakes up on any thread of the
// pool. One that waits for anything else stays where it is; so all other operations and scopes
// find what they expect, a strand that belongs to one thread.
//
// Threads:      as said. `stop_point` may be read by any, and set by any.
// Cancellation: stops reach forked children through a chain of stop points, one for each fork; who
//               sets one announces that to all threads of the pool. They look when they fork, when
//               they are asked (checkpoint) and before they go to sleep.
// Errors:       std::bad_alloc when a fork begins.
// Cost:         about ten stores for a fork whose children aren't stolen, and no atomic exchange; a
//               steal makes one system call (see work_deque.hpp) and allocates a strand from the
//               recycler.
// Source:       child stealing with a counter as in TBB; the untouched counter where nothing was
//               stolen after Cilk 5 (Frigo, Leiserson and Randall, 1998).
#pragma once
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/work_deque.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weft::detail {

class fork_runner;
class fork_scope;

/// Where a stop is asked of everything below, on whatever thread that runs.
struct stop_point {
    std::atomic<bool> asked{false};
    /// When `news` had this value, neither here nor above a stop was asked. Relaxed: a hint that
    /// spares a walk, and whoever sets `asked` changes the news afterwards.
    mutable std::atomic<std::uint32_t> clean_at{0};
    const stop_point* above = nullptr; // lives longer

    /// Precondition: `news` was read by the caller, with acquire.
    [[nodiscard]] bool reached(std::uint32_t news) const noexcept {
        const stop_point* p = this;
        for (; p != nullptr && p->clean_at.load(std::memory_order_relaxed) != news; p = p->above)
            if (p->asked.load(std::memory_order_acquire)) // pairs with the release of who asked
                return true;
        for (const stop_point* q = this; q != p; q = q->above)
            q->clean_at.store(news, std::memory_order_relaxed);
        return false;
    }
};

/// A strand on a pool: the root of what was sent there, or what a thief makes of a child.
struct fork_strand : strand {
    fork_strand() noexcept { roams = true; }

    stop_point* stops = nullptr; // the innermost
    // When what it runs will be stopped, as far as those know who started it: a time_point.
    std::int64_t deadline = INT64_MAX;
    // Its thread hasn't come out of the coroutine yet that waits for its forks: who goes on with it
    // waits for that.
    std::atomic<bool> on_stack{false};
    // Those that belong to the same thread.
    fork_strand* next_here = nullptr;
    fork_strand* previous_here = nullptr;
};

struct fork_child : continuation {
    // Not all to null: there are many of these, and they are soon filled.
    fork_child() noexcept : continuation(ended_on_stack) {}

    promise_base* root; // of the child's coroutine
    fork_scope* scope;  // null: it is no child of a fork; see start_anywhere

private:
    /// Whoever runs it on its stack sees that it has ended.
    static bool ended_on_stack(continuation&, ending) noexcept { return false; }
};

/// A thread of a pool.
class fork_runner : public runner {
public:
    using help_function = void (*)(fork_runner&) noexcept;
    using wanted_function = bool (*)(fork_runner&) noexcept;

    /// `sleepers`: who searches in the lower half, who sleeps in the upper one; `help` is called
    /// when there is work for one who sleeps, `announce` when a stop point was set. `news` counts
    /// these. `wanted` tells whether something waits that this thread alone can do.
    fork_runner(post_function mail, timer_heap& timers, const std::atomic<std::uint32_t>& sleepers,
                const std::atomic<std::uint32_t>& news, help_function help, help_function announce,
                wanted_function wanted) noexcept;
    ~fork_runner();

    /// Runs a strand of the pool from its beginning.
    void begin_strand(fork_strand& s) noexcept;
    /// It has ended, or goes elsewhere.
    void leave_here(fork_strand& s) noexcept;
    /// Runs a child that was taken from a deque, this thread's or another's.
    void run_stolen(fork_child& c) noexcept;
    /// False: there is no memory for the strand of a stolen child. Ask later.
    [[nodiscard]] bool can_steal() noexcept;
    /// Passes on the stops that were announced. Only while no strand runs.
    void pass_stops_on() noexcept;
    [[nodiscard]] bool has_stops_to_pass_on() const noexcept {
        return news_.load(std::memory_order_seq_cst) != passed_on_; // see idle_workers
    }
    /// After each run(): whoever waits for the thread to be out of the strand may have it. The next
    /// strand looks for stops by itself.
    void came_out() noexcept {
        news_seen_ = news_.load(std::memory_order_relaxed) - 1;
        if (leaving_ != nullptr) {
            std::exchange(leaving_, nullptr)
                ->on_stack.store(false, std::memory_order_release); // pairs with take_over()
        }
    }
    /// Puts something where all threads find it. Precondition: there is room for it in the deque,
    /// and no fork of this thread is going to take its children back.
    void share(fork_child& c) noexcept {
        deque.push(c);
        call_for_help();
    }
    /// A stop point was set.
    void tell_of_stop() noexcept { announce_(*this); }
    /// Whether a strand belongs to this thread, which has to be there for it.
    [[nodiscard]] bool has_strands() const noexcept { return here_ != nullptr; }

    work_deque<fork_child> deque;

private:
    friend class fork_scope;

    void come_here(fork_strand& s) noexcept;
    void take_over(fork_strand& s) noexcept;
    static bool look(runner& r) noexcept;
    [[nodiscard]] bool is_stopped(const fork_strand& s) const noexcept {
        // acquire: pairs with who announced
        return s.stops->reached(news_.load(std::memory_order_acquire));
    }
    [[nodiscard]] bool has_news() const noexcept {
        return news_.load(std::memory_order_relaxed) != news_seen_; // a hint
    }
    void call_for_help() noexcept {
        // seq_cst, with the push before: see idle_workers
        std::uint32_t n = sleepers_.load(std::memory_order_seq_cst);
        if (n >= 1u << 16 && n % (1u << 16) == 0) [[unlikely]]
            help_(*this);
    }

    const std::atomic<std::uint32_t>& sleepers_;
    const std::atomic<std::uint32_t>& news_;
    help_function help_;
    help_function announce_;
    wanted_function wanted_;
    std::uint32_t news_seen_ = 0;    // by the strand that runs
    std::uint32_t passed_on_ = 0;    // to those that wait here
    fork_strand* here_ = nullptr;    // those that belong here
    fork_strand* leaving_ = nullptr; // see on_stack
    fork_strand* spare_ = nullptr;   // for the next steal
};

/// Runs what start_anywhere has put into a deque.
void run_carried(fork_child& c, fork_runner& here) noexcept;

/// Whether the caller is a coroutine whose children others may steal.
inline bool can_fork() noexcept {
    runner* r = runner::current();
    return r != nullptr && r->current_strand != nullptr && r->current_strand->roams;
}

/// What a coroutine waits on while its children run. The part without types.
class fork_scope : private stop_point {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    using end_function = continuation::end_function;

    fork_scope(const fork_scope&) = delete;
    fork_scope& operator=(const fork_scope&) = delete;

    /// The first to fail; `none` if there was none.
    [[nodiscard]] std::uint32_t first() const noexcept {
        return first_.load(std::memory_order_relaxed); // all have ended
    }
    [[nodiscard]] std::source_location awaited_at() const noexcept { return awaited_at_; }

protected:
    /// `ends`: what is called at the end of each child, or one function for all of them.
    fork_scope(std::uint32_t n, const end_function* ends, bool one_for_all) noexcept
        : count_(n), ends_(ends), one_end_(one_for_all) {}
    ~fork_scope() = default;

    /// The first half of await_suspend. False: a stop is pending, and the frames get unwound.
    template <weft_promise P>
    bool begin(std::coroutine_handle<P> h, std::source_location where) {
        promise_base& p = h.promise();
        strand_ = static_cast<fork_strand*>(p.in);
        frame_ = h;
        promise_ = &p;
        awaited_at_ = where;
        auto& r = static_cast<fork_runner&>(*strand_->run_by);
        if (r.has_news() || strand_->stop_pending()) [[unlikely]] {
            if (stop_here(r))
                return false;
        }
        if (!r.deque.reserve(count_)) [[unlikely]]
            throw std::bad_alloc();
        clean_at.store(r.news_seen_, std::memory_order_relaxed); // else we would not be here
        above = strand_->stops;
        strand_->stops = this;
        if (has_variables()) [[unlikely]]
            keep_variables();
        return true;
    }

    /// The second half; gives whether the coroutine stays suspended. `failed(i)` tells whether
    /// child i, which has ended, did so with an error.
    template <class Failed>
    bool run(Failed failed) noexcept {
        auto& r = static_cast<fork_runner&>(*strand_->run_by);
        for (std::uint32_t i = count_; --i != 0;)
            r.deque.push(children_[i]);
        if (count_ != 1)
            r.call_for_help();
        for (std::uint32_t i = 0;;) {
            fork_child& c = children_[i];
            c.root->returns_to = &c;
            c.root->in = strand_;
            if (r.depth >= runner::max_depth) [[unlikely]] {
                hand_out(i + 1);
                r.transfer(*strand_, c.child);
                return true;
            }
            ++r.depth;
            c.child.resume();
            --r.depth;
            if (!c.child.done()) [[unlikely]] { // it waits, or is being stopped
                hand_out(i + 1);
                return true;
            }
            if (has_variables()) [[unlikely]]
                restore_variables();
            if (failed(i)) [[unlikely]]
                note_failure(i, r);
            if (++i == count_)
                break;
            fork_child* next = r.deque.pop();
            if (next == nullptr) { // stolen, and so are those behind it
                handed_out_ = count_ - i;
                return !join(r) || leave(r);
            }
            WEFT_ASSERT(next == &children_[i], "a deque gave back another child than expected");
            if (asked.load(std::memory_order_relaxed)) [[unlikely]] { // set by us, or a hint
                for (;; next = r.deque.pop()) {
                    if (next == nullptr) {
                        handed_out_ = count_ - i;
                        return !join(r) || leave(r);
                    }
                    drop(*next);
                    if (++i == count_)
                        return leave(r);
                }
            }
        }
        strand_->stops = const_cast<stop_point*>(above);
        if (kept_ || special_.load(std::memory_order_relaxed)) [[unlikely]] // set by this thread
            return leave(r);
        return false;
    }

    /// A child has ended that wasn't run on the stack of its parent.
    static void child_ended(fork_child& c, ending how, bool failed) noexcept;

    fork_child* children_ = nullptr; // set by who has them

private:
    friend class fork_runner;

    [[nodiscard]] context_data* context() const noexcept { return kept_ ? context_ : nullptr; }
    [[nodiscard]] bool stop_here(fork_runner& r) noexcept;
    void suspend() noexcept;
    void hand_out(std::uint32_t first) noexcept;
    [[nodiscard]] bool join(fork_runner& r) noexcept;
    [[nodiscard]] bool leave(fork_runner& r) noexcept;
    void go_on(fork_runner& r) noexcept;
    void drop(fork_child& c) noexcept;
    void note_failure(std::uint32_t i, fork_runner& r) noexcept;
    [[nodiscard]] bool has_variables() const noexcept {
        return strand_->context != nullptr || strand_->identity != 0 || kept_;
    }
    void keep_variables() noexcept;
    void restore_variables() noexcept;
    void give_back_variables() noexcept;

    [[nodiscard]] end_function end_of(const fork_child& c) const noexcept {
        return ends_[one_end_ ? 0 : &c - children_];
    }

    std::uint32_t count_;
    std::uint32_t handed_out_ = 0; // children that others run, or will
    const end_function* ends_;
    fork_strand* strand_ = nullptr; // of the coroutine that waits
    std::coroutine_handle<> frame_;
    promise_base* promise_ = nullptr;
    std::source_location awaited_at_;
    // What was handed out counts down from 0; who waits adds their number, and waits if that isn't
    // 0.
    std::atomic<std::int32_t> left_{0};
    std::atomic<std::uint32_t> first_{none};
    std::atomic<bool> stopped_{false}; // a child was
    std::atomic<bool> special_{false}; // something failed or was stopped
    bool one_end_;
    bool kept_ = false;
    // Of the parent's strand, while children run in it, if anything was kept.
    bool own_context_;
    context_data* context_; // with a reference
    std::uint64_t identity_;
};

} // namespace weft::detail
