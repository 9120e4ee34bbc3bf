// SPDX-License-Identifier: MIT
// A source file that has a function of the same name as registry_test.cpp. Threads: any.
#pragma once
#include <cstdint>
#include <utility>

namespace weft::tests {
std::pair<std::uint64_t, std::uint64_t> id_of_the_other_twin();
}
