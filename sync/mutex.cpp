// SPDX-License-Identifier: MIT
#include <weft/sync/mutex.hpp>

namespace weft {

mutex::~mutex() {
    WEFT_ASSERT(!line_.has_waiters(), "a mutex was destroyed while somebody waited for it");
}

} // namespace weft
