// SPDX-License-Identifier: MIT
#include <weft/sync/event.hpp>

namespace weft {

event::~event() {
    WEFT_ASSERT(!line_.has_waiters(), "an event was destroyed while somebody waited for it");
}

} // namespace weft
