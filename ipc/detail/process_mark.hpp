// SPDX-License-Identifier: MIT
// Which process somebody is, for ever: its number, which another one may get later, and when it
// began. And whether it is gone.
//
//     bool forgotten(std::uint64_t noted) {
//         return weft::ipc::detail::is_gone(noted);
//     }
//
// A process that has ended and waits for its parent to ask is gone, too. All processes concerned
// see the same numbers: they are in one pid namespace.
//
// Threads:      any. A child of a fork is another process.
// Cancellation: none.
// Errors:       none. Without /proc, or a descriptor to read it, the number alone counts.
// Cost:         this_process(): one load. is_gone(): about 5 us, four system calls.
// Source:       proc_pid_stat(5).
#pragma once
#include <atomic>
#include <cstdint>

namespace weft::ipc::detail {

/// The number in the lower half, in 22 bits; in the upper half, when it began.
using process_mark = std::uint64_t;

[[nodiscard]] constexpr int pid_in(process_mark m) noexcept {
    return static_cast<int>(static_cast<std::uint32_t>(m));
}

/// 0 until somebody asks.
extern std::atomic<process_mark> known_process_mark;
[[nodiscard]] process_mark find_process_mark() noexcept;

[[nodiscard]] inline process_mark this_process() noexcept {
    process_mark m = known_process_mark.load(std::memory_order_relaxed); // the same for all
    return m != 0 ? m : find_process_mark();
}

[[nodiscard]] bool is_gone(process_mark m) noexcept;

} // namespace weft::ipc::detail
