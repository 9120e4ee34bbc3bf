// SPDX-License-Identifier: MIT
#include <weft/runtime/when_any.hpp>

#include "runtime/counted.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using weft::task;
using weft::when_any;
using weft::tests::counted;
using namespace std::chrono_literals;

namespace {

task<int> gives(int n, int turns) {
    for (int i = 0; i < turns; ++i)
        co_await weft::yield();
    co_return n;
}
task<int> sleeps(int& live) {
    counted here(live);
    co_await weft::sleep_for(1h);
    co_return 0;
}

} // namespace

TEST_CASE("when_any: the first to end wins, the others are stopped and awaited") {
    weft::run([]() -> task<> {
        int live = 0;
        auto first = co_await when_any(sleeps(live), gives(7, 3), sleeps(live));
        CHECK(first.index() == 1);
        CHECK(first.value<1>() == 7);
        CHECK(live == 0);
        CHECK(std::get<0>(first.results()).stopped());
        CHECK_THROWS_AS(first.value<2>(), weft::cancelled_error);

        std::vector<task<int>> many;
        many.push_back(sleeps(live));
        many.push_back(gives(1, 5));
        many.push_back(gives(2, 2));
        auto of_many = co_await when_any(std::move(many));
        CHECK(of_many.index() == 2);
        CHECK(of_many.value() == 2);
        CHECK(of_many.results()[0].stopped());
        CHECK(live == 0);
    }());
}

TEST_CASE("when_any: an error wins as well") {
    weft::run([]() -> task<> {
        int live = 0;
        auto fails = []() -> task<int> {
            co_await weft::yield();
            throw std::runtime_error("out");
        };
        auto first = co_await when_any(sleeps(live), fails());
        CHECK(first.index() == 1);
        CHECK_THROWS_WITH(first.value<1>(), "out");
        CHECK(live == 0);
    }());
}

TEST_CASE("when_any: a loser that has a value delivers it", "[P3]") {
    weft::run([]() -> task<> {
        auto first = co_await when_any(gives(1, 1), gives(2, 1));
        CHECK(first.index() == 0);
        auto& loser = std::get<1>(first.results());
        REQUIRE(loser.has_value());
        CHECK(loser.value() == 2);
        // Also one that turns its stop into a value.
        auto stubborn = []() -> task<int> {
            auto r = co_await weft::as_result(weft::sleep_for(1h));
            co_return r.stopped() ? 3 : 4;
        };
        auto second = co_await when_any(stubborn(), gives(1, 1));
        CHECK(second.index() == 1);
        CHECK(std::get<0>(second.results()).value() == 3);
    }());
}

TEST_CASE("when_any: a stop reaches all and is waited for") {
    weft::run([]() -> task<> {
        int live = 0;
        bool went_on = false;
        auto body = [&]() -> task<> {
            auto first = co_await when_any(sleeps(live), sleeps(live));
            static_cast<void>(first);
            went_on = true;
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        co_await weft::yield();
        CHECK(live == 2);
        h.cancel();
        auto r = co_await weft::as_result(h.join());
        CHECK_FALSE(r.has_value());
        CHECK(live == 0);
        CHECK_FALSE(went_on);
    }());
}

TEST_CASE("when_any: of nothing is a mistake") {
    CHECK_THROWS_AS(when_any(std::vector<task<int>>()), std::invalid_argument);
}

TEST_CASE("when_any: races can be nested in each other") {
    weft::run([]() -> task<> {
        int live = 0;
        auto first = co_await when_any(when_any(sleeps(live), sleeps(live)),
                                       weft::when_all(gives(1, 3), gives(2, 4)));
        CHECK(first.index() == 1);
        auto [a, b] = first.value<1>();
        CHECK(a + b == 3);
        CHECK(live == 0);
    }());
}

TEST_CASE("when_any: stops again and again lose nothing", "[P3]") {
    // A race between a stop and an end, at every distance between the two.
    weft::run([]() -> task<> {
        int given = 0, taken = 0;
        auto source = [&](int turns) -> task<int> {
            int n = co_await gives(1, turns);
            given += n; // no suspension between here and the end
            co_return n;
        };
        for (int ours = 0; ours < 12; ++ours) {
            for (int theirs = 0; theirs < 12; ++theirs) {
                auto first = co_await when_any(source(ours), gives(0, theirs));
                if (std::get<0>(first.results()).has_value())
                    taken += std::get<0>(first.results()).value();
            }
        }
        CHECK(given == taken);
        CHECK(given > 12);
        CHECK(given < 144);
    }());
}
