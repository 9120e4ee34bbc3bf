// SPDX-License-Identifier: MIT
#include <weft/sync/error.hpp>

namespace weft {

// Out of line, so that each type has one identity, whatever catches it.
broken_barrier::~broken_barrier() = default;

} // namespace weft
