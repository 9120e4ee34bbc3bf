// SPDX-License-Identifier: MIT
#include <weft/runtime/loop.hpp>

#include <weft/runtime/detail/atomics.hpp>
#include <weft/runtime/detail/forked.hpp>
#include <weft/runtime/detail/futex.hpp>

#include "impl/buffer_ring.hpp"
#include "impl/ring.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <thread>

namespace weft {

namespace {

std::int64_t to_ns(time_point t) noexcept { return t.time_since_epoch().count(); }

// Lifts the shields of everything below a strand and stops it.
void stop_even_shielded(detail::strand& root) noexcept {
    detail::strand* s = root.first_child;
    while (s != nullptr) {
        s->flags &= static_cast<std::uint8_t>(~detail::strand::shielded);
        s->request_stop();
        if (s->first_child != nullptr) {
            s = s->first_child;
            continue;
        }
        while (s != &root && s->next_sibling == nullptr)
            s = s->parent;
        s = s == &root ? nullptr : s->next_sibling;
    }
}

// How long a loop lets the kernel find memory for more requests, in nanoseconds.
constexpr std::int64_t shortage_pause = 5'000'000;
// What going to sleep and being woken take together, and how often one can look for mail in about
// half of that time.
constexpr std::int64_t short_sleep = 50'000;
constexpr unsigned looks = 200;

// How long shields hold off the end of a loop.
constexpr duration shield_time = std::chrono::seconds(1);

struct lift_shields : detail::timer {
    explicit lift_shields(detail::strand& r) noexcept : timer(expired), root(r) {}
    static void expired(detail::timer& t) noexcept {
        stop_even_shielded(static_cast<lift_shields&>(t).root);
    }
    detail::strand& root;
};

// How many forks lie between the first process that used weft and this one.
constinit std::atomic<unsigned> forks{0};

constinit std::atomic<bool> parks_with_words{true}; // until the kernel says otherwise

void forget_runner_in_child() noexcept {
    detail::this_thread_state.current_runner = nullptr;
    forks.fetch_add(1, std::memory_order_relaxed); // a child begins with one thread
}

// A child of a plain fork has the memory of a loop but not its ring: there it must look as if no
// loop ran.
void watch_forks() noexcept {
    static const int registered = ::pthread_atfork(nullptr, nullptr, forget_runner_in_child);
    static_cast<void>(registered);
}

} // namespace

void detail::note_fork() noexcept { forget_runner_in_child(); }

// Polls the descriptor through which other threads wake a loop that sleeps in its ring.
struct loop::wake_target : detail::completion_target {
    wake_target(loop& l, int descriptor) noexcept
        : completion_target(woken), owner(l), fd(descriptor) {}
    wake_target(const wake_target&) = delete;
    wake_target& operator=(const wake_target&) = delete;
    ~wake_target() { owner.kernel_.close(owner.kernel_.state, fd); }

    static void woken(completion_target& t, std::int32_t, std::uint32_t flags) noexcept {
        auto& self = static_cast<wake_target&>(t);
        if ((flags & IORING_CQE_F_MORE) == 0)
            self.armed =
                false; // completion overflow ends a multishot poll: arm it before the next sleep
    }

    loop& owner;
    int fd;
    bool armed = false;
};

struct loop::backlog {
    std::deque<detail::request> requests;
};

loop::loop(const loop_options& options)
    : runner(post_to, this, &timers_), options_(options),
      kernel_(options.kernel == nullptr ? real_kernel() : *options.kernel) {
    watch_forks();
    detail::attach_thread_state();
    root_.run_by = this;
    root_.name = "loop";
}

loop::~loop() {
    WEFT_ASSERT(root_.first_child == nullptr || left_behind(),
                "a loop was destroyed that still has tasks");
    close_ring();
}

void loop::open_ring() {
    if (ring_)
        return;
    auto r = std::make_unique<detail::ring>(kernel_, options_.ring_entries, options_.features);
    int fd = kernel_.make_wake_fd(kernel_.state);
    if (fd < 0)
        throw_errno(-fd, "eventfd");
    wake_ = std::make_unique<wake_target>(*this, fd);
    backlog_ = std::make_unique<backlog>();
    ring_ = std::move(r);
    forks_ = forks.load(std::memory_order_relaxed);
}

bool loop::left_behind() const noexcept {
    return ring_ && forks_ != forks.load(std::memory_order_relaxed);
}

kernel_feature loop::features() {
    open_ring();
    return ring_->features();
}

detail::buffer_ring& loop::buffers() {
    if (!buffers_) {
        open_ring();
        buffers_ = std::make_unique<detail::buffer_ring>(*this, *ring_, options_.lent_buffer_size,
                                                         options_.lent_buffers);
    }
    return *buffers_;
}

time_point loop::now() const noexcept { return time_point(duration(kernel_.now(kernel_.state))); }

void loop::run_until(const bool& done) noexcept {
    detail::runner* outer = detail::this_thread_state.current_runner;
    detail::this_thread_state.current_runner = this;
    const bool* outer_done = std::exchange(done_, &done);
    while (!finished())
        turn();
    settle_all();
    done_ = outer_done;
    detail::this_thread_state.current_runner = outer;
}

bool loop::finished() const noexcept {
    if (draining_ == drain_phase::none)
        return *done_;
    // What was accepted before the end still runs: posted functions, and those that return from
    // other loops.
    if (has_ready() || !when_room_.empty() || mail_.load(std::memory_order_relaxed) != nullptr)
        return false;
    return root_.first_child == nullptr && (draining_ == drain_phase::tasks || in_flight_ == 0);
}

void loop::drain() noexcept {
    if (left_behind()) // its tasks end in the process that they began in
        return;
    root_.request_stop();
    lift_shields lift(root_);
    try {
        add_timer(lift, saturated_sum(now(), shield_time));
    } catch (
        const std::
            bad_alloc&) { // no memory for one timer: shields are waited for as long as they take
        static_cast<void>(lift);
    }
    bool never_done = false;
    draining_ = drain_phase::tasks;
    run_until(never_done);
    if (in_flight_ !=
        0) { // requests that belong to no task: the accept of a listener that lives on, for one
        cancel_all_ = true;
        draining_ = drain_phase::requests;
        run_until(never_done);
        cancel_all_ = false; // if all ended before the kernel could be told
    }
    draining_ = drain_phase::none;
    remove_timer(lift);
    root_.withdraw_stop();
}

bool loop::cancel_everything() noexcept {
    // Those that never left for the kernel end here, and what they start in turn is not meant.
    for (std::size_t n = backlog_->requests.size(); n > 0; --n) {
        auto* target = detail::completion_target_at(backlog_->requests.front().user_data);
        backlog_->requests.pop_front();
        --in_flight_;
        target->on_completion(*target, -ECANCELED, 0);
    }
    io_uring_sqe* sqe = sqe_or_room();
    if (sqe == nullptr)
        return false;
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    return true;
}

void loop::close_ring() noexcept {
    if (left_behind()) { // and so are those who were posting
        ring_->abandon();
    } else {
        WEFT_ASSERT(in_flight_ == 0, "a ring was closed while the kernel held requests of it");
        while (posting_.load(std::memory_order_acquire) !=
               0) // for the few instructions that a poster still needs
            std::this_thread::yield();
    }
    buffers_.reset();
    ring_.reset();
    wake_.reset();
}

void loop::turn() noexcept {
    ++statistics_.turns;
    if (detail::is_traced()) [[unlikely]] {
        for (unsigned n = 0; n < options_.batch && has_ready(); ++n) {
            run_traced(pop_ready());
            ++statistics_.resumptions;
        }
    }
    for (unsigned n = 0; n < options_.batch && has_ready(); ++n) {
        run(pop_ready());
        ++statistics_.resumptions;
    }
    current_strand = nullptr; // it may be gone
    take_mail();
    fire_timers();
    poll(!has_ready() && !finished());
}

bool loop::has_news() const noexcept {
    return has_ready() || mail_.load(std::memory_order_relaxed) != nullptr ||
           (ring_ && ring_->kernel_has_work());
}

void loop::take_mail() noexcept {
    if (mail_.load(std::memory_order_relaxed) == nullptr)
        return;
    // acquire: pairs with the release in post_to; what the poster wrote is seen by whom it wakes.
    detail::work* newest = mail_.exchange(nullptr, std::memory_order_acquire);
    detail::work* oldest = nullptr;
    detail::work* last = newest;
    while (newest != nullptr) { // the stack has the newest on top: turn it round
        detail::work* below = newest->next;
        if (newest->run == nullptr)
            static_cast<detail::strand*>(newest)->flags |= detail::strand::scheduled;
        newest->next = oldest;
        oldest = newest;
        newest = below;
    }
    WEFT_ASSERT(oldest != nullptr, "somebody else took the mail of a loop");
    ready_.append(*oldest, *last);
}

void loop::post_to(detail::runner& r, detail::work& w) noexcept {
    auto& self = static_cast<loop&>(r);
    // As soon as the work is in the mailbox the loop may run it and end. The count holds its
    // destructor up until we have stopped looking at it. Relaxed: the push below publishes it to
    // whoever takes the work.
    self.posting_.fetch_add(1, std::memory_order_relaxed);
    self.mail_and_wake(w);
    self.posting_.fetch_sub(1,
                            std::memory_order_release); // pairs with the acquire in the destructor
}

void loop::mail_and_wake(detail::work& w) noexcept {
    detail::work* head = mail_.load(std::memory_order_relaxed);
    do {
        w.next = head;
        // seq_cst, as are the accesses to parked_: of a poster and a loop that is going to sleep,
        // one sees the other.
    } while (!mail_.compare_exchange_weak(head, &w, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    if (parked_.load(std::memory_order_seq_cst) == awake)
        return;
    switch (parked_.exchange(awake, std::memory_order_seq_cst)) {
    case on_ring:
        kernel_.wake(kernel_.state, wake_->fd);
        break;
    case on_futex:
        kernel_.unpark(kernel_.state, reinterpret_cast<std::uint32_t*>(&parked_));
        break;
    default: // another poster was faster
        break;
    }
}

void loop::fire_timers() noexcept {
    if (timers_.empty())
        return;
    time_point t = now();
    while (!timers_.empty() && timers_.next() <= t) {
        detail::timer& due = timers_.pop();
        due.fire(due);
    }
}

void loop::poll(bool may_wait) noexcept {
    if (kept_ != nullptr)
        look_at_kept();
    std::int64_t deadline = timers_.empty() ? INT64_MAX : to_ns(timers_.next());
    if (!ring_) {
        if (may_wait && !has_ready() && !mail_comes())
            park_on_futex(deadline);
        return;
    }
    if (left_behind()) [[unlikely]] { // what is ready may still come to its end
        WEFT_ASSERT(!may_wait, "a child of a fork waits for something on the loop of its parent");
        return;
    }
    flush_cancels();
    flush_backlog();
    // While the kernel has no memory we look at what completes, which may free some, and ask again
    // a little later. Else nobody sleeps who still has something to tell it: it may be what ends
    // the sleep.
    bool unsent =
        cancels_ != nullptr || cancel_all_ || !backlog_->requests.empty() || !when_room_.empty();
    // While the kernel holds nothing of ours, only mail or a timer can end the sleep: a futex is
    // the shorter one, for who wakes it, too.
    const bool idle = in_flight_ == 0 && !unsent && !shortage_ &&
                      ring_->pending_submissions() == 0 && !ring_->kernel_has_work();
    if (!idle && kept_ != nullptr)
        hand_over_kept();
    if (may_wait && idle) {
        if (!has_ready() && !mail_comes())
            park_on_futex(deadline);
        reap();
        let_try_again();
        return;
    }
    bool wait = may_wait && !has_ready() && (!unsent || shortage_) && (arm_wake() || shortage_) &&
                !mail_comes();
    std::int64_t began = wait ? falls_asleep() : 0;
    if (!wait) {
        bool look = in_flight_ != 0 &&
                    (ring_->kernel_has_work() || !ring_->has(kernel_feature::defer_taskrun));
        if (ring_->pending_submissions() == 0 && !look) {
            reap();
            let_try_again();
            return;
        }
    } else {
        ++statistics_.parks;
        parked_.store(on_ring, std::memory_order_seq_cst);
        if (mail_.load(std::memory_order_seq_cst) != nullptr) {
            parked_.store(awake, std::memory_order_relaxed);
            wait = false;
        }
    }
    if (wait && shortage_)
        deadline = std::min(deadline, kernel_.now(kernel_.state) + shortage_pause);
    ++statistics_.enters;
    int result = ring_->enter(wait, deadline, !shortage_);
    if (wait) {
        parked_.store(awake, std::memory_order_relaxed);
        was_asleep_since(began);
    }
    shortage_ = false;
    switch (result < 0 ? -result : 0) {
    case 0:
    case ETIME: // the next timer is due
    case EINTR: // a signal handler of the program ran
        break;
    case EBUSY:  // the completion queue is full: reaping makes room, and the next turn submits
    case EAGAIN: // the kernel is short of memory for requests
    case ENOMEM:
        shortage_ = true;
        break;
    default:
        WEFT_ASSERT(result >= 0, "io_uring_enter failed in a way that it must not");
    }
    if (reap() != 0 && result == -EBUSY)
        shortage_ = false;
    let_try_again();
}

// To sleep and to be woken takes both sides some microseconds. Two loops that work into each
// other's hands would do little else, so one that was woken by mail soon after it had gone to sleep
// looks out for more, for about as long as that takes, before it sleeps again. It stops doing so
// when it has slept for longer, and what only the kernel wakes never begins. A loop that was called
// looks out, too.
bool loop::mail_comes() noexcept {
    unsigned rounds = expects_mail() ? looks : looks_out_;
    if (rounds == 0 || (ring_ && ring_->pending_submissions() != 0))
        return false;
    for (unsigned n = 0; n < rounds; ++n) {
        if (mail_.load(std::memory_order_relaxed) != nullptr || (ring_ && ring_->kernel_has_work()))
            return true;
        detail::std_atomics::pause(0);
    }
    return false;
}

std::int64_t loop::falls_asleep() const noexcept {
    return mail_woke_ ? kernel_.now(kernel_.state) : INT64_MIN;
}

void loop::was_asleep_since(std::int64_t when) noexcept {
    bool by_mail = mail_.load(std::memory_order_relaxed) != nullptr;
    bool soon = by_mail && mail_woke_ && kernel_.now(kernel_.state) - when < short_sleep;
    looks_out_ = soon ? looks : 0;
    mail_woke_ = by_mail;
}

void loop::park_on_futex(std::int64_t deadline) noexcept {
    int how = 0;
    ++statistics_.parks;
    parked_.store(on_futex, std::memory_order_seq_cst);
    if (mail_.load(std::memory_order_seq_cst) == nullptr) {
        static_assert(sizeof(parked_) == sizeof(std::uint32_t));
        std::int64_t began = falls_asleep();
        auto* word = reinterpret_cast<std::uint32_t*>(&parked_);
        if (kept_ == nullptr)
            kernel_.park(kernel_.state, word, on_futex, deadline);
        else
            how = kernel_.park_with(kernel_.state, word, on_futex,
                                    reinterpret_cast<const std::uint32_t*>(&kept_->armed_word()),
                                    kept_->armed_value(), deadline);
        was_asleep_since(began);
    }
    parked_.store(awake, std::memory_order_relaxed);
    if (kept_ != nullptr)
        was_parked_with_kept(how);
}

bool loop::keep(detail::futex_operation& op) noexcept {
    if (kept_ != nullptr)
        hand_over_kept(); // it comes first
    if (kept_ != nullptr || in_flight_ != 0 || waits_elsewhere_ != 0 ||
        kernel_.park_with == nullptr || !contains(options_.features, detail::parked_futexes) ||
        !parks_with_words.load(std::memory_order_relaxed)) // a hint
        return false;
    kept_ = &op;
    kept_for_ = 0;
    return true;
}

bool loop::keeps(const detail::futex_word& word) const noexcept {
    return kept_ != nullptr && !kept_was_woken_ && &kept_->armed_word() == &word;
}

bool loop::wake_kept(const detail::futex_word& word) noexcept {
    bool sleeps = keeps(word);
    kept_was_woken_ = kept_was_woken_ || sleeps;
    return sleeps;
}

void loop::end_kept(std::int32_t result) noexcept {
    kept_was_woken_ = false;
    detail::futex_operation& op = *std::exchange(kept_, nullptr);
    op.end_(op, result);
}

void loop::hand_over_kept() noexcept {
    if (kept_was_woken_)
        end_kept(0);
    else
        std::exchange(kept_, nullptr)->hand_over_or_end();
}

// Before it sleeps, or doesn't. A loop that is busy for long has it kept elsewhere, where others
// see it.
void loop::look_at_kept() noexcept {
    constexpr unsigned long_enough = 16;
    if (kept_was_woken_)
        end_kept(0);
    else if (kept_->armed_word().load(std::memory_order_relaxed) != kept_->armed_value())
        end_kept(-EAGAIN);
    else if (in_flight_ != 0 || waits_elsewhere_ != 0 || ++kept_for_ > long_enough)
        hand_over_kept();
}

void loop::was_parked_with_kept(int how) noexcept {
    kept_for_ = 0;
    if (how > 0) {
        end_kept(0);
    } else if (how < 0) { // the kernel has its reasons, and the ring may do
        if (how == -ENOSYS || how == -EPERM)
            parks_with_words.store(false, std::memory_order_relaxed);
        hand_over_kept();
    } else {
        look_at_kept(); // else it was mail, or a timer
    }
}

bool loop::arm_wake() noexcept {
    if (wake_->armed)
        return true;
    io_uring_sqe* sqe = sqe_or_room();
    if (sqe == nullptr)
        return false;
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = wake_->fd;
    sqe->len = IORING_POLL_ADD_MULTI;
    // Edges: each write gives one completion and nobody needs to read the counter.
    sqe->poll32_events = POLLIN | EPOLLET;
    sqe->user_data = detail::address_of(static_cast<detail::completion_target*>(wake_.get()));
    wake_->armed = true;
    return true;
}

unsigned loop::reap() noexcept {
    return ring_->reap(
        [this](const io_uring_cqe& cqe) {
            if (cqe.user_data == 0)
                return; // of a cancel: the request has a completion of its own
            auto* target = detail::completion_target_at(cqe.user_data);
            if ((cqe.flags & IORING_CQE_F_MORE) == 0 && target != wake_.get())
                --in_flight_;
            ++statistics_.completions;
            target->on_completion(*target, cqe.res, cqe.flags);
        },
        ~0u);
}

io_uring_sqe* loop::sqe_or_room() noexcept {
    io_uring_sqe* sqe = ring_->get_sqe();
    if (sqe == nullptr && make_room())
        sqe = ring_->get_sqe();
    return sqe;
}

bool loop::make_room() noexcept {
    // Each entry that the kernel takes is room for one of ours. It refuses only while it has
    // completions that we haven't read or no memory, and then a later turn tries again.
    if (shortage_)
        return false;
    ++statistics_.enters;
    int n = ring_->enter(false, 0);
    shortage_ = n == -EAGAIN || n == -ENOMEM;
    return n > 0;
}

void loop::push_when_room(detail::work& w) noexcept { when_room_.push(w); }

void loop::let_try_again() noexcept {
    while (!shortage_ && !when_room_.empty())
        push(when_room_.pop());
}

void loop::submit(detail::completion_target& target, detail::request r) {
    if (!ring_)
        open_ring();
    if (left_behind()) [[unlikely]]
        throw state_error("a child of a fork can't use the loop of its parent: make another one");
    r.user_data = detail::address_of(&target);
    io_uring_sqe* sqe = backlog_->requests.empty() ? ring_->get_sqe() : nullptr;
    if (sqe == nullptr) [[unlikely]] {
        if (backlog_->requests.empty() && make_room())
            sqe = ring_->get_sqe();
        if (sqe == nullptr) {
            backlog_->requests.push_back(r);
            ++in_flight_;
            return;
        }
    }
    static_assert(sizeof(io_uring_sqe) == sizeof(detail::request));
    std::memcpy(static_cast<void*>(sqe), &r, sizeof r);
    ++in_flight_;
    ++statistics_.requests;
}

void loop::flush_backlog() noexcept {
    while (!backlog_->requests.empty()) {
        io_uring_sqe* sqe = sqe_or_room();
        if (sqe == nullptr)
            return;
        std::memcpy(static_cast<void*>(sqe), &backlog_->requests.front(), sizeof *sqe);
        backlog_->requests.pop_front();
        ++statistics_.requests;
    }
}

void loop::cancel(detail::io_operation& op) noexcept {
    op.cancel_asked_ = true;
    if (op.cancel_queued_)
        return;
    op.cancel_queued_ = true;
    op.next_cancel_ = cancels_;
    cancels_ = &op;
}

bool loop::try_cancel(detail::completion_target& target) noexcept {
    return backlog_->requests.empty() && queue_cancel(target);
}

bool loop::queue_cancel(detail::completion_target& target) noexcept {
    io_uring_sqe* sqe = sqe_or_room();
    if (sqe == nullptr)
        return false;
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = detail::address_of(&target);
    return true;
}

void loop::flush_cancels() noexcept {
    if (cancel_all_)
        cancel_all_ = !cancel_everything();
    while (cancels_ != nullptr) {
        detail::io_operation& op = *cancels_;
        // A request that never left for the kernel ends here.
        auto& waiting = backlog_->requests;
        std::uint64_t key = detail::address_of(static_cast<detail::completion_target*>(&op));
        auto at = std::find_if(waiting.begin(), waiting.end(),
                               [key](const detail::request& r) { return r.user_data == key; });
        if (at == waiting.end() && !queue_cancel(op))
            return; // the list keeps its place, so no cancel is ever lost
        cancels_ = op.next_cancel_;
        op.cancel_queued_ = false;
        if (at != waiting.end()) {
            waiting.erase(at);
            --in_flight_;
            op.on_completion(op, -ECANCELED, 0);
        }
    }
}

void loop::forget_cancel(detail::io_operation& op) noexcept {
    detail::io_operation** link = &cancels_;
    while (*link != &op)
        link = &(*link)->next_cancel_;
    *link = op.next_cancel_;
    op.cancel_queued_ = false;
}

loop* this_loop_or_null() noexcept {
    detail::runner* r = detail::runner::current();
    return r == nullptr ? nullptr : r->io();
}

loop& this_loop() {
    loop* l = this_loop_or_null();
    if (l == nullptr)
        throw state_error(
            "this thread runs no loop: call this from a task that run() or sync_wait() "
            "runs");
    return *l;
}

time_point now() noexcept {
    loop* l = this_loop_or_null();
    return l == nullptr ? clock::now() : l->now();
}

namespace detail {

void operation::refuse_without_loop() {
    throw state_error("a thread without a loop has no I/O: a task on a thread pool gets it through "
                      "on(loop, ...)");
}

void io_operation::submit(request r) {
    try {
        io_loop().submit(*this, r);
    } catch (...) { // the coroutine goes on with the exception, so it waits for nothing any more
        owner().leaf = nullptr;
        throw;
    }
}

void io_operation::cancel() noexcept { io_loop().cancel(*this); }

void cancel_io(operation& op) noexcept { static_cast<io_operation&>(op).cancel(); }

bool io_operation::was_cancelled() const noexcept {
    // A thread of the kernel that works on a request is interrupted to make it give up.
    return cancel_asked_ && (result_ == -ECANCELED || interrupted(result_));
}

void io_operation::note(std::int32_t result, std::uint32_t flags) noexcept {
    result_ = result;
    completion_flags_ = flags;
    if (cancel_queued_) [[unlikely]]
        io_loop().forget_cancel(*this);
}

void io_operation::finish(completion_target& target, std::int32_t result,
                          std::uint32_t flags) noexcept {
    auto& op = static_cast<io_operation&>(target);
    op.note(result, flags);
    if (op.was_cancelled())
        op.stopped();
    else
        op.complete();
}

void throw_result(std::int32_t result, const char* operation, std::string_view object) {
    throw_errno(-result, operation, object);
}

} // namespace detail
} // namespace weft
