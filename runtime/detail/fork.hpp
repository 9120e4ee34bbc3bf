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
    void run_stolen(promise_base& root) noexcept;
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
    void share(promise_base& root) noexcept {
        deque.push(root);
        call_for_help();
    }
    /// A stop point was set.
    void tell_of_stop() noexcept { announce_(*this); }
    /// Those that belong to this thread, which has to be there for them. On it.
    [[nodiscard]] const fork_strand* strands() const noexcept { return here_; }

    work_deque<promise_base> deque; // the roots of children

private:
    friend class fork_scope;
    friend struct stolen_strand;

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
        if (n >= 1u << 16) [[unlikely]] {
            if (n % (1u << 16) == 0)
                help_(*this);
        }
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

/// Runs what start_anywhere has put into a deque: its number is fork_scope::none.
void run_carried(promise_base& root, fork_runner& here) noexcept;

/// Whether the caller is a coroutine whose children others may steal.
inline bool can_fork() noexcept {
    runner* r = runner::current();
    return r != nullptr && r->current_strand != nullptr && r->current_strand->roams;
}

/// What a scope has to know of its children's types.
struct fork_type {
    /// Whether child i, which has ended, did so with an error.
    bool (*failed)(const fork_scope&, std::uint32_t i) noexcept;
    /// The frame of child i is gone.
    void (*forget)(fork_scope&, std::uint32_t i) noexcept;
};

/// What a coroutine waits on while its children run. The part without types. It is also where those
/// of them return to that run in the parent's strand: one after the other.
class fork_scope : private frame_continuation, private stop_point {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    fork_scope(const fork_scope&) = delete;
    fork_scope& operator=(const fork_scope&) = delete;

    /// The first to fail; `none` if there was none.
    [[nodiscard]] std::uint32_t first() const noexcept {
        return first_.load(std::memory_order_relaxed); // all have ended
    }
    /// Whether a child has failed or was stopped.
    [[nodiscard]] bool special() const noexcept {
        return special_.load(std::memory_order_relaxed); // all have ended
    }
    [[nodiscard]] std::source_location awaited_at() const noexcept { return awaiting_at; }

protected:
    fork_scope(std::uint32_t n, const fork_type& t) noexcept : count_(n), type_(t) {}
    ~fork_scope() = default;

    /// The first half of await_suspend. False: a stop is pending, and the frames get unwound.
    template <weft_promise P>
    [[gnu::always_inline]] bool begin(std::coroutine_handle<P> h, std::source_location where,
                                      std::uint32_t n) {
        promise = &h.promise();
        awaiting_at = where;
        strand_ = static_cast<fork_strand*>(promise->in);
        auto& r = static_cast<fork_runner&>(*strand_->run_by);
        if (r.has_news() || strand_->stop_pending()) [[unlikely]] {
            if (stop_here(r))
                return false;
        }
        if (!r.deque.reserve(n)) [[unlikely]]
            throw std::bad_alloc();
        clean_at.store(r.news_seen_, std::memory_order_relaxed); // else we would not be here
        above = strand_->stops;
        strand_->stops = this;
        if (strand_->context != nullptr || strand_->identity != 0) [[unlikely]]
            keep_variables();
        return true;
    }

    /// The second half; gives whether the coroutine stays suspended. `of.root(i)` is the promise of
    /// child i, and `of.failed(i)` says whether it has ended with an error. `n`: the number of
    /// children once more, which the compiler may know here.
    template <class Children>
    [[gnu::always_inline]] bool run(const Children& of, std::uint32_t n) noexcept {
        fork_strand& s = *strand_;
        auto& r = static_cast<fork_runner&>(*s.run_by);
        if (n != 1) {
            r.deque.push(n - 1, [this, &of, n](std::size_t k) -> promise_base& {
                auto i = static_cast<std::uint32_t>(n - 1 - k);
                promise_base& root = of.root(i);
                root.returns_to = this;
                root.set_number(i);
                return root;
            });
            r.call_for_help();
        }
        if (r.depth >= runner::max_depth) [[unlikely]]
            return run_first_later(r, of.root(0));
        ++r.depth;
        bool look_twice = kept_;
        promise_base* root = &of.root(0);
        for (std::uint32_t i = 0;;) {
            root->returns_to = this;
            root->in = &s;
            std::coroutine_handle<> running = frame_of(*root);
            running.resume();
            if (!running.done()) [[unlikely]] { // it waits, or is being stopped
                hand_out(i + 1);
                --r.depth;
                return true;
            }
            if (s.context != nullptr || s.identity != 0) [[unlikely]] {
                restore_variables();
                look_twice = true;
            }
            if (of.failed(i)) [[unlikely]] {
                note_failure(i, r);
                look_twice = true;
            }
            if (++i == n)
                break;
            root = r.deque.pop();
            // Stolen, and so are those behind it; or a stop was asked, by us, or as a hint.
            if (root == nullptr || asked.load(std::memory_order_relaxed)) [[unlikely]] {
                --r.depth;
                return end_early(i, root, r);
            }
            WEFT_ASSERT(root->number() == i, "a deque gave back another child than expected");
        }
        --r.depth;
        s.stops = const_cast<stop_point*>(above);
        return look_twice && leave(r);
    }

private:
    friend class fork_runner;
    friend struct stolen_strand;

    [[nodiscard]] context_data* context() const noexcept { return kept_ ? context_ : nullptr; }
    [[nodiscard]] bool stop_here(fork_runner& r) noexcept;
    void suspend() noexcept;
    [[nodiscard]] bool run_first_later(fork_runner& r, promise_base& root) noexcept;
    void hand_out(std::uint32_t first) noexcept;
    [[nodiscard]] bool end_early(std::uint32_t i, promise_base* next, fork_runner& r) noexcept;
    [[nodiscard]] bool join(fork_runner& r) noexcept;
    [[nodiscard]] bool leave(fork_runner& r) noexcept;
    void go_on(fork_runner& r) noexcept;
    void drop(promise_base& root, std::uint32_t i) noexcept;
    void note_failure(std::uint32_t i, fork_runner& r) noexcept;
    void note_end(std::uint32_t i, ending how, fork_runner& r) noexcept;
    /// A child has ended in the parent's strand, but not on the stack of its parent.
    static bool ended_here(continuation& c, ending how) noexcept;
    [[nodiscard]] bool has_variables() const noexcept {
        return strand_->context != nullptr || strand_->identity != 0 || kept_;
    }
    void keep_variables() noexcept;
    void restore_variables() noexcept;
    void give_back_variables() noexcept;

    const std::uint32_t count_;
    std::uint32_t handed_out_ = 0; // children that others run, or will
    const fork_type& type_;
    fork_strand* strand_ = nullptr; // of the coroutine that waits
    // What was handed out counts down from 0; who waits adds their number, and waits if that isn't
    // 0.
    std::atomic<std::int32_t> left_{0};
    std::atomic<std::uint32_t> first_{none};
    std::atomic<bool> stopped_{false}; // a child was
    std::atomic<bool> special_{false}; // something failed or was stopped
    bool kept_ = false;
    // Of the parent's strand, while children run in it, if anything was kept.
    bool own_context_;
    context_data* context_; // with a reference
    std::uint64_t identity_;
};

} // namespace weft::detail
