// SPDX-License-Identifier: MIT
#include <weft/sync/detail/turnstile.hpp>

#include <weft/runtime/loop.hpp>

namespace weft::detail {

std::uint64_t loop_pace::step(const runner& r) noexcept { return r.io()->statistics().resumptions; }

std::int64_t loop_pace::now(const runner& r) noexcept {
    return r.io()->now().time_since_epoch().count();
}

bool loop_pace::is_awake(const runner& r) noexcept { return !r.io()->parked(); }

template class turnstile<std_atomics>;

} // namespace weft::detail
