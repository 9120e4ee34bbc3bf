// SPDX-License-Identifier: MIT
#include <weft/sync/semaphore.hpp>

#include <weft/runtime/error.hpp>

namespace weft {

namespace {

std::uint32_t checked(std::ptrdiff_t permits) {
    if (permits < 0)
        throw std::invalid_argument("a semaphore can't begin with less than no permit");
    if (permits > semaphore::max())
        throw limit_error("a semaphore can't have that many permits");
    return static_cast<std::uint32_t>(permits);
}

} // namespace

semaphore::semaphore(std::ptrdiff_t permits) : line_(checked(permits)) {}

semaphore::~semaphore() {
    WEFT_ASSERT(!line_.has_waiters(), "a semaphore was destroyed while somebody waited for it");
}

void semaphore::bad_release(std::ptrdiff_t n) {
    if (n < 1)
        throw std::invalid_argument("a semaphore releases one permit at least");
    throw limit_error("a semaphore can't have that many permits");
}

} // namespace weft
