// SPDX-License-Identifier: MIT
// What a worker of a process pool does: the main thread takes tasks and computes, a second thread
// watches for stops and for the end of the parent.
//
// Threads:      two. Cancellation: a stop reaches the function through its std::stop_token.
// Errors:       whatever a task throws is that task's error. If the parent is gone or its channel,
//               the process ends.
// Cost:         see worker_link.hpp. Source: none.
#pragma once
#include <weft/ipc/detail/worker_role.hpp>

namespace weft::detail {

/// The role of pool workers. Its descriptors: the stream, the control channel, the memory of its
/// lanes, the socket for blocks.
[[nodiscard]] const ipc::detail::worker_role& pool_worker_role() noexcept;

} // namespace weft::detail
