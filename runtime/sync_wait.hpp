// SPDX-License-Identifier: MIT
// Lets a plain thread wait for anything that can be awaited.
//
//     int next_number(weft::task<int> work) { return weft::sync_wait(std::move(work)); }
//
// Threads:      any that doesn't run a loop. Each gets a loop of its own, on first use, which lasts
//               as long as the thread; it has a ring only if something asks for one.
// Cancellation: none from outside; use with_timeout or with_stop_token around the awaitable.
// Errors:       what the awaitable throws; cancelled_error if it was stopped; state_error on a
//               thread whose loop is running, because waiting there would block every task of it.
// Cost:         one frame for what isn't a task; parking is a futex wait, or the ring's.
// Source:       cppcoro's sync_wait.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/runtime.hpp>

namespace weft {

namespace detail {
/// Runs a branch on the calling thread's own loop until it ends.
void wait_for_branch(main_branch& b);
} // namespace detail

template <awaitable A>
task_result_t<A> sync_wait(A a) {
    using T = task_result_t<A>;
    detail::main_branch b;
    b.set<T>(weft::as_task(std::move(a)));
    detail::wait_for_branch(b);
    return b.template result_of<T>().take();
}

} // namespace weft
