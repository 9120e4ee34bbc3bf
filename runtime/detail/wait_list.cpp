// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/wait_list.hpp>

#include <weft/runtime/loop.hpp>

namespace weft::detail {

std::size_t wait_list::size() const noexcept {
    std::size_t n = 0;
    for (const waiter* w = first_; w != nullptr; w = w->next_)
        ++n;
    return n;
}

bool start_deadline(strand& s, timer& t, wait_limit limit) {
    if (limit.endless())
        return true;
    loop& home = *s.run_by->io();
    time_point now = home.now();
    time_point when = limit.deadline(now);
    if (when <= now)
        return false;
    home.add_timer(t, when);
    return true;
}

void stop_deadline(strand& s, timer& t) noexcept { s.run_by->io()->remove_timer(t); }

} // namespace weft::detail
