// SPDX-License-Identifier: MIT
#include <weft/executors/on_pool.hpp>

#include <weft/ipc/error.hpp>
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/identity.hpp>
#include <weft/runtime/timeout.hpp>

#include <utility>

namespace weft::detail {

const operation_type pool_scope::kind{cancel_on, "on a thread pool"};

pool_scope::pool_scope(thread_pool_state& pool, std::coroutine_handle<> task,
                       promise_base& p) noexcept
    : operation(kind), pool_work(take_turn), body_(*this), pool_(pool), back_(*this) {
    stays = true;
    body_.child = body_.frame = task;
    body_.promise = &p;
    body_.stops = &stop_;
    p.returns_to = &body_;
    p.in = &body_;
}

void pool_scope::start() noexcept {
    if (owner().context != nullptr) {
        body_.context = owner().context;
        retain_context(body_.context);
    }
    body_.identity = identity_of(owner()); // it is still that task
    body_.deadline = current_deadline().time_since_epoch().count();
    try {
        post(pool_, *this);
    } catch (...) {
        error_ = std::current_exception();
        complete();
    }
}

void pool_scope::take_turn(pool_work& w, pool_turn turn) noexcept {
    auto& self = static_cast<pool_scope&>(w);
    switch (turn) {
    case pool_turn::run:
        static_cast<fork_runner*>(runner::current())->begin_strand(self.body_);
        break;
    case pool_turn::stop:
        self.terminated_.store(true, std::memory_order_relaxed); // published by the next
        self.stop_.asked.store(true, std::memory_order_release); // pairs with stop_point::reached
        break;
    case pool_turn::gone:
        self.error_ = reason_of_end(self.pool_);
        self.progress_.store(progress::ended, std::memory_order_release); // see cancel_on
        self.owner().run_by->post(self.back_);
        break;
    }
}

void pool_scope::cancel_on(operation& op) noexcept {
    auto& self = static_cast<pool_scope&>(op);
    if (withdraw(self.pool_, self)) {
        self.stopped();
        return;
    }
    progress now = progress::runs;
    // acq_rel, all of these: whoever comes second sees what the first did
    if (!self.progress_.compare_exchange_strong(now, progress::asking, std::memory_order_acq_rel))
        return; // it has ended, and is on its way to us
    // Until we say that we are done with it, the pool waits for this task.
    self.stop_.asked.store(true, std::memory_order_release); // pairs with stop_point::reached
    announce_stop(self.pool_);
    now = progress::asking;
    if (!self.progress_.compare_exchange_strong(now, progress::asked, std::memory_order_acq_rel))
        self.come_home(); // it has ended meanwhile, and left that to us
}

bool pool_scope::body::ended(continuation& c, ending e) noexcept {
    pool_scope& s = static_cast<body&>(c).scope;
    auto& here = static_cast<fork_runner&>(*s.body_.run_by);
    if (is_traced())
        trace_end(s.body_);
    here.leave_here(s.body_);
    here.current_strand = nullptr;
    s.stopped_ = e == ending::stopped;
    if (s.progress_.exchange(progress::ended, std::memory_order_acq_rel) != progress::asking)
        s.come_home();
    return false;
}

void pool_scope::come_home() noexcept {
    runner& home = *owner().run_by;
    leave(pool_, *this);
    home.post(back_);
}

void pool_scope::message::arrived(work& w) noexcept {
    pool_scope& s = static_cast<message&>(w).scope;
    if (s.stopped_ && !s.terminated_.load(std::memory_order_relaxed)) // ordered by the post
        s.stopped();
    else
        s.complete();
}

void pool_scope::check() const {
    if (error_)
        std::rethrow_exception(error_);
    if (stopped_)
        throw ipc::pool_terminated();
}

} // namespace weft::detail
