// SPDX-License-Identifier: MIT
#include <weft/sync/mutex.hpp>

#include <weft/runtime/error.hpp>

namespace weft {

mutex::~mutex() {
    WEFT_ASSERT(!line_.has_waiters(), "a mutex was destroyed while somebody waited for it");
}

void mutex::not_locked() { throw state_error("a mutex was unlocked that nobody had locked"); }

} // namespace weft
