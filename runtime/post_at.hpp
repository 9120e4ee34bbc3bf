// SPDX-License-Identifier: MIT
// Calls a function later, on this loop.
//
//     void say_something_soon() {
//         auto shout = [] { fmt::print("boo\n"); };
//         weft::task_handle<> call = weft::post_after(std::chrono::seconds(1), shout);
//         if (std::rand() % 2 == 0)
//             call.cancel();
//     }
//
// Threads:      the loop's own. From elsewhere, post a function that does it.
// Cancellation: cancel() of the handle, until the call; dropping the handle changes nothing. A loop
//               that ends calls nothing any more.
// Errors:       state_error without a running loop. What the function throws goes to whoever joins
//               the handle, or else to the unhandled-error hook.
// Cost:         that of a task that sleeps.
// Source:       the event loop's call_later and call_at in asyncio.
#pragma once
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/time.hpp>

#include <concepts>
#include <utility>

namespace weft {

namespace detail {
template <class F>
task<> call_at(time_point when, F f) {
    co_await sleep_until(when);
    f();
}
} // namespace detail

/// Calls `f()` at `when`, or soon if that has passed; what is due at different times, in that
/// order. It sees the context variables as they are now.
template <std::invocable F>
task_handle<> post_at(time_point when, F f,
                      std::source_location at = std::source_location::current()) {
    return weft::spawn(detail::call_at(when, std::move(f)), at);
}

/// The same, counted from now.
template <class Rep, class Period, std::invocable F>
task_handle<> post_after(std::chrono::duration<Rep, Period> d, F f,
                         std::source_location at = std::source_location::current()) {
    return weft::post_at(deadline_after(d), std::move(f), at);
}

} // namespace weft
