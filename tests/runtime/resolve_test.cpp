// SPDX-License-Identifier: MIT
#include <weft/runtime/resolve.hpp>

#include "support/audit.hpp"
#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <netdb.h>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

namespace {
const resident_thread helpers{"weft-helper"};
}

TEST_CASE("resolve: the text of an address is that address, without a look-up") {
    auto numeric = []() -> task<> {
        auto v4 = co_await resolve("127.0.0.1", 80);
        CHECK(v4 == std::vector{socket_address::parse("127.0.0.1:80")});
        auto v6 = co_await resolve("::1", 80);
        CHECK(v6 == std::vector{socket_address::parse("[::1]:80")});
    };
    run_within(10s, numeric());
}

TEST_CASE("resolve: a name gives addresses with the port, each once") {
    auto local = []() -> task<> {
        auto all = co_await resolve("localhost", 8080);
        REQUIRE_FALSE(all.empty());
        for (std::size_t i = 0; i < all.size(); ++i) {
            CHECK(all[i].is_loopback());
            CHECK(all[i].port() == 8080);
            CHECK(std::count(all.begin(), all.end(), all[i]) == 1);
        }
        auto v4 = co_await resolve("localhost", 1, {.family = address_family::ipv4});
        CHECK(v4 == std::vector{socket_address::ipv4_loopback(1)});
    };
    run_within(10s, local());
}

TEST_CASE("resolve: a name that doesn't exist is an error that names it") {
    auto none = []() -> task<> {
        try {
            co_await resolve("no.such.host.invalid", 80);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code().category() == resolve_category());
            CHECK_THAT(e.what(), Contains("resolve no.such.host.invalid:80"));
        }
        try {
            co_await resolve(std::string("a\0b", 3), 80);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::error_code(EAI_NONAME, resolve_category()));
        }
        try {
            co_await resolve("::1", 80, {.family = address_family::ipv4});
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code().category() == resolve_category());
        }
    };
    run_within(10s, none());
}

TEST_CASE("resolve: many at once take a few threads only") {
    auto many = []() -> task<> {
        int answers = 0;
        auto ask = [&]() -> task<> {
            auto all = co_await resolve("localhost", 1);
            answers += all.empty() ? 0 : 1;
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < 100; ++i)
                g.spawn(ask());
            co_return;
        });
        CHECK(answers == 100);
        int threads = 0;
        for (const auto& [id, name] : look().threads)
            threads += name.find("weft-helper") != name.npos ? 1 : 0;
        CHECK(threads <= 8);
    };
    run_within(20s, many());
}

TEST_CASE("resolve: a stopped look-up is abandoned at once, begun or not") {
    auto stop = []() -> task<> {
        for (int i = 0; i < 50; ++i) {
            co_await with_task_group([&](task_group& g) -> task<> {
                for (int k = 0; k < 12; ++k) // more than there are threads
                    g.spawn(resolve("localhost", 1));
                if (i % 2 == 0)
                    co_await yield();
                g.cancel();
            });
        }
    };
    run_within(20s, stop());
}
