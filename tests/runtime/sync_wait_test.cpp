// SPDX-License-Identifier: MIT
#include <weft/runtime/sync_wait.hpp>

#include "runtime/counted.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/promise.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

using weft::sync_wait;
using weft::task;
using weft::tests::counted;
using namespace std::chrono_literals;

namespace {

task<int> gives(int n) {
    co_await weft::yield();
    co_return n;
}
task<> fails() {
    co_await weft::yield();
    throw std::runtime_error("failed");
}
task<> sleeps(int& live) {
    counted here(live);
    co_await weft::sleep_for(1h);
}

} // namespace

TEST_CASE("sync_wait: gives the value of anything that can be awaited, or throws its error") {
    CHECK(sync_wait(gives(3)) == 3);
    CHECK_THROWS_WITH(sync_wait(fails()), "failed");
    sync_wait(weft::sleep_for(1ms));
    sync_wait(weft::yield());
    auto [a, b] = sync_wait(weft::when_all(gives(1), gives(2)));
    CHECK(a + b == 3);
    auto moves = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
    CHECK(*sync_wait(moves()) == 4);
    int n = 5;
    auto refers = [&]() -> task<int&> { co_return n; };
    CHECK(&sync_wait(refers()) == &n);
    CHECK_THROWS_AS(sync_wait(weft::with_timeout(1ms, weft::sleep_for(1h))), weft::timeout_error);
}

TEST_CASE("sync_wait: a stop is an error here, because there is no scope to go to") {
    int live = 0;
    std::stop_source source;
    std::atomic<bool> waits{false};
    auto stoppable = [&]() -> task<> {
        waits = true;
        co_await sleeps(live);
    };
    std::jthread other([&] {
        while (!waits)
            std::this_thread::yield();
        source.request_stop();
    });
    CHECK_THROWS_AS(sync_wait(weft::with_stop_token(source.get_token(), stoppable())),
                    weft::cancelled_error);
    CHECK(live == 0);
}

TEST_CASE("sync_wait: is refused where it would block a loop, and its task destroyed") {
    int live = 0;
    bool refused = false;
    auto main = [&]() -> task<> {
        auto never = [](std::shared_ptr<counted>) -> task<> { co_return; };
        try {
            sync_wait(never(std::make_shared<counted>(live)));
        } catch (const weft::state_error&) {
            refused = true;
        }
        CHECK(live == 0);
        co_return;
    };
    weft::run(main());
    CHECK(refused);
    refused = false;
    sync_wait(main()); // its own loop counts too
    CHECK(refused);
}

TEST_CASE("sync_wait: a thread that sleeps in it is woken by another, with a ring and without") {
    for (bool with_ring : {false, true}) {
        CAPTURE(with_ring);
        int rounds = 0;
        std::thread([&] {
            auto uses_the_kernel = []() -> task<> {
                auto ends = weft::make_pipe();
                co_await weft::write_all(ends.second, weft::as_bytes("x"));
            };
            if (with_ring)
                sync_wait(uses_the_kernel());
            std::atomic<weft::async_promise<>*> asked{nullptr};
            std::atomic<weft::loop*> home{nullptr};
            auto asks = [&]() -> task<> {
                home = &weft::this_loop();
                for (; rounds < 500; ++rounds) {
                    weft::async_promise<> answer;
                    asked = &answer;
                    co_await answer.wait(); // the loop has nothing else to do
                }
            };
            std::jthread other([&] {
                for (int i = 0; i < 500; ++i) {
                    weft::async_promise<>* p = nullptr;
                    while ((p = asked.exchange(nullptr)) == nullptr)
                        std::this_thread::yield();
                    home.load()->post([p] { p->set_value(); });
                }
            });
            sync_wait(asks());
        }).join();
        CHECK(rounds == 500);
    }
}

TEST_CASE("sync_wait: detached tasks go on when the thread waits again, and end with it") {
    int live = 0, steps = 0;
    // These outlive the thread, whose end is also that of the tasks.
    auto counts = [&]() -> task<> {
        counted here(live);
        while (true) {
            ++steps;
            co_await weft::yield();
        }
    };
    auto starts = [&]() -> task<> {
        weft::spawn(counts());
        weft::spawn(sleeps(live));
        co_await weft::yield();
        co_await weft::yield();
    };
    std::thread([&] {
        sync_wait(starts());
        int then = steps;
        CHECK(then > 0);
        CHECK(live == 2);
        sync_wait(gives(1));
        CHECK(steps > then);
        CHECK(live == 2);
    }).join();
    CHECK(live == 0);
}

TEST_CASE("sync_wait: many threads wait for each other's loops at once") {
    constexpr int threads = 6;
    std::atomic<int> sum{0};
    weft::runtime rt({.loops = 2});
    std::atomic<bool> done{false};
    auto keeps_turning = [&]() -> task<> {
        while (!done)
            co_await weft::sleep_for(1ms);
    };
    std::vector<std::jthread> all;
    std::atomic<int> left{threads};
    for (int i = 0; i < threads; ++i) {
        all.emplace_back([&, i] {
            for (int n = 0; n < 200; ++n)
                sum += sync_wait(weft::on(rt.get_loop(static_cast<std::size_t>(i % 2)), gives(1)));
            if (--left == 0)
                done = true;
        });
    }
    rt.run(keeps_turning());
    CHECK(sum == threads * 200);
}
