// SPDX-License-Identifier: MIT
#include <weft/executors/future.hpp>

#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/unhandled.hpp>

#include <source_location>

namespace weft::detail {

bool future_record::cancel() noexcept {
    switch (core.cancel()) {
    case future_phase::pending:
        withdraw();
        return true;
    case future_phase::cancelled:
        return true;
    case future_phase::running:
    case future_phase::claimed:
    case future_phase::finished:
        break;
    }
    return false;
}

void future_record::abandon() noexcept {
    if (!ended() && only_handle() && !cancel())
        ask_to_stop();
}

void future_record::require_open() const {
    if (ended())
        throw state_error("the future has ended");
}

bool future_record::start() {
    switch (core.start()) {
    case future_phase::pending:
        return true;
    case future_phase::cancelled:
        return false;
    case future_phase::running:
    case future_phase::claimed:
    case future_phase::finished:
        break;
    }
    throw state_error("the work of a future was begun twice");
}

future_phase future_record::claim() {
    future_phase before = core.claim();
    switch (before) {
    case future_phase::pending:
    case future_phase::running:
        return before;
    case future_phase::cancelled:
        throw state_error("a future that was cancelled was given a result");
    case future_phase::claimed:
    case future_phase::finished:
        break;
    }
    throw state_error("a future was given a second result");
}

void future_record::end_without() noexcept {
    if (core.cancel() == future_phase::running)
        core.give_up();
}

void future_record::require_value() {
    if (std::exception_ptr e = failure())
        std::rethrow_exception(std::move(e));
}

void future_record::require_value_alone() {
    if (core.phase() == future_phase::cancelled)
        throw cancelled_error();
    if (error_) {
        error_seen_.store(true, std::memory_order_relaxed);
        std::rethrow_exception(std::move(error_));
    }
}

std::exception_ptr future_record::failure() {
    if (core.phase() == future_phase::cancelled)
        throw cancelled_error();
    if (!error_)
        return nullptr;
    // relaxed: whoever looks at it has the last reference.
    error_seen_.store(true, std::memory_order_relaxed);
    return ipc::copy_error(error_);
}

bool future_record::block(wait_limit limit) {
    if (ended())
        return true;
    if (limit.deadline(now()) <= now())
        return false;
    if (this_loop_or_null() != nullptr)
        throw state_error("a thread that runs a loop would block for a future; use co_await there");
    if (!limit.endless())
        return sync_wait(timed_op<future_wait_op>(limit, future_hold(*this)));
    sync_wait(future_wait_op(future_hold(*this)));
    return true;
}

void future_record::end() noexcept {
    if (error_ && !error_seen_.load(std::memory_order_relaxed))
        report_unhandled("a future whose result nobody asked for", std::source_location(),
                         std::move(error_));
    delete this;
}

void throw_future_timeout() { throw timeout_error("the deadline came before the future was done"); }

void throw_not_alone() {
    throw state_error(
        "the result of a future can't be copied, and other copies of the future may ask for it");
}

future_state state_of(future_phase p) noexcept {
    switch (p) {
    case future_phase::pending:
        return future_state::pending;
    case future_phase::running:
    case future_phase::claimed:
        return future_state::running;
    case future_phase::cancelled:
        return future_state::cancelled;
    case future_phase::finished:
        break;
    }
    return future_state::finished;
}

// --- Callbacks -----------------------------------------------------------------------------------

const end_listener_type future_callback::listens{told, nullptr};

future_callback::future_callback(future_hold f) noexcept
    : end_listener(listens), of_(std::move(f)), context_(capture_context()) {}

future_callback::~future_callback() {
    if (context_ != nullptr)
        release_context(context_);
}

void future_callback::attach() noexcept {
    if (!of_->core.listen(*this))
        run();
}

void future_callback::told(end_listener& l, bool) noexcept {
    static_cast<future_callback&>(l).run();
}

void future_callback::run() noexcept {
    {
        context_scope in(std::exchange(context_, nullptr));
        try {
            call();
        } catch (...) {
            report_current_exception("a callback of a future");
        }
    }
    delete this;
}

} // namespace weft::detail
