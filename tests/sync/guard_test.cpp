// SPDX-License-Identifier: MIT
// What all that can be held has in common.
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/sync/barrier.hpp>
#include <weft/sync/bounded_semaphore.hpp>
#include <weft/sync/capacity_limiter.hpp>
#include <weft/sync/condition.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/recursive_mutex.hpp>
#include <weft/sync/semaphore.hpp>
#include <weft/sync/shared_mutex.hpp>

#include <catch2/catch.hpp>
#include <optional>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;

namespace {

// One of each, and whether it is held, as somebody else sees it.
template <class T>
struct one {
    T it;
    bool held() {
        bool passed = false;
        std::thread([&] {
            auto mine = it.try_scoped();
            passed = static_cast<bool>(mine);
        }).join();
        return !passed;
    }
};
template <>
struct one<weft::capacity_limiter> {
    weft::capacity_limiter it{1};
    bool held() { return it.borrowed() != 0; }
};

template <class T>
task<> fail(one<T>& o, bool& was_held) {
    auto mine = co_await o.it.scoped();
    was_held = o.held();
    co_await weft::yield();
    throw std::runtime_error("inside");
}

template <class T>
task<> stay(one<T>& o, bool& was_held) {
    auto mine = co_await o.it.scoped();
    was_held = o.held();
    co_await weft::sleep_for(1h);
}

} // namespace

TEMPLATE_TEST_CASE("guard: scoped() holds, and gives back on every way out", "[T-WITH-01][G-08]",
                   weft::mutex, weft::recursive_mutex, weft::condition, weft::semaphore,
                   weft::bounded_semaphore, weft::shared_mutex, weft::capacity_limiter) {
    one<TestType> o;
    bool was_held = false;
    on_a_loop([&]() -> task<> {
        {
            auto mine = co_await o.it.scoped();
            CHECK(mine);
            CHECK(o.held());
            auto moved = std::move(mine);
            CHECK_FALSE(mine); // NOLINT(bugprone-use-after-move)
            CHECK(o.held());
        }
        CHECK_FALSE(o.held());
        {
            auto mine = co_await o.it.scoped_for(1h);
            CHECK(mine);
            mine.reset();
            CHECK_FALSE(o.held());
            mine.reset();
            mine = co_await o.it.scoped_until(weft::never);
            CHECK(mine);
        }
        CHECK_FALSE(o.held());

        CHECK_THROWS_AS(co_await fail(o, was_held), std::runtime_error);
        CHECK(was_held);
        CHECK_FALSE(o.held());

        was_held = false;
        auto stopped = co_await weft::as_result(weft::with_timeout(1ms, stay(o, was_held)));
        CHECK(stopped.error());
        CHECK(was_held);
        CHECK_FALSE(o.held());
    });
}

TEST_CASE("guard: a barrier is waited at on entry, gives a number, and has no way out to guard",
          "[T-WITH-01]") {
    weft::barrier b(2);
    std::size_t other = 2;
    std::thread thread([&] { other = weft::sync_wait(b.arrive_and_wait()); });
    std::size_t mine = weft::sync_wait(b.arrive_and_wait());
    thread.join();
    CHECK(mine + other == 1);
    CHECK(b.waiting() == 0);
    static_assert(std::is_same_v<weft::await_result_t<weft::barrier<>::arrive_op>, std::size_t>);
}
