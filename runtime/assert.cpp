// SPDX-License-Identifier: MIT
#include <weft/runtime/assert.hpp>

#include <cstdio>
#include <cstdlib>

namespace weft::detail {

void assertion_failed(const char* condition, const char* message, const char* file,
                      unsigned line) noexcept {
    // stdio and not fmt: nothing may allocate or throw here.
    std::fprintf(stderr, "weft: %s:%u: %s (%s)\n", file, line, message, condition);
    std::abort();
}

} // namespace weft::detail
