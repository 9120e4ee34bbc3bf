// SPDX-License-Identifier: MIT
#include <weft/sync/detail/barrier_core.hpp>

#include <weft/sync/error.hpp>

#include <stdexcept>

namespace weft::detail {

std::size_t checked_parties(std::ptrdiff_t parties) {
    if (parties < 1)
        throw std::invalid_argument("a barrier is for one party at least");
    return static_cast<std::size_t>(parties);
}

void throw_broken_barrier() { throw broken_barrier(); }

template class basic_barrier_core<std_atomics>;

} // namespace weft::detail
