// SPDX-License-Identifier: MIT
#include <weft/executors/cpus.hpp>

#include <catch2/catch.hpp>

#include <sched.h>
#include <unistd.h>

TEST_CASE("usable_cpus: follows the affinity mask, cpu_count doesn't", "[MP-MISC-02]") {
    cpu_set_t before, one;
    REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
    unsigned all = weft::usable_cpus();
    CHECK(all >= 1);
    CHECK(all <= static_cast<unsigned>(CPU_COUNT(&before)));

    CPU_ZERO(&one);
    for (std::size_t i = 0; i != CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
    unsigned pinned = weft::usable_cpus();
    unsigned there = weft::cpu_count();
    REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
    CHECK(pinned == 1);
    CHECK(there == static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

TEST_CASE("usable_cpus: a quota counts in whole CPUs, rounded up") {
    using weft::detail::cpus_of_quota;
    CHECK(cpus_of_quota("max 100000") == 0);
    CHECK(cpus_of_quota("100000 100000") == 1);
    CHECK(cpus_of_quota("150000 100000") == 2);
    CHECK(cpus_of_quota("10000 100000") == 1);
    CHECK(cpus_of_quota("-1 100000") == 0); // how the first version says "none"
    CHECK(cpus_of_quota("") == 0);
    CHECK(cpus_of_quota("nonsense") == 0);
    CHECK(cpus_of_quota("5 0") == 0);
    CHECK(cpus_of_quota("9223372036854775807 1") == 1u << 20);
}
