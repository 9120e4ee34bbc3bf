// SPDX-License-Identifier: MIT
// The second source file of registry_test.cpp: it has a function of the same name.
#include "registry_twin.hpp"

#include <weft/ipc/registry.hpp>
#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

namespace {
int twin() { return 2; }
} // namespace

std::pair<std::uint64_t, std::uint64_t> weft::tests::id_of_the_other_twin() {
    auto& entry = weft::ipc::function_of<weft::function_constant<&twin>>();
    return {entry.id(), entry.signature()};
}

TEST_CASE("registry: neither of two functions of one name can be asked for") {
    REQUIRE(twin() == 2);
    CHECK_THROWS_AS(weft::ipc::function_of<weft::function_constant<&twin>>().check(),
                    weft::state_error);
}
