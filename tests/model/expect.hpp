// SPDX-License-Identifier: MIT
// What tests say of models.
//
//     weft::model::holds("two threads count", two_threads_count);
//     weft::model::breaks("a relaxed flag", relaxed_flag, "data race");
//
// Threads:      the test's. Cancellation: none. Errors: failures of the test.
// Cost:         that of the search. Source: none.
#pragma once
#include "model/model.hpp"

#include <iostream>

#include <catch2/catch.hpp>

namespace weft::model {

/// No order within the bounds makes it fail. Gives how many executions there were.
inline std::uint64_t holds(std::string_view name, const std::function<void()>& model,
                           const bounds& b = {}) {
    result r = explore(name, model, b);
    std::cout << r.text() << '\n';
    INFO(r.text());
    CHECK(r.passed());
    return r.executions;
}

/// There is one that does, in this way.
inline void breaks(std::string_view name, const std::function<void()>& model, std::string_view how,
                   const bounds& b = {}) {
    result r = explore(name, model, b);
    INFO(r.text());
    REQUIRE(r.failure);
    CHECK_THAT(*r.failure, Catch::Contains(std::string(how)));
}

} // namespace weft::model
