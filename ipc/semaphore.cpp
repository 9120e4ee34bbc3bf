// SPDX-License-Identifier: MIT
#include <weft/ipc/semaphore.hpp>

#include <weft/ipc/bounded_semaphore.hpp>
#include <weft/runtime/error.hpp>

namespace weft::ipc {

namespace {

std::uint32_t checked_permits(std::ptrdiff_t permits) {
    if (permits < 0)
        throw std::invalid_argument("a semaphore can't begin with less than no permit");
    if (permits > semaphore::max())
        throw limit_error("a semaphore can't have that many permits");
    return static_cast<std::uint32_t>(permits);
}

} // namespace

static_assert(std::is_standard_layout_v<semaphore>);
static_assert(std::is_standard_layout_v<bounded_semaphore>);

semaphore::semaphore(std::ptrdiff_t permits) : line_(checked_permits(permits)) {}

void semaphore::bad_release(std::ptrdiff_t n) {
    if (n < 1)
        throw std::invalid_argument("a semaphore releases one permit at least");
    throw limit_error("a semaphore can't have that many permits");
}

bounded_semaphore::bounded_semaphore(std::ptrdiff_t permits)
    : initial_(checked_permits(permits)), line_(initial_) {}

void bounded_semaphore::bad_release(std::ptrdiff_t n) {
    if (n < 1)
        throw std::invalid_argument("a bounded_semaphore releases one permit at least");
    throw std::invalid_argument("a bounded_semaphore was released beyond its initial value");
}

} // namespace weft::ipc
