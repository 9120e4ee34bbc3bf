// SPDX-License-Identifier: MIT
// The one line that lets a program be its own worker. Workers are the same program, started again;
// this call is where they turn off to their work. It comes first in main:
//
//     int main(int argc, char** argv) {
//         if (auto status = weft::ipc::worker_entry(argc, argv))
//             return *status;
//         fmt::print("the program itself\n");
//         return 0;
//     }
//
// Threads:      the main thread, before there are others.
// Cancellation: a worker ends at once when its parent ends, whatever the reason and whatever it is
//               doing.
// Errors:       none; a worker that can't start says why on standard error and gives a status other
//               than 0. A program that lacks the line, or wants workers before it or behind it in a
//               worker, would start others without end: it gets a state_error instead.
// Cost:         a comparison of argv[1] in a process that is no worker.
// Source:       multiprocessing.freeze_support is its namesake in need; the guard against starting
//               without end is Python's "safe importing of main module".
#pragma once
#include <optional>

namespace weft::ipc {

/// In a worker: does its work and gives the status to return from main. In any other process:
/// nothing.
[[nodiscard]] std::optional<int> worker_entry(int argc, char** argv);

} // namespace weft::ipc
