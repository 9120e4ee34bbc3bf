// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/fork.hpp>

#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/fork_all.hpp>
#include <weft/runtime/unhandled.hpp>

#include <new>
#include <utility>

namespace weft::detail {

// A strand that a thief made, and where the child returns to that it stole: one at most is kept
// for the next theft.
struct stolen_strand : fork_strand, continuation, recycled {
    stolen_strand() noexcept : continuation(ended) {}
    static bool ended(continuation& c, ending how) noexcept;

    fork_scope* scope = nullptr;
    std::uint32_t number = 0; // of the child
};

namespace {

// How deep forks nest on the stack of a pool's thread. Each level takes some hundred bytes.
constexpr int fork_depth = 256;

fork_strand& root_of(strand& s) noexcept {
    strand* at = &s;
    while (!at->roams)
        at = at->parent;
    return static_cast<fork_strand&>(*at);
}

} // namespace

// --- fork_runner ---------------------------------------------------------------------------------

fork_runner::fork_runner(post_function mail, timer_heap& timers,
                         const std::atomic<std::uint32_t>& sleepers,
                         const std::atomic<std::uint32_t>& news, help_function help,
                         help_function announce, wanted_function wanted) noexcept
    : runner(mail, nullptr, &timers), sleepers_(sleepers), news_(news), help_(help),
      announce_(announce), wanted_(wanted) {
    std_atomics::prepare_fences();
    look_ = look;
    depth = max_depth - fork_depth;
}

fork_runner::~fork_runner() { delete static_cast<stolen_strand*>(spare_); }

void fork_runner::come_here(fork_strand& s) noexcept {
    s.run_by = this;
    s.previous_here = nullptr;
    s.next_here = here_;
    if (here_ != nullptr)
        here_->previous_here = &s;
    here_ = &s;
    // Stops may have been announced before it was ours: let it look at its first fork.
    news_seen_ = news_.load(std::memory_order_relaxed) - 1;
}

void fork_runner::leave_here(fork_strand& s) noexcept {
    (s.previous_here == nullptr ? here_ : s.previous_here->next_here) = s.next_here;
    if (s.next_here != nullptr)
        s.next_here->previous_here = s.previous_here;
}

void fork_runner::begin_strand(fork_strand& s) noexcept {
    come_here(s);
    if (is_traced()) [[unlikely]] {
        s.flags |= strand::unstarted; // no stop has come this far
        run_traced(s);
        return;
    }
    run(s);
}

bool fork_runner::can_steal() noexcept {
    if (spare_ == nullptr) {
        try {
            spare_ = new stolen_strand;
        } catch (const std::bad_alloc&) {
            return false;
        }
    }
    return true;
}

void fork_runner::run_stolen(promise_base& root) noexcept {
    if (root.number() == fork_scope::none) {
        run_carried(root, *this);
        return;
    }
    auto& scope = static_cast<fork_scope&>(static_cast<frame_continuation&>(*root.returns_to));
    // acquire: pairs with who announced
    if (scope.reached(news_.load(std::memory_order_acquire))) {
        scope.drop(root, root.number());
        if (scope.left_.fetch_sub(1, std::memory_order_acq_rel) == 1) { // see stolen_strand::ended
            take_over(*scope.strand_);
            scope.go_on(*this);
            if (is_traced())
                drain_traced(nullptr);
            drain_transfers();
        }
        return;
    }
    auto& s = static_cast<stolen_strand&>(*std::exchange(spare_, nullptr));
    s.scope = &scope;
    s.number = root.number();
    s.stops = &scope;
    s.deadline = scope.strand_->deadline;
    s.context = scope.context();
    if (s.context != nullptr)
        retain_context(s.context);
    root.returns_to = &s;
    root.in = &s;
    s.frame = frame_of(root);
    s.promise = &root;
    begin_strand(s);
}

void fork_runner::take_over(fork_strand& s) noexcept {
    // acquire: pairs with the release in came_out()
    for (unsigned round = 0; s.on_stack.load(std::memory_order_acquire); ++round)
        std_atomics::pause(round);
    come_here(s);
}

void fork_runner::pass_stops_on() noexcept {
    std::uint32_t now = news_.load(std::memory_order_acquire); // pairs with who announced
    if (now == passed_on_)
        return;
    passed_on_ = now;
    for (fork_strand* s = here_; s != nullptr; s = s->next_here)
        if (!s->stop_pending() && is_stopped(*s))
            s->request_stop();
}

bool fork_runner::look(runner& r) noexcept {
    auto& self = static_cast<fork_runner&>(r);
    if (self.has_news()) {
        self.news_seen_ = self.news_.load(std::memory_order_acquire); // pairs with who announced
        fork_strand& s = root_of(*self.current_strand);
        if (!s.stop_pending() && self.is_stopped(s))
            s.request_stop();
    }
    return self.wanted_(self);
}

// --- fork_scope ----------------------------------------------------------------------------------

bool fork_scope::stop_here(fork_runner& r) noexcept {
    r.look_for_stop();
    if (!strand_->stop_pending())
        return false;
    suspend();
    r.transfer_unwind(*strand_);
    return true;
}

void fork_scope::suspend() noexcept {
    strand_->frame = frame_of(*promise);
    strand_->promise = promise;
    strand_->awaiting_at = awaiting_at;
}

// The stack is deep: all but the first are for others, or for this thread as if it were another.
bool fork_scope::run_first_later(fork_runner& r, promise_base& root) noexcept {
    root.returns_to = this;
    root.in = strand_;
    hand_out(1);
    r.transfer(*strand_, frame_of(root));
    return true;
}

// The parent can't take back what is in the deque of a thread that goes on with something else: all
// children from `first` on are run by others, or by this thread as if it were another.
void fork_scope::hand_out(std::uint32_t first) noexcept {
    on_end = ended_here;
    handed_out_ = count_ - first;
}

// Child i, which is `next`, isn't to run any more, nor are those behind it; or it was stolen, if
// that is null. Gives what run() does.
bool fork_scope::end_early(std::uint32_t i, promise_base* next, fork_runner& r) noexcept {
    for (; next != nullptr; next = r.deque.pop()) {
        drop(*next, i);
        if (++i == count_)
            return leave(r);
    }
    handed_out_ = count_ - i;
    return !join(r) || leave(r);
}

// True: all have ended.
bool fork_scope::join(fork_runner& r) noexcept {
    auto n = static_cast<std::int32_t>(handed_out_);
    // acquire: pairs with the decrements of those who ran them
    if (left_.load(std::memory_order_acquire) == -n)
        return true;
    suspend();
    strand_->leaf = nullptr;
    strand_->on_stack.store(true, std::memory_order_relaxed); // published below
    r.leave_here(*strand_);
    r.leaving_ = strand_;
    // acq_rel: who ends last sees our state, or we see what they did
    if (left_.fetch_add(n, std::memory_order_acq_rel) != -n)
        return false;
    r.leaving_ = nullptr;
    strand_->on_stack.store(false, std::memory_order_relaxed); // nobody else was told
    r.come_here(*strand_);
    return true;
}

// All have ended, and the strand is ours. True: its frames are unwound as well.
bool fork_scope::leave(fork_runner& r) noexcept {
    strand_->stops = const_cast<stop_point*>(above);
    if (kept_)
        give_back_variables();
    if (!special_.load(std::memory_order_relaxed)) // ordered by the counter
        return false;
    // A stop that was asked of our children only ends here.
    if (strand_->stop_requests != 0 && !r.is_stopped(*strand_))
        while (strand_->stop_requests != 0)
            strand_->withdraw_stop();
    if (first() != none || !stopped_.load(std::memory_order_relaxed))
        return false;
    suspend();
    r.transfer_unwind(*strand_);
    return true;
}

void fork_scope::go_on(fork_runner& r) noexcept {
    if (!leave(r))
        r.transfer(*strand_, frame_of(*promise));
}

// A child that never ran.
void fork_scope::drop(promise_base& root, std::uint32_t i) noexcept {
    frame_of(root).destroy();
    type_.forget(*this, i);
    stopped_.store(true, std::memory_order_relaxed); // ordered by the counter, as is the next
    special_.store(true, std::memory_order_relaxed);
}

void fork_scope::note_failure(std::uint32_t i, fork_runner& r) noexcept {
    std::uint32_t nobody = none;
    special_.store(true, std::memory_order_relaxed);
    if (first_.compare_exchange_strong(nobody, i, std::memory_order_relaxed)) {
        asked.store(true, std::memory_order_release); // pairs with the acquire in reached()
        if (count_ != 1)
            r.announce_(r);
    }
}

// A child has ended, and its parent isn't below it on the stack.
void fork_scope::note_end(std::uint32_t i, ending how, fork_runner& r) noexcept {
    if (how == ending::stopped) {
        type_.forget(*this, i);
        stopped_.store(true, std::memory_order_relaxed); // ordered by the counter
        special_.store(true, std::memory_order_relaxed);
    } else if (type_.failed(*this, i)) {
        note_failure(i, r);
    }
    r.current_strand = nullptr;
}

bool fork_scope::ended_here(continuation& c, ending how) noexcept {
    auto& self = static_cast<fork_scope&>(static_cast<frame_continuation&>(c));
    auto& r = static_cast<fork_runner&>(*runner::current());
    self.note_end(self.count_ - self.handed_out_ - 1, how, r);
    if (self.has_variables())
        self.restore_variables();
    if (self.join(r))
        self.go_on(r);
    return false;
}

bool stolen_strand::ended(continuation& c, ending how) noexcept {
    auto& self = static_cast<stolen_strand&>(c);
    auto& r = static_cast<fork_runner&>(*runner::current());
    fork_scope& scope = *self.scope;
    scope.note_end(self.number, how, r);
    if (is_traced())
        trace_end(self);
    r.leave_here(self);
    delete &self;
    // acq_rel: whoever is last sees what all others did
    if (scope.left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        r.take_over(*scope.strand_);
        scope.go_on(r);
    }
    return false;
}

// Children copy the variables of their parent, and are others to locks. One that runs in its strand
// gets the strand as a child's would be; afterwards that is undone.
void fork_scope::keep_variables() noexcept {
    kept_ = true;
    own_context_ = (strand_->flags & strand::own_context) != 0;
    context_ = strand_->context;
    if (context_ != nullptr)
        retain_context(context_);
    identity_ = std::exchange(strand_->identity, 0);
    strand_->flags &= static_cast<std::uint8_t>(~strand::own_context);
}

void fork_scope::restore_variables() noexcept {
    context_data* before = context();
    if (strand_->context != before) {
        if (before != nullptr)
            retain_context(before);
        if (strand_->context != nullptr)
            release_context(strand_->context);
        strand_->context = before;
    }
    strand_->identity = 0;
    strand_->flags &= static_cast<std::uint8_t>(~strand::own_context);
}

void fork_scope::give_back_variables() noexcept {
    restore_variables();
    if (context_ != nullptr)
        release_context(context_);
    strand_->identity = identity_;
    if (own_context_)
        strand_->flags |= strand::own_context;
    kept_ = false;
}

void fork_all_scope::report(std::exception_ptr e) noexcept {
    if (e) // it hasn't left through await_resume
        report_unhandled("when_all", awaited_at(), std::move(e));
}

} // namespace weft::detail
