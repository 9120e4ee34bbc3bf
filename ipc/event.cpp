// SPDX-License-Identifier: MIT
#include <weft/ipc/event.hpp>

namespace weft::ipc {

static_assert(std::is_standard_layout_v<event>);

void event::wake_all() noexcept {
    weft::detail::futex_wake(word_.atomic(), weft::detail::everybody);
}

std::size_t event::waiting() const noexcept {
    return static_cast<std::size_t>(
        weft::detail::futex_sleepers(const_cast<event*>(this)->word_.atomic()));
}

namespace detail {

bool event_wait::advance(sleeping_place& at) noexcept {
    while (true) {
        passed_ = event::word::passes(at_->word_.look(), then_);
        if (passed_)
            return true;
        if (auto value = at_->word_.line_up(then_)) {
            at = {&at_->word_.atomic(), *value};
            return false;
        }
    }
}

bool event_wait::may_pass() noexcept {
    if (!event::word::passes(at_->word_.look(), then_))
        return false;
    weft::detail::fetch_to_write(at_); // who has waited often unsets it next
    return true;
}

shared_wait::leaving event_wait::leave(bool, bool) noexcept { return leaving::at_once; }

} // namespace detail
} // namespace weft::ipc
