// SPDX-License-Identifier: MIT
#include <weft/ipc/shared.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace weft;
using ipc::shared;
using ipc::shared_array;
using ipc::shared_memory;

struct point {
    int x;
    double y;
};

// The same memory a second time, as another process has it.
shared_memory again(const shared_memory& m) {
    return shared_memory::adopt(descriptor(::dup(m.fd())));
}

template <class T>
constexpr bool can_be_shared = ipc::shareable<T>;

} // namespace

TEST_CASE("shared: a value is zero or what it was given, and the same for all who have it",
          "[MP-SHCT-01]") {
    shared<point> zero;
    CHECK(zero->x == 0);
    CHECK(zero->y == 0);
    shared<point> p(point{3, 0.5});
    shared<point> same(again(p.memory()));
    CHECK(same->x == 3);
    CHECK(same->y == 0.5);
    same->x = 4;
    CHECK((*p).x == 4);
    CHECK_THROWS_AS(shared<point>(shared_memory::create_nameless(sizeof(point) - 1)),
                    std::invalid_argument);
}

TEST_CASE("shared: an array is zero or what it was given, and knows its bounds", "[MP-SHCT-01]") {
    shared_array<int> zeros(3);
    CHECK(zeros.size() == 3);
    CHECK(std::count(zeros.begin(), zeros.end(), 0) == 3);
    const std::array<int, 4> values{1, 2, 3, 4};
    shared_array<int> a{std::span<const int>(values)};
    shared_array<int> same(again(a.memory()));
    CHECK(same.size() == 4);
    CHECK(std::equal(same.begin(), same.end(), values.begin()));
    same[3] = 7;
    CHECK(a.at(3) == 7);
    CHECK(a.values().back() == 7);
    CHECK_THROWS_AS(a.at(4), std::out_of_range);
    CHECK_THROWS_AS(shared_array<int>(0), std::invalid_argument);
    CHECK_THROWS_AS(shared_array<int>((std::size_t{1} << 62) + 1), std::invalid_argument);
    CHECK_THROWS_AS(shared_array<long>(shared_memory::create_nameless(7)), std::invalid_argument);
}

TEST_CASE("shared: characters are a text up to the first null, and all of them", "[MP-SHCT-05]") {
    constexpr std::string_view text("ab\0cd", 5);
    shared_array<char> c{std::span<const char>(text)};
    CHECK(c.text() == "ab");
    CHECK(std::string_view(c.data(), c.size()) == text);
    c[2] = 'x';
    CHECK(c.text() == "abxcd"); // there needn't be one
}

TEST_CASE("shared: a copy has memory of its own; what has pointers isn't shared", "[MP-SHCT-06]") {
    shared<int> a(1);
    shared<int> b = a.copy();
    *b = 2;
    CHECK(*a == 1);
    CHECK(a.memory().fd() != b.memory().fd());
    shared_array<int> many(2);
    shared_array<int> others = many.copy();
    others[0] = 1;
    CHECK(many[0] == 0);

    STATIC_REQUIRE_FALSE(can_be_shared<int*>);
    STATIC_REQUIRE_FALSE(can_be_shared<int point::*>);
    STATIC_REQUIRE_FALSE(can_be_shared<std::string>);
    STATIC_REQUIRE_FALSE(can_be_shared<const int>);
    STATIC_REQUIRE(can_be_shared<std::atomic<int>>);
    STATIC_REQUIRE_FALSE(can_be_shared<std::atomic<std::array<long, 4>>>);
}

TEST_CASE("shared: a child changes what its parent sees", "[MP-SHCT-01]") {
    shared<std::atomic<int>> n;
    pid_t child = ::fork();
    if (child == 0) {
        for (int i = 0; i < 1000; ++i)
            ++*n;
        ::_exit(0);
    }
    for (int i = 0; i < 1000; ++i)
        ++*n;
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(n->load() == 2000);
}
