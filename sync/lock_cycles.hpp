// SPDX-License-Identifier: MIT
// Finds those who wait for each other's locks in a circle, when the last of them begins to wait.
//
//     int main() {
//         weft::detect_lock_cycles(true);         // in a test run, or while looking for a deadlock
//         return 0;
//     }
//
// While it is on, lock() and scoped() of a mutex, a recursive_mutex and a condition note whom they
// wait for. Who would close a circle isn't made to wait for ever, but gets
// std::system_error (resource_deadlock_would_occur), whose text names all that are in it and where
// they wait. Waits with a deadline end by themselves and don't count, nor do those in select, and
// those that began before it was switched on.
//
// Threads:      any; the circle may go through tasks of several loops, and plain threads.
// Cancellation: none.
// Errors:       while it is on, lock and scoped throw std::system_error as said above, and
//               std::bad_alloc if there is no memory for the note.
// Cost:         nothing to lock what is free. To wait for a lock, one load; while it is on, a note
//               under a mutex of the process.
// Source:       the wait-for graph of Dijkstra and Holt.
#pragma once

namespace weft {

/// Gives whether it was on before.
bool detect_lock_cycles(bool on) noexcept;

} // namespace weft
