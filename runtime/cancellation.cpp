// SPDX-License-Identifier: MIT
#include <weft/runtime/cancellation.hpp>

#include <weft/runtime/loop.hpp>

namespace weft {

bool stop_requested() noexcept {
    detail::runner* r = detail::runner::current();
    if (r == nullptr || r->current_strand == nullptr)
        return false;
    r->look_for_stop();
    return r->current_strand->stop_pending();
}

namespace detail {

const operation_type checkpoint_op::kind{not_cancelled, "checkpoint"};

bool checkpoint_op::passes() noexcept {
    runner* r = runner::current();
    if (r == nullptr || r->current_strand == nullptr)
        return true;
    bool wanted = r->look_for_stop();
    return !wanted && !r->current_strand->stop_pending();
}

const operation_type shield_kind{not_cancelled, "shield"};

namespace {
constexpr operation_type finally_kind{not_cancelled, "finally: clean-up"};
constexpr operation_type stop_token_kind{not_cancelled, "with_stop_token"};
} // namespace

// --- finally ------------------------------------------------------------------------------------

finally_scope::finally_scope(duration within) noexcept
    : scope_operation(finally_kind), timer(expired), within_(within) {}

void finally_scope::begin_cleanup(frame_continuation& outer, ending how, task<> t) noexcept {
    body_stopped_ = how == ending::stopped;
    strand& s = *outer.promise->in;
    suspend(s, outer.frame, *outer.promise, outer.awaiting_at);
    cleanup_.emplace(*this);
    cleanup_->adopt<void>(t.release());
    if (within_ < duration::max()) {
        try {
            timers().add(*this, saturated_sum(now(), within_));
        } catch (...) {
            // No memory for the timer: better a clean-up without a deadline than none.
            cleanup_error_ = std::current_exception();
        }
    }
    cleanup_->start_now(s);
}

void finally_scope::abandon_cleanup(frame_continuation& outer, ending how,
                                    std::exception_ptr e) noexcept {
    body_stopped_ = how == ending::stopped;
    suspend(*outer.promise->in, outer.frame, *outer.promise, outer.awaiting_at);
    cleanup_error_ = std::move(e);
    leave();
}

void finally_scope::expired(timer& t) noexcept {
    auto& self = static_cast<finally_scope&>(t);
    self.expired_ = true;
    self.cleanup_error_ = std::make_exception_ptr(
        timeout_error("a clean-up took longer than its limit and was stopped"));
    self.cleanup_->request_stop();
}

bool finally_scope::cleanup::ended(continuation& c, ending e) noexcept {
    auto& self = static_cast<cleanup&>(c);
    if (self.scope.active())
        self.scope.timers().remove(self.scope);
    self.return_context(self.scope.owner());
    // A clean-up that ended by itself after all says itself how it went.
    if (e == ending::finished && (self.scope.expired_ || self.result_of<void>().failed()))
        self.scope.cleanup_error_ = self.result_of<void>().take_error();
    self.scope.leave();
    return false;
}

void finally_scope::leave() noexcept {
    if (!body_stopped_) {
        resume_parent();
        return;
    }
    if (cleanup_error_)
        report_unhandled("the clean-up of finally", owner().awaiting_at, std::move(cleanup_error_));
    unwind_parent();
}

// --- with_stop_token ----------------------------------------------------------------------------

stop_token_scope::stop_token_scope(std::stop_token t) noexcept
    : scope_operation(stop_token_kind), body_(*this), token_(std::move(t)), message_(*this) {}

void stop_token_scope::start() noexcept {
    body_.start_now(owner());
    // After enter_tree: a token that has fired already calls back here and now.
    callback_.emplace(std::move(token_), forward{*this});
}

void stop_token_scope::stop_from_anywhere() noexcept {
    sent_.store(true, std::memory_order_release); // pairs with the acquire in ended()
    owner().run_by->post(message_);
}

void stop_token_scope::message::arrived(work& w) noexcept {
    stop_token_scope& s = static_cast<message&>(w).scope;
    s.arrived_ = true;
    if (s.ended_)
        s.leave();
    else
        s.body_.request_stop();
}

bool stop_token_scope::body::ended(continuation& c, ending e) noexcept {
    stop_token_scope& s = static_cast<body&>(c).scope;
    s.ended_ = true;
    s.stopped_ = e == ending::stopped;
    s.body_.return_context(s.owner());
    // Its destructor waits for a callback that is just running. After that either none was sent or
    // one is in the mail, and then this operation has to stay until it came.
    s.callback_.reset();
    if (!s.sent_.load(std::memory_order_acquire) || s.arrived_)
        s.leave();
    return false;
}

void stop_token_scope::leave() noexcept {
    if (stopped_ && (owner().stop_pending() || !arrived_))
        unwind_parent();
    else
        resume_parent();
}

} // namespace detail
} // namespace weft
