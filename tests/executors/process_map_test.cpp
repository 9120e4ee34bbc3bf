// SPDX-License-Identifier: MIT
#include <weft/executors/map.hpp>
#include <weft/executors/process_pool.hpp>

#include <weft/ipc/error.hpp>
#include <weft/runtime/runtime.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <ranges>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;

int square(int n) {
    if (n == 7)
        throw std::out_of_range("seven");
    return n * n;
}
std::string join(const std::string& a, int b) { return a + std::to_string(b); }
void nothing(int) {}
int die_at_five(int n) {
    if (n == 5)
        ::raise(SIGKILL);
    return n;
}
int own_pid(int) { return ::getpid(); }

// What comes, until the end or an error.
template <class T>
task<std::string> all(async_generator<T> g) {
    std::string text;
    try {
        while (auto v = co_await g.next()) {
            if constexpr (std::is_same_v<T, std::string>)
                text += *v + ' ';
            else
                text += std::to_string(*v) + ' ';
        }
        text += "end";
    } catch (const std::exception& e) {
        text += e.what();
    }
    co_return text;
}

} // namespace

TEST_CASE("map: calls run in the workers of a process pool, in pieces of any size",
          "[CF-PPE-07][MP-POOL-05]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        const auto numbers = std::views::iota(1, 7);
        for (std::size_t chunk = 1; chunk != 8; ++chunk) {
            auto text = co_await all(map(pool, {.chunk = chunk}, fn<&square>, numbers));
            CHECK(text == "1 4 9 16 25 36 end");
        }
        const std::vector<std::string> letters(3, "a");
        auto words = co_await all(map(pool, fn<&join>, letters, std::views::iota(1)));
        CHECK(words == "a1 a2 a3 end");
        auto lambda = co_await all(map(pool, [](int n) { return n + 1; }, numbers));
        CHECK(lambda == "2 3 4 5 6 7 end");
        auto none = co_await all(map(pool, fn<&square>, std::vector<int>()));
        CHECK(none == "end");
        auto counted = map(pool, {.chunk = 4}, fn<&nothing>, numbers);
        int n = 0;
        while (auto v = co_await counted.next())
            ++n;
        CHECK(n == 6);
        auto empty_pieces = [&] { return map(pool, {.chunk = 0}, fn<&square>, numbers); };
        CHECK_THROWS_AS(empty_pieces(), std::invalid_argument);
        auto endless = map(pool, fn<&own_pid>, std::views::iota(0));
        auto some_pid = co_await endless.next();
        CHECK(*some_pid != ::getpid());
        co_await pool.shutdown();
    }());
}

TEST_CASE("map: what a call in a process pool throws comes in its turn",
          "[CF-PPE-07][MP-POOL-08]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        const auto numbers = std::views::iota(5, 9);
        for (std::size_t chunk = 1; chunk != 6; ++chunk) {
            auto text = co_await all(map(pool, {.chunk = chunk}, fn<&square>, numbers));
            CHECK(text == "25 36 seven");
        }
        auto dies = co_await all(map(pool, fn<&die_at_five>, std::views::iota(3, 8)));
        CHECK_THAT(dies, Catch::StartsWith("3 4 ") && Catch::Contains("SIGKILL"));
        auto goes_on = co_await all(map_unordered(pool, {.chunk = 9}, fn<&square>, numbers));
        CHECK(goes_on == "25 36 seven");
        co_await pool.shutdown();
    }());
}
