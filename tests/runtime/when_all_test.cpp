// SPDX-License-Identifier: MIT
#include <weft/runtime/when_all.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using weft::task;
using weft::when_all;
using weft::when_all_settled;
using weft::tests::counted;
using weft::tests::stray_errors;
using namespace std::chrono_literals;

namespace {

task<int> gives(int n, int turns) {
    for (int i = 0; i < turns; ++i)
        co_await weft::yield();
    co_return n;
}
task<std::string> fails(const char* text, int turns) {
    for (int i = 0; i < turns; ++i)
        co_await weft::yield();
    throw std::runtime_error(text);
}
task<> sleeps(int& live) {
    counted here(live);
    co_await weft::sleep_for(1h);
}
task<> fails_when_stopped(const char* text) {
    auto r = co_await weft::as_result(weft::sleep_for(1h));
    static_cast<void>(r);
    throw std::runtime_error(text);
}

} // namespace

TEST_CASE("when_all: values come in the order of the arguments", "[AIO-GATH-01]") {
    weft::run([]() -> task<> {
        auto makes = []() -> task<std::unique_ptr<int>> {
            co_await weft::yield();
            co_return std::make_unique<int>(4);
        };
        auto [a, b, nothing, c] =
            co_await when_all(gives(1, 5), gives(2, 0), weft::yield(), makes());
        static_cast<void>(nothing);
        CHECK(a == 1);
        CHECK(b == 2);
        CHECK(*c == 4);

        std::vector<task<int>> many;
        for (int i = 0; i < 100; ++i)
            many.push_back(gives(i, (i * 37) % 11));
        std::vector<int> values = co_await when_all(std::move(many));
        REQUIRE(values.size() == 100);
        for (int i = 0; i < 100; ++i)
            CHECK(values[static_cast<std::size_t>(i)] == i);
    }());
}

TEST_CASE("when_all: of nothing gives nothing, at once", "[AIO-GATH-01]") {
    weft::run([]() -> task<> {
        std::tuple<> none = co_await when_all();
        static_cast<void>(none);
        std::vector<int> empty = co_await when_all(std::vector<task<int>>());
        CHECK(empty.empty());
        co_await when_all(std::vector<task<>>());
        auto settled = co_await when_all_settled(std::vector<task<int>>());
        CHECK(settled.empty());
    }());
}

TEST_CASE("when_all: they run at the same time", "[AIO-GATH-01]") {
    weft::run([]() -> task<> {
        std::string order;
        auto notes = [&](char c) -> task<> {
            for (int i = 0; i < 3; ++i) {
                order += c;
                co_await weft::yield();
            }
        };
        co_await when_all(notes('a'), notes('b'));
        CHECK(order == "ababab");
    }());
}

TEST_CASE("when_all: the first error stops the others and leaves when they have ended",
          "[AIO-GATH-02]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        int live = 0;
        std::string seen;
        try {
            co_await when_all(sleeps(live), fails("first", 2), sleeps(live));
        } catch (const std::runtime_error& e) {
            seen = e.what();
            CHECK(live == 0);
        }
        CHECK(seen == "first");
        seen.clear();
        std::vector<task<>> many;
        many.push_back(sleeps(live));
        many.push_back(fails_when_stopped("unused"));
        many.pop_back();
        many.push_back(weft::as_task(weft::yield()));
        auto last = []() -> task<> {
            co_await weft::yield();
            throw std::runtime_error("of many");
        };
        many.push_back(last());
        try {
            co_await when_all(std::move(many));
        } catch (const std::runtime_error& e) {
            seen = e.what();
        }
        CHECK(seen == "of many");
        CHECK(live == 0);
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("when_all: further errors go to the hook", "[P6]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        std::string seen;
        try {
            co_await when_all(fails_when_stopped("second"), fails("first", 1),
                              fails_when_stopped("third"));
        } catch (const std::runtime_error& e) {
            seen = e.what();
        }
        CHECK(seen == "first");
    }());
    CHECK(stray.texts() == std::vector<std::string>{"second", "third"});
    CHECK(stray.wheres()[0] == "when_all");
}

TEST_CASE("when_all_settled: each has its outcome, and none disturbs another", "[AIO-GATH-02]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        auto [a, b, c] = co_await when_all_settled(fails("out", 1), gives(7, 5), weft::yield());
        CHECK_THROWS_WITH(a.value(), "out");
        CHECK(b.value() == 7);
        CHECK(c.has_value());
        std::vector<task<std::string>> many;
        many.push_back(fails("x", 3));
        many.push_back(fails("y", 1));
        auto results = co_await when_all_settled(std::move(many));
        REQUIRE(results.size() == 2);
        CHECK_THROWS_WITH(results[0].value(), "x");
        CHECK_THROWS_WITH(results[1].value(), "y");
    }());
    CHECK(stray.texts().empty());
}

TEST_CASE("when_all: a stop reaches all of them and is waited for", "[AIO-GATH-03]") {
    weft::run([]() -> task<> {
        int live = 0;
        bool went_on = false;
        auto body = [&](bool settled) -> task<> {
            if (settled) {
                auto r = co_await when_all_settled(sleeps(live), sleeps(live));
                static_cast<void>(r);
            } else {
                co_await when_all(sleeps(live), sleeps(live));
            }
            went_on = true;
        };
        for (bool settled : {false, true}) {
            auto h = weft::spawn(body(settled));
            co_await weft::yield();
            co_await weft::yield();
            CHECK(live == 2);
            h.cancel();
            auto r = co_await weft::as_result(h.join());
            CHECK_FALSE(r.has_value());
            CHECK(live == 0);
        }
        CHECK_FALSE(went_on);
    }());
}

TEST_CASE("when_all: if all have ended in spite of a stop, their values are given",
          "[AIO-GATH-03][P3]") {
    weft::run([]() -> task<> {
        auto h = weft::spawn([]() -> task<int> {
            auto [a, b] = co_await when_all(gives(1, 1), gives(2, 1));
            co_return a + b;
        }());
        co_await weft::yield(); // the parts have begun and are ready again
        co_await weft::yield();
        h.cancel();
        auto r = co_await weft::as_result(h.join());
        CHECK(r.has_value());
        CHECK(r.value() == 3);
    }());
}

TEST_CASE("when_all: errors of what a stop cut short are not lost", "[P6]") {
    stray_errors stray;
    weft::run([]() -> task<> {
        auto h = weft::spawn([]() -> task<> {
            auto r = co_await when_all_settled(fails("seen by nobody", 0), weft::sleep_for(1h));
            static_cast<void>(r);
        }());
        co_await weft::yield();
        co_await weft::yield();
        h.cancel();
        auto r = co_await weft::as_result(h.join());
        CHECK_FALSE(r.has_value());
    }());
    CHECK(stray.texts() == std::vector<std::string>{"seen by nobody"});
}

TEST_CASE("when_all: of a task that was stopped before, nothing begins") {
    weft::run([]() -> task<> {
        bool ran = false;
        weft::task_handle<>* self = nullptr;
        auto part = [&]() -> task<> {
            ran = true;
            co_return;
        };
        auto body = [&]() -> task<> {
            self->cancel();
            co_await when_all(part(), part());
        };
        auto h = weft::spawn(body());
        self = &h;
        co_await weft::yield();
        co_await weft::yield();
        CHECK(h.stopped());
        CHECK_FALSE(ran);
    }());
}

TEST_CASE("when_all: 100,000 parts") {
    weft::run([]() -> task<> {
        std::vector<task<int>> many;
        for (int i = 0; i < 100'000; ++i)
            many.push_back(gives(1, i % 3));
        auto values = co_await when_all(std::move(many));
        long sum = 0;
        for (int v : values)
            sum += v;
        CHECK(sum == 100'000);
    }());
}
