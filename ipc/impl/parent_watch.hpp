// SPDX-License-Identifier: MIT
// Lets a process end with the one that started it, whatever it is doing.
//
// Threads:      where the kernel can't do it, one of its own, to which no signal goes.
// Cancellation: none. Errors: std::system_error if that thread can't be made.
// Cost:         a system call, or a thread. Source: prctl(2), PR_SET_PDEATHSIG.
#pragma once
#include <weft/runtime/descriptor.hpp>

namespace weft::ipc::detail {

/// From now on this process ends at once when that of the pidfd has ended. The kernel's signal
/// comes when the *thread* ends that started us; it reaches us even if we are stopped. So it is
/// used if that thread is known to last as long as its process, and a thread of our own watches
/// else.
void end_with_parent(descriptor parent, bool thread_lasts);

} // namespace weft::ipc::detail
