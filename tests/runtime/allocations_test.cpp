// SPDX-License-Identifier: MIT
// What has been done once takes no memory of the heap the next time.
#include <weft/runtime/detail/frame_pool.hpp>

#include "support/heap_count.hpp"
#include "support/io.hpp"
#include "support/report.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/receiver.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace weft;
using namespace weft::tests;

namespace {

// How many allocations the second half of `rounds` makes: what the first half has found and kept
// must do. `round` is a function that gives a task.
template <class Round>
task<std::uint64_t> allocations_of(unsigned rounds, Round round) {
    for (unsigned i = 0; i < rounds; ++i)
        co_await round();
    std::uint64_t before = allocations();
    for (unsigned i = 0; i < rounds; ++i)
        co_await round();
    co_return allocations() - before;
}

bool can_count() {
    bool can = allocations_are_counted() && WEFT_PLAIN_FRAMES == 0;
    if (!can)
        skip("a sanitizer does the allocating");
    return can;
}

template <class Round>
void makes_none(unsigned rounds, Round round) {
    std::uint64_t n = run_within(patience, allocations_of(rounds, std::move(round)));
    CHECK(n == 0);
}

// Not REQUIRE, which allocates.
void expect(bool so) {
    if (!so)
        throw std::logic_error("what came back is wrong");
}

task<int> seven() {
    co_await yield();
    co_return 7;
}

task<> nothing() { co_return; }

} // namespace

TEST_CASE("allocations: the counter counts") {
    if (!can_count())
        return;
    std::uint64_t before = allocations();
    std::vector<std::string> texts(3, std::string(100, 'x'));
    CHECK(allocations() - before == 5);
    CHECK(texts.size() == 3);
}

TEST_CASE("allocations: tasks that are awaited, spawned, joined and grouped make none") {
    if (!can_count())
        return;
    makes_none(2000, []() -> task<> {
        int n = co_await seven();
        expect(n == 7);
    });
    makes_none(2000, []() -> task<> {
        auto a = weft::spawn(seven());
        auto b = weft::spawn(seven());
        co_await a.join();
        co_await b.join();
    });
    // A group has room for the errors of its children: that is one allocation, not one for each.
    std::uint64_t n = 0;
    auto in_a_group = [&]() -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            n = co_await allocations_of(1000, [&]() -> task<> {
                for (int i = 0; i < 5; ++i)
                    g.spawn(seven());
                co_await until([&] { return g.size() == 0; });
            });
        });
    };
    run_within(patience, in_a_group());
    CHECK(n == 0);
    makes_none(2000, []() -> task<> {
        co_await when_all(nothing(), seven());
        auto first = co_await when_any(seven(), sleep_for(1h));
        static_cast<void>(first);
    });
}

TEST_CASE("allocations: timers, timeouts and stops make none") {
    if (!can_count())
        return;
    makes_none(2000, []() -> task<> {
        co_await sleep_for(1us);
        int n = co_await with_timeout(1h, seven());
        expect(n == 7);
    });
    makes_none(2000, []() -> task<> {
        auto t = weft::spawn(as_task(sleep_for(1h)));
        co_await yield();
        t.cancel();
        co_await until([&] { return t.done(); });
    });
}

TEST_CASE("allocations: an echo makes none, however it is received") {
    if (!can_count())
        return;
    for (kernel_feature features : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        auto ends = unix_stream_pair();
        std::optional<receiver> in;
        auto echo = [&]() -> task<> {
            std::byte bytes[16];
            co_await ends.first.write_all(as_bytes("question"));
            std::size_t n = co_await ends.second.read_some(bytes);
            co_await ends.second.write_all(std::span(bytes).first(n));
            lent_buffer answer = co_await ends.first.receive();
            expect(answer.text() == "question");
        };
        auto streamed = [&]() -> task<> {
            if (!in)
                in.emplace(ends.second);
            co_await ends.first.write_all(as_bytes("streamed"));
            lent_buffer data = co_await in->receive();
            expect(data.text() == "streamed");
        };
        auto all = [&]() -> task<> {
            std::uint64_t n = co_await allocations_of(300, echo);
            CHECK(n == 0);
            n = co_await allocations_of(300, streamed);
            CHECK(n == 0);
            in.reset();
        };
        runtime_options on;
        on.features = features;
        run_within(patience, all(), on);
    }
}

TEST_CASE("allocations: stopped reads make none") {
    if (!can_count())
        return;
    auto ends = unix_stream_pair();
    makes_none(1000, [&]() -> task<> {
        std::byte bytes[16];
        auto read = [&]() -> task<> { co_await ends.first.read_some(bytes); };
        auto t = weft::spawn(read());
        co_await yield();
        t.cancel();
        co_await until([&] { return t.done(); });
    });
}

TEST_CASE("allocations: posting makes none, on the loop and from another thread") {
    if (!can_count())
        return;
    makes_none(2000, []() -> task<> {
        int called = 0;
        this_loop().post([&] { ++called; });
        co_await until([&] { return called == 1; });
    });

    // The other thread takes the nodes, and the loop gives them back.
    std::atomic<int> asked{0};
    std::atomic<int> answered{0};
    loop* home = nullptr;
    std::jthread other([&](const std::stop_token& end) {
        int done = 0;
        while (!end.stop_requested()) {
            for (; done != asked; ++done)
                home->post([&] { ++answered; });
            std::this_thread::yield();
        }
    });
    makes_none(50, [&]() -> task<> {
        home = &this_loop();
        asked += 20;
        co_await until([&] { return answered == asked; });
    });
}
