// SPDX-License-Identifier: MIT
#include <weft/runtime/time.hpp>

#include <catch2/catch.hpp>

#include <limits>

using weft::duration;
using weft::saturate;
using weft::saturated_sum;
using weft::time_point;
using namespace std::chrono_literals;

TEST_CASE("time: durations saturate at both ends, and parts of a nanosecond are rounded up",
          "[P24][T-MOD-08]") {
    using seconds = std::chrono::duration<double>;
    using nanos = std::chrono::duration<double, std::nano>;
    constexpr double infinite = std::numeric_limits<double>::infinity();
    CHECK(saturate(std::chrono::hours::max()) == duration::max());
    CHECK(saturate(std::chrono::hours::min()) == duration::min());
    CHECK(saturate(std::chrono::years::max()) == duration::max());
    CHECK(saturate(seconds(infinite)) == duration::max());
    CHECK(saturate(seconds(-infinite)) == duration::min());
    CHECK(saturate(seconds(1e300)) == duration::max());
    CHECK(saturate(seconds(std::numeric_limits<double>::quiet_NaN())) == duration::zero());
    CHECK(saturate(duration::max()) == duration::max());
    CHECK(saturate(2h) == std::chrono::nanoseconds(7'200'000'000'000));
    CHECK(saturate(seconds(0.25)) == 250ms);
    CHECK(saturate(nanos(1.25)) == 2ns);
    CHECK(saturate(nanos(-1.75)) == -1ns); // up as well
    CHECK(saturate(nanos(3)) == 3ns);
    using thirds = std::chrono::duration<std::int64_t, std::ratio<1, 3'000'000'000>>;
    CHECK(saturate(thirds(1)) == 1ns);
    CHECK(saturate(thirds(3)) == 1ns);
}

TEST_CASE("time: sums stay within the clock's range", "[P24]") {
    const time_point zero;
    CHECK(saturated_sum(zero + 1s, 2s) == zero + 3s);
    CHECK(saturated_sum(zero + 1s, -2s) == zero - 1s);
    CHECK(saturated_sum(zero + 1ns, duration::max()) == weft::never);
    CHECK(saturated_sum(zero, duration::max()) == weft::never);
    CHECK(saturated_sum(zero - 1ns, duration::max()) == weft::never - 1ns);
    CHECK(saturated_sum(zero - 2ns, duration::min()) == time_point::min());
    CHECK(saturated_sum(zero, duration::min()) == time_point::min());
    CHECK(saturated_sum(zero + 1ns, duration::min()) == time_point::min() + 1ns);
    CHECK(saturated_sum(weft::never, duration::max()) == weft::never);
    CHECK(saturated_sum(weft::never, -1ns) == weft::never - 1ns);
    CHECK(saturated_sum(time_point::min(), duration::min()) == time_point::min());
    CHECK(saturated_sum(time_point::min(), 1ns) == time_point::min() + 1ns);
}

TEST_CASE("time: outside of a loop it is the steady clock's", "[P24]") {
    auto before = std::chrono::steady_clock::now();
    time_point now = weft::now();
    time_point soon = weft::deadline_after(1h);
    auto after = std::chrono::steady_clock::now();
    CHECK(before <= now);
    CHECK(now <= after);
    CHECK(soon - 1h >= now);
    CHECK(soon - 1h <= after);
    CHECK(weft::deadline_after(duration::max()) == weft::never);
}
