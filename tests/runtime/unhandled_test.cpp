// SPDX-License-Identifier: MIT
#include <weft/runtime/unhandled.hpp>

#include "runtime/stray_errors.hpp"

#include <weft/runtime/loop.hpp>
#include <weft/runtime/promise.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using weft::task;
using weft::unhandled_error;
using weft::tests::stray_errors;

namespace {

template <class E>
task<> throws(E e) {
    co_await weft::yield();
    throw e;
}

// Sends what is written to standard error to a pipe while it lives.
class captured_stderr {
public:
    captured_stderr() {
        REQUIRE(::pipe(ends_) == 0);
        before_ = ::dup(STDERR_FILENO);
        ::dup2(ends_[1], STDERR_FILENO);
    }
    captured_stderr(const captured_stderr&) = delete;
    captured_stderr& operator=(const captured_stderr&) = delete;
    ~captured_stderr() {
        static_cast<void>(text());
        ::close(ends_[0]);
    }
    /// All of it; from here on standard error is what it was.
    std::string text() {
        if (before_ >= 0) {
            ::dup2(before_, STDERR_FILENO);
            ::close(before_);
            ::close(ends_[1]);
            before_ = -1;
        }
        std::string all;
        char buffer[1024];
        for (ssize_t n; (n = ::read(ends_[0], buffer, sizeof buffer)) > 0;)
            all.append(buffer, static_cast<std::size_t>(n));
        return all;
    }

private:
    int ends_[2] = {-1, -1};
    int before_ = -1;
};

void hook_a(const unhandled_error&) {}
void hook_b(const unhandled_error&) {}
// A hook with a bug.
std::atomic<int> calls{0};
void hook_that_throws(const unhandled_error&) {
    if (++calls % 2 == 1)
        throw std::runtime_error("a bug in the hook");
    throw 5;
}

} // namespace

TEST_CASE("unhandled: a hook is replaced by another, and null brings the first one back") {
    auto original = weft::set_unhandled_error_hook(hook_a);
    CHECK(original != nullptr);
    CHECK(weft::set_unhandled_error_hook(hook_b) == hook_a);
    CHECK(weft::set_unhandled_error_hook(nullptr) == hook_b);
    CHECK(weft::set_unhandled_error_hook(original) == original);
}

TEST_CASE("unhandled: without a hook each error is a line on standard error", "[P6]") {
    captured_stderr captured;
    auto line = std::source_location::current().line() + 3;
    auto main = []() -> task<> {
        {
            auto h = weft::spawn(throws(std::runtime_error("nobody asked for this")));
            h.set_name("worker");
            co_await weft::yield();
        }
        weft::this_loop().post([] { throw std::runtime_error("from a function"); });
        co_await weft::yield();
        co_await weft::yield();
        co_await weft::yield();
    };
    weft::run(main());
    std::string text = captured.text();
    CAPTURE(text);
    CHECK_THAT(text, Contains("weft: unhandled error in worker (started at "));
    CHECK_THAT(text, Contains("unhandled_test.cpp:" + std::to_string(line) +
                              "): nobody asked for this\n"));
    CHECK_THAT(text, Contains("weft: unhandled error in a posted function: from a function\n"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 2);
}

TEST_CASE("unhandled: the hook gets the error itself, its text, and where it came from", "[P6]") {
    static std::string seen;
    static unsigned line;
    auto before = weft::set_unhandled_error_hook([](const unhandled_error& e) {
        try {
            std::rethrow_exception(e.error);
        } catch (int n) {
            seen = std::to_string(n) + " " + e.text + " " + e.where;
            line = static_cast<unsigned>(e.spawned_at.line());
        }
    });
    unsigned expected = 0;
    auto main = [&]() -> task<> {
        expected = static_cast<unsigned>(std::source_location::current().line()) + 1;
        weft::spawn(throws(42));
        co_await weft::yield();
        co_await weft::yield();
        co_await weft::yield();
    };
    weft::run(main());
    weft::set_unhandled_error_hook(before);
    CHECK(seen == "42 an exception that is not a std::exception a detached task");
    CHECK(line == expected);
}

TEST_CASE("unhandled: a stop is no error, and an error that was fetched is handled", "[P6]") {
    stray_errors errors;
    auto main = []() -> task<> {
        auto stopped = weft::spawn(weft::sleep_for(std::chrono::hours(1)));
        co_await weft::yield();
        stopped.cancel();
        auto failed = weft::spawn(throws(std::runtime_error("fetched")));
        bool fetched = false;
        try {
            co_await failed.join();
        } catch (const std::runtime_error&) {
            fetched = true;
        }
        CHECK(fetched);
        weft::spawn(weft::sleep_for(std::chrono::hours(1))); // stopped with the runtime
    };
    weft::run(main());
    CHECK(errors.texts().empty());
}

TEST_CASE("unhandled: a hook that throws stops neither the loop nor other reports", "[G-10][P6]") {
    captured_stderr captured;
    auto before = weft::set_unhandled_error_hook(hook_that_throws);
    calls = 0;
    int ran = 0;
    auto main = [&]() -> task<> {
        weft::this_loop().post([] { throw std::runtime_error("first"); });
        weft::this_loop().post([&] { ++ran; });
        weft::spawn(throws(std::runtime_error("second")));
        for (int i = 0; i < 5; ++i)
            co_await weft::yield();
        ++ran;
    };
    weft::run(main());
    weft::set_unhandled_error_hook(before);
    std::string text = captured.text();
    CAPTURE(text);
    CHECK(ran == 2);
    CHECK(calls == 2);
    CHECK_THAT(text, Contains("a posted function: first\n"));
    CHECK_THAT(text, Contains("the unhandled-error hook: a bug in the hook\n"));
    CHECK_THAT(text, Contains("a detached task"));
    CHECK_THAT(text, Contains(": second\n"));
    CHECK_THAT(text, Contains("the unhandled-error hook: an exception that is not"));
}

TEST_CASE("unhandled: a callback that throws is reported, and the next ones run", "[G-10][P6]") {
    stray_errors errors;
    std::string ran;
    auto main = [&]() -> task<> {
        weft::async_promise<> p;
        p.when_done([&] { ran += "1"; });
        p.when_done([&] {
            ran += "2";
            p.when_done([&] { ran += "4"; }); // may use what it is called from
            throw std::runtime_error("in a callback");
        });
        p.when_done([&] { ran += "3"; });
        p.set_value();
        for (int i = 0; i < 5; ++i)
            co_await weft::yield();
    };
    weft::run(main());
    CHECK(ran == "1234");
    CHECK(errors.texts() == std::vector<std::string>{"in a callback"});
    CHECK(errors.wheres() == std::vector<std::string>{"a callback of a promise"});
}

TEST_CASE("unhandled: errors on several threads at once are all reported, while hooks change",
          "[P6]") {
    static std::atomic<int> seen;
    seen = 0;
    auto counts = [](const unhandled_error&) { ++seen; };
    auto counts_too = [](const unhandled_error& e) { seen += e.text[0] == 'x' ? 1 : 0; };
    auto before = weft::set_unhandled_error_hook(counts);
    {
        weft::runtime rt({.loops = 2});
        auto main = [&]() -> task<> {
            auto fails = []() -> task<> {
                for (int i = 0; i < 500; ++i) {
                    weft::this_loop().post([] { throw std::runtime_error("x"); });
                    co_await weft::yield();
                }
            };
            auto there = weft::spawn(weft::on(rt.get_loop(1), fails()));
            auto here = weft::spawn(fails());
            for (int i = 0; i < 100; ++i) {
                weft::set_unhandled_error_hook(counts_too);
                co_await weft::yield();
                weft::set_unhandled_error_hook(counts);
            }
            co_await there.join();
            co_await here.join();
        };
        rt.run(main());
    }
    weft::set_unhandled_error_hook(before);
    CHECK(seen == 1000);
}
