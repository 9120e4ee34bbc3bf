// SPDX-License-Identifier: MIT
// How often the program has asked the heap for memory, by operator new.
//
//     TEST_CASE("queue: putting makes no allocation") {
//         std::uint64_t before = weft::tests::allocations();
//         ...
//         CHECK(weft::tests::allocations() == before);
//     }
//
// Threads:      any; those of all threads are counted together.
// Cancellation: none. Errors: none. Cost: an addition for each. Source: none.
#pragma once
#include <cstdint>

namespace weft::tests {

/// Since the program began.
std::uint64_t allocations() noexcept;
/// Not where a sanitizer has an operator new of its own.
bool allocations_are_counted() noexcept;

} // namespace weft::tests
