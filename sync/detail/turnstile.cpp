// SPDX-License-Identifier: MIT
#include <weft/sync/detail/turnstile.hpp>

#include <weft/runtime/loop.hpp>

namespace weft::detail {

// A thread of a pool never has the same step twice, so nothing is lent to it.
std::uint64_t loop_pace::step(const runner& r) noexcept {
    static constinit thread_local std::uint64_t of_pool = 0;
    return r.io() != nullptr ? r.io()->statistics().resumptions : ++of_pool;
}

std::int64_t loop_pace::now(const runner& r) noexcept {
    return r.io()->now().time_since_epoch().count();
}

bool loop_pace::is_awake(const runner& r) noexcept {
    return r.io() == nullptr || !r.io()->parked();
}

template class turnstile<std_atomics>;

} // namespace weft::detail
