// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/wait_list.hpp>

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
    time_point now = weft::now();
    time_point when = limit.deadline(now);
    if (when <= now)
        return false;
    s.run_by->timers().add(t, when);
    return true;
}

void stop_deadline(strand& s, timer& t) noexcept { s.run_by->timers().remove(t); }

} // namespace weft::detail
