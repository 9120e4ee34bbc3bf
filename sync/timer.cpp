// SPDX-License-Identifier: MIT
#include <weft/sync/timer.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/unhandled.hpp>

namespace weft {

namespace detail {

timer_record::timer_record(duration every, const timer_options& options)
    : every_(every), options_(options) {
    if (options.repeats && every <= duration::zero())
        throw std::invalid_argument("a timer that repeats needs some time in between");
}

void timer_record::start(loop* there) {
    if (there == nullptr)
        static_cast<void>(this_loop()); // or throws
    if (started_.exchange(true))
        throw state_error("a timer can be started once");
    time_point first = deadline_after(every_);
    timer_hold self(*this);
    if (there == nullptr)
        spawn_here(std::move(self), first);
    else
        there->post([s = std::move(self), first]() mutable { spawn_here(std::move(s), first); });
}

void timer_record::spawn_here(timer_hold self, time_point first) {
    const char* name = self->options_.name;
    weft::spawn(run(std::move(self), first)).set_name(name);
}

// Whether the function is to run now.
bool timer_record::begin() noexcept {
    state expected = state::waits;
    return state_.compare_exchange_strong(expected, state::runs);
}

// When it has run: whether it is to run once more.
bool timer_record::again() noexcept {
    if (!options_.repeats)
        return false;
    state_.store(state::waits);
    return !cancelled_.load();
}

time_point timer_record::after(time_point last) const noexcept {
    time_point n = now();
    time_point next = saturated_sum(last, every_);
    if (next > n)
        return next;
    return saturated_sum(next, ((n - next) / every_ + 1) * every_);
}

task<> timer_record::run(timer_hold self, time_point next) {
    while (true) {
        bool cancelled = co_await self->cancel_.wait_until(next);
        if (cancelled || !self->begin())
            co_return;
        try {
            task<> call = self->call();
            co_await std::move(call);
        } catch (...) {
            report_current_exception("a timer");
        }
        if (!self->again())
            co_return;
        next = self->after(next);
    }
}

bool timer_record::cancel() noexcept {
    bool first = !cancelled_.exchange(true);
    state expected = state::waits;
    bool kept = state_.compare_exchange_strong(expected, state::over);
    cancel_.set();
    return first && (kept || (expected == state::runs && options_.repeats));
}

} // namespace detail

void timer::require_start() const {
    if (!record_->started())
        throw state_error("a timer was joined that was not started");
}

} // namespace weft
