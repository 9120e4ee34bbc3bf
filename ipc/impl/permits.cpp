// SPDX-License-Identifier: MIT
#include "permits.hpp"

namespace weft::ipc::detail {

using weft::detail::waiter;
using weft::detail::woken_list;

bool permits::enter(waiter& w) noexcept {
    std::scoped_lock held(lock_);
    if (left_ == 0) {
        line_.push(w);
        return true;
    }
    --left_;
    return false;
}

bool permits::leave(waiter& w) noexcept {
    std::scoped_lock held(lock_);
    return line_.remove_if_there(w);
}

void permits::give() noexcept {
    woken_list woken;
    {
        std::scoped_lock held(lock_);
        if (waiter* w = line_.claim_first())
            woken.take(line_, *w);
        else
            ++left_;
    }
    woken.wake();
}

void permits::give_all() noexcept {
    woken_list woken;
    {
        std::scoped_lock held(lock_);
        woken.take_all(line_);
    }
    woken.wake();
}

} // namespace weft::ipc::detail
