// SPDX-License-Identifier: MIT
#include <weft/sync/recursive_mutex.hpp>

namespace weft {

recursive_mutex::~recursive_mutex() {
    WEFT_ASSERT(!line_.has_waiters(),
                "a recursive_mutex was destroyed while somebody waited for it");
}

} // namespace weft
