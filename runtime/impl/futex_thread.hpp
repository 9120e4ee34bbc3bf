// SPDX-License-Identifier: MIT
// Waits for futexes where the ring can't: a thread of the process, in futex_waitv, for up to 127
// words at a time, whosever they are. With more of them there are more threads; they end when
// nothing came for ten seconds. A child of a fork makes its own.
//
// Threads:      any; the end of a wait is posted to its home.
// Cancellation: withdraw_futex_wait.
// Errors:       start_futex_wait throws std::system_error if no thread can be made, std::bad_alloc
//               for one that there wasn't before. What futex_waitv says becomes the wait's result.
// Cost:         a lock and a wake-up of the thread for each wait. Source: futex_waitv(2).
#pragma once
#include <weft/runtime/detail/futex.hpp>

namespace weft::detail {

/// Precondition: word, expected and home are set.
void start_futex_wait(futex_waiter& w);
/// Takes it back. False: it has ended, and that has been or is being posted.
[[nodiscard]] bool withdraw_futex_wait(futex_waiter& w) noexcept;

} // namespace weft::detail
