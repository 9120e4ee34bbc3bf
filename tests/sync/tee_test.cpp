// SPDX-License-Identifier: MIT
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/sync/tee.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/when_all.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

using weft::async_generator;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

async_generator<int> numbers(int n) {
    for (int i = 0; i < n; ++i) {
        co_await weft::yield();
        co_yield i;
    }
}

task<> read_all(async_generator<int> from, std::vector<int>& got) {
    while (auto item = co_await from.next())
        got.push_back(*item);
}

std::vector<int> first_numbers(int n) {
    std::vector<int> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

// Counts how many there are.
struct counted {
    explicit counted(int n) noexcept : number(n) { ++alive; }
    counted(const counted& other) noexcept : number(other.number) { ++alive; }
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
    int number;
    static inline std::atomic<int> alive{0};
};

weft::generator<counted> counted_numbers(int n) {
    for (int i = 0; i < n; ++i)
        co_yield counted(i);
}

} // namespace

TEST_CASE("tee: each branch gives every item, on whatever loop or thread", "[T-ITER-02][G-14]") {
    constexpr int n = 2000;
    auto branches = weft::tee(numbers(n), 4);
    REQUIRE(branches.size() == 4);
    std::vector<std::vector<int>> got(4);
    std::thread aside([&] { weft::sync_wait(read_all(std::move(branches[0]), got[0])); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::loop& other = rt.get_loop(1);
        co_await weft::when_all(read_all(std::move(branches[1]), got[1]),
                                read_all(std::move(branches[2]), got[2]),
                                weft::on(other, read_all(std::move(branches[3]), got[3])));
    });
    aside.join();
    for (const std::vector<int>& of_one : got)
        CHECK(of_one == first_numbers(n));
}

TEST_CASE("tee: an item is kept until the slowest branch has given it", "[T-ITER-02]") {
    static constexpr int n = 100000; // freeing that many must not recurse
    on_a_loop([]() -> task<> {
        auto branches = weft::tee(counted_numbers(n));
        for (int i = 0; i < n; ++i) {
            auto item = co_await branches[0].next();
            REQUIRE(item->number == i);
        }
        CHECK(counted::alive >= n);
        for (int i = 0; i < n / 2; ++i) {
            auto item = co_await branches[1].next();
            REQUIRE(item->number == i);
        }
        CHECK(counted::alive <= n / 2 + 10);
        branches.pop_back(); // and until it is gone
        CHECK(counted::alive <= 10);
    });
    CHECK(counted::alive == 0);
}

TEST_CASE("tee: there may be no branch, but not fewer", "[T-ITER-02]") {
    CHECK(weft::tee(numbers(3), 0).empty());
    CHECK_THROWS_AS(weft::tee(numbers(3), -1), std::invalid_argument);
    CHECK(weft::tee(numbers(3)).size() == 2);
}

TEST_CASE("tee: an error comes out of every branch where it stands", "[T-ITER-02]") {
    on_a_loop([]() -> task<> {
        auto fails = []() -> async_generator<int> {
            co_yield 1;
            throw std::runtime_error("no more");
        };
        auto branches = weft::tee(fails(), 3);
        for (auto& b : branches) {
            auto item = co_await b.next();
            CHECK(item == 1);
            auto failed = co_await weft::as_result(b.next());
            CHECK(failed.error() != nullptr);
            item = co_await b.next();
            CHECK_FALSE(item.has_value());
        }
    });
}

TEST_CASE("tee: a reader that is stopped loses nothing for the others", "[T-ITER-02][G-05]") {
    on_a_loop([]() -> task<> {
        bool open = false;
        auto gated = [](const bool& go) -> async_generator<int> {
            for (int i = 0; i < 3; ++i) {
                co_await until([&go] { return go; });
                co_yield i;
            }
        };
        auto branches = weft::tee(gated(open));
        std::vector<int> lost;
        std::vector<int> got;
        auto stopped = weft::spawn(read_all(std::move(branches[0]), lost));
        auto reads = weft::spawn(read_all(std::move(branches[1]), got));
        for (int i = 0; i < 5; ++i)
            co_await weft::yield();
        stopped.cancel();
        open = true;
        static_cast<void>(co_await weft::as_result(stopped.join()));
        co_await reads.join();
        CHECK(got == first_numbers(3));
        CHECK(lost.size() <= 1);
    });
}
