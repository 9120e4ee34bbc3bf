// SPDX-License-Identifier: MIT
#include <weft/executors/detail/submitted.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/timeout.hpp>

#include <utility>

namespace weft::detail {

travelling_setting::travelling_setting() noexcept
    : context_(capture_context()), deadline_(current_deadline()) {}

void travelling_setting::run(void (*f)(void*), void* argument) {
    context_scope variables(std::exchange(context_, nullptr));
    deadline_scope until(deadline_);
    f(argument);
}

void travelling_setting::forget() noexcept {
    if (context_ != nullptr)
        release_context(std::exchange(context_, nullptr));
}

void submitted_base::post_to(thread_pool_state& pool) {
    pool_ = &pool;
    try {
        post(pool, *this);
    } catch (...) {
        of_.release();
        throw;
    }
}

void submitted_base::take_turn(pool_work& w, pool_turn turn) noexcept {
    auto& self = static_cast<submitted_base&>(w);
    future_record& record = self.of_;
    // relaxed: whoever set it waits for the threads' end.
    if (self.drop_ != nullptr && self.drop_->load(std::memory_order_relaxed)) {
        record.cancel();
    } else if (record.core.start() == future_phase::pending) {
        if (turn == pool_turn::gone) {
            self.forget();
            record.finish_error(reason_of_end(*self.pool_));
        } else {
            self.run();
        }
    }
    record.release();
}

void submitted_base::run() noexcept {
    std::exception_ptr error;
    bool gave_up = false;
    try {
        setting_.run([](void* w) { static_cast<submitted_base*>(w)->call(); }, this);
    } catch (const cancelled_error&) {
        gave_up = true;
    } catch (...) {
        error = std::current_exception();
    }
    forget();
    if (gave_up)
        of_.core.give_up();
    else if (error)
        of_.finish_error(std::move(error));
    else
        of_.finish_value();
}

} // namespace weft::detail
