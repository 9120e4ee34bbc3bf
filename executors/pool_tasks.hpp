// SPDX-License-Identifier: MIT
// What the tasks are doing that were sent to a thread pool: see introspect.hpp.
//
//     void print_tasks(weft::thread_pool& pool) {
//         for (const weft::task_tree& thread : weft::capture_tasks(pool))
//             std::fputs(weft::to_string(thread).c_str(), stderr);
//     }
//
// A tree for each thread that the pool has: the tasks that belong to it, with what each waits for.
// Those that wait for children which other threads took belong to none, and aren't shown; their
// children are, where they run.
//
// Threads:      any, but not the pool's own. A thread looks when what it runs waits or ends; one
//               that computes until `within` has passed didn't answer.
// Cancellation: none.
// Errors:       std::bad_alloc.
// Cost:         as introspect.hpp says.
// Source:       none.
#pragma once
#include <weft/executors/thread_pool.hpp>
#include <weft/runtime/introspect.hpp>

#include <vector>

namespace weft {

[[nodiscard]] std::vector<task_tree> capture_tasks(thread_pool& of,
                                                   const capture_options& options = {},
                                                   duration within = std::chrono::seconds(1));

} // namespace weft
