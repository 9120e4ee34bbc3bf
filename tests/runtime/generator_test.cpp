// SPDX-License-Identifier: MIT
#include <weft/runtime/generator.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

using weft::generator;

namespace {

generator<int> count(int n) {
    for (int i = 0; i < n; ++i)
        co_yield i;
}

struct noticed {
    explicit noticed(int& c) : count(c) { ++count; }
    noticed(const noticed&) = delete;
    noticed& operator=(const noticed&) = delete;
    ~noticed() { --count; }
    int& count;
};

generator<int> guarded(int& live) {
    noticed n(live);
    for (int i = 0;; ++i)
        co_yield i;
}

} // namespace

TEST_CASE("generator: gives what the body yields, in order") {
    std::vector<int> seen;
    for (int i : count(5))
        seen.push_back(i);
    CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
    for (int i : count(0))
        FAIL("an item of an empty sequence: " << i);
}

TEST_CASE("generator: the body runs no further than it is asked") {
    int steps = 0;
    auto body = [](int& n) -> generator<int> {
        while (true) {
            ++n;
            co_yield n;
        }
    };
    auto g = body(steps);
    CHECK(steps == 0);
    auto i = g.begin();
    CHECK(steps == 1);
    ++i;
    CHECK(steps == 2);
    CHECK(*i == 2);
    CHECK(*i == 2);
}

TEST_CASE("generator: works with ranges") {
    auto squares =
        count(10) | std::views::transform([](int i) { return i * i; }) | std::views::take(4);
    std::vector<int> seen;
    std::ranges::copy(squares, std::back_inserter(seen));
    CHECK(seen == std::vector<int>{0, 1, 4, 9});
}

TEST_CASE("generator: references are the body's own objects") {
    std::vector<int> data{1, 2, 3};
    auto each = [](std::vector<int>& v) -> generator<int&> {
        for (int& i : v)
            co_yield i;
    };
    for (int& i : each(data))
        i *= 10;
    CHECK(data == std::vector<int>{10, 20, 30});
    auto look = [](const std::vector<int>& v) -> generator<const int&> {
        for (const int& i : v)
            co_yield i;
    };
    const int* at = data.data();
    for (const int& i : look(data))
        CHECK(&i == at++);
}

TEST_CASE("generator: an item can be moved out, a yielded lvalue stays the body's") {
    auto made = []() -> generator<std::unique_ptr<int>> { co_yield std::make_unique<int>(7); };
    std::unique_ptr<int> got;
    for (auto&& p : made())
        got = std::move(p);
    REQUIRE(got);
    CHECK(*got == 7);

    std::string own = "a text that is too long for the object itself";
    auto twice = [](std::string& s) -> generator<std::string> {
        co_yield s;
        co_yield s;
    };
    std::vector<std::string> seen;
    for (auto&& s : twice(own))
        seen.push_back(std::move(s));
    CHECK(seen == std::vector<std::string>{own, own});
    CHECK(own.size() == 45);
}

TEST_CASE("generator: an exception comes out and ends the sequence") {
    auto body = []() -> generator<int> {
        co_yield 1;
        throw std::runtime_error("out");
    };
    auto g = body();
    auto i = g.begin();
    CHECK(*i == 1);
    CHECK_THROWS_AS(++i, std::runtime_error);
    CHECK(i == g.end());

    auto at_once = []() -> generator<int> {
        throw std::runtime_error("out");
        co_yield 1;
    }();
    CHECK_THROWS_AS(at_once.begin(), std::runtime_error);
}

TEST_CASE("generator: dropping it in the middle runs the body's destructors") {
    int live = 0;
    {
        auto g = guarded(live);
        CHECK(live == 0);
        auto i = g.begin();
        ++i;
        CHECK(live == 1);
        auto h = std::move(g);
        CHECK(live == 1);
    }
    CHECK(live == 0);
    {
        auto never_begun = guarded(live);
        CHECK(live == 0);
    }
    auto g = guarded(live);
    g.begin();
    g = guarded(live); // assignment ends the former body
    CHECK(live == 0);
}

TEST_CASE("generator: a million items don't grow the stack") {
    long sum = 0;
    for (int i : count(1'000'000))
        sum += i;
    CHECK(sum == 499'999'500'000);
}
