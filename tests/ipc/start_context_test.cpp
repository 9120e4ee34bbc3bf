// SPDX-License-Identifier: MIT
#include "support/io.hpp"

#include <weft/ipc/start_context.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <dirent.h>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;

// The method is a property of the whole program, so what is set is tried in one of its own: gives
// the number of the first thing that is wrong.
int try_what_is_set() {
    if (start_method_if_set())
        return 1;
    set_start_method(start_method::forkserver);
    if (start_method_if_set() != start_method::forkserver)
        return 2;
    if (get_start_method() != start_method::forkserver)
        return 3;
    try {
        set_start_method(start_method::spawn);
        return 4;
    } catch (const state_error&) {
        set_start_method(start_method::spawn, true);
    }
    if (get_start_method() != start_method::spawn)
        return 5;
    if (get_context().method() != start_method::spawn)
        return 6;
    if (get_context(start_method::fork).method() != start_method::fork)
        return 7;
    return 0;
}
int try_the_default() {
    if (start_method_if_set())
        return 1;
    if (get_start_method() != start_methods().front())
        return 2;
    if (start_method_if_set() != start_methods().front()) // who asks fixes it
        return 3;
    try {
        set_start_method(start_method::fork);
        return 4;
    } catch (const state_error&) {
        return 0;
    }
}
void exit_with_what_is_wrong(bool set) {
    throw process_exit(set ? try_what_is_set() : try_the_default());
}
void end_with_seven() { throw process_exit(7); }

bool has_other_threads() {
    DIR* d = ::opendir("/proc/self/task");
    int n = 0;
    while (::readdir(d) != nullptr)
        ++n;
    ::closedir(d);
    return n != 3; // with . and ..
}

} // namespace

TEST_CASE("start_context: methods have names", "[MP-START-07][MP-START-08]") {
    CHECK(start_methods().size() == 3);
    CHECK(start_methods().front() == start_method::spawn);
    for (start_method m : start_methods())
        CHECK(start_method_named(name_of(m)) == m);
    CHECK_THROWS_AS(start_method_named("threads"), std::invalid_argument);
    CHECK_THROWS_AS(set_start_method(start_method::standard), std::invalid_argument);
    CHECK_THROWS_AS(set_start_method(static_cast<start_method>(9)), std::invalid_argument);
    CHECK_THROWS_AS(get_context(static_cast<start_method>(9)), std::invalid_argument);
    CHECK_THROWS_AS(process({.start = static_cast<start_method>(9)}, fn<&end_with_seven>),
                    std::invalid_argument);
}

TEST_CASE("start_context: a method is set once, and whoever asks for it fixes it",
          "[MP-START-07][MP-START-08]") {
    auto test = []() -> task<> {
        for (bool set : {true, false}) {
            process p({.start = start_method::spawn}, fn<&exit_with_what_is_wrong>, set);
            co_await p.start();
            co_await p.join();
            CHECK(p.exit_code() == 0);
        }
    };
    run_within(30s, test());
}

TEST_CASE("start_context: makes processes that are started its way", "[MP-START-09][MP-START-12]") {
    auto test = []() -> task<> {
        auto context = get_context(start_method::spawn);
        process p = context.process(fn<&end_with_seven>);
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == 7);
        process named = context.process({.name = "seven"}, fn<&end_with_seven>);
        CHECK(named.name() == "seven");
        context.set_executable("/nowhere/nothing");
        process nowhere = context.process(fn<&end_with_seven>);
        auto r = co_await as_result(nowhere.start());
        CHECK_THROWS_WITH(r.value(), Catch::Contains("/nowhere/nothing"));
    };
    run_within(30s, test());
}

TEST_CASE("start_context: fork is refused where there are threads", "[MP-START-02]") {
    auto test = []() -> task<> {
        process p({.start = start_method::fork}, fn<&end_with_seven>);
        {
            std::atomic<bool> done{false};
            std::jthread other([&] { done.wait(false); });
            auto refused = co_await as_result(p.start());
            done = true;
            done.notify_one();
            CHECK_THROWS_AS(refused.value(), state_error);
        }
        if (has_other_threads())
            co_return; // a sanitizer's
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == 7);
    };
    run_within(30s, test());
}
