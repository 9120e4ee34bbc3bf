// SPDX-License-Identifier: MIT
// A thread pool for what needs a thread and has no pool of its own: made when it is first asked
// for.
//
//     std::string whole_file(const std::string& name) {
//         std::ifstream f(name);                          // may block: not on the loop
//         return std::string(std::istreambuf_iterator<char>(f), {});
//     }
//     weft::task<std::size_t> size_of(std::string name) {
//         std::string text = co_await weft::on_thread(whole_file, std::move(name));
//         co_return text.size();
//     }
//
// Threads:      any. The pool has up to min(32, CPUs + 4) threads, because what runs there mostly
//               waits.
// Cancellation: a task that is stopped while it awaits on_thread or run_on doesn't wait for the
//               function: one that hasn't begun never will, one that runs is asked through its
//               std::stop_token if it takes one, and what it gives is dropped. So arguments are
//               passed by value.
// Errors:       what the function throws; those of submit.
// Cost:         that of a future. Source: asyncio.to_thread and run_in_executor.
#pragma once
#include <weft/executors/executor.hpp>
#include <weft/executors/thread_pool.hpp>

#include <memory>
#include <utility>

namespace weft {

/// The pool. After its shutdown, a new one.
[[nodiscard]] std::shared_ptr<thread_pool> default_pool();

/// Calls `f(args...)` on a thread of the default pool. Begins at once.
template <class F, class... A>
    requires detail::callable_somehow<std::decay_t<F>, std::decay_t<A>...>
[[nodiscard]] future<detail::thread_result_t<F, A...>> on_thread(F&& f, A&&... args) {
    return default_pool()->submit(std::forward<F>(f), std::forward<A>(args)...);
}

/// The same on any executor.
template <executor E, class F, class... A>
[[nodiscard]] auto run_on(E& ex, F&& f, A&&... args) {
    return ex.submit(std::forward<F>(f), std::forward<A>(args)...);
}

/// Lets the default pool finish, and waits for that until `deadline`. False if it didn't by then:
/// that is reported to the unhandled-error hook as well, and the pool goes on ending; the end of
/// the program waits for it, as for all that the pool has accepted.
[[nodiscard]] task<bool> shutdown_default_pool(time_point deadline = never);

} // namespace weft
