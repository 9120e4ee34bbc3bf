// SPDX-License-Identifier: MIT
#include <weft/runtime/promise.hpp>

#include <weft/runtime/loop.hpp>

namespace weft::detail {

void promise_state::drop_handle() noexcept {
    if (--handles_ == 0 && !done())
        finish(outcome_kind::cancelled);
    release();
}

void promise_state::release() noexcept {
    if (--references_ != 0)
        return;
    if (error_ && !error_fetched_)
        report_unhandled("a promise whose result nobody asked for", std::source_location(),
                         std::move(error_));
    delete this;
}

void promise_state::require_open() const {
    if (done())
        throw state_error("a promise that has ended was given a result");
}

void promise_state::finish(outcome_kind k, std::exception_ptr e) noexcept {
    kind_ = k;
    error_ = std::move(e);
    listeners.tell_all(k == outcome_kind::error);
}

void promise_state::require_value() {
    if (kind_ == outcome_kind::cancelled)
        throw cancelled_error();
    if (kind_ == outcome_kind::error) {
        error_fetched_ = true;
        std::rethrow_exception(error_);
    }
}

const operation_type promise_wait_base::kind{cancel_wait, "promise"};
const end_listener_type promise_wait_base::listens{told, nullptr};

void promise_wait_base::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<promise_wait_base&>(op);
    self.state_.listeners.remove(self);
    self.stopped();
}

const end_listener_type promise_callback::listens{queue, nullptr};

promise_callback::promise_callback(work::function f)
    : end_listener(listens), work(f), home(&this_loop()), context(capture_context()) {}

promise_callback::~promise_callback() {
    if (context != nullptr)
        release_context(context);
}

void promise_callback::queue(end_listener& l, bool) noexcept {
    auto& self = static_cast<promise_callback&>(l);
    if (self.home == runner::current())
        self.home->push(self);
    else
        self.home->post(self);
}

} // namespace weft::detail
