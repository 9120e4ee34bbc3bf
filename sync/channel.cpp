// SPDX-License-Identifier: MIT
#include <weft/sync/channel.hpp>

#include <weft/sync/error.hpp>

namespace weft::detail {

void throw_closed_end() { throw state_error("this end of a channel was closed or moved from"); }

} // namespace weft::detail
