// SPDX-License-Identifier: MIT
#include <weft/runtime/runtime.hpp>

#include "runtime/counted.hpp"
#include "runtime/stray_errors.hpp"
#include "support/audit.hpp"
#include "support/io.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/promise.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unix_socket.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <sys/wait.h>
#include <thread>
#include <vector>

using Catch::Matchers::Contains;
using weft::loop;
using weft::runtime;
using weft::task;
using weft::tests::at_end;
using weft::tests::counted;
using weft::tests::stray_errors;
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
task<std::thread::id> thread_here() {
    co_await weft::yield();
    co_return std::this_thread::get_id();
}
task<> sleeps(int& live) {
    counted here(live);
    co_await weft::sleep_for(1h);
}
task<> turns(int n) {
    for (int i = 0; i < n; ++i)
        co_await weft::yield();
}

// How many are alive on any of several threads.
class counted_anywhere {
public:
    explicit counted_anywhere(std::atomic<int>& live) : live_(live) { ++live_; }
    counted_anywhere(const counted_anywhere&) = delete;
    counted_anywhere& operator=(const counted_anywhere&) = delete;
    ~counted_anywhere() { --live_; }

private:
    std::atomic<int>& live_;
};

bool blocked(int signal) {
    sigset_t now;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
    return sigismember(&now, signal) == 1;
}
void interrupt() { REQUIRE(::kill(::getpid(), SIGINT) == 0); }

// A handler of the program's own, while it lives.
class own_handler {
public:
    own_handler() {
        calls() = 0;
        struct sigaction h{};
        h.sa_handler = [](int) { calls() = calls() + 1; };
        REQUIRE(::sigaction(SIGINT, &h, &before_) == 0);
    }
    own_handler(const own_handler&) = delete;
    own_handler& operator=(const own_handler&) = delete;
    ~own_handler() { ::sigaction(SIGINT, &before_, nullptr); }
    static volatile std::sig_atomic_t& calls() {
        static volatile std::sig_atomic_t n = 0;
        return n;
    }

private:
    struct sigaction before_{};
};

// The real kernel, but the n-th ring can't be made.
struct no_ring {
    no_ring(int e, int which) : error(e), nth(which) {
        table = weft::real_kernel();
        table.name = "without rings";
        table.state = this;
        table.setup = [](void* s, unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
            auto& self = *static_cast<no_ring*>(s);
            if (self.made.fetch_add(1) + 1 >= self.nth)
                return -self.error;
            const weft::kernel& real = weft::real_kernel();
            return real.setup(real.state, entries, ring, params);
        };
    }
    weft::kernel table;
    int error;
    int nth;
    std::atomic<int> made{0};
};

} // namespace

// --- Running -------------------------------------------------------------------------------------

TEST_CASE("runtime: run gives what its task gives, or throws what that throws", "[AIO-RUN-01]") {
    CHECK(weft::run(gives(3)) == 3);
    CHECK_THROWS_WITH(weft::run(fails()), "failed");
    runtime rt; // and may be used again, after an error too
    CHECK_THROWS_WITH(rt.run(fails()), "failed");
    CHECK(rt.run(gives(4)) == 4);
    CHECK(rt.run(gives(5)) == 5);
    auto moves = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(6); };
    CHECK(*rt.run(moves()) == 6);
}

TEST_CASE("runtime: what the main task leaves behind is stopped and waited for", "[AIO-RUN-01]") {
    int live = 0, cleaned = 0;
    auto cleans = [&]() -> task<> {
        auto bye = [&]() -> task<> {
            co_await turns(10);
            co_await weft::sleep_for(1ms);
            ++cleaned;
        };
        co_await weft::finally(sleeps(live), bye);
    };
    auto main = [&]() -> task<int> {
        for (int i = 0; i < 5; ++i)
            weft::spawn(sleeps(live));
        weft::spawn(cleans());
        co_await turns(2);
        CHECK(live == 6);
        weft::spawn(sleeps(live)); // never starts
        co_return 1;
    };
    runtime rt;
    CHECK(rt.run(main()) == 1);
    CHECK(live == 0);
    CHECK(cleaned == 1);
    CHECK(rt.run(main()) == 1); // nothing of the first run is in the way
    CHECK(live == 0);
    CHECK(cleaned == 2);
}

TEST_CASE("runtime: a run within a running loop is refused, and its task destroyed",
          "[AIO-RUN-01]") {
    int live = 0, refused = 0;
    auto main = [&](runtime& rt) -> task<> {
        auto never = [](std::shared_ptr<counted>) -> task<> { co_return; };
        try {
            rt.run(never(std::make_shared<counted>(live)));
        } catch (const weft::state_error& e) {
            CHECK_THAT(e.what(), Contains("await the task instead"));
            ++refused;
        }
        try {
            weft::run(never(std::make_shared<counted>(live)));
        } catch (const weft::state_error&) {
            ++refused;
        }
        try {
            runtime another;
        } catch (const weft::state_error&) {
            ++refused;
        }
        CHECK(live == 0);
        co_return;
    };
    runtime rt;
    rt.run(main(rt));
    CHECK(refused == 3);
}

TEST_CASE("runtime: belongs to the thread that made it") {
    runtime rt;
    bool refused = false;
    std::thread([&] {
        try {
            rt.run(gives(1));
        } catch (const weft::state_error& e) {
            refused = std::string_view(e.what()).find("another thread") != std::string_view::npos;
        }
    }).join();
    CHECK(refused);
    CHECK(rt.run(gives(1)) == 1);
}

TEST_CASE("runtime: posted functions run in their order, and an error in one stops no other",
          "[AIO-RUN-03][G-10][P6]") {
    stray_errors errors;
    constexpr int each = 2000;
    std::vector<std::pair<int, int>> seen;
    std::vector<int> own;
    auto main = [&]() -> task<> {
        loop& home = weft::this_loop();
        for (int i = 0; i < 10; ++i) {
            home.post([&own, i] {
                own.push_back(i);
                if (i == 3)
                    throw std::runtime_error("from a posted function");
            });
        }
        CHECK(own.empty()); // none runs on the stack of who posts it
        std::atomic<int> ready{0};
        std::vector<std::jthread> posters;
        for (int who = 0; who < 3; ++who) {
            posters.emplace_back([&, who] {
                ++ready;
                while (ready != 3)
                    std::this_thread::yield();
                for (int i = 0; i < each; ++i)
                    home.post([&seen, who, i] { seen.emplace_back(who, i); });
            });
        }
        while (seen.size() < 3 * each)
            co_await weft::sleep_for(100us);
    };
    weft::tests::run_within(30s, main());
    CHECK(own == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(errors.texts() == std::vector<std::string>{"from a posted function"});
    CHECK(errors.wheres() == std::vector<std::string>{"a posted function"});
    int next[3] = {};
    bool in_order = true;
    for (auto [who, i] : seen)
        in_order = in_order && next[who]++ == i;
    CHECK(in_order);
}

TEST_CASE("runtime: the loop's time never goes back", "[AIO-RUN-03][P24]") {
    auto main = []() -> task<> {
        weft::time_point before = weft::now();
        bool monotonic = true;
        for (int i = 0; i < 1000; ++i) {
            co_await weft::yield();
            weft::time_point t = weft::now();
            monotonic = monotonic && t >= before;
            before = t;
        }
        CHECK(monotonic);
        CHECK(weft::this_loop().now() >= before);
    };
    weft::run(main());
}

// --- Interrupts ----------------------------------------------------------------------------------

TEST_CASE("runtime: the first SIGINT stops the main task, and run says that it was interrupted",
          "[AIO-RUN-02]") {
    own_handler handler;
    int live = 0, cleaned = 0, signal = 0;
    auto main = [&]() -> task<int> {
        weft::spawn(sleeps(live));
        auto waits = [&]() -> task<> {
            CHECK(blocked(SIGINT));
            co_await weft::yield();
            interrupt();
            co_await sleeps(live);
        };
        auto bye = [&]() -> task<> {
            co_await turns(5);
            ++cleaned;
        };
        co_await weft::finally(waits(), bye);
        co_return 1;
    };
    weft::runtime_options options;
    options.handle_interrupt = true;
    runtime rt(options);
    try {
        rt.run(main());
        FAIL("it wasn't interrupted");
    } catch (const weft::interrupted_error& e) {
        signal = e.signal();
    }
    CHECK(signal == SIGINT);
    CHECK(live == 0);
    CHECK(cleaned == 1);
    CHECK(handler.calls() == 0);
    CHECK_FALSE(blocked(SIGINT));
    CHECK(rt.run(gives(2)) == 2); // the next run begins afresh
    CHECK_THROWS_AS(rt.run(main()), weft::interrupted_error);
}

TEST_CASE("runtime: a main task that ends with a result in spite of SIGINT has ended with it",
          "[AIO-RUN-02][P3]") {
    auto main = []() -> task<int> {
        auto waits = []() -> task<> {
            interrupt();
            co_await weft::sleep_for(1h);
        };
        auto r = co_await weft::as_result(waits());
        co_return r.stopped() ? 1 : 0;
    };
    CHECK(weft::run(main(), {.handle_interrupt = true}) == 1);
    auto error = []() -> task<> {
        auto waits = []() -> task<> {
            interrupt();
            co_await weft::sleep_for(1h);
        };
        auto r = co_await weft::as_result(waits());
        throw std::runtime_error("while stopping");
    };
    CHECK_THROWS_WITH(weft::run(error(), {.handle_interrupt = true}), "while stopping");
}

TEST_CASE("runtime: from the first SIGINT on the signal has its former effect, at once",
          "[AIO-RUN-02]") {
    own_handler handler;
    auto main = [&]() -> task<> {
        auto waits = []() -> task<> {
            interrupt();
            co_await weft::sleep_for(1h);
        };
        auto bye = [&]() -> task<> {
            CHECK_FALSE(blocked(SIGINT));
            CHECK(handler.calls() == 0);
            interrupt();
            CHECK(handler.calls() == 1);
            co_return;
        };
        co_await weft::finally(waits(), bye);
    };
    CHECK_THROWS_AS(weft::run(main(), {.handle_interrupt = true}), weft::interrupted_error);
    CHECK(handler.calls() == 1);
}

TEST_CASE("runtime: a second SIGINT ends a program that doesn't stop", "[AIO-RUN-02]") {
    int told[2];
    REQUIRE(::pipe(told) == 0);
    pid_t child = ::fork();
    if (child == 0) {
        auto main = [&]() -> task<> {
            auto stubborn = [&]() -> task<> {
                [[maybe_unused]] auto n = ::write(told[1], "1", 1);
                co_await weft::sleep_for(1h);
            };
            auto first = co_await weft::as_result(stubborn());
            [[maybe_unused]] auto n = ::write(told[1], "2", 1);
            while (true) // in no await that a stop could reach
                std::this_thread::sleep_for(1ms);
        };
        try {
            weft::run(main(), {.handle_interrupt = true});
        } catch (...) {
            ::_exit(1);
        }
        ::_exit(0);
    }
    REQUIRE(child > 0);
    char step = 0;
    CHECK(::read(told[0], &step, 1) == 1); // it runs
    CHECK(::kill(child, SIGINT) == 0);
    CHECK(::read(told[0], &step, 1) == 1); // it has noticed
    CHECK(step == '2');
    CHECK(::kill(child, SIGINT) == 0);
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGINT);
    ::close(told[0]);
    ::close(told[1]);
}

TEST_CASE("runtime: leaves signals alone unless it is told otherwise", "[P17]") {
    own_handler handler;
    auto main = [&]() -> task<int> {
        CHECK_FALSE(blocked(SIGINT));
        interrupt();
        CHECK(handler.calls() == 1);
        co_await turns(3);
        co_return 1;
    };
    CHECK(weft::run(main()) == 1);
}

TEST_CASE("runtime: may be asked to stop from any thread, while it runs something") {
    runtime rt;
    rt.request_stop(SIGTERM); // nothing runs: forgotten
    CHECK(rt.run(gives(1)) == 1);
    int live = 0;
    std::atomic<bool> runs{false};
    auto main = [&]() -> task<> {
        runs = true;
        co_await sleeps(live);
    };
    std::jthread other([&] {
        while (!runs)
            std::this_thread::yield();
        rt.request_stop(SIGTERM);
    });
    int signal = 0;
    try {
        rt.run(main());
    } catch (const weft::interrupted_error& e) {
        signal = e.signal();
    }
    CHECK(signal == SIGTERM);
    CHECK(live == 0);
    CHECK(rt.run(gives(2)) == 2);
}

// --- Several loops -------------------------------------------------------------------------------

TEST_CASE("runtime: each loop is a thread, and what is sent there comes back home") {
    runtime rt({.loops = 3});
    CHECK(rt.loops() == 3);
    auto main = [&]() -> task<> {
        std::thread::id home = std::this_thread::get_id();
        auto ids = co_await weft::when_all(weft::on(rt.get_loop(0), thread_here()),
                                           weft::on(rt.get_loop(1), thread_here()),
                                           weft::on(rt.get_loop(2), thread_here()));
        auto [a, b, c] = ids;
        CHECK(a == home);
        CHECK(b != home);
        CHECK(c != home);
        CHECK(b != c);
        CHECK(std::this_thread::get_id() == home);
        std::string error;
        try {
            co_await weft::on(rt.get_loop(1), fails());
        } catch (const std::runtime_error& e) {
            error = e.what();
        }
        CHECK(error == "failed");
        CHECK(std::this_thread::get_id() == home);
        auto there_and_back = [&]() -> task<int> {
            int n = co_await weft::on(rt.get_loop(0), gives(7));
            co_return n + 1;
        };
        int n = co_await weft::on(rt.get_loop(2), there_and_back());
        CHECK(n == 8);
    };
    rt.run(main());
    rt.run(main());
}

TEST_CASE("runtime: a stop follows a task to another loop, and waits for its end there", "[P3]") {
    runtime rt({.loops = 2});
    std::atomic<int> live{0};
    std::atomic<bool> cleaned{false};
    auto main = [&]() -> task<> {
        auto there = [&]() -> task<> {
            auto waits = [&]() -> task<> {
                counted_anywhere here(live);
                co_await weft::sleep_for(1h);
            };
            auto bye = [&]() -> task<> {
                co_await turns(10);
                cleaned = true;
            };
            co_await weft::finally(waits(), bye);
        };
        auto h = weft::spawn(weft::on(rt.get_loop(1), there()));
        while (live == 0)
            co_await weft::yield();
        h.cancel();
        while (!h.done())
            co_await weft::yield();
        CHECK(h.stopped());
        CHECK(live == 0);
        CHECK(cleaned);
    };
    rt.run(main());
}

TEST_CASE("runtime: results and stops that cross between loops give each task one end",
          "[P1][P3]") {
    std::uint64_t seed = weft::tests::seed();
    CAPTURE(seed);
    runtime rt({.loops = 2});
    std::atomic<int> live{0};
    std::atomic<int> began{0};
    int values = 0, stops = 0;
    auto one = [&](unsigned kind) -> task<int> {
        counted_anywhere here(live);
        ++began;
        if (kind % 3 == 0)
            co_return 1;
        if (kind % 3 == 1)
            co_await weft::yield();
        else
            co_await weft::sleep_for(std::chrono::microseconds(kind % 50));
        co_return 1;
    };
    auto main = [&]() -> task<> {
        std::mt19937_64 random(seed);
        for (int round = 0; round < 3000; ++round) {
            auto h = weft::spawn(weft::on(rt.get_loop(1), one(static_cast<unsigned>(random()))));
            co_await turns(static_cast<int>(random() % 4));
            h.cancel();
            auto r = co_await weft::as_result(h.join());
            if (h.stopped())
                ++stops;
            else if (r.has_value() && r.value() == 1)
                ++values;
        }
    };
    weft::tests::run_within(50s, main());
    CHECK(values + stops == 3000);
    CHECK(live == 0);
}

// --- Beginning and end ---------------------------------------------------------------------------

TEST_CASE("runtime: needs a loop") {
    CHECK_THROWS_AS(runtime({.loops = 0}), std::invalid_argument);
    CHECK_THROWS_AS(runtime({.ring_entries = 0}), std::invalid_argument);
}

TEST_CASE("runtime: runs whatever can be awaited") {
    CHECK_THROWS_AS(weft::run(weft::with_timeout(0ns, weft::sleep_for(1h))), weft::timeout_error);
}

TEST_CASE("runtime: one that can't start says why") {
    auto says = [](int error) {
        no_ring k(error, 1);
        try {
            runtime rt({.kernel = &k.table});
        } catch (const weft::unavailable_error& e) {
            return std::string(e.what());
        } catch (const std::system_error& e) {
            return std::string("system: ") + e.what();
        }
        return std::string("it started");
    };
    CHECK_THAT(says(ENOSYS), Contains("io_uring is not available") && Contains("ENOSYS"));
    CHECK_THAT(says(EPERM), Contains("kernel.io_uring_disabled") && Contains("EPERM"));
    CHECK_THAT(says(EINVAL), Contains("Linux 6.1"));
    CHECK_THAT(says(ENOMEM), Contains("system: ") && Contains("ulimit -l"));
    CHECK_THAT(says(EMFILE), Contains("system: ") && Contains("io_uring_setup"));
}

TEST_CASE("runtime: if a further loop can't start, those that did end again", "[P16]") {
    no_ring k(EMFILE, 3);
    bool failed = false;
    try {
        runtime rt({.loops = 4, .kernel = &k.table});
    } catch (const std::system_error& e) {
        failed = e.code().value() == EMFILE;
    }
    CHECK(failed);
    CHECK(k.made == 3);
}

TEST_CASE("runtime: its end stops and frees all that is in flight, on every loop", "[P23]") {
    std::atomic<int> live{0};
    std::atomic<int> began{0};
    std::atomic<int> posted{0};
    auto ends = weft::unix_stream_pair();
    auto listener = weft::listen_tcp(weft::socket_address::ipv4_loopback(0));
    auto counts = [&](auto waits) -> task<> {
        counted_anywhere here(live);
        ++began;
        co_await std::move(waits);
    };
    auto everything = [&]() -> task<> {
        std::byte into[16];
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(counts(weft::sleep_for(1h)));
            g.spawn(counts(ends.first.read_some(into)));
            g.spawn(counts(listener.accept()));
            g.spawn(counts(weft::shield(weft::sleep_for(1h)))); // for a second, no longer
            g.spawn(counts(weft::shield(ends.second.read_some(into))));
            co_return;
        });
    };
    {
        runtime rt({.loops = 3});
        auto starts = [&] {
            weft::spawn(everything());
            weft::spawn(counts(weft::on(rt.get_loop(2), weft::sleep_for(1h))));
        };
        rt.get_loop(1).post(starts);
        auto main = [&]() -> task<> {
            while (began < 6)
                co_await weft::yield();
        };
        rt.run(main());
        CHECK(live == 6); // the others' tasks go on between runs
        rt.get_loop(2).post([&] { ++posted; });
        rt.get_loop(0).post([&] { ++posted; });
    }
    CHECK(live == 0);
    CHECK(posted == 2); // what was accepted was done
}

TEST_CASE("runtime: a chain of tasks across loops is stopped by the end of any", "[P23]") {
    std::atomic<int> live{0};
    auto hop = [&](auto& self, runtime& rt, unsigned n) -> task<> {
        counted_anywhere here(live);
        if (n == 0)
            co_await weft::sleep_for(1h);
        else
            co_await weft::on(rt.get_loop(n % rt.loops()), self(self, rt, n - 1));
    };
    {
        runtime rt({.loops = 3});
        rt.get_loop(2).post([&] { weft::spawn(hop(hop, rt, 60)); });
        auto main = [&]() -> task<> {
            while (live < 61)
                co_await weft::yield();
        };
        rt.run(main());
    }
    CHECK(live == 0);
}

TEST_CASE("runtime: many are made and ended, and nothing stays", "[P23]") {
    for (int i = 0; i < 50; ++i) {
        runtime rt({.loops = 2, .ring_entries = 8});
        if (i % 2 == 0)
            CHECK(rt.run(gives(i)) == i);
        else
            rt.get_loop(1).post([] { weft::spawn(gives(1)); });
    }
}

TEST_CASE("runtime: functions are posted to it from anywhere until it is closed", "[AIO-THR-04]") {
    std::optional<runtime> rt(std::in_place, weft::runtime_options{.loops = 2});
    std::atomic<int> ran{0};
    SECTION("a sleeping loop is woken") {
        std::thread poster;
        rt->run([](runtime& r, std::thread& t, std::atomic<int>& n) -> task<> {
            weft::async_promise<> posted;
            t = std::thread([&] {
                r.post([&] {
                    ++n;
                    posted.set_value();
                });
            });
            co_await posted.wait();
        }(*rt, poster, ran));
        poster.join();
        CHECK(ran == 1);
    }
    SECTION("what waits for a run is not lost") {
        rt->post([&] { ++ran; });
        CHECK(ran == 0);
        rt->close();
        CHECK(ran == 1);
    }
    SECTION("afterwards everything is refused") {
        rt->close();
        rt->close();
        CHECK(rt->closed());
        CHECK_THROWS_AS(rt->post([] {}), weft::state_error);
        CHECK_THROWS_AS(rt->run([]() -> task<> { co_return; }()), weft::state_error);
    }
    SECTION("it isn't closed from within, or from elsewhere") {
        auto closes = [](runtime& r) -> task<bool> {
            try {
                r.close();
                co_return false;
            } catch (const weft::state_error&) {
                co_return true;
            }
        };
        CHECK(rt->run(closes(*rt)));
        std::thread([&] { CHECK_THROWS_AS(rt->close(), weft::state_error); }).join();
        CHECK_FALSE(rt->closed());
    }
    SECTION("what is posted meanwhile runs or is refused") {
        std::atomic<int> accepted{0};
        std::vector<std::thread> posters;
        for (int i = 0; i < 2; ++i)
            posters.emplace_back([&] {
                try {
                    for (;;) {
                        rt->post([&] { ++ran; });
                        ++accepted;
                    }
                } catch (const weft::state_error&) {
                    return;
                }
            });
        while (accepted < 10)
            std::this_thread::yield();
        rt->close();
        for (std::thread& t : posters)
            t.join();
        CHECK(ran == accepted);
    }
}
