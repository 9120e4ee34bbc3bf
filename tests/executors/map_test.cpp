// SPDX-License-Identifier: MIT
#include <weft/executors/map.hpp>

#include <weft/executors/thread_pool.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <ranges>
#include <sstream>
#include <stop_token>
#include <string>
#include <vector>

#include "executors/gate.hpp"
#include "sync/patience.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::gate;
using weft::tests::until_here;

// What comes, until the end or an error.
template <class T>
std::string all(async_generator<T> g) {
    std::ostringstream text;
    try {
        while (auto v = sync_wait(g.next()))
            text << *v << ' ';
        text << "end";
    } catch (const std::exception& e) {
        text << e.what();
    }
    CHECK(g.done());
    return text.str();
}

} // namespace

TEST_CASE("map: results come in the order of the input, until the shortest has ended",
          "[CF-EXE-02]") {
    thread_pool pool({.threads = 2});
    const std::vector<int> numbers{1, 2, 3, 4, 5};
    auto square = [](int n) { return n * n; };
    CHECK(all(map(pool, square, numbers)) == "1 4 9 16 25 end");
    for (std::size_t chunk : {2u, 5u, 100u})
        CHECK(all(map(pool, {.chunk = chunk}, square, numbers)) == "1 4 9 16 25 end");
    CHECK(all(map(pool, {.look_ahead = 1}, square, numbers)) == "1 4 9 16 25 end");
    auto add = [](int a, const std::string& b) { return std::to_string(a) + b; };
    CHECK(all(map(pool, add, numbers, std::vector<std::string>{"a", "b", "c"})) == "1a 2b 3c end");
    CHECK(all(map(pool, square, std::vector<int>())) == "end");
    auto is_odd = [](int n) { return n % 2 == 1; };
    CHECK(all(map(pool, is_odd, numbers)) == "1 0 1 0 1 end");

    // The first one is the last to be done.
    gate g;
    auto waits = [&g](int n) {
        if (n == 1)
            g.pass();
        if (n == 5)
            g.open();
        return n;
    };
    CHECK(all(map(pool, {.look_ahead = 5}, waits, numbers)) == "1 2 3 4 5 end");

    // Submitted at the call, and a result that is nothing.
    std::atomic<int> calls{0};
    auto counts = map(pool, [&calls](int) { ++calls; }, numbers);
    until_here([&] { return calls == 4; });
    int n = 0;
    while (sync_wait(counts.next()))
        ++n;
    CHECK(n == 5);

    // What can only be moved.
    auto boxed = map(pool, [](int k) { return std::make_unique<int>(k); }, numbers);
    auto first = sync_wait(boxed.next());
    CHECK(**first == 1);
    CHECK_THROWS_AS(map(pool, {.chunk = 0}, square, numbers), std::invalid_argument);
}

TEST_CASE("map_unordered: results come as they are ready", "[MP-POOL-10]") {
    gate never_opens; // the gates outlive those who wait at them
    gate g;
    thread_pool pool({.threads = 2});
    auto waits = [&g](int n) {
        if (n == 1)
            g.pass();
        if (n == 5)
            g.open();
        return n;
    };
    const std::vector<int> numbers{1, 2, 3, 4, 5};
    auto results = map_unordered(pool, waits, numbers);
    std::vector<int> order;
    while (auto n = sync_wait(results.next()))
        order.push_back(*n);
    REQUIRE(order.size() == 5);
    CHECK(order.front() == 2); // the first one waits for the last
    std::ranges::sort(order);
    CHECK(order == numbers);
    // Pieces stay together, and an error ends it.
    auto square = [](int n) { return n * n; };
    CHECK(all(map_unordered(pool, {.chunk = 5}, square, numbers)) == "1 4 9 16 25 end");
    auto fails = [](int) -> int { throw std::runtime_error("no"); };
    CHECK(all(map_unordered(pool, fails, numbers)) == "no");
    auto stuck = [&](int n) {
        never_opens.pass();
        return n;
    };
    CHECK(all(map_unordered(pool, {.deadline = now() + 1ms}, stuck, numbers)).find("end") ==
          std::string::npos);
    never_opens.open();
    CHECK_THROWS_AS(map_unordered(pool, {.look_ahead = 0}, square, numbers), std::invalid_argument);
}

TEST_CASE("map: it looks ahead as far as it is told, so input may be endless", "[CF-EXE-04]") {
    thread_pool pool({.threads = 2});
    std::atomic<int> calls{0};
    int taken = 0;
    auto endless = std::views::iota(0) | std::views::transform([&taken](int n) {
                       ++taken;
                       return n;
                   });
    auto counted = [&calls](int n) {
        ++calls;
        return n;
    };
    auto results = map(pool, {.look_ahead = 3}, counted, endless);
    CHECK(taken == 3);
    for (int i = 0; i < 10; ++i) {
        auto n = sync_wait(results.next());
        CHECK(*n == i);
        CHECK(taken == 3 + i);
    }
    until_here([&] { return calls == 12; });
    // Pieces count, not items.
    taken = 0;
    auto pieces = map(pool, {.chunk = 10, .look_ahead = 2}, counted, endless);
    CHECK(taken == 20);
    CHECK_THROWS_AS(map(pool, {.look_ahead = 0}, counted, endless), std::invalid_argument);
    taken = 0;
    auto by_default = map(pool, counted, endless);
    CHECK(taken == 4);
}

TEST_CASE("map: an error comes in its turn, and the rest is cancelled", "[CF-EXE-05][CF-EXE-03]") {
    thread_pool pool({.threads = 1});
    std::atomic<int> calls{0};
    auto breaks = [&calls](int n) {
        ++calls;
        if (n == 2)
            throw std::runtime_error("two");
        return n;
    };
    auto numbers = std::views::iota(0);
    SECTION("with pieces of any size") {
        std::size_t chunk = GENERATE(1u, 2u, 3u, 10u);
        CHECK(all(map(pool, {.chunk = chunk, .look_ahead = 2}, breaks, numbers)) == "0 1 two");
    }
    SECTION("nothing begins after it that hadn't") {
        gate g;
        auto slow = [&](int n) {
            int result = breaks(n);
            if (n == 3)
                g.pass();
            return result;
        };
        auto results = map(pool, {.look_ahead = 10}, slow, numbers);
        CHECK(all(std::move(results)) == "0 1 two");
        g.open();
        sync_wait(pool.shutdown());
        CHECK(calls <= 5); // 3 may have begun, and 4
    }
    SECTION("the input's") {
        auto bad = std::views::iota(0) | std::views::transform([](int n) {
                       if (n == 3)
                           throw std::runtime_error("bad input");
                       return n;
                   });
        auto same = [](int n) { return n; };
        CHECK(all(map(pool, {.look_ahead = 10}, same, bad)) == "0 1 2 bad input");
    }
    SECTION("the executor's") {
        auto same = [](int n) { return n; };
        auto results = map(pool, {.look_ahead = 2}, same, numbers);
        sync_wait(pool.shutdown());
        CHECK(all(std::move(results)).starts_with("0 1 the thread pool was shut down"));
        CHECK_THROWS_AS(map(pool, same, numbers), state_error); // at once, if it takes nothing
    }
}

TEST_CASE("map: its time counts from the call, and at the end of it the rest is cancelled",
          "[CF-EXE-03]") {
    gate g;
    thread_pool pool({.threads = 1});
    std::atomic<int> asked{0};
    std::atomic<int> calls{0};
    auto waits = [&](std::stop_token stop, int n) {
        ++calls;
        if (n == 1)
            g.pass();
        asked += stop.stop_requested() ? 1 : 0;
        return n;
    };
    auto numbers = std::views::iota(0);
    SECTION("the deadline") {
        auto results =
            map(pool, {.deadline = deadline_after(20ms), .look_ahead = 5}, waits, numbers);
        until_here([&] { return calls == 2; }); // so the first is done, whenever that is
        CHECK(all(std::move(results)) == "0 the deadline came before the future was done");
    }
    SECTION("what is there by then comes") {
        auto results = map(pool, {.deadline = time_point::min(), .look_ahead = 2}, waits, numbers);
        until_here([&] { return calls == 2; });
        CHECK(all(std::move(results)) == "0 the deadline came before the future was done");
    }
    SECTION("an early end") {
        auto results = map(pool, {.look_ahead = 5}, waits, numbers);
        auto first = sync_wait(results.next());
        CHECK(*first == 0);
        until_here([&] { return g.arrived == 1; });
        auto dropped = std::move(results);
    }
    SECTION("a consumer that is stopped") {
        auto results = map(pool, {.look_ahead = 5}, waits, numbers);
        static_cast<void>(sync_wait(results.next()));
        until_here([&] { return g.arrived == 1; });
        auto second = [&]() -> task<> {
            try {
                co_await with_timeout(1ms, results.next());
            } catch (const timeout_error&) {
                co_return;
            }
        };
        sync_wait(second());
        CHECK(results.done());
    }
    g.open();
    sync_wait(pool.shutdown());
    CHECK(calls == 2); // none after the one that ran
    CHECK(asked == 1);
}

TEST_CASE("map: a long piece stops between two calls", "[CF-EXE-03]") {
    gate g;
    thread_pool pool({.threads = 1});
    std::atomic<int> calls{0};
    auto waits = [&](int n) {
        ++calls;
        g.pass();
        return n;
    };
    {
        auto results = map(pool, {.chunk = 1000}, waits, std::views::iota(0, 1000));
        until_here([&] { return g.arrived == 1; });
    }
    g.open();
    sync_wait(pool.shutdown());
    CHECK(calls == 1);
}
