// SPDX-License-Identifier: MIT
#include <weft/runtime/signal.hpp>

#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <sys/time.h>

using namespace weft;
using namespace weft::tests;

namespace {
bool blocked(int signal) {
    sigset_t now;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
    return sigismember(&now, signal) == 1;
}
void send(int signal) { REQUIRE(::kill(::getpid(), signal) == 0); }
} // namespace

TEST_CASE("signal: comes out of next(), also one that came before anyone asked", "[AIO-RUN-03]") {
    auto wait = []() -> task<> {
        signal_set s(SIGUSR1, SIGUSR2);
        send(SIGUSR2);
        int n = co_await s.next();
        CHECK(n == SIGUSR2);
        co_await with_task_group([&](task_group& g) -> task<> {
            auto h = g.spawn(as_task(s.next()));
            co_await sleep_for(1ms);
            CHECK_FALSE(h.done());
            send(SIGUSR1);
            n = co_await h.join();
        });
        CHECK(n == SIGUSR1);
    };
    run_within(10s, wait());
    run_within(10s, wait(), {.features = kernel_feature::none});
}

TEST_CASE("signal: nothing is changed without a set, and all is as before after one", "[P17]") {
    struct sigaction before{};
    struct sigaction after{};
    REQUIRE(::sigaction(SIGUSR1, nullptr, &before) == 0);
    CHECK_FALSE(blocked(SIGUSR1));
    {
        signal_set outer(SIGUSR1);
        CHECK(blocked(SIGUSR1));
        {
            signal_set inner(SIGUSR1, SIGUSR2);
            CHECK(blocked(SIGUSR2));
        }
        CHECK(blocked(SIGUSR1));
        CHECK_FALSE(blocked(SIGUSR2));
    }
    CHECK_FALSE(blocked(SIGUSR1));
    REQUIRE(::sigaction(SIGUSR1, nullptr, &after) == 0);
    CHECK(before.sa_handler == after.sa_handler);
}

TEST_CASE("signal: one that was blocked before stays blocked") {
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
    {
        signal_set s(SIGUSR1);
    }
    CHECK(blocked(SIGUSR1));
    ::pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
}

TEST_CASE("signal: one that nobody asked for doesn't strike when the set ends") {
    {
        signal_set s(SIGTERM);
        send(SIGTERM);
    }
    CHECK_FALSE(blocked(SIGTERM)); // and here we still are
}

TEST_CASE("signal: a stopped next takes none") {
    auto stop = []() -> task<> {
        signal_set s(SIGUSR1);
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, s.next());
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        send(SIGUSR1);
        int n = co_await s.next();
        CHECK(n == SIGUSR1);
    };
    run_within(10s, stop());
}

TEST_CASE("signal: a handler of the program that interrupts the loop disturbs nobody", "[P17]") {
    struct sigaction handler{};
    struct sigaction before{};
    static volatile std::sig_atomic_t calls = 0;
    handler.sa_handler = [](int) { calls = calls + 1; };
    REQUIRE(::sigaction(SIGALRM, &handler, &before) == 0); // without SA_RESTART
    auto interrupted = []() -> task<> {
        auto ends = co_await tcp_pair();
        itimerval every{{0, 500}, {0, 500}};
        ::setitimer(ITIMER_REAL, &every, nullptr);
        std::byte into[16];
        int rounds = 0;
        while (rounds < 20 || calls < 20) {
            co_await ends.first.write_all(as_bytes("x"));
            co_await sleep_for(1ms);
            co_await ends.second.read_some(into);
            ++rounds;
        }
        itimerval stopped{};
        ::setitimer(ITIMER_REAL, &stopped, nullptr);
    };
    run_within(30s, interrupted());
    REQUIRE(::sigaction(SIGALRM, &before, nullptr) == 0);
}

TEST_CASE("signal: what can't be waited for is refused") {
    CHECK_THROWS_AS(signal_set(SIGKILL), std::invalid_argument);
    CHECK_THROWS_AS(signal_set(0), std::invalid_argument);
    CHECK_THROWS_AS(signal_set(SIGINT, 65), std::invalid_argument);
    CHECK_FALSE(blocked(SIGINT));
}
