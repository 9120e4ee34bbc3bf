// SPDX-License-Identifier: MIT
#include <weft/runtime/result.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

using weft::as_result;
using weft::result;
using weft::task;
using namespace std::chrono_literals;

namespace {
std::exception_ptr an_error() { return std::make_exception_ptr(std::runtime_error("out")); }
} // namespace

TEST_CASE("result: holds a value, an error, a stop, or nothing yet") {
    result<int> none;
    CHECK_FALSE(none.has_value());
    CHECK_FALSE(static_cast<bool>(none));
    CHECK_FALSE(none.stopped());
    CHECK(none.error() == nullptr);
    CHECK_THROWS_AS(none.value(), weft::cancelled_error);

    auto value = result<int>::of_value(7);
    CHECK(value.has_value());
    CHECK(static_cast<bool>(value));
    CHECK_FALSE(value.stopped());
    CHECK(value.error() == nullptr);
    CHECK(value.value() == 7);

    auto error = result<int>::of_error(an_error());
    CHECK_FALSE(error.has_value());
    CHECK_FALSE(error.stopped());
    CHECK(error.error() != nullptr);
    CHECK_THROWS_WITH(error.value(), "out");
    CHECK_THROWS_WITH(error.value(), "out"); // again

    auto stop = result<int>::of_stop();
    CHECK_FALSE(stop.has_value());
    CHECK(stop.stopped());
    CHECK(stop.error() == nullptr);
    CHECK_THROWS_AS(stop.value(), weft::cancelled_error);
}

TEST_CASE("result: of nothing, of references and of what can only be moved") {
    auto nothing = result<>::of_value();
    CHECK(nothing.has_value());
    static_assert(std::is_void_v<decltype(nothing.value())>);
    nothing.value();
    CHECK_THROWS_WITH(result<>::of_error(an_error()).value(), "out");

    int object = 1;
    auto reference = result<int&>::of_value(object);
    static_assert(std::is_same_v<decltype(reference.value()), int&>);
    CHECK(&reference.value() == &object);
    int& out = std::move(reference).value();
    CHECK(&out == &object);

    auto moved = result<std::unique_ptr<int>>::of_value(std::make_unique<int>(5));
    CHECK(*moved.value() == 5);
    std::unique_ptr<int> p = std::move(moved).value();
    CHECK(*p == 5);
}

TEST_CASE("result: can be changed, copied and moved like its value") {
    auto text = result<std::string>::of_value("a text that is too long for the object itself");
    text.value() += ".";
    const auto copy = text;
    CHECK(copy.value() == text.value());
    static_assert(std::is_same_v<decltype(copy.value()), const std::string&>);
    auto stolen = std::move(text);
    CHECK(stolen.value() == copy.value());
    stolen = result<std::string>::of_stop();
    CHECK(stolen.stopped());
    static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
    static_assert(std::is_move_constructible_v<result<std::unique_ptr<int>>>);
}

TEST_CASE("result: as_result gives whatever became of an awaitable") {
    weft::run([]() -> task<> {
        for (bool waits : {false, true}) {
            auto ends = [](bool w, int how) -> task<std::string> {
                if (w)
                    co_await weft::yield();
                if (how == 1)
                    throw std::runtime_error("out");
                co_return "value";
            };
            auto value = co_await as_result(ends(waits, 0));
            CHECK(value.value() == "value");
            auto error = co_await as_result(ends(waits, 1));
            CHECK_THROWS_WITH(error.value(), "out");
        }
        auto nothing = co_await as_result(weft::yield());
        CHECK(nothing.has_value());
        int object = 0;
        auto refers = [](int& o) -> task<int&> { co_return o; };
        auto reference = co_await as_result(refers(object));
        CHECK(&reference.value() == &object);
        auto makes = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
        auto made = co_await as_result(makes());
        CHECK(*made.value() == 7);
    }());
}

TEST_CASE("result: as_result gives a stop as a value, and the request stays", "[AIO-TASK-02]") {
    weft::run([]() -> task<> {
        bool seen = false, went_on = false;
        auto body = [&]() -> task<> {
            auto r = co_await as_result(weft::sleep_for(1h));
            seen = r.stopped() && weft::stop_requested();
            auto ready = []() -> task<int> { co_return 2; };
            auto again = co_await as_result(ready()); // what doesn't suspend isn't disturbed
            seen = seen && again.has_value();
            auto third = co_await as_result(weft::sleep_for(1h));
            seen = seen && third.stopped();
            co_await weft::yield();
            went_on = true;
        };
        auto h = weft::spawn(body());
        co_await weft::yield();
        h.cancel();
        auto r = co_await as_result(h.join());
        CHECK(h.stopped());
        CHECK(seen);
        CHECK_FALSE(went_on);
        // That of another task is an error of the wait for it.
        CHECK_FALSE(r.stopped());
        CHECK_THROWS_AS(r.value(), weft::cancelled_error);
    }());
}

TEST_CASE("result: a task may forget the stop that it has dealt with", "[AIO-TASK-03]") {
    weft::run([]() -> task<> {
        weft::task_handle<int>* self = nullptr;
        auto body = [&]() -> task<int> {
            auto r = co_await as_result(weft::sleep_for(1h));
            CHECK(r.stopped());
            CHECK(self->cancelling() == 1);
            CHECK(self->uncancel() == 0);
            co_await weft::yield();
            co_return 3;
        };
        auto h = weft::spawn(body());
        self = &h;
        co_await weft::yield();
        h.cancel();
        int n = co_await h.join();
        CHECK(n == 3);
        CHECK_FALSE(h.stopped());
    }());
}
