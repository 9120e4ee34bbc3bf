// SPDX-License-Identifier: MIT
// What runs before Catch2 looks at the arguments; a status ends the program. Null in programs that
// start no workers.
#pragma once
#include <optional>

namespace weft::tests {
extern std::optional<int> (*before_session)(int argc, char** argv);
} // namespace weft::tests
