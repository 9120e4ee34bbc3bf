// SPDX-License-Identifier: MIT
// Who waits for which lock now, while somebody wants to know: see sync/lock_cycles.hpp.
//
// Threads:      any. Cancellation: none.
// Errors:       watch_wait throws std::system_error and std::bad_alloc. Cost: see lock_cycles.hpp.
// Source:       none.
#pragma once
#include <weft/runtime/detail/identity.hpp>

#include <atomic>
#include <source_location>

namespace weft::detail {

class held_line;

extern std::atomic<bool> lock_watch_is_on;

[[nodiscard]] inline bool lock_watch_on() noexcept {
    return lock_watch_is_on.load(std::memory_order_relaxed); // a switch, which publishes nothing
}
/// Notes that the caller waits for a lock, unless that would close a circle: then throws. Gives who
/// the caller is.
identity watch_wait(const held_line& lock, const char* what, const std::source_location& where);
/// It doesn't wait any more.
void unwatch_wait(identity who) noexcept;

} // namespace weft::detail
