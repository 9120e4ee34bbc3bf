// SPDX-License-Identifier: MIT
// Nothing may be left after a test: the process holds what it held before. A listener looks before
// and after every run of a test case (each combination of its sections), and fails the case with a
// list of what is left: descriptors, children (zombies too), threads, names in /dev/shm; and
// descriptors of others that the test closed.
//
//     TEST_CASE("resolver: answers") {
//         resolve_something();                  // starts a helper thread that stays
//         weft::tests::accept_current_state();  // from here on nothing may be added
//         ...
//     }
//
// A thread that the library keeps on purpose, and starts when it is first needed, is declared once,
// in any test file:
//
//     const weft::tests::resident_thread resolver{"weft-resolve"};
//
// Threads:      the thread that runs the test.
// Cancellation: none.
// Errors:       std::system_error if /proc can't be read.
// Cost:         about 50 us a look; more only for a process with children, or while something is
//               left.
// Source:       none.
#pragma once
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace weft::tests {

/// What a process holds. Each thing has a text that tells it from others, and lets a reader find
/// who made it.
struct holdings {
    std::map<int, std::string> descriptors;          // number: where it leads
    std::map<pid_t, std::string> children;           // pid: state and command
    std::map<pid_t, std::string> threads;            // thread id: name
    std::map<std::string, std::string> shared_names; // name in /dev/shm: inode
};

/// What this process holds now.
holdings look();

/// What is there now that was not `before`, and which descriptors aren't there any more, one line
/// each. The kernel may take until `bound` to let go of things (an exiting thread, a reaped child):
/// asks again until nothing is left, or that has passed.
std::vector<std::string> left_over(const holdings& before,
                                   std::chrono::milliseconds bound = std::chrono::seconds(20));

/// A name for shared memory that tells whose it is: tests run side by side, and a process that was
/// killed holds its names no longer, which stay until its tracker has removed them.
std::string own_shared_name(std::string_view what);

/// What is there now is what the running test case may leave behind.
void accept_current_state();

/// Threads of this name (as in /proc, at most 15 characters; a final * stands for any ending) are
/// not looked at.
struct resident_thread {
    explicit resident_thread(std::string_view name);
};

} // namespace weft::tests
