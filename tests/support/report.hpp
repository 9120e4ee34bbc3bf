// SPDX-License-Identifier: MIT
// What a test case that can't be tried here says. Catch2 2 knows passed and failed only; the count
// of a run (tools/count) knows more from the file that $WEFT_TEST_REPORT names: one line when a
// case begins, one when it ends.
//
//     TEST_CASE("tcp: listens on IPv6") {
//         if (!has_ipv6()) {
//             weft::tests::skip("no IPv6 on this machine");
//             return;
//         }
//         ...
//     }
//
// Threads:      the thread that runs the test. Cancellation: none. Errors: none. Cost: one short
//               file. Source: none.
#pragma once
#include <string_view>

namespace weft::tests {
/// The running test case counts as skipped unless it fails; the reason is printed.
void skip(std::string_view reason);
} // namespace weft::tests
