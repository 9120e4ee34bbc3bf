// SPDX-License-Identifier: MIT
#include <weft/runtime/async_generator.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_any.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using weft::async_generator;
using weft::task;
using namespace std::chrono_literals;

namespace {

struct noticed {
    explicit noticed(int& c) : count(c) { ++count; }
    noticed(const noticed&) = delete;
    noticed& operator=(const noticed&) = delete;
    ~noticed() { --count; }
    int& count;
};

async_generator<int> count(int n) {
    for (int i = 0; i < n; ++i) {
        if (i % 2 == 0)
            co_await weft::yield();
        co_yield i;
    }
}

// Waits for ever before its n-th item.
async_generator<int> stuck_at(int n, int& live) {
    noticed here(live);
    for (int i = 0;; ++i) {
        if (i == n)
            co_await weft::sleep_for(1h);
        co_yield i;
    }
}

} // namespace

TEST_CASE("async_generator: gives what the body yields, in order, and then nothing") {
    weft::run([]() -> task<> {
        std::vector<int> seen;
        auto g = count(5);
        while (auto i = co_await g.next())
            seen.push_back(*i);
        CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
        CHECK(g.done());
        auto after = co_await g.next();
        CHECK_FALSE(after.has_value());
    }());
}

TEST_CASE("async_generator: the body runs no further than it is asked") {
    weft::run([]() -> task<> {
        int steps = 0;
        auto body = [](int& n) -> async_generator<int> {
            while (true)
                co_yield ++n;
        };
        auto g = body(steps);
        CHECK(steps == 0);
        auto first = co_await g.next();
        CHECK(first == 1);
        auto second = co_await g.next();
        CHECK(second == 2);
        CHECK(steps == 2);
    }());
}

TEST_CASE("async_generator: an rvalue is moved into the item, an lvalue copied") {
    weft::run([]() -> task<> {
        auto unique = []() -> async_generator<std::unique_ptr<int>> {
            co_yield std::make_unique<int>(1);
            auto p = std::make_unique<int>(2);
            co_yield std::move(p);
        }();
        auto first = co_await unique.next();
        CHECK(**first == 1);
        auto second = co_await unique.next();
        auto after = co_await unique.next();
        CHECK_FALSE(after.has_value());
        CHECK(**second == 2); // belongs to the consumer

        std::string own = "a text that is too long for the object itself";
        auto twice = [](std::string& s) -> async_generator<std::string> {
            co_yield s;
            co_yield s;
        }(own);
        auto a = co_await twice.next();
        a->clear();
        auto again = co_await twice.next();
        CHECK(*again == own);
    }());
}

TEST_CASE("async_generator: references are the body's own objects") {
    weft::run([]() -> task<> {
        std::vector<int> data{1, 2, 3};
        auto each = [](std::vector<int>& v) -> async_generator<int&> {
            for (int& i : v)
                co_yield i;
        }(data);
        while (int* i = co_await each.next())
            *i *= 10;
        CHECK(data == std::vector<int>{10, 20, 30});
    }());
}

TEST_CASE("async_generator: an exception comes out of next and ends the sequence") {
    weft::run([]() -> task<> {
        for (bool waits : {false, true}) {
            auto g = [](bool w) -> async_generator<int> {
                co_yield 1;
                if (w)
                    co_await weft::yield();
                throw std::runtime_error("out");
            }(waits);
            auto item = co_await g.next();
            CHECK(item == 1);
            auto r = co_await weft::as_result(g.next());
            CHECK_THROWS_AS(r.value(), std::runtime_error);
            auto after = co_await g.next();
            CHECK_FALSE(after.has_value());
        }
    }());
}

TEST_CASE("async_generator: dropped at an item, its destructors run") {
    weft::run([]() -> task<> {
        int live = 0;
        {
            auto never_begun = stuck_at(5, live);
            CHECK(live == 0);
            auto g = stuck_at(5, live);
            auto item = co_await g.next();
            CHECK(item == 0);
            CHECK(live == 1);
            auto moved = std::move(g);
            auto next = co_await moved.next();
            CHECK(next == 1);
        }
        CHECK(live == 0);
    }());
}

TEST_CASE("async_generator: a stop unwinds the body first and then its consumer") {
    weft::run([]() -> task<> {
        std::vector<std::string> order;
        struct leaves {
            leaves(std::vector<std::string>& o, const char* n) : to(o), name(n) {}
            leaves(const leaves&) = delete;
            leaves& operator=(const leaves&) = delete;
            ~leaves() { to.emplace_back(name); }
            std::vector<std::string>& to;
            const char* name;
        };
        auto inner = [&]() -> task<> {
            leaves l(order, "awaited by the body");
            co_await weft::sleep_for(1h);
        };
        auto body = [&]() -> async_generator<int> {
            leaves l(order, "body");
            co_yield 1;
            co_await inner();
            co_yield 2;
        };
        auto consumer = [&]() -> task<> {
            leaves l(order, "consumer");
            auto g = body();
            while (co_await g.next()) {
            }
        };
        auto r = co_await weft::as_result(weft::with_timeout(1ms, consumer()));
        CHECK_THROWS_AS(r.value(), weft::timeout_error);
        CHECK(order == std::vector<std::string>{"awaited by the body", "body", "consumer"});
    }());
}

TEST_CASE("async_generator: a stop that finds the body waiting ends the sequence") {
    weft::run([]() -> task<> {
        int live = 0;
        auto g = stuck_at(2, live);
        auto first = co_await g.next();
        CHECK(first == 0);
        auto second = co_await weft::with_timeout(1h, g.next());
        CHECK(second == 1);
        auto r = co_await weft::as_result(weft::with_timeout(1ms, g.next()));
        CHECK_THROWS_AS(r.value(), weft::timeout_error);
        CHECK(live == 0);
        CHECK(g.done());
        auto after = co_await g.next();
        CHECK_FALSE(after.has_value());
    }());
}

TEST_CASE("async_generator: an item that was yielded is delivered to a stopped next", "[P3]") {
    weft::run([]() -> task<> {
        // Both are ready at once; the item is there when the loser is told to stop.
        auto g = count(10);
        auto other = []() -> task<int> {
            co_await weft::yield();
            co_return -1;
        };
        int delivered = 0, raced = 0;
        while (!g.done()) {
            auto first = co_await weft::when_any(other(), g.next());
            auto& item = std::get<1>(first.results());
            raced += first.index() == 0 ? 1 : 0;
            if (item.has_value() && item.value()) {
                CHECK(*item.value() == delivered);
                ++delivered;
            }
        }
        CHECK(delivered == 10);
        CHECK(raced > 0);
    }());
}

TEST_CASE("async_generator: tasks take turns, but only one waits") {
    weft::run([]() -> task<> {
        int live = 0;
        auto g = stuck_at(0, live);
        auto reads = [](async_generator<int>& from) -> task<int> {
            auto i = co_await from.next();
            co_return *i;
        };
        auto first = weft::spawn(reads(g));
        co_await weft::yield();
        auto second = co_await weft::as_result(reads(g));
        CHECK_THROWS_AS(second.value(), weft::state_error);
        auto closed = co_await weft::as_result(g.close());
        CHECK_THROWS_AS(closed.value(), weft::state_error);
        CHECK(live == 1); // undisturbed
        first.cancel();
        auto stopped = co_await weft::as_result(first.join());
        CHECK_FALSE(stopped.has_value());
        CHECK(live == 0);

        auto h = count(2);
        auto a = weft::spawn(reads(h));
        auto theirs = co_await a.join();
        CHECK(theirs == 0);
        auto ours = co_await reads(h);
        CHECK(ours == 1);
    }());
}

TEST_CASE("async_generator: the body has its consumer's variables", "[CV-10]") {
    static weft::context_var<int> number("number", 0);
    weft::run([]() -> task<> {
        auto body = []() -> async_generator<int> {
            while (true) {
                co_yield number.get();
                number.set(7);
            }
        };
        auto g = body();
        number.set(1);
        auto before = co_await g.next();
        CHECK(before == 1);
        number.set(2);
        auto changed = co_await g.next();
        CHECK(changed == 7);
        CHECK(number.get() == 7);
    }());
}

TEST_CASE("async_generator: close awaits what the body registered, newest first") {
    weft::run([]() -> task<> {
        std::vector<std::string> order;
        auto body = [&]() -> async_generator<int> {
            std::string name = "first";
            co_await weft::on_close([&]() -> task<> {
                co_await weft::yield();
                order.push_back(name); // the body's variables are still there
            });
            co_await weft::on_close([&]() -> task<> {
                order.push_back("second");
                co_return;
            });
            struct at_end {
                explicit at_end(std::vector<std::string>& o) : to(o) {}
                at_end(const at_end&) = delete;
                at_end& operator=(const at_end&) = delete;
                ~at_end() { to.emplace_back("body"); }
                std::vector<std::string>& to;
            } last(order);
            co_yield 1;
            co_yield 2;
        };
        auto g = body();
        co_await g.next();
        co_await g.close();
        CHECK(order == std::vector<std::string>{"second", "first", "body"});
        auto after = co_await g.next();
        CHECK_FALSE(after.has_value());
        co_await g.close(); // nothing any more

        order.clear();
        auto to_its_end = body();
        while (co_await to_its_end.next()) {
        }
        co_await to_its_end.close();
        CHECK(order == std::vector<std::string>{"body"});

        order.clear();
        auto never_begun = body();
        co_await never_begun.close();
        CHECK(order.empty());
    }());
}

TEST_CASE("async_generator: close runs everything even if something of it fails or is stopped") {
    weft::run([]() -> task<> {
        int live = 0;
        bool ran = false;
        auto body = [&](bool fail) -> async_generator<int> {
            noticed here(live);
            co_await weft::on_close([&]() -> task<> {
                ran = true;
                co_return;
            });
            co_await weft::on_close([&fail]() -> task<> {
                if (fail)
                    throw std::runtime_error("out");
                co_await weft::sleep_for(1h);
            });
            co_yield 1;
        };
        auto fails = body(true);
        co_await fails.next();
        auto r = co_await weft::as_result(fails.close());
        CHECK_THROWS_AS(r.value(), std::runtime_error);
        CHECK(ran);
        CHECK(live == 0);

        auto hangs = body(false);
        co_await hangs.next();
        auto t = co_await weft::as_result(weft::with_timeout(1ms, hangs.close()));
        CHECK_THROWS_AS(t.value(), weft::timeout_error);
        CHECK(live == 0);
    }());
}

TEST_CASE("async_generator: as clean-up, close runs on the way out of a stopped consumer") {
    weft::run([]() -> task<> {
        int said = 0;
        auto body = [&]() -> async_generator<int> {
            co_await weft::on_close([&]() -> task<> {
                co_await weft::yield(); // awaits, although the consumer is being stopped
                ++said;
            });
            for (int i = 0;; ++i)
                co_yield i;
        };
        auto g = body();
        auto consumer = [&]() -> task<> {
            co_await g.next();
            co_await weft::sleep_for(1h);
        };
        auto ends = [&g] { return g.close(); };
        auto r = co_await weft::as_result(weft::with_timeout(1ms, weft::finally(consumer(), ends)));
        CHECK_THROWS_AS(r.value(), weft::timeout_error);
        CHECK(said == 1);
        CHECK(g.done());
    }());
}

TEST_CASE("async_generator: a million items don't grow the stack") {
    weft::run([]() -> task<> {
        auto ready = []() -> async_generator<int> {
            for (int i = 0; i < 1'000'000; ++i)
                co_yield i;
        }();
        long sum = 0;
        while (auto i = co_await ready.next())
            sum += *i;
        CHECK(sum == 499'999'500'000);
        auto waits = count(20'000);
        sum = 0;
        while (auto i = co_await waits.next())
            sum += *i;
        CHECK(sum == 199'990'000);
    }());
}

TEST_CASE("async_generator: generators read each other to any depth") {
    weft::run([]() -> task<> {
        struct layers {
            static async_generator<int> through(async_generator<int> from) {
                while (auto i = co_await from.next())
                    co_yield *i + 1;
            }
        };
        auto g = count(3);
        for (int n = 0; n < 200; ++n) // deeper than coroutines start each other inline
            g = layers::through(std::move(g));
        for (int i = 0; i < 3; ++i) {
            auto item = co_await g.next();
            CHECK(item == i + 200);
        }
        auto after = co_await g.next();
        CHECK_FALSE(after.has_value());
    }());
}
