// SPDX-License-Identifier: MIT
// What people call a function that a worker runs: "area" instead of
// "weft::function_constant<&(area(double, double))>".
//
// Threads: any. Cancellation: none. Errors: std::bad_alloc. Cost: one pass over the name.
// Source: none.
#pragma once
#include <string>

namespace weft::detail {

/// `name`: what typeid says of the function's type.
[[nodiscard]] std::string function_name(const char* name);

} // namespace weft::detail
