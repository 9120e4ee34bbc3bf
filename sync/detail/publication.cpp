// SPDX-License-Identifier: MIT
#include <weft/sync/detail/publication.hpp>

#include <stdexcept>

namespace weft::detail {

void throw_no_capacity() { throw std::invalid_argument("a broadcast keeps one item at least"); }

} // namespace weft::detail
