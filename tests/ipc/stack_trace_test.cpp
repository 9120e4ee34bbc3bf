// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/stack_trace.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace {

using weft::ipc::detail::call_traced;
using weft::ipc::detail::stack_trace;

[[gnu::noinline]] void dig(int depth) {
    if (depth == 0)
        throw std::runtime_error("at the bottom");
    dig(depth - 1);
    asm volatile(""); // so that the call above is no jump
}

std::size_t lines(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

struct counted {
    explicit counted(int& n) : left(n) { ++left; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --left; }
    int& left;
};

} // namespace

TEST_CASE("stack_trace: shows the stack at the throw, down to the traced call") {
    stack_trace shallow, deep;
    int depth = 1;
    auto run = [](void* d) { dig(*static_cast<int*>(d)); };
    CHECK_THROWS_WITH(call_traced(run, &depth, shallow), "at the bottom");
    depth = 8;
    CHECK_THROWS_WITH(call_traced(run, &depth, deep), "at the bottom");
#if defined(__x86_64__) || defined(__aarch64__)
    CHECK(deep.text().starts_with("#0 "));
    CHECK(lines(deep.text()) == lines(shallow.text()) + 7);
#endif
}

TEST_CASE("stack_trace: is empty if nothing is thrown, or if it doesn't leave the call") {
    stack_trace trace;
    call_traced([](void*) {}, nullptr, trace);
    CHECK(trace.empty());
    auto inside = [](void*) {
        try {
            dig(2);
        } catch (const std::runtime_error&) { // stays inside
            return;
        }
    };
    call_traced(inside, nullptr, trace);
    CHECK(trace.empty());
    CHECK(trace.text().empty());
}

TEST_CASE("stack_trace: frames below the traced call are unwound as ever") {
    stack_trace trace;
    int alive = 0;
    auto run = [](void* n) {
        counted c(*static_cast<int*>(n));
        dig(3);
    };
    CHECK_THROWS_AS(call_traced(run, &alive, trace), std::runtime_error);
    CHECK(alive == 0);
}

TEST_CASE("stack_trace: a traced call inside of another keeps its own trace") {
    struct both {
        stack_trace outer, inner;
    } traces;
    auto run = [](void* p) {
        auto& t = *static_cast<both*>(p);
        try {
            int depth = 1;
            call_traced([](void* d) { dig(*static_cast<int*>(d)); }, &depth, t.inner);
        } catch (const std::runtime_error&) { // stays inside
            return;
        }
    };
    call_traced(run, &traces, traces.outer);
#if defined(__x86_64__) || defined(__aarch64__)
    CHECK_FALSE(traces.inner.empty());
#endif
    CHECK(traces.outer.empty());
}
