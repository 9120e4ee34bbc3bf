// SPDX-License-Identifier: MIT
// How far a sequence that a worker makes may be ahead of who reads it.
//
// Threads: none. Cancellation: none. Errors: none. Cost: none. Source: credits of flow control.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft::detail {

struct stream_window {
    std::uint32_t items = 0; // at most so many that weren't taken; 0: this is no sequence
    std::size_t bytes = 0;   // no more items while so many bytes weren't taken
};

} // namespace weft::detail
