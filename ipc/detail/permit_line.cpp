// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/permit_line.hpp>

namespace weft::ipc::detail {

using weft::detail::futex_sleepers;
using weft::detail::futex_wake;

bool permit_line::release(std::uint32_t n, std::uint32_t limit) noexcept {
    auto done = word_.release(n, limit);
    if (done.wake)
        futex_wake(futex(), static_cast<int>(n));
    return done.fits;
}

bool permit_line::take_kept() noexcept {
    // Kept for those who have slept, but there is nobody: they were killed.
    return futex_sleepers(futex()) == 0 && word_.try_take(true, true).taken;
}

std::size_t permit_line::waiting() const noexcept {
    return static_cast<std::size_t>(futex_sleepers(futex()));
}

bool permit_wait::advance(sleeping_place& at) noexcept {
    while (true) {
        auto took = at_->word_.try_take(slept(), overtaken_);
        has_ = took.taken || (!slept() && at_->try_take());
        if (took.wake_one)
            futex_wake(at_->futex(), 1);
        if (has_)
            return true;
        overtaken_ = overtaken_ || woken();
        if (auto value = at_->word_.line_up(slept(), overtaken_)) {
            at = {&at_->futex(), *value};
            return false;
        }
    }
}

bool permit_wait::must_look() noexcept {
    // Permits that are kept for those who have slept are for it as well.
    return at_->permits() != 0 || shared_wait::must_look();
}

shared_wait::leaving permit_wait::leave(bool, bool used_wake_up) noexcept {
    bool wakes = overtaken_ && at_->word_.leave();
    if (wakes || used_wake_up)
        futex_wake(at_->futex(), 1);
    return leaving::at_once;
}

} // namespace weft::ipc::detail
