// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <catch2/catch.hpp>

using namespace std::chrono_literals;

TEST_CASE("statistics: nothing drawn, nothing known") {
    auto s = tiles::statistics().at({});
    CHECK(s.drawn == 0);
    CHECK(s.rate == 0);
    CHECK_FALSE(s.p50);
    CHECK_FALSE(s.p99);
}

TEST_CASE(
    "statistics: the rate is that of the last second, quantiles are latencies that occurred") {
    tiles::statistics all;
    tiles::statistics::time_point start{};
    for (int i = 1; i <= 200; ++i) // one every 10 ms, taking 1, 2, ... 200 ms
        all.drawn(start + i * 10ms - i * 1ms, start + i * 10ms);
    all.given_up();
    auto s = all.at(start + 2000ms);
    CHECK(s.drawn == 200);
    CHECK(s.given_up == 1);
    CHECK(s.rate == 100);
    REQUIRE(s.p50);
    CHECK(*s.p50 == 100ms);
    REQUIRE(s.p99);
    CHECK(*s.p99 == 198ms);
    CHECK(all.at(start + 4s).rate == 0);
}

TEST_CASE("statistics: only the last thousand are remembered") {
    tiles::statistics all;
    tiles::statistics::time_point start{};
    for (int i = 0; i < 5000; ++i)
        all.drawn(start, start + (i < 4000 ? 1s : 2s));
    auto s = all.at(start + 2s);
    CHECK(s.drawn == 5000);
    REQUIRE(s.p50);
    CHECK(*s.p50 == 2s);
    CHECK(s.rate == 1000);
}
