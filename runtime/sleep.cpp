// SPDX-License-Identifier: MIT
#include <weft/runtime/sleep.hpp>

#include <stdexcept>

namespace weft {

namespace detail {

const operation_type sleep_op::kind{cancel_sleep, "sleep"};

sleep_op::sleep_op(time_point until) noexcept : operation(kind), timer(wake_up), until_(until) {}

void sleep_op::start() {
    if (until_ == time_point::min()) {
        complete();
        return;
    }
    try {
        timers().add(*this, until_);
    } catch (...) {
        owner().leaf = nullptr;
        throw;
    }
}

void sleep_op::cancel_sleep(operation& op) noexcept { static_cast<sleep_op&>(op).cancel(); }

void sleep_op::cancel() noexcept {
    if (active())
        timers().remove(*this);
    stopped();
}

void sleep_op::wake_up(timer& t) noexcept { static_cast<sleep_op&>(t).complete(); }

void refuse_to_sleep() {
    throw std::invalid_argument("a sleep of a duration that is no number (NaN)");
}

} // namespace detail

detail::sleep_op sleep_until(time_point when) noexcept { return detail::sleep_op(when); }

} // namespace weft
