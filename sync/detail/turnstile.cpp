// SPDX-License-Identifier: MIT
#include <weft/sync/detail/turnstile.hpp>

namespace weft::detail {

template class turnstile<std_atomics>;

} // namespace weft::detail
