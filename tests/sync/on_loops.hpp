// SPDX-License-Identifier: MIT
// Runs the body of a test as a task. The body is kept meanwhile, so it may capture what it tests.
//
//     weft::tests::on_a_loop([&]() -> weft::task<> { co_await m.lock(); });
//     weft::tests::on_loops(2, [&](weft::runtime& rt) -> weft::task<> {
//         co_await weft::on(rt.get_loop(1), somewhere_else());
//     });
//
// Threads:      the caller's, and one for each further loop. Cancellation: none.
// Errors:       what the body throws. Cost: a runtime. Source: none.
#pragma once
#include <weft/runtime/runtime.hpp>

namespace weft::tests {

template <class Body>
void on_a_loop(Body body) {
    weft::run(body());
}

template <class Body>
void on_loops(unsigned n, Body body) {
    runtime rt({.loops = n});
    rt.run(body(rt));
}

} // namespace weft::tests
