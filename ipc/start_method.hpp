// SPDX-License-Identifier: MIT
// How a process comes into being. start_context.hpp says what each means, and how to choose.
//
//     const char* about(weft::ipc::start_method m) {
//         return m == weft::ipc::start_method::fork ? "a copy" : "a process of its own";
//     }
//
// Threads: any. Cancellation: none. Errors: none. Cost: none.
// Source:  multiprocessing's start methods.
#pragma once

namespace weft::ipc {

enum class start_method : int {
    standard,   // what is set in start_context.hpp; spawn otherwise
    spawn,      // the program is started again: a clean sheet
    forkserver, // a helper that was started early forks
    fork,       // this process forks
};

} // namespace weft::ipc
