// SPDX-License-Identifier: MIT
#include <weft/runtime/post_at.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"

#include <weft/runtime/context.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using weft::post_after;
using weft::post_at;
using weft::task;
using weft::tests::counted;
using weft::tests::stray_errors;
using namespace std::chrono_literals;

namespace {

weft::context_var<int> number("number", 5);

template <class T>
T run_within(std::chrono::seconds limit, task<T> t) {
    return weft::run(weft::as_task(weft::with_timeout(limit, std::move(t))));
}

} // namespace

TEST_CASE("post_at: calls come in the order of their deadlines, none early, none inline",
          "[AIO-RUN-03][P24]") {
    std::vector<int> order;
    int early = 0;
    bool late = false;
    auto main = [&](weft::duration ahead) -> task<> {
        order.clear();
        std::vector<weft::task_handle<>> calls;
        calls.push_back(post_after(0ms, [&] { order.push_back(-1); }));
        weft::time_point begin = weft::now() + ahead;
        for (int i = 0; i < 30; ++i) {
            int n = i * 11 % 30;
            weft::time_point due = begin + std::chrono::milliseconds(n);
            calls.push_back(post_at(due, [&order, &early, n, due] {
                order.push_back(n);
                early += weft::now() < due ? 1 : 0;
            }));
        }
        calls.push_back(post_at(begin - 1h, [&] { order.push_back(-2); }));
        CHECK(order.empty());
        co_await weft::yield(); // all wait for their times
        late = weft::now() >= begin;
        for (auto& c : calls)
            co_await c.join();
    };
    // Once more if we were held up for so long that some were due before they waited.
    auto ahead = 5ms;
    do {
        run_within(20s, main(ahead));
        ahead *= 4;
    } while (late && ahead < 10s);
    REQUIRE_FALSE(late);
    REQUIRE(order.size() == 32);
    CHECK(order[0] < 0); // what is due at once
    CHECK(order[1] < 0);
    bool sorted = true;
    for (int n = 0; n < 30; ++n)
        sorted = sorted && order[static_cast<std::size_t>(n) + 2] == n;
    CHECK(sorted);
    CHECK(early == 0);
}

TEST_CASE("post_at: a cancelled call never comes, and its function is destroyed", "[AIO-RUN-03]") {
    int live = 0;
    bool called = false;
    auto main = [&]() -> task<> {
        auto kept = std::make_shared<counted>(live);
        auto call = [kept, &called] { called = true; };
        kept.reset();
        auto h = post_after(1h, std::move(call));
        co_await weft::yield();
        CHECK(live == 1);
        CHECK(h.cancel());
        for (int i = 0; i < 3; ++i)
            co_await weft::yield();
        CHECK(h.stopped());
        CHECK(live == 0);
        CHECK_FALSE(h.cancel()); // once is enough
        auto done = post_after(0ms, [] {});
        co_await done.join();
        CHECK_FALSE(done.cancel());
    };
    run_within(20s, main());
    CHECK_FALSE(called);
}

TEST_CASE("post_at: a dropped handle changes nothing, the end of the loop does", "[AIO-RUN-03]") {
    int live = 0;
    bool soon = false, late = false;
    auto main = [&]() -> task<> {
        auto kept = std::make_shared<counted>(live);
        post_after(1ms, [kept, &soon] { soon = true; });
        post_after(1h, [kept, &late] { late = true; });
        post_after(std::chrono::hours::max(), [kept, &late] { late = true; });
        kept.reset();
        while (!soon)
            co_await weft::sleep_for(1ms);
        CHECK(live == 1);
    };
    run_within(20s, main());
    CHECK(soon);
    CHECK_FALSE(late);
    CHECK(live == 0);
}

TEST_CASE("post_at: an error goes to whoever joins, or else to the hook, and stops no other call",
          "[P6][G-10]") {
    stray_errors errors;
    bool next = false;
    std::string joined;
    auto main = [&]() -> task<> {
        post_after(0ms, [] { throw std::runtime_error("nobody's"); });
        post_after(0ms, [&] { next = true; });
        auto h = post_after(0ms, [] { throw std::runtime_error("somebody's"); });
        try {
            co_await h.join();
        } catch (const std::runtime_error& e) {
            joined = e.what();
        }
        while (!next)
            co_await weft::yield();
    };
    run_within(20s, main());
    CHECK(joined == "somebody's");
    CHECK(errors.texts() == std::vector<std::string>{"nobody's"});
}

TEST_CASE("post_at: a call sees the context variables as they were", "[CV-11]") {
    int seen = 0;
    auto main = [&]() -> task<> {
        number.set(1);
        auto h = post_after(1ms, [&] { seen = number.get(); });
        number.set(2);
        co_await h.join();
        CHECK(number.get() == 2);
    };
    run_within(20s, main());
    CHECK(seen == 1);
}

TEST_CASE("post_at: needs a running loop") {
    CHECK_THROWS_AS(post_after(1ms, [] {}), weft::state_error);
    CHECK_THROWS_AS(post_at(weft::never, [] {}), weft::state_error);
}
