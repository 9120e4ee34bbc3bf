// SPDX-License-Identifier: MIT
#include <weft/executors/wait.hpp>

#include <weft/executors/thread_pool.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sync/patience.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using weft::tests::until;

using places = std::vector<std::size_t>;

struct four {
    four() {
        for (promise<int>& p : promises)
            futures.push_back(p.get_future());
    }
    std::array<promise<int>, 4> promises;
    std::vector<future<int>> futures;
};

wait_result looks(const std::vector<future<int>>& fs, return_when policy) {
    return sync_wait(wait(fs, policy, time_point::min()));
}

// What comes out of as_completed, until it ends or fails.
task<std::string> comes(std::vector<future<int>> fs, time_point deadline) {
    std::string text;
    auto order = as_completed(fs, deadline);
    try {
        while (auto f = co_await order.next())
            text += f->cancelled() ? "- " : std::to_string(f->get()) + " ";
        text += "end";
    } catch (const timeout_error& e) {
        text += e.what();
    }
    co_return text;
}

} // namespace

TEST_CASE("wait: tells who is done, when the policy is met or the time is over",
          "[CF-MOD-01][CF-MOD-02]") {
    four f;
    std::vector<future<int>>& fs = f.futures;

    SECTION("nobody is done: no error, and they are unharmed") {
        wait_result w = looks(fs, return_when::first_completed);
        CHECK(w.done().empty());
        CHECK(w.not_done() == places{0, 1, 2, 3});
        CHECK(sync_wait(wait(fs, return_when::all_completed, deadline_after(1ms))).done().empty());
        CHECK(fs[0].state() == future_state::pending);
    }
    SECTION("those that are done before count at once") {
        f.promises[2].set_value(1);
        wait_result w = sync_wait(wait(fs, return_when::first_completed));
        CHECK(w.done() == places{2});
        CHECK(w.not_done() == places{0, 1, 3});
    }
    SECTION("a cancelled one is done, but has not failed") {
        fs[1].cancel();
        CHECK(sync_wait(wait(fs, return_when::first_completed)).done() == places{1});
        CHECK(looks(fs, return_when::first_exception).not_done() == places{0, 2, 3});
        std::thread t([&] { f.promises[3].set_error(std::runtime_error("x")); });
        wait_result w = sync_wait(wait(fs, return_when::first_exception));
        CHECK(w.done() == places{1, 3});
        t.join();
        CHECK(fs[3].exception() != nullptr);
    }
    SECTION("one that had failed before counts as the first exception") {
        f.promises[0].set_error(std::runtime_error("x"));
        CHECK(sync_wait(wait(fs, return_when::first_exception)).done() == places{0});
        CHECK(fs[0].exception() != nullptr);
    }
    SECTION("all, without an exception") {
        std::thread t([&] {
            for (promise<int>& p : f.promises)
                p.set_value(1);
        });
        return_when policy = GENERATE(return_when::first_exception, return_when::all_completed);
        CHECK(sync_wait(wait(fs, policy)).not_done().empty());
        t.join();
    }
    SECTION("one that is there twice counts once") {
        std::vector<future<int>> twice{fs[0], fs[1], fs[0], fs[1]};
        f.promises[1].set_value(1);
        wait_result w = sync_wait(wait(twice, return_when::first_completed));
        CHECK(w.done() == places{1});
        CHECK(w.not_done() == places{0});
    }
    SECTION("none at all") {
        wait_result w = sync_wait(wait(std::vector<future<int>>()));
        CHECK(w.done().empty());
        CHECK(w.not_done().empty());
    }
    SECTION("what makes no sense") {
        CHECK_THROWS_AS(wait(fs, static_cast<return_when>(7)), std::invalid_argument);
        CHECK_THROWS_AS(wait(std::vector<future<int>>(1)), std::invalid_argument);
        CHECK_THROWS_AS(as_completed(std::vector<future<int>>(1)), std::invalid_argument);
    }
}

TEST_CASE("wait: a stop leaves the futures alone, and whoever tells of an end later unharmed",
          "[CF-MOD-01]") {
    four f;
    run([](four& g) -> task<> {
        task_handle<wait_result> h = spawn(wait(g.futures));
        co_await yield();
        g.promises[0].set_value(1);
        h.cancel();
        co_await until([&] { return h.done(); });
        CHECK(h.stopped());
        CHECK(g.futures[1].state() == future_state::pending);
    }(f));
    for (std::size_t i = 1; i < 4; ++i)
        f.promises[i].set_value(1);
    CHECK(looks(f.futures, return_when::all_completed).not_done().empty());
}

TEST_CASE("as_completed: gives those that were done, then one after the other",
          "[CF-MOD-03][CF-MOD-04][CF-FUT-08]") {
    four f;
    std::vector<future<int>>& fs = f.futures;
    f.promises[3].set_value(3);
    f.promises[1].set_value(1);

    SECTION("in the order in which they end, each once") {
        std::thread t;
        fs.push_back(fs[0]); // twice
        auto order = as_completed(fs);
        CHECK(sync_wait(order.next())->get() == 1); // the list's order among those before
        CHECK(sync_wait(order.next())->get() == 3);
        f.promises[2].set_value(2);
        CHECK(sync_wait(order.next())->get() == 2);
        t = std::thread([&] { f.promises[0].set_value(0); });
        CHECK(sync_wait(order.next())->get() == 0);
        CHECK_FALSE(sync_wait(order.next()));
        t.join();
    }
    SECTION("a cancelled one comes although nobody has discarded its work") {
        fs[2].cancel();
        f.promises[0].set_value(0);
        CHECK(sync_wait(comes(fs, never)) == "0 1 - 3 end");
    }
    SECTION("the time counts from the call; what is done comes all the same") {
        CHECK(sync_wait(comes(fs, time_point::min())) == "1 3 2 (of 4) futures unfinished");
        CHECK(sync_wait(comes(fs, deadline_after(1ms))) == "1 3 2 (of 4) futures unfinished");
        CHECK(fs[0].state() == future_state::pending);
    }
    SECTION("none at all") { CHECK(sync_wait(comes({}, never)) == "end"); }
    SECTION("who gets the last copy may take what it holds") {
        promise<std::unique_ptr<int>> p;
        std::vector<future<std::unique_ptr<int>>> one{p.get_future()};
        auto order = as_completed(one);
        one.clear();
        p.set_value(std::make_unique<int>(5));
        auto got = sync_wait(order.next());
        CHECK(*std::move(*got).get() == 5);
    }
}

TEST_CASE("as_completed: futures of different executors", "[CF-MOD-03][P1]") {
    thread_pool one({.threads = 1});
    thread_pool two({.threads = 2});
    std::vector<future<int>> fs;
    for (int i = 0; i < 100; ++i)
        fs.push_back((i % 2 == 0 ? one : two).submit([i] { return i; }));
    auto order = as_completed(fs);
    int sum = 0;
    int n = 0;
    while (auto f = sync_wait(order.next())) {
        sum += f->get();
        ++n;
    }
    CHECK(n == 100);
    CHECK(sum == 4950);
}
