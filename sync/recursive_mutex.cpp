// SPDX-License-Identifier: MIT
#include <weft/sync/recursive_mutex.hpp>

#include <weft/runtime/error.hpp>

namespace weft {

recursive_mutex::~recursive_mutex() {
    WEFT_ASSERT(!line_.has_waiters(),
                "a recursive_mutex was destroyed while somebody waited for it");
}

void recursive_mutex::not_locked_here() {
    throw state_error(detail::describe_caller() +
                      " unlocked a recursive_mutex that it had not locked");
}

} // namespace weft
