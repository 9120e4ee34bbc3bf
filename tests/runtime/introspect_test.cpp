// SPDX-License-Identifier: MIT
#include <weft/runtime/introspect.hpp>

#include "support/io.hpp"

#include <weft/runtime/buffered_stream.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unix_socket.hpp>
#include <weft/runtime/wait.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <cstdio>
#include <string>
#include <sys/ioctl.h>
#include <thread>
#include <unistd.h>
#include <vector>

using weft::task;
using weft::task_info;
using weft::task_state;
using weft::task_tree;
using namespace std::chrono_literals;

namespace {

const task_info* find(const task_tree& t, const std::string& waits_for) {
    for (const task_info& i : t.tasks) {
        if (i.waits_for == waits_for)
            return &i;
    }
    return nullptr;
}

task<> innermost() { co_await weft::sleep_for(1h); }
task<> middle() { co_await innermost(); }
task<> outermost() {
    // Ends because it is stopped, and gives as a value what it was.
    auto r = co_await weft::as_result(middle());
    CHECK_FALSE(r.has_value());
}

task<> chain(int n) {
    if (n == 0)
        co_await weft::sleep_for(1h);
    else
        co_await chain(n - 1);
}

task<> stop(weft::task_handle<> h) {
    h.cancel();
    auto r = co_await weft::as_result(h.join());
    static_cast<void>(r);
}

} // namespace

TEST_CASE("introspect: shows what a task waits for, and where each of its coroutines stands",
          "[AIO-GRAPH-01]") {
    weft::run([]() -> task<> {
        auto line = std::source_location::current().line() + 1;
        auto h = weft::spawn(outermost());
        h.set_name("patient");
        co_await weft::yield();
        task_tree t = weft::capture_tasks();
        CHECK(t.complete);
        CHECK(t.answered);
        REQUIRE(t.tasks.size() == 2);
        const task_info* p = find(t, "sleep");
        REQUIRE(p != nullptr);
        CHECK(p->name == "patient");
        CHECK(p->state == task_state::waiting);
        CHECK(p->started_at.line() == line);
        CHECK(p->parent == task_info::none);
        CHECK(p->depth == 0);
        REQUIRE(p->awaits.size() == 3);
        CHECK(weft::function_name(p->awaits[0]).ends_with("innermost"));
        CHECK(weft::function_name(p->awaits[1]).ends_with("middle"));
        CHECK(weft::function_name(p->awaits[2]).ends_with("outermost"));
        CHECK(p->awaits[1].line() == p->awaits[0].line() + 1);
        CHECK(std::string(p->awaits[0].file_name()).ends_with("introspect_test.cpp"));
        co_await stop(std::move(h));
    }());
}

TEST_CASE("introspect: tells the running, the ready, the waiting and the stopping apart") {
    weft::run([]() -> task<> {
        auto waits = weft::spawn(middle());
        auto stubborn = weft::spawn(weft::shield(weft::sleep_for(5ms)));
        co_await weft::yield();
        stubborn.cancel();
        auto ready = weft::spawn(middle());
        ready.set_name("ready");
        task_tree t = weft::capture_tasks();
        REQUIRE(t.tasks.size() == 5); // the shield's body is a task as well
        CHECK(t.tasks[0].name == "main");
        CHECK(t.tasks[0].state == task_state::running);
        CHECK(t.tasks[0].awaits.empty());
        CHECK(t.tasks[1].state == task_state::waiting);
        CHECK(t.tasks[2].state == task_state::stopping);
        CHECK(t.tasks[2].waits_for == "shield");
        CHECK(t.tasks[3].state == task_state::waiting); // no stop reaches it
        CHECK(t.tasks[3].parent == 2);
        CHECK(t.tasks[3].depth == 1);
        CHECK(t.tasks[4].name == "ready");
        CHECK(t.tasks[4].state == task_state::ready);
        CHECK(t.tasks[4].awaits.empty()); // it hasn't begun
        co_await stop(std::move(waits));
        co_await stop(std::move(ready));
    }());
}

TEST_CASE("introspect: a task that looks from where it stands sees its own awaits") {
    struct looks {
        static task<task_tree> inner() {
            task_tree t = co_await weft::capture_tasks_here();
            co_return t;
        }
        static task<task_tree> outer() {
            task_tree t = co_await inner();
            co_return t;
        }
    };
    task_tree t = weft::run(looks::outer());
    REQUIRE(t.tasks.size() == 1);
    CHECK(t.tasks[0].state == task_state::running);
    REQUIRE(t.tasks[0].awaits.size() == 2);
    CHECK(weft::function_name(t.tasks[0].awaits[0]).ends_with("inner"));
    CHECK(weft::function_name(t.tasks[0].awaits[1]).ends_with("outer"));
}

TEST_CASE("introspect: scopes and groups are a tree, oldest first") {
    weft::run([]() -> task<> {
        task_tree t;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(weft::with_timeout(1h, middle()));
            first.set_name("first");
            auto second = g.spawn(middle());
            second.set_name("second");
            auto looks = [&]() -> task<> {
                co_await weft::yield();
                t = weft::capture_tasks(); // the body has ended, and its children still run
                g.cancel();
            };
            g.spawn(looks); // keeps the lambda, which outlives the body
            co_return;
        });
        std::vector<std::string> seen;
        for (const task_info& i : t.tasks)
            seen.push_back(std::string(i.depth, '-') + i.name + ":" + i.waits_for);
        CHECK(seen == std::vector<std::string>{"main:task_group", "-first:timeout", "--:sleep",
                                               "-second:sleep", "-:"});
        CHECK(t.tasks[1].parent == 0);
        CHECK(t.tasks[2].parent == 1);
        CHECK(t.tasks[3].parent == 0);
        CHECK(t.tasks[4].parent == 0);
    }());
}

TEST_CASE("introspect: limits show the innermost awaits, the outermost or none", "[AIO-GRAPH-01]") {
    weft::run([]() -> task<> {
        auto h = weft::spawn(chain(9));
        co_await weft::yield();
        auto lines = [](int limit) {
            task_tree t = weft::capture_tasks({.max_awaits = limit});
            const task_info* p = find(t, "sleep");
            REQUIRE(p != nullptr);
            std::vector<unsigned> l;
            for (const auto& at : p->awaits)
                l.push_back(static_cast<unsigned>(at.line()));
            CHECK(l.size() + p->awaits_left_out == 10);
            return l;
        };
        std::vector<unsigned> all = lines(32);
        REQUIRE(all.size() == 10);
        CHECK(all[0] != all[1]); // the sleep, and then one like the other
        CHECK(lines(1) == std::vector<unsigned>{all[0]});
        CHECK(lines(2) == std::vector<unsigned>{all[0], all[1]});
        CHECK(lines(-2) == std::vector<unsigned>{all[8], all[9]});
        CHECK(lines(-10) == all);
        CHECK(lines(0).empty());
        co_await stop(std::move(h));
    }());
}

TEST_CASE("introspect: a limit on tasks is told") {
    weft::run([]() -> task<> {
        std::vector<weft::task_handle<>> handles;
        for (int i = 0; i < 10; ++i)
            handles.push_back(weft::spawn(middle()));
        co_await weft::yield();
        task_tree t = weft::capture_tasks({.max_tasks = 5});
        CHECK(t.tasks.size() == 5);
        CHECK_FALSE(t.complete);
        CHECK(weft::to_string(t).ends_with("and more\n"));
        for (auto& h : handles)
            co_await stop(std::move(h));
    }());
}

TEST_CASE("introspect: outside of a loop there are no tasks to show", "[AIO-GRAPH-01]") {
    CHECK_THROWS_AS(weft::capture_tasks(), weft::state_error);
}

TEST_CASE("introspect: text has a line for each task and each await") {
    weft::run([]() -> task<> {
        auto h = weft::spawn(outermost());
        co_await weft::yield();
        std::string text = weft::to_string(co_await weft::capture_tasks_here());
        CAPTURE(text);
        using Catch::Matchers::Contains;
        CHECK_THAT(text, Contains("main: runs\n"));
        CHECK_THAT(text, Contains("started at introspect_test.cpp:"));
        CHECK_THAT(text, Contains(": waits for sleep\n"));
        CHECK_THAT(text, Contains("innermost (introspect_test.cpp:"));
        std::size_t in = text.find("innermost"), mid = text.find("middle"),
                    out = text.find("outermost");
        CHECK(in < mid);
        CHECK(mid < out);
        co_await stop(std::move(h));
    }());
    CHECK(weft::to_string(task_tree()).empty());
}

TEST_CASE("introspect: a deep tree and a deep chain are shown without recursion") {
    struct deep {
        static task<> scopes(int n) {
            if (n == 0)
                co_await weft::sleep_for(1h);
            else
                co_await weft::with_timeout(1h, scopes(n - 1));
        }
    };
    weft::run([]() -> task<> {
        auto h = weft::spawn(deep::scopes(2000));
        auto c = weft::spawn(chain(100'000));
        co_await weft::yield();
        while (weft::capture_tasks().tasks.size() < 2003)
            co_await weft::yield(); // a level a turn
        task_tree t = weft::capture_tasks();
        CHECK(t.tasks.size() == 2003);
        std::size_t deepest = 0, left_out = 0;
        for (const task_info& i : t.tasks) {
            deepest = std::max(deepest, i.depth);
            left_out = std::max(left_out, i.awaits_left_out);
        }
        CHECK(deepest == 2000);
        CHECK(left_out == 100'001 - 32);
        CHECK(weft::to_string(t).size() < 2003 * 500);
        co_await stop(std::move(h));
        co_await stop(std::move(c));
    }());
}

TEST_CASE("introspect: a runtime's loops answer to any thread") {
    weft::runtime rt({.loops = 2});
    rt.run([](weft::runtime& r) -> task<> {
        auto there = weft::spawn(weft::on(r.get_loop(1), middle()));
        std::vector<task_tree> seen;
        auto shows = [](const std::vector<task_tree>& t) {
            return t.size() == 2 && t[0].answered && t[1].answered &&
                   find(t[0], "on another loop") != nullptr && find(t[1], "sleep") != nullptr;
        };
        // From a loop of the runtime itself.
        while (!shows(seen)) {
            co_await weft::yield();
            seen = weft::capture_tasks(r);
        }
        // From a plain thread, while both loops turn.
        bool from_outside = false;
        weft::loop& home = weft::this_loop();
        bool done = false;
        std::jthread asks([&] {
            from_outside = shows(weft::capture_tasks(r, {}, 40s));
            home.post([&] { done = true; });
        });
        while (!done)
            co_await weft::sleep_for(1ms);
        CHECK(from_outside);
        co_await stop(std::move(there));
    }(rt));
}

TEST_CASE("introspect: a loop that doesn't turn is not waited for", "[P2]") {
    weft::runtime rt; // its loop turns in run() only
    auto seen = weft::capture_tasks(rt, {}, 10ms);
    REQUIRE(seen.size() == 1);
    CHECK_FALSE(seen[0].answered);
    CHECK(weft::to_string(seen[0]) == "the loop is busy and did not answer\n");
    rt.run([]() -> task<> { co_return; }()); // the answer that comes too late does no harm
}

static int bytes_in(int pipe) {
    int n = 0;
    ::ioctl(pipe, FIONREAD, &n);
    return n;
}

TEST_CASE("introspect: a signal prints the tree") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    int stderr_before = ::dup(STDERR_FILENO);
    std::string text;
    {
        weft::runtime rt;
        rt.run([](weft::runtime& r, const int(&p)[2], int before) -> task<> {
            auto dumps = weft::spawn(weft::dump_on_signal(SIGUSR1));
            auto of_all = weft::spawn(weft::dump_on_signal(SIGUSR2, &r));
            co_await weft::sleep_for(1ms);
            std::fflush(stderr);
            ::dup2(p[1], STDERR_FILENO);
            ::raise(SIGUSR1);
            for (int i = 0; bytes_in(p[0]) == 0 && i != 10'000; ++i)
                co_await weft::sleep_for(1ms);
            const int first = bytes_in(p[0]);
            ::raise(SIGUSR2);
            for (int i = 0; bytes_in(p[0]) == first && i != 10'000; ++i)
                co_await weft::sleep_for(1ms);
            ::dup2(before, STDERR_FILENO);
            co_await stop(std::move(dumps));
            co_await stop(std::move(of_all));
        }(rt, ends, stderr_before));
    }
    ::close(ends[1]);
    ::close(stderr_before);
    char buffer[4096];
    for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(n));
    ::close(ends[0]);
    CAPTURE(text);
    CHECK_THAT(text, Catch::Contains("main: waits for sleep\n"));
    CHECK_THAT(text, Catch::Contains("dump_on_signal"));
    CHECK_THAT(text, Catch::Contains("loop 0\nmain: waits for sleep\n"));
}

namespace {

// The names of those who wait for the task of this name.
std::vector<std::string> waiters(const task_tree& t, const std::string& name) {
    std::vector<std::string> names;
    for (const task_info& i : t.tasks) {
        if (i.name != name)
            continue;
        for (std::size_t by : i.awaited_by)
            names.push_back(t.tasks[by].name);
    }
    return names;
}
using list = std::vector<std::string>;

template <class T>
weft::task_handle<T> named(weft::task_handle<T> h, const char* name) {
    h.set_name(name);
    return h;
}

} // namespace

TEST_CASE("introspect: of each task it is known who waits for its end", "[AIO-GRAPH-02]") {
    auto main = []() -> task<> {
        std::vector<weft::task_handle<>> targets;
        targets.push_back(named(weft::spawn(middle()), "first"));
        targets.push_back(named(weft::spawn(middle()), "second"));
        auto joins = [&]() -> task<> { co_await targets[0].join(); };
        auto waits = [&]() -> task<> {
            auto w = co_await weft::wait(targets, weft::return_when::first_completed);
            co_await weft::sleep_for(1h); // and waits for nobody any more
        };
        auto takes = [&]() -> task<> {
            auto order = weft::as_completed(targets);
            while (co_await order.next())
                co_await weft::yield();
        };
        std::vector<weft::task_handle<>> others;
        others.push_back(named(weft::spawn(joins()), "joins"));
        others.push_back(named(weft::spawn(waits()), "waits"));
        others.push_back(named(weft::spawn(takes()), "takes"));
        co_await weft::yield();
        co_await weft::yield();
        task_tree t = weft::capture_tasks();
        CHECK(waiters(t, "first") == list{"joins", "waits", "takes"});
        CHECK(waiters(t, "second") == list{"waits", "takes"});
        CHECK(waiters(t, "joins").empty());
        CHECK(weft::wait_cycles(t).empty());
        std::string text = weft::to_string(t);
        CAPTURE(text);
        CHECK_THAT(text, Catch::Contains("awaited by joins; waits; takes\n"));
        others[0].cancel(); // a stopped waiter is none
        targets[1].cancel();
        for (int i = 0; i < 6; ++i)
            co_await weft::yield();
        t = weft::capture_tasks();
        CHECK(waiters(t, "first") == list{"takes"});
        for (auto& h : others)
            co_await stop(std::move(h));
        t = weft::capture_tasks();
        CHECK(waiters(t, "first").empty());
        co_await stop(std::move(targets[0]));
    };
    weft::run(main());
}

TEST_CASE("introspect: a combinator of one's own says whom it waits for", "[AIO-GRAPH-02]") {
    auto main = []() -> task<> {
        auto a = named(weft::spawn(middle()), "a");
        auto b = named(weft::spawn(middle()), "b");
        bool enough = false;
        auto combines = [&]() -> task<> { // waits in a way of its own
            weft::wait_link to_a(a);
            {
                weft::wait_link to_b(b);
                while (!enough)
                    co_await weft::yield();
            }
            while (!a.done())
                co_await weft::yield();
            weft::wait_link too_late(a);
            co_await weft::sleep_for(1h);
        };
        auto c = named(weft::spawn(combines()), "c");
        co_await weft::yield();
        task_tree t = weft::capture_tasks();
        CHECK(waiters(t, "a") == list{"c"});
        CHECK(waiters(t, "b") == list{"c"});
        enough = true;
        co_await weft::yield();
        co_await weft::yield();
        t = weft::capture_tasks();
        CHECK(waiters(t, "a") == list{"c"});
        CHECK(waiters(t, "b").empty());
        a.cancel(); // ends before the link does
        for (int i = 0; i < 4; ++i)
            co_await weft::yield();
        CHECK(a.done());
        t = weft::capture_tasks();
        CHECK(waiters(t, "b").empty());
        co_await stop(std::move(c));
        co_await stop(std::move(b));
    };
    weft::run(main());
}

TEST_CASE("introspect: tasks that wait for each other are reported", "[AIO-GRAPH-03]") {
    auto main = []() -> task<> {
        std::vector<weft::task_handle<>> ring(3);
        auto joins = [&](std::size_t i) -> task<> { co_await ring[i].join(); };
        ring[0] = named(weft::spawn(joins(1)), "zero");
        ring[1] = named(weft::spawn(joins(2)), "one");
        ring[2] = named(weft::spawn(joins(0)), "two");
        weft::task_handle<> self;
        auto joins_itself = [&]() -> task<> { co_await self.join(); };
        self = named(weft::spawn(joins_itself()), "self");
        // A child that waits for the one that waits for it, as the owner of its group.
        weft::task_handle<> owner;
        auto group = [&]() -> task<> {
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                auto child = [&]() -> task<> { co_await owner.join(); };
                auto h = g.spawn(child); // keeps the lambda
                h.set_name("child");
                co_return;
            });
        };
        owner = named(weft::spawn(group()), "owner");
        for (int i = 0; i < 4; ++i)
            co_await weft::yield();
        task_tree t = weft::capture_tasks();
        auto cycles = weft::wait_cycles(t);
        REQUIRE(cycles.size() == 3);
        std::vector<list> names;
        for (const auto& c : cycles) {
            names.emplace_back();
            for (std::size_t i : c)
                names.back().push_back(t.tasks[i].name);
        }
        CHECK(names[0] == list{"zero", "one", "two"});
        CHECK(names[1] == list{"self"});
        CHECK(names[2] == list{"owner", "child"});
        std::string text = weft::to_string(t);
        CAPTURE(text);
        CHECK_THAT(text, Catch::Contains("waits for itself: zero -> one -> two -> zero\n"));
        CHECK_THAT(text, Catch::Contains("waits for itself: self -> self\n"));
        CHECK_THAT(text, Catch::Contains("waits for itself: owner -> child -> owner\n"));
        for (auto& h : ring)
            h.cancel();
        self.cancel();
        owner.cancel();
        for (int i = 0; i < 10; ++i)
            co_await weft::yield();
        CHECK(weft::wait_cycles(weft::capture_tasks()).empty());
    };
    weft::run(main());
}

TEST_CASE("introspect: many circles, and long ones, are found in bounded time") {
    task_tree t;
    auto add = [&](std::vector<std::size_t> by) {
        task_info& i = t.tasks.emplace_back();
        i.state = task_state::waiting;
        i.awaited_by = std::move(by);
    };
    constexpr std::size_t n = 100'000;
    for (std::size_t i = 0; i < n; ++i)
        add({(i + 1) % n});
    auto one = weft::wait_cycles(t);
    REQUIRE(one.size() == 1);
    CHECK(one[0].size() == n);
    t.tasks.clear();
    for (std::size_t i = 0; i < 300; ++i) { // each waits for each
        std::vector<std::size_t> all(300);
        for (std::size_t j = 0; j < 300; ++j)
            all[j] = j;
        add(all);
    }
    auto few = weft::wait_cycles(t);
    CHECK(few.size() > 1);
    CHECK(few.size() < 100);
}

TEST_CASE("introspect: whoever connects to its socket gets the tree", "[AIO-GRAPH-03]") {
    weft::tests::temp_dir dir;
    auto at = weft::socket_address::unix_path(dir.path("tasks"));
    weft::runtime rt({.loops = 2});
    auto ask = [&]() -> task<std::string> {
        auto s = co_await weft::connect_unix(at);
        weft::buffered_reader in(s);
        std::string text = co_await in.read_all(1'000'000);
        co_return text;
    };
    auto main = [&]() -> task<> {
        auto own = named(weft::spawn(weft::dump_on_socket(at)), "dumps");
        co_await weft::yield();
        co_await weft::yield();
        std::string text = co_await ask();
        CAPTURE(text);
        CHECK_THAT(text, Catch::Contains("main: waits for "));
        CHECK_THAT(text, Catch::Contains("dump_on_socket (introspect.cpp:"));
        text = co_await ask(); // as often as one likes
        CHECK_THAT(text, Catch::Contains("main: waits for "));
        co_await stop(std::move(own));
        CHECK_FALSE(std::filesystem::exists(dir.path("tasks")));

        auto of_all = weft::spawn(weft::dump_on_socket(at, &rt));
        auto there = weft::spawn(weft::on(rt.get_loop(1), middle()));
        co_await weft::yield();
        co_await weft::yield();
        text.clear();
        while (text.find("loop 1\npart: waits for sleep\n") == std::string::npos)
            text = co_await ask();
        CHECK(text.find("loop 0\nmain: waits for ") == 0);
        // One that connects and doesn't read harms nobody.
        auto silent = co_await weft::connect_unix(at);
        text = co_await ask();
        CHECK(text.find("loop 0\n") == 0);
        co_await stop(std::move(there));
        co_await stop(std::move(of_all));
        bool refused = false;
        try {
            co_await ask();
        } catch (const std::system_error&) {
            refused = true;
        }
        CHECK(refused);
    };
    rt.run(weft::as_task(weft::with_timeout(50s, main())));
}

TEST_CASE("introspect: names of functions are those that people use") {
    struct local {
        static std::source_location plain() { return std::source_location::current(); }
        std::source_location operator()(int) const { return std::source_location::current(); }
    };
    CHECK(weft::function_name(local::plain()).ends_with("local::plain"));
    CHECK(weft::function_name(local()(1)).find("operator()") != std::string::npos);
    CHECK(weft::function_name(std::source_location()).empty());
}
