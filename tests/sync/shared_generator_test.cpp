// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/sync/shared_generator.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::async_generator;
using weft::shared_generator;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

// Waits between its items, so that readers meet there.
async_generator<int> numbers(int n) {
    for (int i = 0; i < n; ++i) {
        co_await weft::yield();
        co_yield i;
    }
}

task<> read_all(shared_generator<int> from, std::vector<int>& got) {
    while (auto item = co_await from.next())
        got.push_back(*item);
}

// Readers that are stopped now and then, and begin again.
task<> read_impatiently(shared_generator<int> from, unsigned seed, unsigned who,
                        std::vector<int>& got) {
    weft::tests::dice d(seed, who);
    bool over = false;
    while (!over) {
        auto once = [](shared_generator<int>& g, std::vector<int>& into, bool& end) -> task<> {
            auto item = co_await g.next();
            if (item)
                into.push_back(*item);
            else
                end = true;
        };
        auto in_time = weft::with_timeout(d.moment(), once(from, got, over));
        static_cast<void>(co_await weft::as_result(std::move(in_time)));
    }
}

void check_each_once(const std::vector<std::vector<int>>& got, int n) {
    std::vector<int> times(static_cast<std::size_t>(n));
    for (const std::vector<int>& of_one : got) {
        CHECK(std::is_sorted(of_one.begin(), of_one.end()));
        for (int item : of_one)
            ++times[static_cast<std::size_t>(item)];
    }
    CHECK(std::count(times.begin(), times.end(), 1) == n);
}

} // namespace

TEST_CASE("shared_generator: readers on loops and threads get each item once, in order",
          "[T-ITER-01][G-14]") {
    constexpr int n = 4000;
    shared_generator<int> all(numbers(n));
    std::vector<std::vector<int>> got(5);
    std::thread aside([&] { weft::sync_wait(read_all(all, got[0])); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::loop& other = rt.get_loop(1);
        co_await weft::when_all(read_all(all, got[1]), read_all(all, got[2]),
                                weft::on(other, read_all(all, got[3])),
                                weft::on(other, read_all(all, got[4])));
    });
    aside.join();
    check_each_once(got, n);
}

TEST_CASE("shared_generator: readers that are stopped at random moments lose no item",
          "[T-ITER-01][G-05][P3]") {
    constexpr int n = 3000;
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    shared_generator<int> all(numbers(n));
    std::vector<std::vector<int>> got(4);
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::loop& other = rt.get_loop(1);
        co_await weft::when_all(read_impatiently(all, seed, 0, got[0]),
                                read_impatiently(all, seed, 1, got[1]),
                                weft::on(other, read_impatiently(all, seed, 2, got[2])),
                                weft::on(other, read_impatiently(all, seed, 3, got[3])));
    });
    check_each_once(got, n);
}

TEST_CASE("shared_generator: a plain generator is shared likewise", "[T-ITER-01]") {
    auto squares = []() -> weft::generator<std::unique_ptr<int>> {
        for (int i = 0; i < 3; ++i)
            co_yield std::make_unique<int>(i * i);
    };
    shared_generator<std::unique_ptr<int>> all(squares());
    std::vector<int> got;
    while (auto item = weft::sync_wait(all.next()))
        got.push_back(**item);
    CHECK(got == std::vector<int>{0, 1, 4});
    CHECK_FALSE(weft::sync_wait(all.next()).has_value()); // and it stays at its end
}

TEST_CASE("shared_generator: an error comes out of one call and ends it for all") {
    on_a_loop([]() -> task<> {
        auto fails = []() -> async_generator<int> {
            co_yield 1;
            throw std::runtime_error("no more");
        };
        shared_generator<int> all(fails());
        shared_generator<int> copy = all;
        auto first = co_await all.next();
        CHECK(first == 1);
        auto failed = co_await weft::as_result(copy.next());
        CHECK(failed.error() != nullptr);
        auto after = co_await all.next();
        CHECK_FALSE(after.has_value());
    });
}

TEST_CASE("shared_generator: a body that reads itself is told so") {
    on_a_loop([]() -> task<> {
        auto own = std::make_unique<std::optional<shared_generator<int>>>();
        auto reads_itself = [](std::optional<shared_generator<int>>& self) -> async_generator<int> {
            auto item = co_await self->next();
            co_yield *item;
        };
        own->emplace(reads_itself(*own));
        auto outcome = co_await weft::as_result((*own)->next());
        REQUIRE(outcome.error() != nullptr);
        CHECK_THROWS_AS(std::rethrow_exception(outcome.error()), std::system_error);
        own->reset();
    });
}
