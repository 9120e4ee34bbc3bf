// SPDX-License-Identifier: MIT
// Which of those that wait for a thread or a worker of a pool is next. What it means that one waits
// long behind others, each pool says itself.
//
//     weft::future<int> urgent(weft::thread_pool& pool, int (*f)()) {
//         return pool.submit({.priority = weft::task_priority::high}, f);
//     }
//
// Threads:      any. Cancellation: none. Errors: none.
// Cost:         none.
// Source:       none.
#pragma once

namespace weft {

/// Within a level: first come, first served.
enum class task_priority : int { high, normal, low };

} // namespace weft
