// SPDX-License-Identifier: MIT
#include <weft/runtime/queue_error.hpp>

namespace weft {

// Out of line, so that each type has one identity, whatever catches it.
queue_empty::~queue_empty() = default;
queue_full::~queue_full() = default;
queue_shut_down::~queue_shut_down() = default;

} // namespace weft
