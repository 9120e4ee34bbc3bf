// SPDX-License-Identifier: MIT
// Lines of several processes on the standard error that they share.
//
// Threads:      any. Cancellation: none. Errors: none: what can't be written is dropped.
// Cost:         four system calls. Source: none.
#pragma once
#include <string_view>

namespace weft::ipc::detail {

/// In one piece, so that the lines of two processes don't mix. If nobody reads them any more, that
/// is no reason to die of a signal.
void write_to_stderr(std::string_view text) noexcept;

} // namespace weft::ipc::detail
