// SPDX-License-Identifier: MIT
#include <weft/executors/spawn_on.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/unhandled.hpp>

namespace weft::detail {

remote_task::remote_task(future_record& of, loop& there, end_function f,
                         std::source_location at) noexcept
    : branch(f), of_(of), there_(there), start_(arrive, *this), stop_(stop_there, *this) {
    spawned_at = at;
    context = capture_context();
}

void remote_task::arrive(work& w) noexcept {
    remote_task& t = static_cast<message&>(w).of;
    strand& root = t.there_.root();
    if (root.stop_pending()) {
        // In the tree, so that the loop stays until a stop that may be on its way has come.
        t.enter_tree(root);
        t.refuse();
        t.leave();
    } else {
        t.start_later(root);
    }
}

void remote_task::refuse() noexcept {
    std::exchange(child, nullptr).destroy();
    if (of_.core.claim() == future_phase::pending)
        of_.finish_error(
            std::make_exception_ptr(state_error("the loop is ending and takes no more tasks")));
}

void remote_task::stop() noexcept {
    int running = 0;
    // Sent once, and not at all when the task has ended.
    if (state_.compare_exchange_strong(running, 1, std::memory_order_acq_rel))
        there_.post(stop_);
}

void remote_task::stop_there(work& w) noexcept {
    remote_task& t = static_cast<message&>(w).of;
    t.stop_arrived_ = true;
    if (t.ended_)
        t.forget();
    else
        t.request_stop();
}

void remote_task::leave() noexcept {
    ended_ = true;
    int running = 0;
    // If a stop was sent and isn't here yet, it has to find the record, and the loop.
    if (state_.compare_exchange_strong(running, 2, std::memory_order_acq_rel) || stop_arrived_)
        forget();
}

void remote_task::forget() noexcept {
    leave_tree();
    of_.release();
}

void report_late_error(std::exception_ptr e, std::source_location spawned_at) noexcept {
    report_unhandled("a task whose future was cancelled", spawned_at, std::move(e));
}

} // namespace weft::detail
