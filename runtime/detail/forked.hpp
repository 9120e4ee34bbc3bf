// SPDX-License-Identifier: MIT
// For those who fork without the C library's knowledge.
//
// Threads: the only one of the child. Cancellation: none. Errors: none. Cost: none. Source: none.
#pragma once

namespace weft::detail {

/// In the child: the loops that there are belong to the parent.
void note_fork() noexcept;

} // namespace weft::detail
