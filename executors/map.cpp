// SPDX-License-Identifier: MIT
#include <weft/executors/map.hpp>

#include <stdexcept>

namespace weft::detail {

std::size_t checked_look_ahead(const map_options& o, std::size_t at_once) {
    if (o.chunk == 0)
        throw std::invalid_argument("map: a piece has one item at least");
    if (o.look_ahead == 0)
        throw std::invalid_argument("map: it looks one piece ahead at least");
    return o.look_ahead == map_options::automatic ? 2 * at_once : o.look_ahead;
}

} // namespace weft::detail
