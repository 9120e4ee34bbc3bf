// SPDX-License-Identifier: MIT
#include <weft/runtime/context.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using weft::context;
using weft::context_var;
using weft::copy_context;
using weft::task;
using namespace std::chrono_literals;

namespace {

context_var<std::string> user("user");
context_var<int> number("number", 5);
context_var<int> bare("bare");

task<> in_task(void (*f)()) {
    f();
    co_return;
}
task<int> number_later() {
    co_await weft::yield();
    co_return number.get();
}
task<> set_number(int n) {
    co_await weft::yield();
    number.set(n);
}

} // namespace

TEST_CASE("context: a variable has a name and perhaps a default", "[CV-01]") {
    CHECK(std::string(user.name()) == "user");
    CHECK(number.get() == 5);
    CHECK(*number.find() == 5);
    CHECK(user.find() == nullptr);
}

TEST_CASE("context: get gives the value, else the argument, else the default, else an error",
          "[CV-02]") {
    context().run([] {
        CHECK_THROWS_AS(user.get(), weft::lookup_error);
        CHECK(user.get_or("nobody") == "nobody");
        CHECK(number.get_or(7) == 7); // the argument goes before the default
        user.set("ann");
        CHECK(user.get() == "ann");
        CHECK(user.get_or("nobody") == "ann");
        CHECK(*user.find() == "ann");
    });
    CHECK_THROWS_WITH(user.get(), Catch::Contains("'user'"));
}

TEST_CASE("context: set counts in the current context only", "[CV-03]") {
    context c;
    c.run([] { number.set(1); });
    CHECK(number.get() == 5);
    context d = c;
    d.run([] { number.set(2); });
    CHECK(c.at(number) == 1);
    CHECK(d.at(number) == 2);
}

TEST_CASE("context: reset brings the former value back, or none", "[CV-04]") {
    context().run([] {
        auto first = bare.set(1);
        auto second = bare.set(2);
        bare.reset(second);
        CHECK(bare.get() == 1);
        bare.reset(first);
        CHECK(bare.find() == nullptr);
    });
}

TEST_CASE("context: tokens may be used in any order", "[CV-04]") {
    context().run([] {
        auto a = bare.set(1);
        auto b = number.set(2);
        auto c = bare.set(3);
        bare.reset(a);
        CHECK(bare.find() == nullptr);
        CHECK(number.get() == 2);
        bare.reset(c); // back to what was there before *its* set
        CHECK(bare.get() == 1);
        context shared = copy_context(); // now the array has another holder
        number.reset(b);
        CHECK(number.get() == 5);
        CHECK(bare.get() == 1);
        CHECK(shared.at(number) == 2);
    });
}

TEST_CASE("context: a token works once, for its variable, in its context", "[CV-04]") {
    context c;
    c.run([] {
        auto t = bare.set(1);
        bare.reset(t);
        CHECK_THROWS_AS(bare.reset(t), weft::state_error);

        static context_var<int> other("other");
        auto u = bare.set(2);
        CHECK_THROWS_AS(other.reset(u), std::invalid_argument);
        CHECK(bare.get() == 2);

        context copy = copy_context();
        copy.run([&] { CHECK_THROWS_AS(bare.reset(u), std::invalid_argument); });
        context().run([&] { CHECK_THROWS_AS(bare.reset(u), std::invalid_argument); });
        bare.reset(u); // an attempt elsewhere doesn't use it up
        CHECK(bare.find() == nullptr);

        auto moved_from = bare.set(3);
        auto moved_to = std::move(moved_from);
        CHECK_THROWS_AS(bare.reset(moved_from), weft::state_error);
        bare.reset(std::move(moved_to));
    });
}

TEST_CASE("context: a token of one run is good in a later run of the same context", "[CV-04]") {
    context c;
    auto t = c.run([] { return bare.set(1); });
    c.run([&] { bare.reset(t); });
    CHECK_FALSE(c.contains(bare));
}

TEST_CASE("context: a task's token is no good in a task that copied its variables", "[CV-04]") {
    weft::run([]() -> task<> {
        auto t = bare.set(1);
        auto child = [&]() -> task<> {
            CHECK(bare.get() == 1);
            CHECK_THROWS_AS(bare.reset(t), std::invalid_argument);
            bare.set(2);
            CHECK_THROWS_AS(bare.reset(t), std::invalid_argument);
            co_return;
        };
        co_await weft::spawn(child()).join();
        bare.reset(t);
        CHECK(bare.find() == nullptr);
    }());
}

TEST_CASE("context: a token tells variable and former value", "[CV-05]") {
    context().run([] {
        auto first = user.set("ann");
        CHECK(first.var() == &user);
        CHECK(first.old_value() == nullptr);
        auto second = user.set("bob");
        REQUIRE(second.old_value() != nullptr);
        CHECK(*second.old_value() == "ann");
        user.reset(second);
        CHECK(*second.old_value() == "ann"); // also after its use
    });
}

TEST_CASE("context: a scoped value ends with its block, whatever the way out", "[CV-05]") {
    context().run([] {
        auto fails = [] {
            auto g = number.scoped(8);
            CHECK(number.get() == 8);
            CHECK(g.old_value() == nullptr);
            throw std::runtime_error("out");
        };
        CHECK_THROWS_AS(fails(), std::runtime_error);
        CHECK(number.get() == 5);
    });
}

TEST_CASE("context: a scoped value ends when its task is stopped", "[CV-05]") {
    weft::run([]() -> task<> {
        bool ended = false;
        auto body = [&]() -> task<> {
            auto g = number.scoped(8);
            co_await weft::sleep_for(1h);
        };
        try {
            co_await weft::with_timeout(1ms, body());
        } catch (const weft::timeout_error&) {
            ended = true;
        }
        CHECK(ended);
        CHECK(number.get() == 5);
    }());
}

TEST_CASE("context: a copy shares the values and none of the later changes", "[CV-06]") {
    static context_var<std::shared_ptr<int>> object("object");
    context().run([] {
        object.set(std::make_shared<int>(1));
        context copy = copy_context();
        CHECK(copy == copy_context());
        *object.get() = 2;
        CHECK(*copy.at(object) == 2);
        object.set(nullptr);
        CHECK(copy.at(object) != nullptr);
        context copy_of_copy = copy;
        copy_of_copy.run([] { object.set(nullptr); });
        CHECK(copy.at(object) != nullptr);
    });
}

TEST_CASE("context: copying takes the same time whatever is in it", "[CV-06]") {
    // The values of a context are one shared array: a copy must not touch them.
    static context_var<std::shared_ptr<int>> counted("counted");
    context().run([] {
        counted.set(std::make_shared<int>(0));
        auto before = counted.get().use_count();
        std::vector<context> copies(1000, copy_context());
        CHECK(counted.get().use_count() == before);
        CHECK(copies.back().size() == 1);
    });
}

TEST_CASE("context: run enters, calls and leaves, and passes result and error on", "[CV-07]") {
    context c;
    CHECK(c.empty());
    CHECK(c.run([](int a, int b) { return number.set(a), a + b; }, 3, 4) == 7);
    CHECK(c.at(number) == 3);
    auto fails = [] {
        number.set(4);
        throw std::runtime_error("out");
    };
    CHECK_THROWS_AS(c.run(fails), std::runtime_error);
    CHECK(c.at(number) == 4);
    CHECK(number.get() == 5);
    int local = 1;
    int& ref = c.run([&]() -> int& { return local; });
    CHECK(&ref == &local);
}

TEST_CASE("context: run awaits a task in the context", "[CV-07]") {
    weft::run([]() -> task<> {
        context c;
        c.run([] { number.set(1); });
        auto seen = co_await c.run(number_later());
        CHECK(seen == 1);
        co_await c.run(set_number(2));
        CHECK(c.at(number) == 2);
        CHECK(number.get() == 5);
        auto fails = []() -> task<> {
            co_await weft::yield();
            number.set(3);
            throw std::runtime_error("out");
        };
        bool threw = false;
        try {
            co_await c.run(fails());
        } catch (const std::runtime_error&) {
            threw = true;
        }
        CHECK(threw);
        CHECK(c.at(number) == 3);
        CHECK(number.get() == 5);
    }());
}

TEST_CASE("context: a stopped task has left its context", "[CV-07]") {
    weft::run([]() -> task<> {
        context c;
        auto body = []() -> task<> {
            number.set(1);
            co_await weft::sleep_for(1h);
        };
        auto r = co_await weft::as_result(weft::with_timeout(1ms, c.run(body())));
        CHECK(r.error() != nullptr);
        CHECK_FALSE(c.is_entered());
        CHECK(c.at(number) == 1);
        CHECK(number.get() == 5);
    }());
}

TEST_CASE("context: one that is entered can't be entered", "[CV-08]") {
    context c;
    c.run([&] {
        CHECK_THROWS_AS(c.run([] {}), weft::state_error);
        context inner;
        inner.run([&] { CHECK_THROWS_AS(c.run([] {}), weft::state_error); });
        bool refused = false;
        std::thread([&] {
            try {
                c.run([] {});
            } catch (const weft::state_error&) {
                refused = true;
            }
        }).join();
        CHECK(refused);
        number.set(1); // none of the attempts did harm
    });
    CHECK(c.run([] { return number.get(); }) == 1);
}

TEST_CASE("context: one in which a task waits can't be entered by another", "[CV-08]") {
    weft::run([]() -> task<> {
        context c;
        auto waits = []() -> task<> { co_await weft::sleep_for(1h); };
        auto run_in = [&](context& in) -> task<> { co_await in.run(waits()); };
        auto first = weft::spawn(run_in(c));
        co_await weft::yield();
        CHECK_THROWS_AS(c.run([] {}), weft::state_error);
        auto second = co_await weft::as_result(run_in(c));
        CHECK_THROWS_AS(second.value(), weft::state_error);
        first.cancel();
        auto end = co_await weft::as_result(first.join());
        CHECK_FALSE(end.has_value());
        CHECK(c.run([] { return 1; }) == 1);
    }());
}

TEST_CASE("context: it can be read like a map", "[CV-09]") {
    context c;
    c.run([] {
        user.set("ann");
        number.set(1);
    });
    CHECK(c.size() == 2);
    CHECK_FALSE(c.empty());
    CHECK(c.contains(user));
    CHECK_FALSE(c.contains(bare));
    CHECK(*c.lookup(user) == "ann");
    CHECK(c.lookup(bare) == nullptr);
    CHECK(c.at(number) == 1);
    CHECK_THROWS_AS(c.at(bare), weft::lookup_error);
    std::vector<std::string> names;
    for (context::entry e : c) {
        names.emplace_back(e.name());
        CHECK(e.is(user) == (names.back() == "user"));
        if (const int* n = e.value(number))
            CHECK(*n == 1);
    }
    CHECK(names.size() == 2);
    CHECK(std::set<std::string>(names.begin(), names.end()) ==
          std::set<std::string>{"number", "user"});
    CHECK_FALSE(context().contains(number)); // a default is no value
}

TEST_CASE("context: equal ones have the same variables with equal values", "[CV-09]") {
    context a, b;
    CHECK(a == b);
    a.run([] { user.set("ann"); });
    CHECK(a != b);
    b.run([] { user.set(std::string("an") + "n"); });
    CHECK(a == b);
    b.run([] { number.set(1); });
    CHECK(a != b);
    a.run([] { number.set(2); });
    CHECK(a != b);
}

TEST_CASE("context: what runs in it sees its own changes when it reads it", "[CV-09]") {
    context c;
    c.run([&] {
        number.set(1);
        CHECK(c.at(number) == 1);
        CHECK(context(c).at(number) == 1);
        for (context::entry e : c) { // goes on over the values of its beginning
            CHECK(e.is(number));
            user.set("ann");
        }
        CHECK(c.size() == 2);
    });
}

TEST_CASE("context: many variables", "[CV-09]") {
    static std::vector<std::unique_ptr<context_var<int>>> vars;
    if (vars.empty()) {
        for (int i = 0; i < 100; ++i)
            vars.push_back(std::make_unique<context_var<int>>("one of many"));
    }
    context c;
    c.run([] {
        std::vector<context_var<int>::token> tokens;
        for (std::size_t i = 0; i < vars.size(); ++i) // not in the order of their making
            tokens.push_back(vars[i * 37 % 100]->set(static_cast<int>(i)));
        for (std::size_t i = 0; i < vars.size(); ++i)
            CHECK(vars[i * 37 % 100]->get() == static_cast<int>(i));
        for (std::size_t i = 0; i < 100; i += 2)
            vars[i * 37 % 100]->reset(tokens[i]);
        for (std::size_t i = 0; i < vars.size(); ++i)
            CHECK(vars[i * 37 % 100]->get_or(-1) == (i % 2 == 0 ? -1 : static_cast<int>(i)));
    });
    CHECK(c.size() == 50);
}

TEST_CASE("context: a task runs in a copy taken when it is created", "[CV-10]") {
    weft::run([]() -> task<> {
        number.set(1);
        auto child = weft::spawn(number_later());
        number.set(2); // after the creation, before its first step
        auto changes = weft::spawn(set_number(3));
        auto seen = co_await child.join();
        CHECK(seen == 1);
        co_await changes.join();
        CHECK(number.get() == 2);
    }());
}

TEST_CASE("context: a child of a group copies from whoever spawns it", "[CV-10]") {
    weft::run([]() -> task<> {
        int seen = 0;
        auto leaf = [&]() -> task<> {
            seen = number.get();
            co_return;
        };
        auto middle = [&](weft::task_group& g) -> task<> {
            co_await weft::yield();
            number.set(2);
            g.spawn(leaf());
        };
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            number.set(1);
            g.spawn(middle(g));
            co_await weft::yield();
        });
        CHECK(seen == 2);
        CHECK(number.get() == 1); // the body shares with who waits for the group
    }());
}

TEST_CASE("context: awaiting directly shares, also through scopes", "[CV-10]") {
    weft::run([]() -> task<> {
        co_await set_number(1);
        CHECK(number.get() == 1);
        co_await weft::with_timeout(1h, set_number(2));
        CHECK(number.get() == 2);
        co_await weft::shield(set_number(3));
        CHECK(number.get() == 3);
        auto cleanup = [] { return set_number(4); };
        co_await weft::finally(in_task([] {}), cleanup);
        CHECK(number.get() == 4);
        auto r = co_await weft::as_result(set_number(5));
        CHECK(r.has_value());
        CHECK(number.get() == 5);
        std::stop_source s;
        co_await weft::with_stop_token(s.get_token(), set_number(6));
        CHECK(number.get() == 6);
        auto t = number.set(7);
        auto resets = [&]() -> task<> {
            number.reset(t); // the context is the same, so the token is good
            co_return;
        };
        co_await weft::with_timeout(1h, resets());
        CHECK(number.get() == 6);
    }());
}

TEST_CASE("context: what a stopped body had set stays", "[CV-10]") {
    weft::run([]() -> task<> {
        auto body = []() -> task<> {
            bare.set(1);
            co_await weft::sleep_for(1h);
        };
        auto r = co_await weft::as_result(weft::with_timeout(1ms, body()));
        CHECK_FALSE(r.has_value());
        CHECK(bare.get_or(0) == 1);
    }());
}

TEST_CASE("context: the parts of when_all have copies", "[CV-10]") {
    weft::run([]() -> task<> {
        number.set(1);
        auto part = [](int n) -> task<int> {
            int before = number.get();
            number.set(n);
            co_await weft::yield();
            CHECK(number.get() == n);
            co_return before;
        };
        auto [a, b] = co_await weft::when_all(part(2), part(3));
        CHECK(a == 1);
        CHECK(b == 1);
        CHECK(number.get() == 1);
    }());
}

TEST_CASE("context: a task on another loop has a copy", "[CV-10]") {
    weft::runtime rt({.loops = 2});
    rt.run([](weft::runtime& r) -> task<> {
        number.set(1);
        for (int i = 0; i < 100; ++i) {
            auto seen = co_await weft::on(r.get_loop(1), number_later());
            CHECK(seen == 1);
            co_await weft::on(r.get_loop(1), set_number(2));
        }
        CHECK(number.get() == 1);
    }(rt));
}

TEST_CASE("context: a thread starts with none, and shares its own with what it waits for",
          "[CV-10]") {
    context().run([] { // so that nothing is left on this thread
        number.set(1);
        int seen = 0;
        std::thread([&] { seen = number.get(); }).join();
        CHECK(seen == 5);
        CHECK(weft::sync_wait(number_later()) == 1);
        weft::sync_wait(set_number(2));
        CHECK(number.get() == 2);
    });
    CHECK(number.get() == 5);
}

TEST_CASE("context: a runtime starts with a copy and keeps it from run to run", "[AIO-RUN-01]") {
    context().run([] {
        number.set(1);
        weft::runtime rt;
        CHECK(rt.run(number_later()) == 1);
        rt.run(set_number(2));
        CHECK(rt.run(number_later()) == 2);
        CHECK(number.get() == 1);
        CHECK(weft::run(number_later()) == 1);
    });
}

TEST_CASE("context: a posted function runs in the context of its registration", "[CV-11]") {
    weft::run([]() -> task<> {
        number.set(1);
        int seen = 0, after = 0, later = 0;
        weft::this_loop().post([&] {
            seen = number.get();
            number.set(7);
            weft::this_loop().post([&] { later = number.get(); });
        });
        number.set(2);
        weft::this_loop().post([&] { after = number.get(); });
        co_await weft::yield();
        for (int i = 0; later == 0 && i != 10'000; ++i)
            co_await weft::sleep_for(1ms);
        CHECK(seen == 1);
        CHECK(after == 2); // what the first one set was seen by nobody else
        CHECK(later == 7);
        CHECK(number.get() == 2);
    }());
}

TEST_CASE("context: a function posted by a thread brings that thread's variables", "[CV-11]") {
    weft::run([]() -> task<> {
        int seen = 0;
        weft::loop& home = weft::this_loop();
        std::thread([&] {
            number.set(9);
            home.post([&] { seen = number.get(); });
        }).join();
        co_await weft::sleep_for(1ms);
        CHECK(seen == 9);
        CHECK(number.get() == 5);
    }());
}

TEST_CASE("context: a task spawned by a posted function has its variables", "[CV-11]") {
    weft::run([]() -> task<> {
        number.set(1);
        weft::task_handle<int> h;
        weft::this_loop().post([&] { h = weft::spawn(number_later()); });
        number.set(2);
        co_await weft::sleep_for(1ms);
        REQUIRE(h);
        auto theirs = co_await h.join();
        CHECK(theirs == 1);
    }());
}

TEST_CASE("context: values are shared between threads and freed once") {
    struct counted {
        explicit counted(std::atomic<int>* l) : live(l) { ++*live; }
        counted(const counted& o) : live(o.live) { ++*live; }
        ~counted() { --*live; }
        std::atomic<int>* live;
    };
    static context_var<counted> object("object");
    std::atomic<int> live{0};
    {
        context c;
        c.run([&] { object.set(counted(&live)); });
        CHECK(live == 1);
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([copy = c]() mutable {
                for (int n = 0; n < 1000; ++n) {
                    context mine = copy;
                    mine.run([] {
                        auto g = number.scoped(1);
                        object.reset(object.set(object.get()));
                    });
                }
            });
        }
        for (auto& t : threads)
            t.join();
    }
    CHECK(live == 0);
}
