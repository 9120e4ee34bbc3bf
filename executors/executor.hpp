// SPDX-License-Identifier: MIT
// What runs functions elsewhere, whatever that is: a pool of threads, or of processes.
//
//     template <weft::executor E>
//     weft::task<int> twice(E& pool, int n) {
//         auto square = [](int k) { return k * k; };
//         weft::future<int> first = pool.submit(square, n);       // starts now
//         weft::future<int> second = pool.submit(square, n + 1);
//         co_return co_await first + co_await second;
//     }
//     weft::task<int> and_no_more(weft::thread_pool& pool) {
//         co_return co_await weft::with_shutdown(pool, twice(pool, 3));
//     }
//
// submit() begins at once, whether or not anybody waits, and throws state_error once the executor
// was shut down, broken_executor if it has failed. What is submitted while it is shut down either
// runs or is refused. Context variables and the deadline of whoever submits go with the work.
//
// Threads:      submit, from any. Cancellation: that of the futures; see future.hpp.
// Errors:       those of submit; what the work throws is in its future.
// Cost:         none.
// Source:       concurrent.futures.Executor; the same on threads as multiprocessing.dummy.
#pragma once
#include <weft/executors/error.hpp>
#include <weft/executors/future.hpp>
#include <weft/runtime/cancellation.hpp>

#include <concepts>
#include <cstddef>

namespace weft {

struct shutdown_options {
    /// Until all accepted work is done and the threads or processes have ended. If not, they go on
    /// ending by themselves.
    bool wait = true;
    /// What has not begun is cancelled; what runs finishes.
    bool cancel_pending = false;
};

namespace detail {
struct some_function {
    int operator()(int n) const noexcept { return n; }
};
} // namespace detail

template <class E>
concept executor = requires(E& e, const detail::some_function& f, const shutdown_options& how) {
    { e.submit(f, 1) } -> std::same_as<future<int>>;
    { e.shutdown(how) } -> awaitable;
    /// How many can run at once.
    { e.size() } -> std::convertible_to<std::size_t>;
};

/// Awaits something, and then the end of all the executor's work, on whichever way out.
template <executor E, awaitable A>
[[nodiscard]] auto with_shutdown(E& ex, A body) {
    auto ends = [&ex] { return weft::as_task(ex.shutdown(shutdown_options())); };
    return weft::finally(std::move(body), ends, duration::max());
}

} // namespace weft
