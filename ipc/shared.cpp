// SPDX-License-Identifier: MIT
#include <weft/ipc/shared.hpp>

#include <limits>
#include <stdexcept>
#include <string>

namespace weft::ipc::detail {

void shared_too_small(std::size_t has, std::size_t needs) {
    throw std::invalid_argument("shared memory of " + std::to_string(has) +
                                " bytes doesn't hold a value of " + std::to_string(needs));
}

void shared_no_such_place() { throw std::out_of_range("a shared array has no such place"); }

std::size_t shared_size(std::size_t n, std::size_t size) {
    if (n > std::numeric_limits<std::size_t>::max() / size)
        throw std::invalid_argument("a shared array of " + std::to_string(n) +
                                    " values is larger than any memory");
    return n * size;
}

} // namespace weft::ipc::detail
