// SPDX-License-Identifier: MIT
#include "support/io.hpp"

#include <weft/executors/map.hpp>
#include <weft/executors/process_pool.hpp>
#include <weft/executors/thread_pool.hpp>

#include <weft/ipc/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <ranges>
#include <string>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;

int square(int n) {
    if (n == 7)
        throw std::out_of_range("seven");
    return n * n;
}
std::string join(const std::string& a, int b) { return a + std::to_string(b); }
void nothing(int) {}
int die_at_five(int n) {
    if (n == 5)
        ::raise(SIGKILL);
    return n;
}
int own_pid(int) { return ::getpid(); }
int sum(int a, int b) { return a + b; }
// Says by a file that it ran.
bool run_and_fail(const std::string& file, bool fails) {
    ::close(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    if (fails)
        throw std::out_of_range("fails");
    return true;
}
// Waits until the file is there.
int until_there(const std::string& file) {
    while (::access(file.c_str(), F_OK) != 0)
        ::poll(nullptr, 0, 1);
    return static_cast<int>(file.size());
}
// Fails with its name, when the file is there if it has one.
void fail_after(const std::string& name, const std::string& file) {
    if (!file.empty())
        until_there(file);
    throw std::out_of_range(name);
}

// The text of the error that comes instead of a result.
template <class A>
task<std::string> error_of(A a) {
    try {
        static_cast<void>(co_await std::move(a));
    } catch (const std::exception& e) {
        co_return e.what();
    }
    co_return "nothing";
}

// What comes, until the end or an error.
template <class T>
task<std::string> all(async_generator<T> g) {
    std::string text;
    try {
        while (auto v = co_await g.next()) {
            if constexpr (std::is_same_v<T, std::string>)
                text += *v + ' ';
            else
                text += std::to_string(*v) + ' ';
        }
        text += "end";
    } catch (const std::exception& e) {
        text += e.what();
    }
    co_return text;
}

} // namespace

TEST_CASE("map: calls run in the workers of a process pool, in pieces of any size",
          "[CF-PPE-07][MP-POOL-05]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        const auto numbers = std::views::iota(1, 7);
        for (std::size_t chunk = 1; chunk != 8; ++chunk) {
            auto text = co_await all(map(pool, {.chunk = chunk}, fn<&square>, numbers));
            CHECK(text == "1 4 9 16 25 36 end");
        }
        const std::vector<std::string> letters(3, "a");
        auto words = co_await all(map(pool, fn<&join>, letters, std::views::iota(1)));
        CHECK(words == "a1 a2 a3 end");
        auto lambda = co_await all(map(pool, [](int n) { return n + 1; }, numbers));
        CHECK(lambda == "2 3 4 5 6 7 end");
        auto none = co_await all(map(pool, fn<&square>, std::vector<int>()));
        CHECK(none == "end");
        auto counted = map(pool, {.chunk = 4}, fn<&nothing>, numbers);
        int n = 0;
        while (auto v = co_await counted.next())
            ++n;
        CHECK(n == 6);
        auto empty_pieces = [&] { return map(pool, {.chunk = 0}, fn<&square>, numbers); };
        CHECK_THROWS_AS(empty_pieces(), std::invalid_argument);
        auto endless = map(pool, fn<&own_pid>, std::views::iota(0));
        auto some_pid = co_await endless.next();
        CHECK(*some_pid != ::getpid());
        co_await pool.shutdown();
    }());
}

TEST_CASE("map: what a call in a process pool throws comes in its turn",
          "[CF-PPE-07][MP-POOL-08]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        const auto numbers = std::views::iota(5, 9);
        for (std::size_t chunk = 1; chunk != 6; ++chunk) {
            auto text = co_await all(map(pool, {.chunk = chunk}, fn<&square>, numbers));
            CHECK(text == "25 36 seven");
        }
        auto dies = co_await all(map(pool, fn<&die_at_five>, std::views::iota(3, 8)));
        CHECK_THAT(dies, Catch::StartsWith("3 4 ") && Catch::Contains("SIGKILL"));
        auto goes_on = co_await all(map_unordered(pool, {.chunk = 9}, fn<&square>, numbers));
        CHECK(goes_on == "25 36 seven");
        co_await pool.shutdown();
    }());
}

TEST_CASE(
    "process_pool: map and starmap give everything in order, or the first error after all ran",
    "[MP-POOL-05][MP-POOL-06]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        for (std::size_t chunk : {0u, 1u, 3u, 100u}) {
            auto squares = co_await pool.map(fn<&square>, std::views::iota(1, 7), chunk);
            CHECK(squares == std::vector<int>{1, 4, 9, 16, 25, 36});
        }
        const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}, {5, 6}};
        auto sums = co_await pool.starmap(fn<&sum>, pairs);
        CHECK(sums == std::vector<int>{3, 7, 11});
        auto products = co_await pool.starmap([](int a, int b) { return a * b; }, pairs, 2);
        CHECK(products == std::vector<int>{2, 12, 30});
        auto applied = co_await pool.apply(fn<&sum>, 1, 2);
        CHECK(applied == 3);

        // The others run all the same.
        weft::tests::temp_dir dir;
        std::vector<std::tuple<std::string, bool>> files;
        for (int i = 0; i != 6; ++i)
            files.emplace_back(dir.path(std::to_string(i)), i == 0);
        auto why = co_await error_of(pool.starmap(fn<&run_and_fail>, files, 2));
        CHECK(why == "fails");
        std::string ran;
        for (const auto& [file, fails] : files)
            ran += ::access(file.c_str(), F_OK) == 0 ? "1" : "0";
        CHECK(ran == "101111"); // but for the rest of its own piece
        // The first that came, not the first in the list.
        const std::string file = dir.path("early came");
        const std::vector<std::tuple<std::string, std::string>> two{{"late", file}, {"early", ""}};
        const auto done = pool.statistics().done;
        auto first = spawn(error_of(pool.starmap(fn<&fail_after>, two, 1)));
        while (pool.statistics().done == done)
            co_await sleep_for(std::chrono::milliseconds(1));
        CHECK(run_and_fail(file, false));
        auto early = co_await first.join();
        CHECK(early == "early");
        auto dies = co_await error_of(pool.map(fn<&die_at_five>, std::views::iota(3, 8), 1));
        CHECK_THAT(dies, Catch::Contains("SIGKILL"));
        // Of an input that fails nothing comes.
        auto bad = std::views::iota(0, 4) | std::views::transform([](int n) {
                       return n == 2 ? throw std::runtime_error("bad item") : n;
                   });
        CHECK_THROWS_AS(pool.map(fn<&square>, bad), std::runtime_error);
        // Who lets go calls off.
        const std::vector<std::string> forever(3, dir.path("never"));
        static_cast<void>(pool.map(fn<&until_there>, forever, 1));

        thread_pool threads({.threads = 2});
        auto by_threads =
            co_await map_all(threads, [](int n) { return 2 * n; }, std::views::iota(1, 4));
        CHECK(by_threads == std::vector<int>{2, 4, 6});
        pool.terminate();
        co_await pool.join();
    }());
}

TEST_CASE("process_pool: map of nothing is done at once", "[MP-POOL-06]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        const std::string file = dir.path("go");
        future<int> busy = pool.submit(fn<&until_there>, file); // the only worker has enough to do
        auto nothing = co_await pool.map(fn<&square>, std::vector<int>());
        CHECK(nothing.empty());
        auto no_pairs = co_await pool.starmap(fn<&sum>, std::vector<std::tuple<int, int>>());
        CHECK(no_pairs.empty());
        CHECK_FALSE(busy.done());
        CHECK(run_and_fail(file, false));
        co_await busy;
    }());
}

TEST_CASE("process_pool: an error in imap costs its item, and a late result nothing",
          "[MP-POOL-07][MP-POOL-08][MP-POOL-10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        auto told = [](auto results) -> task<std::string> {
            std::string text;
            while (true) {
                try {
                    auto n = co_await results.next();
                    if (!n)
                        break;
                    text += std::to_string(*n) + " ";
                } catch (const std::exception& e) {
                    text += std::string(e.what()) + " ";
                }
            }
            co_return text;
        };
        auto singly = co_await told(pool.imap(fn<&square>, std::views::iota(5, 10)));
        CHECK(singly == "25 36 seven 64 81 ");
        auto in_twos = co_await told(pool.imap(fn<&square>, std::views::iota(6, 12), 2));
        CHECK(in_twos == "36 seven 64 81 100 121 ");
        auto lost = co_await told(pool.imap(fn<&die_at_five>, std::views::iota(4, 7)));
        CHECK_THAT(lost,
                   Catch::StartsWith("4 ") && Catch::Contains("SIGKILL") && Catch::EndsWith(" 6 "));
        auto bad = std::views::iota(1) | std::views::transform([](int n) {
                       return n == 3 ? throw std::runtime_error("bad item") : n;
                   });
        auto input = co_await told(pool.imap(fn<&square>, bad));
        CHECK(input == "1 4 bad item ");
        CHECK_THROWS_AS(pool.imap(fn<&square>, std::views::iota(1), 0), std::invalid_argument);

        weft::tests::temp_dir dir;
        const std::string slow = dir.path("slow");
        const std::string quick = dir.path("q");
        CHECK(run_and_fail(quick, false));
        const std::vector<std::string> files{slow, quick};
        auto as_done = pool.imap_unordered(fn<&until_there>, files);
        auto first = co_await as_done.next();
        CHECK(*first == static_cast<int>(quick.size()));
        auto in_order = pool.imap(fn<&until_there>, files);
        auto late = co_await error_of(in_order.next_for(std::chrono::milliseconds(1)));
        CHECK_THAT(late, Catch::Contains("deadline"));
        CHECK(run_and_fail(slow, false));
        auto now_there = co_await in_order.next();
        CHECK(*now_there == static_cast<int>(slow.size()));
        auto second = co_await in_order.next();
        CHECK(*second == static_cast<int>(quick.size()));
        auto end = co_await in_order.next();
        CHECK_FALSE(end.has_value());
    }());
}

TEST_CASE("process_pool: only a pool that was closed or terminated can be joined",
          "[MP-POOL-11][MP-POOL-13]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        CHECK_THROWS_AS(pool.join(), state_error);
        future<int> accepted = pool.submit(fn<&sum>, 1, 2); // it went on
        pool.close();
        pool.close();
        CHECK_THROWS_AS(pool.submit(fn<&sum>, 1, 2), state_error);
        co_await pool.join();
        CHECK(accepted.get() == 3);
        CHECK(pool.statistics().workers.empty());
        co_await pool.join(); // again
        process_pool ended({.workers = 1});
        ended.terminate();
        co_await ended.join();
        process_pool shut({.workers = 1});
        co_await shut.shutdown(shutdown_options{.wait = false});
        co_await shut.join();
    }());
}
