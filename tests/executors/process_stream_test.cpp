// SPDX-License-Identifier: MIT
// Sequences and coroutines in the workers of a process pool.
#include "support/io.hpp"

#include <weft/executors/process_pool.hpp>

#include <weft/ipc/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <stop_token>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;

// --- What workers do -----------------------------------------------------------------------------

struct odd_number : std::runtime_error {
    using std::runtime_error::runtime_error;
};
[[maybe_unused]] const bool known = ipc::register_error<odd_number>();

// Each call makes a file longer by one byte.
void mark(const std::string& file) {
    int fd = ::open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    static_cast<void>(::write(fd, "+", 1));
    ::close(fd);
}
long marks(const std::string& file) {
    struct stat s{};
    return ::stat(file.c_str(), &s) == 0 ? static_cast<long>(s.st_size) : 0;
}

int worker_pid() { return ::getpid(); }
generator<int> numbers(int from, int to) {
    for (int i = from; i < to; ++i)
        co_yield i;
}
generator<std::vector<int>> blocks(int n) {
    for (int i = 0; i != n; ++i)
        co_yield std::vector<int>(100'000, i);
}
// A view of the argument, which lives as long as the sequence.
generator<std::string> words(std::string_view text) {
    while (!text.empty()) {
        std::size_t n = std::min(text.find(' '), text.size());
        co_yield std::string(text.substr(0, n));
        text.remove_prefix(std::min(n + 1, text.size()));
    }
}
async_generator<std::string> slow_words(const std::string& text) {
    for (const std::string& w : words(text)) {
        co_await sleep_for(1ms);
        co_yield w;
    }
}
generator<int> counted(std::string file, int n) {
    for (int i = 0; i != n; ++i) {
        mark(file);
        co_yield i;
    }
}
generator<int> until(int n, int how, std::string file) {
    mark(file);
    for (int i = 0; i != n; ++i)
        co_yield i;
    switch (how) {
    case 0:
        throw odd_number("n");
    case 1:
        ::raise(SIGKILL);
        break;
    default:
        mark(file);
        while (true)
            ::poll(nullptr, 0, 1000);
    }
}
// Dies the first time.
generator<int> second_try(std::string file) {
    mark(file);
    if (marks(file) == 1)
        ::raise(SIGKILL);
    co_yield 1;
}
task<> write_mark(std::string file) {
    co_await yield();
    mark(file);
}
struct at_exit {
    explicit at_exit(std::string f) : file(std::move(f)) {}
    at_exit(const at_exit&) = delete;
    at_exit& operator=(const at_exit&) = delete;
    ~at_exit() { mark(file); }
    std::string file;
};
// Awaits between its items.
async_generator<int> endless(std::string unwound) {
    at_exit leaves(unwound);
    for (int i = 0;; ++i) {
        co_yield i;
        co_await sleep_for(1ms);
    }
}
// Is always at an item, and awaits something at its end.
async_generator<int> closes(std::string closed) {
    co_await on_close([&closed] { return write_mark(closed); });
    for (int i = 0;; ++i)
        co_yield i;
}
struct odd_only {
    int value = 0;
};

task<int> add_slowly(int a, int b) {
    co_await sleep_for(1ms);
    co_return a + b;
}
task<int> add_three(int a) {
    auto [x, y, z] = co_await when_all(add_slowly(a, 1), add_slowly(a, 2), add_slowly(a, 3));
    co_return x + y + z;
}
task<> fail_slowly() {
    co_await sleep_for(1ms);
    throw odd_number("slowly");
}
task<int> wait_for_ever(std::string began, std::string unwound) {
    at_exit leaves(unwound);
    mark(began);
    co_await sleep_for(1h);
    co_return 1;
}
// Has its result when it is asked to stop, and doesn't suspend any more.
task<int> asked_too_late(std::stop_token stop, std::string began) {
    mark(began);
    while (!stop.stop_requested())
        ::poll(nullptr, 0, 1);
    co_return 5;
}

// --- What tests do -------------------------------------------------------------------------------

template <class Condition>
task<> eventually(Condition condition) {
    time_point end = now() + 40s; // far beyond what anything takes that isn't broken
    while (!condition()) {
        REQUIRE(now() < end);
        co_await sleep_for(1ms);
    }
}

// Waits for a task that was cancelled.
template <class Handle>
task<> end_of(Handle& t) {
    try {
        static_cast<void>(co_await t.join());
    } catch (const cancelled_error&) {
        co_return;
    }
}

// What comes, until the end or an error.
template <class T>
task<std::string> all(async_generator<T> g) {
    std::string text;
    try {
        while (auto v = co_await g.next()) {
            if constexpr (std::is_same_v<T, std::string>)
                text += *v + ' ';
            else
                text += std::to_string(*v) + ' ';
        }
        text += "end";
    } catch (const ipc::worker_lost&) {
        text += "lost";
    } catch (const ipc::pool_terminated&) {
        text += "terminated";
    } catch (const timeout_error&) {
        text += "late";
    } catch (const std::exception& e) {
        text += e.what();
    }
    co_return text;
}

} // namespace

template <>
struct weft::ipc::codec<odd_only> {
    static void encode(archive_writer& out, const odd_only& n) {
        if (n.value % 2 == 0)
            throw odd_number("even");
        ipc::encode(out, n.value);
    }
    static odd_only decode(archive_reader& in) {
        int n = ipc::decode<int>(in);
        if (n == 3)
            throw odd_number("three");
        return {n};
    }
};

namespace {
generator<odd_only> odd_numbers(int from, int step) {
    for (;; from += step)
        co_yield odd_only{from};
}
} // namespace

TEST_CASE("process_pool: a generator that runs in a worker gives its items one by one") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto few = co_await all(pool.stream(fn<&numbers>, 1, 5));
        CHECK(few == "1 2 3 4 end");
        auto none = co_await all(pool.stream(fn<&numbers>, 1, 1));
        CHECK(none == "end");
        auto viewed = co_await all(pool.stream(fn<&words>, "one two  four"));
        CHECK(viewed == "one two  four end");
        auto awaited = co_await all(pool.stream(fn<&slow_words>, "five six"));
        CHECK(awaited == "five six end");
        auto doubled = [](int n) -> generator<int> {
            for (int i = 0; i != n; ++i)
                co_yield 2 * i;
        };
        auto lambda = co_await all(pool.stream({.tag = 3}, doubled, 4));
        CHECK(lambda == "0 2 4 6 end");

        // Many, and large ones: more than the channel and the window hold.
        auto many = pool.stream(fn<&numbers>, 0, 5000);
        int right = 0;
        while (auto n = co_await many.next())
            right += *n == right ? 1 : 0;
        CHECK(right == 5000);
        auto large = pool.stream(fn<&blocks>, 20);
        int next = 0;
        while (auto b = co_await large.next()) {
            CHECK(b->size() == 100'000);
            CHECK(b->back() == next++);
        }
        CHECK(next == 20);

        // One that nobody asks for an item isn't made.
        weft::tests::temp_dir dir;
        const std::string file = dir.path("made");
        static_cast<void>(pool.stream(fn<&counted>, file, 1));
        auto pid = co_await pool.call(fn<&worker_pid>);
        CHECK(pid != ::getpid());
        CHECK(marks(file) == 0);
        CHECK(pool.statistics().respawned == 0);

        CHECK_THROWS_AS(pool.stream({.window = 0}, fn<&numbers>, 1, 2), std::invalid_argument);
        CHECK_THROWS_AS(pool.stream({.window_bytes = 0}, fn<&numbers>, 1, 2),
                        std::invalid_argument);
        co_await pool.shutdown();
        auto refused = pool.stream(fn<&numbers>, 1, 2);
        bool came = false;
        try {
            co_await refused.next();
            came = true;
        } catch (const state_error&) {
            came = false;
        }
        CHECK_FALSE(came);
        CHECK(refused.done());
    }());
}

TEST_CASE("process_pool: a sequence is no further ahead of its reader than it may be", "[P5]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        weft::tests::temp_dir dir;
        auto never_ahead = [&](submit_options o, const std::string& file, long ahead) -> task<> {
            auto items = pool.stream(o, fn<&counted>, file, 60);
            long taken = 0;
            while (co_await items.next()) {
                ++taken;
                if (taken % 20 != 1)
                    continue;
                co_await eventually([&] { return marks(file) >= taken; });
                // The other worker has all the time in the world.
                for (int i = 0; i != 20; ++i)
                    static_cast<void>(co_await pool.call(fn<&worker_pid>));
                CHECK(marks(file) <= taken + ahead);
                if (taken == 1 && ahead == 4)
                    co_await eventually([&] { return marks(file) >= 4; }); // but it is ahead
            }
            CHECK(taken == 60);
        };
        co_await never_ahead({.window = 4}, dir.path("items"), 4);
        co_await never_ahead({.window_bytes = 1}, dir.path("bytes"), 1);
    }());
}

TEST_CASE("process_pool: who lets go of a sequence early has its worker back", "[P10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        const int pid = co_await pool.call(fn<&worker_pid>);
        auto first_of = [](auto items) -> task<int> { co_return *co_await items.next(); };
        // One that waits for its reader, one that computes, and one that awaits.
        auto waits = co_await first_of(pool.stream({.window = 1}, fn<&numbers>, 7, 1'000'000));
        CHECK(waits == 7);
        auto computes =
            co_await first_of(pool.stream({.window = 1u << 30}, fn<&numbers>, 8, 1 << 30));
        CHECK(computes == 8);
        const std::string unwound = dir.path("unwound");
        auto awaits = co_await first_of(pool.stream(fn<&endless>, unwound));
        CHECK(awaits == 0);
        auto same = co_await pool.call(fn<&worker_pid>);
        CHECK(same == pid);
        CHECK(marks(unwound) == 1);
        const std::string closed = dir.path("closed");
        auto ends = co_await first_of(pool.stream(fn<&closes>, closed));
        CHECK(ends == 0);
        same = co_await pool.call(fn<&worker_pid>);
        CHECK(same == pid);
        CHECK(marks(closed) == 1); // what it needs to await was awaited

        // A reader that is stopped lets go.
        int read = 0;
        auto endless_items = [&]() -> task<> {
            auto items = pool.stream(fn<&endless>, unwound);
            while (co_await items.next())
                ++read;
        };
        auto reader = spawn(endless_items());
        co_await eventually([&] { return read > 2; });
        reader.cancel();
        co_await end_of(reader);
        CHECK(reader.stopped());
        same = co_await pool.call(fn<&worker_pid>);
        CHECK(same == pid);
        CHECK(marks(unwound) == 2);

        // One whose generator hangs loses its worker, after the grace.
        const std::string hanging = dir.path("hangs");
        {
            auto hangs = pool.stream({.stop_grace = 20ms}, fn<&until>, 1, 2, hanging);
            co_await hangs.next();
            co_await eventually([&] { return marks(hanging) == 2; });
        }
        auto other = co_await pool.call(fn<&worker_pid>);
        CHECK(other != pid);
        CHECK(pool.statistics().respawned == 1);

        // One that waits for a worker is withdrawn.
        auto busy = pool.stream({.stop_grace = 0s}, fn<&until>, 1, 2, dir.path("busy"));
        co_await busy.next();
        {
            auto queued = pool.stream(fn<&counted>, dir.path("queued"), 1);
            auto got = [&]() -> task<> { co_await queued.next(); };
            auto t = spawn(got());
            co_await eventually([&] { return pool.statistics().queued == 1; });
            t.cancel();
            co_await end_of(t);
            CHECK(pool.statistics().queued == 0);
        }
        CHECK(marks(dir.path("queued")) == 0);
    }());
}

TEST_CASE("process_pool: what ends a sequence comes after the items that had arrived",
          "[P1][P8][P10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        auto fails = co_await all(pool.stream(fn<&until>, 3, 0, dir.path("fails")));
        CHECK(fails == "0 1 2 n");
        auto at_once = co_await all(pool.stream(fn<&until>, 0, 0, dir.path("fails")));
        CHECK(at_once == "n");
        auto pid = co_await pool.call(fn<&worker_pid>);

        // A death isn't tried again once an item has come, and before that it is.
        const std::string starts = dir.path("starts");
        auto dies = co_await all(pool.stream({.retry = 3}, fn<&until>, 3, 1, starts));
        CHECK(dies == "0 1 2 lost");
        CHECK(marks(starts) == 1);
        const std::string tries = dir.path("tries");
        auto again = co_await all(pool.stream({.retry = 3}, fn<&second_try>, tries));
        CHECK(again == "1 end");
        CHECK(marks(tries) == 2);
        auto other = co_await pool.call(fn<&worker_pid>);
        CHECK(other != pid);

        // So does an item that can't be sent, or can't be read.
        auto unsendable = pool.stream(fn<&odd_numbers>, 5, 3);
        auto five = co_await unsendable.next();
        CHECK(five->value == 5);
        auto why = [](async_generator<odd_only>& g) -> task<std::string> {
            try {
                co_await g.next();
            } catch (const odd_number& e) {
                co_return e.what();
            }
            co_return "nothing";
        };
        auto even = co_await why(unsendable);
        CHECK(even == "even");
        auto unreadable = pool.stream(fn<&odd_numbers>, 1, 2);
        auto one = co_await unreadable.next();
        CHECK(one->value == 1);
        auto three = co_await why(unreadable);
        CHECK(three == "three");
        auto same = co_await pool.call(fn<&worker_pid>);
        CHECK(same == other);

        // The deadline, and the end of the pool.
        auto late = pool.stream({.timeout = 30ms}, fn<&endless>, dir.path("late"));
        auto text = co_await all(std::move(late));
        CHECK_THAT(text, Catch::EndsWith("late"));
        auto ended = pool.stream(fn<&endless>, dir.path("ended"));
        co_await ended.next();
        auto rest = spawn(all(std::move(ended)));
        co_await pool.shutdown_for(100ms);
        auto told = co_await rest.join();
        CHECK_THAT(told, Catch::EndsWith("terminated"));
    }());
}

TEST_CASE("process_pool: a coroutine runs on a loop of its worker") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        auto sum = co_await pool.call(fn<&add_three>, 1);
        CHECK(sum == 9);
        auto later = co_await pool.submit(fn<&add_slowly>, 2, 3);
        CHECK(later == 5);
        auto error = [](auto call) -> task<std::string> {
            try {
                co_await std::move(call);
            } catch (const odd_number& e) {
                co_return e.what();
            }
            co_return "nothing";
        };
        auto failed = co_await error(pool.call(fn<&fail_slowly>));
        CHECK(failed == "slowly");

        // A stop unwinds it.
        const std::string began = dir.path("began");
        const std::string unwound = dir.path("unwound");
        const int pid = co_await pool.call(fn<&worker_pid>);
        auto stops = spawn(pool.call(fn<&wait_for_ever>, began, unwound));
        co_await eventually([&] { return marks(began) == 1; });
        stops.cancel();
        co_await end_of(stops);
        CHECK(stops.stopped());
        CHECK(marks(unwound) == 1);
        future<int> cancelled = pool.submit(fn<&wait_for_ever>, began, unwound);
        co_await eventually([&] { return marks(began) == 2; });
        cancelled.request_stop();
        co_await cancelled.wait();
        CHECK(cancelled.cancelled());
        auto late = [&](duration most) -> task<bool> {
            try {
                co_await pool.call({.timeout = most}, fn<&wait_for_ever>, began, unwound);
            } catch (const timeout_error&) {
                co_return true;
            }
            co_return false;
        };
        // A slow machine needs more than one try until it has begun by then.
        for (auto most = 20ms; marks(began) == 2; most *= 2) {
            REQUIRE(most < 40s);
            auto timed_out = co_await late(most);
            CHECK(timed_out);
        }
        CHECK(marks(unwound) == 3);

        // A result that exists wins.
        const std::string heard = dir.path("heard");
        future<int> has_result = pool.submit(fn<&asked_too_late>, heard);
        co_await eventually([&] { return marks(heard) == 1; });
        has_result.request_stop();
        auto five = co_await has_result;
        CHECK(five == 5);
        auto same = co_await pool.call(fn<&worker_pid>);
        CHECK(same == pid);
    }());
}
