// SPDX-License-Identifier: MIT
#include <weft/sync/bounded_semaphore.hpp>

#include <weft/runtime/error.hpp>

namespace weft {

namespace {

std::uint32_t checked_bound(std::ptrdiff_t permits) {
    if (permits < 0)
        throw std::invalid_argument("a bounded_semaphore can't begin with less than no permit");
    if (permits > bounded_semaphore::max())
        throw limit_error("a bounded_semaphore can't have that many permits");
    return static_cast<std::uint32_t>(permits);
}

} // namespace

bounded_semaphore::bounded_semaphore(std::ptrdiff_t permits)
    : initial_(checked_bound(permits)), line_(initial_) {}

bounded_semaphore::~bounded_semaphore() {
    WEFT_ASSERT(!line_.has_waiters(),
                "a bounded_semaphore was destroyed while somebody waited for it");
}

void bounded_semaphore::bad_release(std::ptrdiff_t n) {
    if (n < 1)
        throw std::invalid_argument("a bounded_semaphore releases one permit at least");
    throw std::invalid_argument("a bounded_semaphore was released beyond its initial value");
}

} // namespace weft
