// SPDX-License-Identifier: MIT
#include "runtime/stray_errors.hpp"
#include "support/io.hpp"
#include "support/report.hpp"
#include "support/sanitizer.hpp"

#include <weft/executors/error.hpp>
#include <weft/executors/executor.hpp>
#include <weft/executors/process_pool.hpp>

#include <weft/ipc/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/result.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <poll.h>
#include <random>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace std::chrono_literals;

// --- What workers do -----------------------------------------------------------------------------

struct own_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct unknown_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct tile {
    int x = 0, y = 0;
    std::vector<std::uint8_t> pixels;
    friend bool operator==(const tile&, const tile&) = default;
};
// Travels one way only.
struct one_way {
    int value = 0;
};

[[maybe_unused]] const bool known = register_error<own_error>();

int add(int a, int b) { return a + b; }
int own_pid() { return ::getpid(); }
int next_number() {
    static int n = 0;
    return ++n;
}
tile render(const tile& t, std::uint8_t shade) {
    tile r = t;
    r.pixels.assign(1000, shade);
    return r;
}
std::string twice(std::string_view s) { return std::string(s) + std::string(s); }
std::uint64_t checksum(const std::vector<std::uint64_t>& v) {
    return std::accumulate(v.begin(), v.end(), std::uint64_t{0});
}
std::vector<std::uint64_t> count_to(std::uint64_t n) {
    std::vector<std::uint64_t> v(n);
    std::iota(v.begin(), v.end(), std::uint64_t{0});
    return v;
}
void fail(int how) {
    switch (how) {
    case 0:
        throw std::out_of_range("no such thing");
    case 1:
        throw own_error("mine");
    case 2:
        throw unknown_error("strange");
    case 3:
        throw std::system_error(ENOENT, std::system_category(), "open tea");
    default:
        throw how;
    }
}
void die_by(int signal) {
    // Without a core file or a sanitizer's report.
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    std::signal(signal, SIG_DFL);
    ::raise(signal);
}
void leave(int code) { ::_exit(code); }
void hang() {
    while (true)
        ::poll(nullptr, 0, 1000);
}
void hang_deaf() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    hang();
}
void freeze() { ::raise(SIGSTOP); }
int until_stopped(std::stop_token stop, int answer) {
    while (!stop.stop_requested())
        ::poll(nullptr, 0, 1);
    return answer;
}
// A function says by a file that it runs.
void show(const std::string& sign) { ::close(::open(sign.c_str(), O_CREAT | O_WRONLY, 0600)); }
bool is_shown(const std::string& sign) { return ::access(sign.c_str(), F_OK) == 0; }
int slow(const std::string& sign, int n) {
    show(sign);
    ::poll(nullptr, 0, 100);
    return n;
}
// Has its worker until somebody else shows the sign.
int hold(const std::string& sign, int n) {
    while (!is_shown(sign))
        ::poll(nullptr, 0, 1);
    return n;
}
// Goes on for longer than it may.
int exceed(const std::string& sign, int n) {
    show(sign);
    while (now() <= current_deadline())
        ::poll(nullptr, 0, 1);
    return n;
}
void until_stopped_then_fail(std::stop_token stop, const std::string& sign, bool politely) {
    show(sign);
    until_stopped(std::move(stop), 0);
    if (politely)
        throw cancelled_error();
    throw own_error("in the middle");
}
// Leaves a process behind that holds the worker's end of the channel while the sign is there, and
// dies.
void die_with_heir(const std::string& sign) {
    if (::fork() == 0) {
        while (::access(sign.c_str(), F_OK) == 0)
            ::poll(nullptr, 0, 1);
        ::_exit(0);
    }
    die_by(SIGKILL);
}
int die_once(const std::string& mark) {
    if (int fd = ::open(mark.c_str(), O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0600); fd >= 0)
        die_by(SIGKILL);
    return ::getpid();
}
std::vector<int> open_descriptors() {
    std::vector<int> all;
    DIR* dir = ::opendir("/proc/self/fd");
    while (const dirent* e = ::readdir(dir)) {
        int fd = std::atoi(e->d_name);
        if (e->d_name[0] != '.' && fd != ::dirfd(dir))
            all.push_back(fd);
    }
    ::closedir(dir);
    std::sort(all.begin(), all.end());
    return all;
}
int close_standard_streams() {
    char c = 0;
    auto n = ::read(STDIN_FILENO, &c, 1);
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        ::close(fd);
    return static_cast<int>(n);
}
int prepared = 0; // in a worker, by its initialiser
void prepare(int n, const std::string& word) { prepared = n + static_cast<int>(word.size()); }
int what_is_prepared() { return prepared; }
one_way go(one_way w) { return w; }
one_way come() { return {7}; }
int in_a_pool_of_its_own(int n);
// Whether that is where the caller has written it.
bool lies_in_shared_memory(std::span<const std::uint64_t> v) {
    const auto at = reinterpret_cast<std::uintptr_t>(v.data());
    std::ifstream maps("/proc/self/maps");
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    for (std::string rest; maps >> std::hex >> begin >> dash >> end && std::getline(maps, rest);)
        if (begin <= at && at + v.size_bytes() <= end)
            return rest.find("memfd:weft ") != std::string::npos;
    return false;
}
std::uint64_t checksum_once_dead(const std::string& mark, std::span<const std::uint64_t> v) {
    if (is_shown(mark))
        return std::accumulate(v.begin(), v.end(), std::uint64_t{0});
    show(mark);
    die_by(SIGKILL);
    return 0;
}
int leak_all_descriptors() {
    int n = 0;
    while (::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        ++n;
    return n;
}

// --- What tests do -------------------------------------------------------------------------------

using state = process_pool_statistics::state;

// Far beyond what anything takes that isn't broken, also with sanitizers on a busy machine.
constexpr auto patience = 40s;

// Waits for a condition.
template <class Condition>
task<> eventually(Condition condition) {
    time_point end = now() + patience;
    while (!condition()) {
        REQUIRE(now() < end);
        co_await sleep_for(1ms);
    }
}

std::size_t count(const process_pool& pool, state s) {
    auto all = pool.statistics();
    return static_cast<std::size_t>(std::count_if(all.workers.begin(), all.workers.end(),
                                                  [s](const auto& w) { return w.is == s; }));
}
task<> all_idle(const process_pool& pool, std::size_t n) {
    co_await eventually([&] { return count(pool, state::idle) == n; });
}
task<> some_running(const process_pool& pool, std::size_t n) {
    co_await eventually([&] { return count(pool, state::running) == n; });
}
task<> is_there(const std::string& file) {
    co_await eventually([&] { return is_shown(file); });
}

// Awaits what must throw an E, and gives it.
template <class E, class A>
task<E> error_of(A a) {
    bool came = false;
    try {
        static_cast<void>(co_await std::move(a));
        came = true;
    } catch (const E& e) {
        co_return e;
    }
    REQUIRE_FALSE(came);
    throw std::logic_error("unreachable");
}
template <class E, class A>
    requires std::is_void_v<await_result_t<A>>
task<E> error_of(A a) {
    bool came = false;
    try {
        co_await std::move(a);
        came = true;
    } catch (const E& e) {
        co_return e;
    }
    REQUIRE_FALSE(came);
    throw std::logic_error("unreachable");
}

// How many blocks of shared memory a process has mapped, with that of its lanes.
std::size_t blocks_of(int pid) {
    std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
    std::size_t n = 0;
    for (std::string line; std::getline(maps, line);)
        n += line.find("memfd:weft ") != std::string::npos ? 1 : 0;
    return n;
}

bool is_alive(int pid) { return ::kill(pid, 0) == 0; }

} // namespace

template <>
struct weft::ipc::codec<one_way> {
    static void encode(archive_writer& out, const one_way& w) {
        if (w.value == 7)
            throw std::length_error("seven doesn't travel");
        ipc::encode(out, w.value);
    }
    static one_way decode(archive_reader& in) {
        int n = ipc::decode<int>(in);
        if (n == 8)
            throw codec_error("eight doesn't arrive");
        return {n};
    }
};

namespace {

int in_a_pool_of_its_own(int n) {
    auto work = [](int m) -> task<int> {
        process_pool pool({.workers = 1});
        int r = co_await pool.call(fn<&add>, m, 1);
        co_await pool.shutdown();
        co_return r;
    };
    return run(work(n));
}

} // namespace

// --- Calls ---------------------------------------------------------------------------------------

TEST_CASE("process_pool: functions are called in other processes and their results come back",
          "[G-13][MP-POOL-02]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        auto five = co_await pool.call(fn<&add>, 2, 3);
        CHECK(five == 5);
        auto pid = co_await pool.call(fn<&own_pid>);
        CHECK(pid != ::getpid());
        auto tea = co_await pool.call(fn<&twice>, "tea");
        CHECK(tea == "teatea");
        tile t;
        t.x = 1;
        tile drawn = t;
        drawn.pixels.assign(1000, 9);
        auto rendered = co_await pool.call(fn<&render>, t, 9);
        CHECK(rendered == drawn);
        auto stars = [](std::size_t n) { return std::string(n, '*'); };
        auto row = co_await pool.call(stars, 5);
        CHECK(row == "*****");
        auto add_up = [](auto... n) { return (n + ...); };
        auto six = co_await pool.call(add_up, 1, 2, 3);
        CHECK(six == 6);
        co_await pool.shutdown();
    }());
}

TEST_CASE("process_pool: one task at a time for each worker, first come first served") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        std::vector<task<int>> all;
        for (int i = 0; i != 100; ++i)
            all.push_back(as_task(pool.call(fn<&next_number>)));
        auto numbers = co_await when_all(std::move(all));
        std::vector<int> expected(100);
        std::iota(expected.begin(), expected.end(), 1);
        CHECK(numbers == expected);
    }());
}

TEST_CASE("process_pool: a submission that isn't awaited does nothing") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        static_cast<void>(pool.call(fn<&next_number>));
        auto first = co_await pool.call(fn<&next_number>);
        CHECK(first == 1);
    }());
}

TEST_CASE("process_pool: large arguments and results go both ways at once", "[CF-PPE-12][P14]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        constexpr std::uint64_t n = 2'000'000; // 16 MB
        const std::uint64_t sum = n * (n - 1) / 2;
        auto v = co_await pool.call(fn<&count_to>, n);
        REQUIRE(v.size() == n);
        CHECK(checksum(v) == sum);
        auto [a, b, c, d] =
            co_await when_all(pool.call(fn<&checksum>, v), pool.call(fn<&count_to>, n),
                              pool.call(fn<&checksum>, v), pool.call(fn<&count_to>, n));
        CHECK(a == sum);
        CHECK(checksum(b) == sum);
        CHECK(c == sum);
        CHECK(d == v);
    }());
}

TEST_CASE("process_pool: large messages are written once and read in place, within bounds",
          "[P5][P16]") {
    run([]() -> task<> {
        const auto v = count_to(200'000);
        const std::uint64_t sum = checksum(v);
        process_pool pool({.workers = 2, .message_memory = 16 << 20});
        auto call = pool.submit(fn<&lies_in_shared_memory>, v);
        CHECK(pool.statistics().message_memory > v.size() * 8);
        const bool in_place = co_await std::move(call);
        CHECK(in_place);
        // Many at once, of which not all have room.
        std::vector<future<std::uint64_t>> all;
        for (int i = 0; i != 30; ++i)
            all.push_back(pool.submit(fn<&checksum>, v));
        CHECK(pool.statistics().message_memory <= 16 << 20);
        for (auto& f : all) {
            const std::uint64_t got = co_await std::move(f);
            CHECK(got == sum);
        }
        // By other ways where there is none.
        process_pool without({.workers = 1, .message_memory = 0});
        const bool there = co_await without.call(fn<&lies_in_shared_memory>, v);
        CHECK_FALSE(there);
        auto back = co_await without.call(fn<&count_to>, 200'000u);
        CHECK(back == v);
        CHECK(without.statistics().message_memory == 0);
    }());
}

TEST_CASE("process_pool: what large messages took goes back when they stop coming", "[P5]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        const int worker = co_await pool.call(fn<&own_pid>);
        std::vector<std::uint64_t> v;
        // Who is held up for half a second in between is too late to see them.
        std::size_t with_result = 0, with_both = 0;
        for (int tries = 0; with_both != 3 && tries != 50; ++tries) {
            v = co_await pool.call(fn<&count_to>, 200'000u);
            with_result = std::max(with_result, blocks_of(worker));
            const bool in_place = co_await pool.call(fn<&lies_in_shared_memory>, v);
            CHECK(in_place);
            with_both = std::max(with_both, blocks_of(worker));
        }
        CHECK(with_result >= 2); // 3, if that of a call before was still there
        CHECK(with_both == 3);
        // The caller's stays mapped there, without pages.
        co_await eventually(
            [&] { return pool.statistics().message_memory == 0 && blocks_of(worker) == 2; });
        const std::uint64_t sum = co_await pool.call(fn<&checksum>, v);
        CHECK(sum == checksum(v));
    }());
}

TEST_CASE("process_pool: without descriptors large messages go another way, or fail their task",
          "[P16]") {
    if (tests::address_sanitizer) {
        tests::skip("it makes a pipe to look at an object");
        return;
    }
    run([]() -> task<> {
        const auto v = count_to(200'000);
        process_pool pool({.workers = 1});
        const int worker = co_await pool.call(fn<&own_pid>);
        rlimit before{};
        ::getrlimit(RLIMIT_NOFILE, &before);
        const int next = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
        ::close(next);
        const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &none);
        const std::uint64_t sum = co_await pool.call(fn<&checksum>, v);
        auto result = co_await as_result(pool.call(fn<&count_to>, 200'000u));
        auto again = co_await as_result(pool.call(fn<&count_to>, 200'000u));
        ::setrlimit(RLIMIT_NOFILE, &before);
        CHECK(sum == checksum(v));
        CHECK_THROWS_AS(result.value(), std::system_error);
        CHECK_THROWS_AS(again.value(), std::system_error);
        auto came = co_await pool.call(fn<&count_to>, 200'000u);
        CHECK(came == v);
        CHECK(blocks_of(worker) <= 2); // those that didn't come are gone

        const int leaked = co_await pool.call(fn<&leak_all_descriptors>);
        CHECK(leaked > 0);
        const std::uint64_t sum_there = co_await pool.call(fn<&checksum>, v);
        CHECK(sum_there == sum);
        came = co_await pool.call(fn<&count_to>, 200'000u);
        CHECK(came == v);
        const int same = co_await pool.call(fn<&own_pid>);
        CHECK(same == worker); // nobody died of it
    }());
}

TEST_CASE("process_pool: a worker may have a pool of its own", "[CF-PPE-11]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto answer = co_await pool.call(fn<&in_a_pool_of_its_own>, 41);
        CHECK(answer == 42);
    }());
}

// --- Errors --------------------------------------------------------------------------------------

TEST_CASE("process_pool: errors arrive as the exceptions that they were",
          "[CF-PPE-09][MP-POOL-19]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto range = co_await error_of<std::out_of_range>(pool.call(fn<&fail>, 0));
        CHECK(std::string(range.what()) == "no such thing");
        auto mine = co_await error_of<own_error>(pool.call(fn<&fail>, 1));
        CHECK(std::string(mine.what()) == "mine");
        auto kernel = co_await error_of<std::system_error>(pool.call(fn<&fail>, 3));
        CHECK(kernel.code().value() == ENOENT);
        CHECK(std::string(kernel.what()) == "open tea: No such file or directory");

        auto strange = co_await error_of<remote_error>(pool.call(fn<&fail>, 2));
        CHECK(strange.text() == "strange");
        CHECK_THAT(strange.type_name(), Catch::Contains("unknown_error"));
#if defined(__x86_64__) || defined(__aarch64__)
        CHECK_THAT(strange.trace(), Catch::StartsWith("#0 "));
#endif
        auto number = co_await error_of<remote_error>(pool.call(fn<&fail>, 9));
        CHECK(number.type_name() == "int");

        // Each was that task's own affair.
        auto two = co_await pool.call(fn<&add>, 1, 1);
        CHECK(two == 2);
        auto s = pool.statistics();
        CHECK(s.failed == 5);
        CHECK(s.done == 1);
        CHECK(s.respawned == 0);
    }());
}

TEST_CASE("process_pool: what can't be encoded or decoded fails its own task only",
          "[G-12][CF-PPE-04][MP-POOL-18]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        CHECK_THROWS_AS(pool.call(fn<&go>, one_way{7}), std::length_error); // in the parent
        co_await error_of<codec_error>(pool.call(fn<&go>, one_way{8}));     // in the worker
        co_await error_of<std::length_error>(pool.call(fn<&come>));         // on its way back
        auto arrived = co_await pool.call(fn<&go>, one_way{1});
        CHECK(arrived.value == 1);
        CHECK(pool.statistics().respawned == 0);
    }());
}

TEST_CASE("process_pool: more tasks than may wait are refused", "[P5]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1, .max_pending = 2});
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(pool.call({.stop_grace = 0s}, fn<&hang>));
            co_await some_running(pool, 1);
            g.spawn(pool.call(fn<&hang>));
            g.spawn(pool.call(fn<&hang>));
            co_await eventually([&] { return pool.statistics().queued == 2; });
            co_await error_of<limit_error>(pool.call(fn<&hang>));
            g.cancel();
        });
    }());
}

TEST_CASE("process_pool: options that can't be are refused where they are given") {
    run([]() -> task<> {
        CHECK_THROWS_AS(process_pool({.max_pending = 0}), std::invalid_argument);
        CHECK_THROWS_AS(process_pool({.deaths_before_broken = 0}), std::invalid_argument);
        CHECK_THROWS_AS(process_pool({.workers = 1u << 20}), std::invalid_argument);
        CHECK_THROWS_AS(process_pool({.idle_timeout = -1ns}), std::invalid_argument);
        CHECK_THROWS_AS(process_pool({.start_deadline = -1ns}), std::invalid_argument);
        CHECK_THROWS_AS(process_pool({.stop_grace = -1ns}), std::invalid_argument);
        CHECK_THROWS_AS(process_pool({.deaths_within = -1ns}), std::invalid_argument);
        co_return;
    }());
    CHECK_THROWS_AS(process_pool({.workers = 1}), state_error); // no loop
}

TEST_CASE("process_pool: where there can be no ring it says so, and starts nobody", "[P16]") {
    if (tests::address_sanitizer) {
        tests::skip("it makes a pipe to look at an object");
        return;
    }
    int told = 0;
    auto test = [&]() -> task<> {
        rlimit before{};
        ::getrlimit(RLIMIT_NOFILE, &before);
        rlimit none = before;
        none.rlim_cur = 0; // what is open stays so
        ::setrlimit(RLIMIT_NOFILE, &none);
        try {
            process_pool pool({.workers = 1});
        } catch (const std::system_error& e) {
            told = e.code().value();
        }
        ::setrlimit(RLIMIT_NOFILE, &before);
        co_return;
    };
    // The loop of a plain thread has a ring when something asks for one.
    std::thread([&] { sync_wait(test()); }).join();
    CHECK(told == EMFILE);
}

// --- As an executor ------------------------------------------------------------------------------

TEST_CASE("process_pool: is an executor, whose futures anybody may wait for", "[MP-DUM-01]") {
    static_assert(executor<process_pool>);
    runtime rt;
    std::optional<future<int>> kept;
    std::thread plain;
    rt.run([&]() -> task<> {
        process_pool pool({.workers = 2});
        future<int> sum = pool.submit(fn<&add>, 1, 2);
        plain = std::thread([&kept, sum] { kept = sum.get() == 3 ? sum : future<int>(); });
        auto three = co_await sum;
        CHECK(three == 3);
        CHECK(sum.get() == 3); // again
        future<> bad = pool.submit(fn<&fail>, 1);
        co_await error_of<own_error>(std::move(bad));
        future<tile> large = pool.submit(fn<&render>, tile{}, std::uint8_t{9});
        tile t = co_await std::move(large);
        CHECK(t.pixels.size() == 1000);
        future<int> lambda = pool.submit([](int n) { return n + 1; }, 41);
        auto answer = co_await lambda;
        CHECK(answer == 42);
        auto twice = [](auto& ex) -> task<int> {
            auto square = [](int n) { return n * n; };
            auto nine = ex.submit(square, 3);
            auto sixteen = ex.submit(square, 4);
            co_return co_await nine + co_await sixteen;
        };
        int both = co_await with_shutdown(pool, twice(pool));
        CHECK(both == 25);
        CHECK_THROWS_AS(pool.submit(fn<&add>, 1, 1), state_error);
        CHECK(pool.statistics().workers.empty());
    }());
    plain.join();
    CHECK(kept.has_value());
}

TEST_CASE("process_pool: a future runs when a worker has it, and before that it can be cancelled",
          "[CF-PPE-08]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        future<> hangs = pool.submit({.stop_grace = 20ms}, fn<&hang>);
        future<int> waits = pool.submit(fn<&add>, 1, 1);
        future<int> waits_too = pool.submit(fn<&add>, 2, 2);
        co_await eventually([&] { return hangs.running(); });
        CHECK(waits.state() == future_state::pending);
        CHECK(waits.cancel());
        CHECK(pool.statistics().queued == 1);
        CHECK_FALSE(hangs.cancel());
        hangs.request_stop(); // it takes no token: its worker goes
        co_await hangs.wait();
        CHECK(hangs.cancelled());
        auto four = co_await waits_too;
        CHECK(four == 4);
        CHECK(waits.cancelled());
        CHECK(pool.statistics().respawned == 1);
        // A polite function ends without that.
        future<int> polite = pool.submit(fn<&until_stopped>, 7);
        co_await eventually([&] { return polite.running(); });
        polite.request_stop();
        co_await polite.wait();
        CHECK(polite.cancelled());
        CHECK(pool.statistics().respawned == 1);
    }());
}

TEST_CASE("process_pool: shutdown chooses what becomes of futures that wait", "[CF-EXE-06]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        const std::string go_on = dir.path("go on");
        future<int> runs = pool.submit(fn<&hold>, go_on, 5);
        co_await some_running(pool, 1);
        future<int> waits = pool.submit(fn<&add>, 1, 1);
        auto awaited = spawn(pool.call(fn<&add>, 2, 2)); // is accepted, and no future
        co_await eventually([&] { return pool.statistics().queued == 2; });
        co_await pool.shutdown({.wait = false, .cancel_pending = true});
        co_await waits.wait();
        CHECK(waits.cancelled());
        CHECK_FALSE(runs.done());
        show(go_on);
        auto four = co_await awaited.join();
        CHECK(four == 4);
        co_await pool.shutdown(shutdown_options());
        CHECK(runs.get() == 5);
        CHECK(pool.statistics().workers.empty());
    }());
    // What is left when the pool goes away is not left pending.
    run([]() -> task<> {
        std::optional<process_pool> pool(std::in_place, process_pool_options{.workers = 1});
        future<> runs = pool->submit(fn<&hang>);
        future<int> waits = pool->submit(fn<&add>, 1, 1);
        co_await eventually([&] { return runs.running(); });
        pool.reset();
        co_await error_of<pool_terminated>(std::move(waits));
        co_await error_of<pool_terminated>(std::move(runs));
    }());
}

TEST_CASE("process_pool: futures that are cancelled at random have one outcome each", "[P1][P3]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    run([](unsigned s) -> task<> {
        std::mt19937 random(s);
        process_pool pool({.workers = 2});
        // Nobody has time for the first half, so enough can be cancelled, however slow we are.
        weft::tests::temp_dir dir;
        const std::string go_on = dir.path("go on");
        std::vector<future<int>> held;
        for (int i = 0; i != 2; ++i)
            held.push_back(pool.submit(fn<&hold>, go_on, i));
        co_await some_running(pool, 2);
        std::vector<future<int>> all;
        for (int i = 0; i != 2000; ++i) {
            if (i == 1000)
                show(go_on);
            all.push_back(pool.submit(fn<&add>, i, 0));
            if (random() % 3 == 0)
                all[random() % all.size()].cancel();
            if (random() % 40 == 0)
                all[random() % all.size()].request_stop();
            if (random() % 16 == 0)
                co_await yield();
        }
        int right = 0;
        int cancelled = 0;
        for (std::size_t i = 0; i != all.size(); ++i) {
            co_await all[i].wait();
            if (all[i].cancelled())
                ++cancelled;
            else
                right += all[i].get() == static_cast<int>(i) ? 1 : 0;
        }
        CHECK(right + cancelled == 2000);
        CHECK(right > 500);
        CHECK(cancelled > 100);
        for (future<int>& f : held)
            co_await f.wait();
        co_await pool.shutdown();
    }(seed));
}

TEST_CASE("process_pool: terminate ends what runs and drops what waits, however much that is",
          "[MP-POOL-12][CF-PPE-10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        std::vector<future<>> running;
        for (int i = 0; i != 2; ++i)
            running.push_back(pool.submit(fn<&hang_deaf>)); // it ignores SIGTERM
        co_await some_running(pool, 2);
        std::vector<future<int>> waiting;
        for (int i = 0; i != 10'000; ++i)
            waiting.push_back(pool.submit(fn<&add>, i, 1));
        pool.terminate(20ms);
        int failed = 0;
        for (future<int>& f : waiting) {
            auto error = co_await error_of<pool_terminated>(std::move(f));
            failed += std::string(error.what()).empty() ? 0 : 1;
        }
        CHECK(failed == 10'000);
        for (future<>& f : running)
            co_await error_of<pool_terminated>(std::move(f));
        CHECK_THROWS_AS(pool.submit(fn<&add>, 1, 1), state_error);
        pool.terminate(); // harmless
        co_await pool.shutdown();
        CHECK(pool.statistics().workers.empty());
        process_pool unused({.workers = 1, .min_workers = 0}); // of which none was started
        unused.terminate(1s);
        co_await unused.shutdown();
    }());
}

TEST_CASE("process_pool: callbacks are told the result, or the error, and a bad one harms nobody",
          "[MP-POOL-03][MP-POOL-04]") {
    weft::tests::stray_errors strays;
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        std::vector<std::string> told;
        future<int> good = pool.submit(fn<&add>, 1, 1);
        good.on_done([&](const future<int>& f) { told.push_back(std::to_string(f.get())); });
        good.on_done([](const future<int>&) { throw std::runtime_error("a bad callback"); });
        future<> bad = pool.submit(fn<&fail>, 0);
        bad.on_done([&](const future<>& f) {
            try {
                f.get();
            } catch (const std::out_of_range& e) {
                told.push_back(e.what());
            }
        });
        auto two = co_await good;
        CHECK(two == 2);
        co_await bad.wait();
        CHECK(told == std::vector<std::string>{"2", "no such thing"});
        auto three = co_await pool.submit(fn<&add>, 1, 2); // it goes on
        CHECK(three == 3);
    }());
    CHECK(strays.texts() == std::vector<std::string>{"a bad callback"});
}

// --- Workers that come and go --------------------------------------------------------------------

TEST_CASE("process_pool: each worker is initialised, those that replace others too",
          "[MP-POOL-16]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2}, fn<&prepare>, 3, std::string("abcd"));
        for (int i = 0; i != 6; ++i) {
            auto seen = co_await pool.call(fn<&what_is_prepared>);
            CHECK(seen == 7);
        }
        co_await error_of<worker_lost>(pool.call(fn<&die_by>, SIGKILL));
        co_await all_idle(pool, 2);
        std::vector<task<int>> all;
        for (int i = 0; i != 10; ++i)
            all.push_back(as_task(pool.call(fn<&what_is_prepared>)));
        auto seen = co_await when_all(std::move(all));
        CHECK(seen == std::vector<int>(10, 7));
        co_await pool.shutdown();
    }());
}

TEST_CASE("process_pool: an initialiser that fails breaks the pool, and says why",
          "[P9][CF-PPE-03][MP-POOL-16]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2}, fn<&fail>, 0);
        auto text = co_await error_of<broken_process_pool>(pool.call(fn<&add>, 1, 1));
        CHECK_THAT(text.what(), Catch::Contains("the initialiser failed: no such thing"));
        co_await error_of<broken_executor>(pool.call(fn<&add>, 1, 1)); // and so do later ones
        // One that dies of it is tried again, but not for ever.
        process_pool dies({.workers = 1, .deaths_before_broken = 3}, fn<&die_by>, SIGKILL);
        co_await error_of<broken_process_pool>(dies.call(fn<&add>, 1, 1));
        // One that hangs has an end.
        process_pool hangs({.workers = 1, .start_deadline = 500ms, .deaths_before_broken = 1},
                           fn<&hang>);
        co_await error_of<broken_process_pool>(hangs.call(fn<&add>, 1, 1));
    }());
}

TEST_CASE("process_pool: a worker goes home after so many tasks, and no task is lost",
          "[MP-POOL-15][CF-PPE-05]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1, .max_tasks_per_worker = 2});
        std::vector<task<int>> all;
        for (int i = 0; i != 6; ++i)
            all.push_back(as_task(pool.call(fn<&own_pid>)));
        auto pids = co_await when_all(std::move(all));
        CHECK(pids[0] == pids[1]);
        CHECK(pids[1] != pids[2]);
        CHECK(pids[2] == pids[3]);
        CHECK(pids[3] != pids[4]);
        CHECK(pids[4] == pids[5]);
        auto s = pool.statistics();
        CHECK(s.done == 6);
        CHECK(s.failed == 0);
        // Also with a shutdown before all is done.
        auto last = spawn(pool.call(fn<&own_pid>));
        auto very_last = spawn(pool.call(fn<&own_pid>));
        auto after_all = spawn(pool.call(fn<&own_pid>));
        co_await eventually([&] { return pool.statistics().done != 6; });
        co_await pool.shutdown();
        int a = co_await last.join();
        int b = co_await very_last.join();
        int c = co_await after_all.join();
        CHECK(a == b);
        CHECK(b != c);
    }());
}

TEST_CASE("process_pool: workers come on demand, are reused, and go when they are idle",
          "[CF-PPE-06]") {
    run([]() -> task<> {
        process_pool pool({.workers = 3, .min_workers = 0});
        co_await sleep_for(1ms);
        CHECK(pool.statistics().workers.empty());
        int first = co_await pool.call(fn<&own_pid>);
        int second = co_await pool.call(fn<&own_pid>);
        CHECK(first == second);
        CHECK(pool.statistics().workers.size() == 1);
        co_await pool.shutdown();

        process_pool brief({.workers = 3, .min_workers = 0, .idle_timeout = 20ms});
        first = co_await brief.call(fn<&own_pid>);
        co_await eventually([&] { return brief.statistics().workers.empty(); });
        second = co_await brief.call(fn<&own_pid>);
        CHECK(first != second);
        co_await brief.shutdown();
    }());
}

TEST_CASE("process_pool: urgent tasks come first") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        int zero = co_await pool.call(fn<&next_number>);
        CHECK(zero == 1);
        weft::tests::temp_dir dir;
        const std::string go_on = dir.path("go on");
        auto busy = spawn(pool.call(fn<&hold>, go_on, 1));
        co_await some_running(pool, 1);
        auto low = spawn(pool.call({.priority = task_priority::low}, fn<&next_number>));
        auto normal = spawn(pool.call(fn<&next_number>));
        auto high = spawn(pool.call({.priority = task_priority::high}, fn<&next_number>));
        co_await eventually([&] { return pool.statistics().queued == 3; });
        show(go_on);
        int h = co_await high.join();
        int n = co_await normal.join();
        int l = co_await low.join();
        CHECK(h == 2);
        CHECK(n == 3);
        CHECK(l == 4);
        co_await busy.join();
    }());
}

TEST_CASE("process_pool: if it is told so, one death breaks it", "[CF-PPE-02]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2, .on_worker_death = worker_death::breaks_pool});
        auto hangs = spawn(pool.call(fn<&hang>));
        co_await some_running(pool, 1);
        auto waits = spawn(pool.call(fn<&die_by>, SIGKILL));
        auto text = co_await error_of<broken_process_pool>(waits.join());
        CHECK_THAT(text.what(), Catch::Contains("a worker was lost: killed by signal 9"));
        co_await error_of<broken_process_pool>(hangs.join());
        co_await error_of<broken_process_pool>(pool.call(fn<&add>, 1, 1));
        co_await eventually([&] { return pool.statistics().workers.empty(); });
    }());
}

// --- Death ---------------------------------------------------------------------------------------

TEST_CASE("process_pool: a worker that dies in the middle fails what it held and is replaced",
          "[P8]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        int other = co_await pool.call(fn<&own_pid>);
        co_await all_idle(pool, 2);
        for (int signal : {SIGKILL, SIGTERM, SIGSEGV}) {
            time_point start = now();
            auto lost = co_await error_of<worker_lost>(pool.call(fn<&die_by>, signal));
            CHECK(now() - start < patience);
            CHECK(lost.pid() != 0);
            CHECK(lost.status().signal() == signal);
            CHECK_FALSE(is_alive(lost.pid()));
            auto two = co_await pool.call(fn<&add>, 1, 1);
            CHECK(two == 2);
        }
        auto left = co_await error_of<worker_lost>(pool.call(fn<&leave>, 0));
        CHECK(left.status() == exit_status::by_exit(0));
        co_await all_idle(pool, 2);
        auto s = pool.statistics();
        CHECK(s.respawned == 4);
        CHECK(s.failed == 4);
        CHECK(other != 0);
    }());
}

TEST_CASE("process_pool: a death costs only what that worker held", "[P8][MP-POOL-17]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        co_await all_idle(pool, 2);
        auto victim = spawn(pool.call(fn<&hang>));
        co_await some_running(pool, 1);
        int pid = 0;
        for (const auto& w : pool.statistics().workers)
            if (w.is == state::running)
                pid = w.pid;
        std::vector<task<int>> others;
        for (int i = 0; i != 50; ++i)
            others.push_back(as_task(pool.call(fn<&add>, i, 0)));
        ::kill(pid, SIGKILL);
        auto results = co_await when_all(std::move(others));
        CHECK(std::accumulate(results.begin(), results.end(), 0) == 49 * 50 / 2);
        auto lost = co_await error_of<worker_lost>(victim.join());
        CHECK(lost.pid() == pid);
    }());
}

TEST_CASE("process_pool: an idle worker that dies is replaced", "[P8]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        int first = co_await pool.call(fn<&own_pid>);
        ::kill(first, SIGKILL);
        co_await eventually([&] { return pool.statistics().respawned == 1; });
        int second = co_await pool.call(fn<&own_pid>);
        CHECK(second != first);
        CHECK(pool.statistics().failed == 0);
    }());
}

TEST_CASE("process_pool: a worker that dies while it starts is replaced", "[P8]") {
    run([]() -> task<> {
        bool was_starting = false;
        for (int tries = 0; !was_starting && tries != 50; ++tries) { // it may be the faster one
            process_pool pool({.workers = 1});
            auto answer = spawn(pool.call(fn<&own_pid>));
            while (pool.statistics().workers.empty())
                co_await yield();
            auto w = pool.statistics().workers.at(0);
            was_starting = w.is == state::starting;
            if (was_starting)
                ::kill(w.pid, SIGKILL);
            int pid = co_await answer.join();
            CHECK((pid != w.pid) == was_starting);
            CHECK((pool.statistics().respawned == 1) == was_starting);
        }
        CHECK(was_starting);
    }());
}

TEST_CASE("process_pool: a death is seen although another process holds the worker's channel",
          "[P8]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        co_await pool.call(fn<&own_pid>);
        weft::tests::temp_dir dir;
        const std::string stay = dir.path("stay");
        show(stay);
        time_point start = now();
        co_await error_of<worker_lost>(pool.call(fn<&die_with_heir>, stay)); // who is still there
        CHECK(now() - start < patience);
        auto two = co_await pool.call(fn<&add>, 1, 1);
        CHECK(two == 2);
    }());
}

TEST_CASE("process_pool: a task that may be retried survives its worker", "[P8]") {
    char name[] = "/tmp/weft-retry-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    const std::string mark = std::string(name) + "/mark";
    run([](const std::string& m) -> task<> {
        process_pool pool({.workers = 1});
        int first = co_await pool.call(fn<&own_pid>);
        int pid = co_await pool.call({.retry = 1}, fn<&die_once>, m);
        CHECK(pid != first);
        CHECK(pool.statistics().respawned == 1);
        CHECK(pool.statistics().failed == 0);
        co_await error_of<worker_lost>(pool.call({.retry = 1}, fn<&die_by>, SIGKILL));
        CHECK(pool.statistics().respawned == 3);
        ::unlink(m.c_str());
        const auto large = count_to(200'000);
        const std::uint64_t sum =
            co_await pool.call({.retry = 1}, fn<&checksum_once_dead>, m, large);
        CHECK(sum == checksum(large));
        CHECK(pool.statistics().respawned == 4);
    }(mark));
    ::unlink(mark.c_str());
    ::rmdir(name);
}

TEST_CASE("process_pool: deaths without end break it, and everybody learns why", "[P9]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1, .deaths_within = 1h});
        for (int i = 0; i != 4; ++i)
            co_await error_of<worker_lost>(pool.call(fn<&die_by>, SIGKILL));
        auto held = spawn(pool.call(fn<&die_by>, SIGKILL));
        auto waiting = spawn(pool.call(fn<&add>, 1, 1));
        co_await error_of<worker_lost>(held.join());
        auto e = co_await error_of<broken_process_pool>(waiting.join());
        CHECK_THAT(e.what(), Catch::Contains("5 workers died") && Catch::Contains("SIGKILL"));
        co_await error_of<broken_process_pool>(pool.call(fn<&add>, 1, 1));
        CHECK(pool.statistics().broken);
        CHECK(pool.statistics().workers.empty());
        co_await pool.shutdown();
    }());
}

// --- Stops ---------------------------------------------------------------------------------------

TEST_CASE("process_pool: a queued task that is stopped is withdrawn at once") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto busy = spawn(pool.call({.stop_grace = 0s}, fn<&hang>));
        co_await some_running(pool, 1);
        // It would wait for ever.
        co_await error_of<timeout_error>(with_timeout(10ms, pool.call(fn<&next_number>)));
        CHECK(pool.statistics().queued == 0);
        busy.cancel();
        co_await error_of<cancelled_error>(busy.join());
        auto first = co_await pool.call(fn<&next_number>);
        CHECK(first == 1); // a new worker, and it never ran
    }());
}

TEST_CASE("process_pool: a running function is told to stop through its token", "[P10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        int pid = co_await pool.call(fn<&own_pid>);
        co_await error_of<timeout_error>(with_timeout(20ms, pool.call(fn<&until_stopped>, 1)));
        // It returned by itself: same worker.
        auto same = co_await pool.call(fn<&own_pid>);
        CHECK(same == pid);
        CHECK(pool.statistics().respawned == 0);
    }());
}

TEST_CASE("process_pool: after the grace a worker that doesn't stop is killed and replaced",
          "[P10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto stops = [&](auto function) -> task<> {
            int pid = co_await pool.call(fn<&own_pid>);
            auto busy = spawn(pool.call({.stop_grace = 100ms}, function));
            co_await some_running(pool, 1);
            time_point start = now();
            busy.cancel();
            co_await error_of<cancelled_error>(busy.join());
            CHECK(now() - start >= 100ms);
            CHECK(now() - start < patience);
            CHECK_FALSE(is_alive(pid)); // who asked has waited until it was gone
            auto next = co_await pool.call(fn<&own_pid>);
            CHECK(next != pid);
        };
        co_await stops(fn<&hang>);
        co_await stops(fn<&hang_deaf>);
        co_await stops(fn<&freeze>);
        CHECK(pool.statistics().respawned == 3);
    }());
}

TEST_CASE("process_pool: a task has a deadline, with which it ends whatever it does", "[P2][P10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        int pid = co_await pool.call(fn<&own_pid>);
        // One that can be told is, and its worker stays.
        co_await error_of<timeout_error>(pool.call({.timeout = 20ms}, fn<&until_stopped>, 1));
        weft::tests::temp_dir dir;
        co_await error_of<timeout_error>(
            pool.submit({.timeout = 20ms}, fn<&until_stopped_then_fail>, dir.path("sign"), true));
        auto same = co_await pool.call(fn<&own_pid>);
        CHECK(same == pid);
        // One that waits fails where it is, and never runs.
        const std::string go_on = dir.path("go on");
        future<int> holds = pool.submit(fn<&hold>, go_on, 1);
        co_await some_running(pool, 1);
        future<int> waits = pool.submit({.timeout = 1ms}, fn<&next_number>);
        co_await error_of<timeout_error>(std::move(waits));
        co_await error_of<timeout_error>(pool.call({.deadline = now()}, fn<&next_number>));
        show(go_on);
        co_await std::move(holds);
        // A slow machine needs more than one try until a function runs when its deadline comes. One
        // that doesn't stop loses its worker.
        for (auto most = 20ms; is_alive(pid); most *= 2) {
            REQUIRE(most < patience);
            co_await error_of<timeout_error>(
                pool.submit({.stop_grace = 50ms, .timeout = most}, fn<&hang_deaf>));
        }
        auto first = co_await pool.call({.timeout = 1h}, fn<&next_number>);
        CHECK(first == 1);
        // What an unstoppable function gives within the grace counts.
        const std::string runs = dir.path("runs");
        result<int> five;
        for (auto most = 10ms; !is_shown(runs); most *= 2) {
            REQUIRE(most < patience);
            five = co_await as_result(
                pool.call({.stop_grace = patience, .timeout = most}, fn<&exceed>, runs, 5));
        }
        CHECK(five.value() == 5);
        CHECK(pool.statistics().respawned == 1);
    }());
}

TEST_CASE("process_pool: a function that takes no token delivers if it ends within the grace",
          "[P3]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        const std::string sign = dir.path("slow");
        bool delivered = false;
        auto body = [&]() -> task<> {
            delivered = co_await pool.call({.stop_grace = 30s}, fn<&slow>, sign, 5) == 5;
            co_await sleep_for(1h); // the stop comes here
        };
        auto t = spawn(body());
        co_await is_there(sign);
        t.cancel();
        co_await error_of<cancelled_error>(t.join());
        CHECK(delivered);
        CHECK(pool.statistics().respawned == 0);
    }());
}

TEST_CASE("process_pool: an error in a task that is being stopped is seen, unless it says stopped",
          "[P6]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        weft::tests::temp_dir dir;
        const std::string loud_sign = dir.path("loud");
        const std::string polite_sign = dir.path("polite");
        auto loud = spawn(pool.call(fn<&until_stopped_then_fail>, loud_sign, false));
        co_await is_there(loud_sign);
        loud.cancel();
        co_await error_of<own_error>(loud.join());
        auto polite = spawn(pool.call(fn<&until_stopped_then_fail>, polite_sign, true));
        co_await is_there(polite_sign);
        polite.cancel();
        co_await error_of<cancelled_error>(polite.join());
        CHECK(polite.stopped());
    }());
}

// --- The end -------------------------------------------------------------------------------------

TEST_CASE("process_pool: shutdown finishes what was accepted and refuses the rest") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        std::vector<task_handle<int>> all;
        for (int i = 0; i != 20; ++i)
            all.push_back(spawn(pool.call(fn<&add>, i, 0)));
        co_await yield(); // they are in the queue now
        auto end = spawn(pool.shutdown());
        co_await yield();
        co_await error_of<state_error>(pool.call(fn<&add>, 1, 1));
        co_await end.join();
        CHECK(pool.statistics().workers.empty());
        int sum = 0;
        for (auto& h : all)
            sum += co_await h.join();
        CHECK(sum == 190);
        co_await pool.shutdown(); // once more does no harm
    }());
}

TEST_CASE("process_pool: shutdown with a deadline ends whatever runs", "[P10]") {
    run([]() -> task<> {
        process_pool pool({.workers = 4});
        auto polite = spawn(pool.call(fn<&until_stopped>, 1));
        auto deaf = spawn(pool.call(fn<&hang_deaf>));
        auto frozen = spawn(pool.call(fn<&freeze>));
        auto busy = spawn(pool.call(fn<&hang>));
        co_await some_running(pool, 4);
        auto queued = spawn(pool.call(fn<&add>, 1, 1));
        co_await eventually([&] { return pool.statistics().queued == 1; });
        time_point start = now();
        co_await pool.shutdown_for(300ms);
        CHECK(now() - start < patience);
        co_await error_of<pool_terminated>(polite.join());
        co_await error_of<pool_terminated>(deaf.join());
        co_await error_of<pool_terminated>(frozen.join());
        co_await error_of<pool_terminated>(busy.join());
        co_await error_of<pool_terminated>(queued.join());
        CHECK(pool.statistics().workers.empty());
    }());
}

TEST_CASE("process_pool: a stopped wait for the end doesn't hold the end up") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto busy = spawn(pool.call({.stop_grace = 0s}, fn<&hang>));
        co_await some_running(pool, 1);
        co_await error_of<timeout_error>(with_timeout(10ms, pool.shutdown()));
        co_await error_of<state_error>(pool.call(fn<&add>, 1, 1));
        busy.cancel();
        co_await pool.shutdown();
    }());
}

TEST_CASE("process_pool: what is pending when the pool is destroyed fails, and nobody waits for it",
          "[P1][P11][MP-POOL-14]") {
    run([]() -> task<> {
        auto pool =
            std::make_unique<process_pool>(process_pool_options{.workers = 1, .stop_grace = 1h});
        auto running = spawn(pool->call(fn<&hang_deaf>));
        auto queued = spawn(pool->call(fn<&add>, 1, 1));
        co_await some_running(*pool, 1);
        auto never_awaited = pool->call(fn<&add>, 1, 1);
        time_point start = now();
        pool.reset();
        co_await error_of<pool_terminated>(running.join());
        co_await error_of<pool_terminated>(queued.join());
        co_await error_of<state_error>(std::move(never_awaited));
        CHECK(now() - start < patience);
    }());
}

TEST_CASE("process_pool: a runtime may end before its pool", "[P23]") {
    std::unique_ptr<process_pool> pool;
    time_point start = clock::now();
    run([](std::unique_ptr<process_pool>& p) -> task<> {
        p = std::make_unique<process_pool>(process_pool_options{.workers = 2});
        auto lost = spawn(p->call(fn<&hang>));
        co_await some_running(*p, 1);
    }(pool));
    CHECK(clock::now() - start < patience);
    CHECK(pool->statistics().workers.empty());
    run([](process_pool& p) -> task<> {
        co_await error_of<state_error>(p.call(fn<&add>, 1, 1));
        co_await p.shutdown();
    }(*pool));
    pool.reset();
}

TEST_CASE("process_pool: a pool that is ended before it began leaves nothing") {
    run([]() -> task<> {
        {
            process_pool pool({.workers = 2});
        }
        process_pool pool({.workers = 2});
        co_await pool.shutdown();
        CHECK(pool.statistics().workers.empty());
        process_pool other({.workers = 2});
        other.terminate();
        co_await error_of<state_error>(other.call(fn<&add>, 1, 1));
    }());
    // Made in the last turn of its loop.
    run([]() -> task<> {
        auto* left = new process_pool({.workers = 2});
        delete left;
        co_return;
    }());
}

// --- Where from ----------------------------------------------------------------------------------

TEST_CASE("process_pool: tasks of any loop and plain threads use the same pool") {
    runtime rt({.loops = 2});
    rt.run([](runtime& r) -> task<> {
        process_pool pool({.workers = 2});
        // What runs at the same time counts, and is judged afterwards: Catch2's assertions are for
        // one thread at a time.
        int right = 0;
        int at_home = 0;
        auto elsewhere = [](process_pool& p, loop& there, int& sums, int& returns) -> task<> {
            for (int i = 0; i != 50; ++i) {
                auto sum = co_await p.call(fn<&add>, i, 1);
                sums += sum == i + 1;
                returns += &this_loop() == &there; // it comes back to where it was
            }
        };
        auto errors = [](process_pool& p) -> task<> {
            co_await error_of<std::out_of_range>(p.call(fn<&fail>, 0));
            co_await error_of<worker_lost>(p.call(fn<&die_by>, SIGKILL));
            co_await error_of<timeout_error>(with_timeout(20ms, p.call(fn<&until_stopped>, 1)));
            co_await error_of<timeout_error>(
                with_timeout(20ms, p.call({.stop_grace = 20ms}, fn<&hang>)));
        };
        int from_thread = 0;
        std::thread plain([&] { from_thread = sync_wait(pool.call(fn<&add>, 20, 22)); });
        auto here = [](process_pool& p) -> task<int> {
            int sums = 0;
            for (int i = 0; i != 50; ++i) {
                auto sum = co_await p.call(fn<&add>, i, 2);
                sums += sum == i + 2;
            }
            co_return sums;
        };
        loop& second = r.get_loop(1);
        auto both =
            co_await when_all(on(second, elsewhere(pool, second, right, at_home)), here(pool));
        CHECK(std::get<1>(both) == 50);
        CHECK(right == 50);
        CHECK(at_home == 50);
        co_await on(second, errors(pool));
        plain.join();
        CHECK(from_thread == 42);
        co_await on(r.get_loop(1), [](process_pool& p) -> task<> { co_await p.shutdown(); }(pool));
    }(rt));
}

TEST_CASE("process_pool: a worker has its channels open and nothing else", "[P12][MP-PROC-13]") {
    // Neither descriptors without close-on-exec nor those of the workers before it.
    int leak = ::open("/dev/null", O_RDONLY);
    REQUIRE(leak >= 0);
    run([]() -> task<> {
        process_pool pool({.workers = 3});
        co_await all_idle(pool, 3);
        std::map<int, bool> seen;
        while (seen.size() != 3) {
            auto both = [] { return std::pair(::getpid(), open_descriptors()); };
            auto busy = spawn(pool.call(both));
            auto other = spawn(pool.call(both));
            auto [pid, open] = co_await pool.call(both);
            // The standard streams, the parent's pidfd, stream, control, the memory of its lanes,
            // the socket for blocks.
            CHECK(open == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
            seen[pid] = true;
            seen[(co_await busy.join()).first] = true;
            seen[(co_await other.join()).first] = true;
        }
    }());
    ::close(leak);
}

TEST_CASE("process_pool: the protocol leaves the standard streams to the program") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto got = co_await pool.call(fn<&close_standard_streams>);
        CHECK(got == 0); // the input is empty
        auto two = co_await pool.call(fn<&add>, 1, 1);
        CHECK(two == 2);
    }());
}

TEST_CASE("process_pool: statistics show what each worker does") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        co_await all_idle(pool, 2);
        int pid = co_await pool.call(fn<&own_pid>);
        auto busy = spawn(pool.call({.stop_grace = 0s}, fn<&hang>));
        auto busy_too = spawn(pool.call({.stop_grace = 0s}, fn<&hang>));
        co_await some_running(pool, 2);
        auto queued = spawn(pool.call(fn<&add>, 1, 1));
        co_await eventually([&] { return pool.statistics().queued == 1; });
        auto s = pool.statistics();
        REQUIRE(s.workers.size() == 2);
        CHECK(s.done == 1);
        for (const auto& w : s.workers) {
            CHECK(is_alive(w.pid));
            CHECK(w.tasks_done == (w.pid == pid ? 1 : 0));
            CHECK(w.task_age > 0s);
        }
        busy.cancel();
        busy_too.cancel();
        auto two = co_await queued.join();
        CHECK(two == 2);
    }());
}
