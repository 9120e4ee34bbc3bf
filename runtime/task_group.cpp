// SPDX-License-Identifier: MIT
#include <weft/runtime/task_group.hpp>

#include <weft/runtime/unhandled.hpp>

#include <utility>

namespace weft {

namespace {
constexpr detail::operation_type group_kind{detail::not_cancelled, "task_group"};

bool is_interrupt(const std::exception_ptr& e) noexcept {
    try {
        std::rethrow_exception(e);
    } catch (const interrupted_error&) {
        return true;
    } catch (...) {
        return false;
    }
}
} // namespace

task_group::task_group()
    : scope_operation(group_kind), child_owner{child_ended}, body_(*this, nullptr) {
    errors_.reserve(2); // for the body's
}

void task_group::require_open() {
    const detail::runner* here = detail::runner::current();
    // What runs elsewhere on a pool may come by this thread, too.
    bool roams = here != nullptr && here->current_strand != nullptr && here->current_strand->roams;
    if (here != body_.run_by || roams)
        throw state_error("a task group takes tasks from its own thread only: on a thread pool, "
                          "from its body");
    if (closed_ || (body_done_ && children_ == 0))
        throw state_error("the task group is ending and takes no more tasks");
    // Room for an error of each child, the body and this one: noting an error at the end must not
    // need memory.
    std::size_t room = errors_.size() + children_ + 2;
    if (errors_.capacity() < room)
        errors_.reserve(2 * room);
}

void task_group::cancel() noexcept {
    if (closed_)
        return;
    cancelled_ = closed_ = true;
    body_.request_stop();
}

void task_group::fail(std::exception_ptr e) noexcept {
    if (is_interrupt(e))
        interrupt_ = std::move(e);
    else
        errors_.push_back(std::move(e));
    if (!closed_) {
        closed_ = true;
        body_.request_stop(); // the children are below the body's strand
    }
}

void task_group::child_ended(child_owner& o, detail::ending how, std::exception_ptr e) noexcept {
    auto& self = static_cast<task_group&>(o);
    --self.children_;
    if (how == detail::ending::stopped)
        self.child_stopped_ = true;
    if (e)
        self.fail(std::move(e));
    self.leave_if_empty();
}

void task_group::body_ended(detail::ending how, std::exception_ptr e) noexcept {
    body_done_ = true;
    body_.return_context(owner());
    body_stopped_ = how == detail::ending::stopped;
    if (e)
        fail(std::move(e));
    else if (body_stopped_ && !closed_) {
        // The body stopped by itself: nobody will tell the children otherwise.
        closed_ = true;
        body_.request_stop();
    }
    leave_if_empty();
}

void task_group::leave_if_empty() noexcept {
    if (!body_done_ || children_ != 0)
        return;
    bool failed = !errors_.empty() || interrupt_;
    // A stop from outside goes on outwards if it cut anything short. So does one that the body ran
    // into by itself; one that came from cancel() ends here.
    bool cut_short = body_stopped_ || child_stopped_;
    bool passed_on = owner().stop_pending() ? cut_short : body_stopped_ && !cancelled_;
    if (passed_on && !failed)
        unwind_parent();
    else
        resume_parent();
}

bool task_group::check() {
    if (interrupt_) {
        for (std::exception_ptr& e : errors_) // what leaves has no place for them
            detail::report_unhandled("a task group that was interrupted", owner().awaiting_at,
                                     std::move(e));
        std::rethrow_exception(std::move(interrupt_));
    }
    if (!errors_.empty())
        throw exception_group("task group", std::move(errors_));
    return !body_stopped_;
}

} // namespace weft
