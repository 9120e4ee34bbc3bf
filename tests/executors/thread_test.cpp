// SPDX-License-Identifier: MIT
#include <weft/executors/thread.hpp>

#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <pthread.h>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "executors/exit_output.hpp"
#include "executors/gate.hpp"
#include "runtime/stray_errors.hpp"
#include "sync/patience.hpp"

namespace {

using namespace std::chrono_literals;
using weft::sync_wait;
using weft::thread;
using weft::tests::gate;
using weft::tests::stray_errors;
using weft::tests::until_here;

weft::context_var<int> number("number", 0);

std::size_t stack_of_caller() {
    pthread_attr_t a;
    ::pthread_getattr_np(::pthread_self(), &a);
    std::size_t size = 0;
    ::pthread_attr_getstacksize(&a, &size);
    ::pthread_attr_destroy(&a);
    return size;
}

std::string name_shown() {
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    return name;
}

bool listed(const thread& t) {
    std::vector<thread> all = weft::threads();
    return std::count(all.begin(), all.end(), t) == 1;
}

bool refused(const std::function<void()>& f) {
    try {
        f();
        return false;
    } catch (const weft::state_error&) {
        return true;
    }
}

void run_to_the_end(const thread& t) {
    t.start();
    sync_wait(t.join());
}

} // namespace

TEST_CASE("thread: nothing runs before the start, and it starts once",
          "[T-THR-01][T-THR-02][T-THR-07][T-THR-08]") {
    gate g;
    std::atomic<bool> ran{false};
    thread t(
        [&](std::unique_ptr<int> n) {
            ran = *n == 5;
            g.pass();
        },
        std::make_unique<int>(5));
    CHECK_FALSE(t.ident());
    CHECK_FALSE(t.native_id());
    CHECK_FALSE(t.alive());
    CHECK_FALSE(t.exit_code());
    CHECK_FALSE(listed(t));
    t.start();
    CHECK(t.alive());
    CHECK(listed(t));
    auto ident = t.ident();
    auto native = t.native_id();
    REQUIRE(ident);
    CHECK(*ident != weft::thread_id{});
    CHECK(*native != ::gettid());
    CHECK(refused([&] { t.start(); }));
    g.open();
    sync_wait(t.join());
    CHECK(ran);
    CHECK_FALSE(t.alive());
    CHECK_FALSE(listed(t));
    CHECK(t.ident() == ident); // readable after the end
    CHECK(t.exit_code() == 0);
    CHECK(refused([&] { t.start(); }));

    // Names count up.
    thread a([] {});
    thread b([] {});
    REQUIRE(a.name().starts_with("Thread-"));
    CHECK(std::stoi(b.name().substr(7)) == std::stoi(a.name().substr(7)) + 1);
}

TEST_CASE("thread: one that can't be made is not there, and may be tried again", "[T-THR-02]") {
    thread t({.stack_size = std::size_t{1} << 46}, [] {});
    CHECK_THROWS_AS(t.start(), std::system_error);
    CHECK_FALSE(listed(t));
    CHECK_FALSE(t.alive());
    CHECK_THROWS_AS(t.start(), std::system_error); // not "started twice"
    CHECK(refused([&] { static_cast<void>(t.join()); }));
}

TEST_CASE("thread: what it throws goes to the hook, under its name", "[T-THR-03][T-MOD-05]") {
    stray_errors strays;
    thread fails({.name = "failing"}, [] { throw std::out_of_range("oops"); });
    run_to_the_end(fails);
    CHECK(strays.texts() == std::vector<std::string>{"oops"});
    CHECK(strays.wheres()[0] == "failing");
    CHECK(fails.exit_code() == 1);
    // Saying that one was stopped is no error.
    thread ends([] { throw weft::cancelled_error(); });
    run_to_the_end(ends);
    CHECK(ends.exit_code() == 0);
    CHECK(strays.texts().size() == 1);
}

TEST_CASE("thread: a coroutine runs on a loop of the thread's own", "[T-THR-03]") {
    std::atomic<int> native{0};
    auto works = [&](int n) -> weft::task<int> {
        co_await weft::yield();
        native = ::gettid();
        co_return n;
    };
    thread t(works, 3);
    run_to_the_end(t);
    CHECK(native == *t.native_id());
    // A stop stops it.
    std::atomic<bool> began{false};
    thread sleeps([&]() -> weft::task<> {
        began = true;
        co_await weft::sleep_for(24h);
    });
    sleeps.start();
    until_here([&] { return began.load(); });
    sleeps.request_stop();
    sync_wait(sleeps.join());
    CHECK(sleeps.exit_code() == 0);
}

TEST_CASE("thread: any number of tasks and threads join it, again and again",
          "[T-THR-04][T-MOD-08]") {
    gate g;
    thread t([&] { g.pass(); });
    t.start();
    weft::run([](const thread& u, gate& h) -> weft::task<> {
        bool ended = co_await u.join_for(1ms);
        CHECK_FALSE(ended);
        CHECK(u.alive());
        ended = co_await u.join_until(weft::time_point::min());
        CHECK_FALSE(ended);
        weft::task_handle<> stopped = weft::spawn(weft::as_task(u.join()));
        co_await weft::yield();
        stopped.cancel();
        std::thread plain([&] { sync_wait(u.join()); });
        auto later = [&]() -> weft::task<> {
            h.open();
            co_return;
        };
        co_await weft::when_all(u.join(), u.join_for(std::chrono::hours::max()), later());
        co_await u.join();
        ended = co_await u.join_for(0s);
        CHECK(ended);
        plain.join();
    }(t, g));
    CHECK_FALSE(t.alive());
    // Really gone, with its thread-local variables.
    static std::atomic<int> destroyed{0};
    struct local {
        local() = default;
        local(const local&) = delete;
        local& operator=(const local&) = delete;
        ~local() {
            std::this_thread::sleep_for(10ms);
            ++destroyed;
        }
    };
    thread u([] {
        thread_local local l;
        static_cast<void>(l);
    });
    run_to_the_end(u);
    CHECK(destroyed == 1);
}

TEST_CASE("thread: a join that could never end is refused", "[T-THR-05][T-MOD-02]") {
    thread t([&t] { CHECK(refused([&] { static_cast<void>(t.join()); })); });
    CHECK(refused([&] { static_cast<void>(t.join()); })); // not started
    CHECK(refused([&] { static_cast<void>(t.join_for(1s)); }));
    run_to_the_end(t);
    CHECK(refused([] { static_cast<void>(weft::main_thread().join()); }));
    std::thread([] {
        CHECK(refused([] { static_cast<void>(weft::current_thread().join()); }));
    }).join();
}

TEST_CASE("thread: its name is also the system's, cut to 15 bytes", "[T-THR-06]") {
    gate g;
    std::string shown;
    std::string later;
    thread t({.name = "a name of many letters"}, [&] {
        shown = name_shown();
        g.pass();
        later = name_shown();
    });
    thread twin({.name = "a name of many letters"}, [] {});
    t.start();
    until_here([&] { return g.arrived == 1; });
    CHECK(shown == "a name of many ");
    CHECK(t.name() == twin.name());
    t.set_name("another");
    g.open();
    sync_wait(t.join());
    CHECK(later == "another");
    CHECK(t.name() == "another");
    t.set_name("after the end");
    CHECK(t.name() == "after the end");
}

TEST_CASE("thread: daemons are told apart, as whoever makes them says or is", "[T-THR-09]") {
    CHECK_FALSE(weft::main_thread().daemon());
    thread t([] { CHECK_FALSE(thread([] {}).daemon()); });
    CHECK_FALSE(t.daemon());
    t.set_daemon(true);
    CHECK(t.daemon());
    t.set_daemon(false);
    run_to_the_end(t);
    CHECK(refused([&] { t.set_daemon(true); }));
    thread d({.daemon = true}, [] {
        CHECK(thread([] {}).daemon()); // inherited
        CHECK_FALSE(thread({.daemon = false}, [] {}).daemon());
    });
    run_to_the_end(d);
}

TEST_CASE("thread: the end of the program waits for all but daemons, which it asks to stop",
          "[T-THR-09][LT-01]") {
    std::string text = weft::tests::exit_output("threads");
    std::set<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = text.find('\n', at);
        lines.insert(text.substr(at, end - at));
        at = end + 1;
    }
    CHECK(lines == std::set<std::string>{"worker done", "late one done", "daemon asked"});
}

TEST_CASE("thread: it begins with a copy of the starter's variables, or with given ones",
          "[T-THR-10]") {
    auto here = number.scoped(1);
    int seen = -1;
    auto looks = [&seen] {
        seen = number.get();
        number.set(9);
    };
    thread t(looks);
    auto at_start = number.scoped(2);
    run_to_the_end(t);
    CHECK(seen == 2);
    CHECK(number.get() == 2);
    weft::context given;
    given.run([] { number.set(3); });
    run_to_the_end(thread({.context = &given}, looks));
    CHECK(seen == 3);
    CHECK(given.at(number) == 3); // it was a copy
    weft::context empty;
    run_to_the_end(thread({.context = &empty}, looks));
    CHECK(seen == 0);
}

TEST_CASE("thread: it is only asked to stop", "[T-THR-11][LT-03]") {
    std::atomic<bool> asked{false};
    thread t([&](std::stop_token stop) {
        while (!stop.stop_requested())
            std::this_thread::yield();
        asked = true;
    });
    t.start();
    t.request_stop();
    sync_wait(t.join());
    CHECK(asked);
    // By itself.
    bool seen = false;
    thread self([&](std::stop_token stop) {
        weft::current_thread().request_stop();
        seen = stop.stop_requested();
    });
    run_to_the_end(self);
    CHECK(seen);
}

TEST_CASE("thread: the list has those that are alive, once each", "[T-MOD-01][T-MOD-02]") {
    const std::size_t before = weft::threads().size();
    CHECK(listed(weft::main_thread()));
    gate g;
    auto waits = [&] { g.pass(); };
    thread a({.daemon = true}, waits);
    thread b({.daemon = false}, waits);
    thread unstarted(waits);
    a.start();
    b.start();
    thread foreign;
    std::thread other([&] {
        CHECK(weft::threads().size() == before + 2); // not known yet
        foreign = weft::current_thread();
        CHECK(foreign == weft::current_thread());
        CHECK(foreign.daemon());
        CHECK(foreign.native_id() == ::gettid());
        g.pass();
    });
    until_here([&] { return g.arrived == 3; });
    CHECK(weft::threads().size() == before + 3);
    CHECK(listed(a));
    CHECK(listed(b));
    CHECK(listed(foreign));
    CHECK_FALSE(listed(unstarted));
    g.open();
    other.join();
    sync_wait(a.join());
    sync_wait(b.join());
    CHECK(weft::threads().size() == before);
    CHECK_FALSE(foreign.alive());
}

TEST_CASE("thread: the current and the main one are known", "[T-MOD-02][T-MOD-03][T-MOD-04]") {
    thread seen;
    weft::thread_id ident{};
    int native = 0;
    thread t([&] {
        seen = weft::current_thread();
        ident = *weft::current_thread().ident();
        native = ::gettid();
        CHECK(weft::main_thread().native_id() == ::getpid());
    });
    run_to_the_end(t);
    CHECK(seen == t);
    CHECK(t.ident() == ident);
    CHECK(t.native_id() == native);
    CHECK(weft::current_thread() == weft::main_thread());
    CHECK(weft::main_thread().ident() == weft::current_thread().ident());
    CHECK(weft::main_thread().name() == "MainThread");
    CHECK(weft::main_thread().alive());
}

TEST_CASE("thread: the size of its stack", "[T-MOD-07][LT-02]") {
    const std::size_t kib = 1024;
    CHECK(weft::thread_stack_size() == 0);
    std::size_t stack = 0;
    auto looks = [&stack] { stack = stack_of_caller(); };
    // Growing: the system reuses the stacks of threads that have ended.
    CHECK(weft::set_thread_stack_size(256 * kib) == 0);
    run_to_the_end(thread(looks));
    CHECK(stack == 256 * kib);
    run_to_the_end(thread({.stack_size = 1024 * kib}, looks));
    CHECK(stack == 1024 * kib);
    CHECK_THROWS_AS(weft::set_thread_stack_size(32 * kib - 1), std::invalid_argument);
    CHECK(weft::thread_stack_size() == 256 * kib);
    CHECK(weft::set_thread_stack_size(0) == 256 * kib);
    run_to_the_end(thread(looks));
    CHECK(stack > 1024 * kib);
    CHECK_THROWS_AS(thread({.stack_size = 1}, looks), std::invalid_argument);
}

TEST_CASE("thread: started and left alone", "[LT-01]") {
    stray_errors strays;
    std::atomic<bool> ran{false};
    {
        thread t = weft::start_thread([&] { ran = true; });
    }
    until_here([&] { return ran.load(); });
    {
        weft::start_thread([] { throw std::runtime_error("nobody joins"); });
    }
    until_here([] { return stray_errors::count() == 1; });
    CHECK(weft::start_thread([] {}).daemon());
}

TEST_CASE("thread: a signal for the main one", "[LT-04]") {
    CHECK_THROWS_AS(weft::interrupt_main(0), std::invalid_argument);
    CHECK_THROWS_AS(weft::interrupt_main(1000), std::invalid_argument);
    struct sigaction ignored{};
    struct sigaction before{};
    ignored.sa_handler = SIG_IGN;
    ::sigaction(SIGUSR2, &ignored, &before);
    weft::interrupt_main(SIGUSR2); // or the program would end
    static std::atomic<int> where{0};
    struct sigaction caught{};
    caught.sa_handler = [](int) { where = ::gettid(); };
    ::sigaction(SIGUSR2, &caught, nullptr);
    run_to_the_end(thread([] { weft::interrupt_main(SIGUSR2); }));
    until_here([] { return where != 0; });
    CHECK(where == ::getpid());
    ::sigaction(SIGUSR2, &before, nullptr);
    // The default is what Ctrl-C sends.
    weft::runtime rt({.handle_interrupt = true});
    auto waits = []() -> weft::task<> {
        weft::interrupt_main();
        co_await weft::sleep_for(24h);
    };
    CHECK_THROWS_AS(rt.run(waits()), weft::interrupted_error);
}
