// SPDX-License-Identifier: MIT
// Whatever goes wrong in a worker, whenever it does, by whichever start method it came into being:
// the task has exactly one outcome, the pool goes on (or says why it is broken), nothing is left.
#include "support/io.hpp"

#include <weft/executors/error.hpp>
#include <weft/executors/process_pool.hpp>

#include <weft/ipc/detail/forked_role.hpp>
#include <weft/ipc/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace std::chrono_literals;

enum class fault : std::uint8_t { crash, exit, error, hang, stop };
enum class moment : std::uint8_t {
    decode,
    run,
    encode,
    half_encoded, // much of the result is written
    mid_result,   // while it is on its way, more or less
    idle,
    shutdown,
    quitting, // told to end, and ends
    initialiser
};

constexpr fault faults[] = {fault::crash, fault::exit, fault::error, fault::hang, fault::stop};
constexpr moment moments[] = {moment::decode,       moment::run,        moment::encode,
                              moment::half_encoded, moment::mid_result, moment::idle,
                              moment::shutdown,     moment::quitting,   moment::initialiser};

const char* name_of(fault f) {
    constexpr const char* names[] = {"crash", "exit", "error", "hang", "stop"};
    return names[static_cast<int>(f)];
}
const char* name_of(moment m) {
    constexpr const char* names[] = {"decode", "run",      "encode",   "half encoded", "mid-result",
                                     "idle",   "shutdown", "quitting", "initialiser"};
    return names[static_cast<int>(m)];
}

struct matrix_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
[[maybe_unused]] const bool own_error_known = register_error<matrix_error>();

// --- What workers do -----------------------------------------------------------------------------

void commit(fault f) {
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    switch (f) {
    case fault::crash:
        std::signal(SIGSEGV, SIG_DFL);
        ::raise(SIGSEGV);
        break;
    case fault::exit:
        ::_exit(7);
    case fault::error:
        throw matrix_error("mine");
    case fault::stop:
        ::raise(SIGSTOP);
        break;
    case fault::hang:
        break;
    }
    while (true)
        ::poll(nullptr, 0, 1000);
}
// Where nobody could catch an error, it ends the process.
void commit_alone(fault f) noexcept {
    std::signal(SIGABRT, SIG_DFL);
    commit(f);
}

struct trap_in { // springs when it is decoded
    fault f;
};
struct trap_out { // springs when it is encoded
    fault f;
    bool late;
};

} // namespace

template <>
struct weft::ipc::codec<trap_in> {
    static void encode(archive_writer& out, const trap_in& t) { out.write_value(t.f); }
    static trap_in decode(archive_reader& in) {
        commit(in.read_value<fault>());
        return {};
    }
};
template <>
struct weft::ipc::codec<trap_out> {
    static void encode(archive_writer& out, const trap_out& t) {
        if (t.late)
            ipc::encode(out, std::vector<std::uint64_t>(500'000));
        commit(t.f);
    }
    static trap_out decode(archive_reader&) { return {}; }
};

namespace {

int sum_up(int a, int b) { return a + b; }
int take_in(trap_in) { return 1; }
trap_out give_out(fault f, bool late) { return {f, late}; }
std::vector<std::uint64_t> large_while(fault f, int microseconds) {
    std::thread([f, microseconds] {
        ::usleep(static_cast<unsigned>(microseconds));
        commit_alone(f);
    }).detach();
    return std::vector<std::uint64_t>(1'000'000, 5);
}
fault at_exit;
void when_quitting(fault f) {
    at_exit = f;
    std::atexit([] { commit_alone(at_exit); });
}
void wait_until_told(const std::string& sign) {
    while (::access(sign.c_str(), F_OK) != 0)
        ::poll(nullptr, 0, 1);
}
void when_told(const std::string& sign, fault f) {
    wait_until_told(sign);
    commit(f);
}
void later_when_told(const std::string& sign, fault f) {
    std::thread([sign, f] {
        wait_until_told(sign);
        commit_alone(f);
    }).detach();
}

// --- What happens --------------------------------------------------------------------------------

enum class outcome : std::uint8_t { value, error, lost, timeout, terminated, broken };

template <class A>
task<outcome> outcome_of(A a) {
    try {
        co_await std::move(a);
        co_return outcome::value;
    } catch (const matrix_error&) {
        co_return outcome::error;
    } catch (const worker_lost&) {
        co_return outcome::lost;
    } catch (const timeout_error&) {
        co_return outcome::timeout;
    } catch (const pool_terminated&) {
        co_return outcome::terminated;
    } catch (const broken_process_pool&) {
        co_return outcome::broken;
    }
}

bool never_comes_back(fault f) { return f == fault::hang || f == fault::stop; }

// Who never comes back is waited for shortly, all others for as long as it takes.
template <class C>
task<outcome> outcome_within(fault f, C call) {
    auto limited =
        with_timeout(never_comes_back(f) ? duration(40ms) : duration(30s), std::move(call));
    auto o = outcome_of(std::move(limited));
    co_return co_await std::move(o);
}

outcome expected_of(fault f) {
    return f == fault::error     ? outcome::error
           : never_comes_back(f) ? outcome::timeout
                                 : outcome::lost;
}

unsigned running(const process_pool& pool) {
    unsigned n = 0;
    for (const auto& w : pool.statistics().workers)
        n += w.is == process_pool_statistics::state::running ? 1 : 0;
    return n;
}

bool is_stopped(int pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto end = text.rfind(')');
    return end != std::string::npos && text.size() > end + 2 && text[end + 2] == 'T';
}

template <class C>
task<> eventually(C condition) {
    const time_point end = now() + 30s;
    while (!condition()) {
        REQUIRE(now() < end);
        co_await sleep_for(1ms);
    }
}

constexpr submit_options at_once{.stop_grace = 0s};

task<> check_that_it_goes_on(process_pool& pool) {
    const int two = co_await pool.call({.retry = 3}, fn<&sum_up>, 1, 1);
    CHECK(two == 2);
    auto s = pool.statistics();
    CHECK_FALSE(s.broken);
    CHECK(s.queued == 0);
    co_await pool.shutdown_for(30s);
    CHECK(pool.statistics().workers.empty());
}

// Its worker is about to stop itself, whatever it was given to do.
task<> until_it_is_stopped(process_pool& pool) {
    const int pid = pool.statistics().workers.at(0).pid;
    co_await eventually([&] { return is_stopped(pid); });
    auto o = co_await outcome_within(fault::stop, pool.call(at_once, fn<&sum_up>, 1, 1));
    CHECK(o == outcome::timeout);
}

task<> in_the_middle(start_method m, fault f, moment when, unsigned seed) {
    process_pool pool({.workers = 1, .start = m, .worker = {.errors = worker_errors::kept}});
    outcome o{};
    if (when == moment::decode) {
        const trap_in trap{f};
        o = co_await outcome_within(f, pool.call(at_once, fn<&take_in>, trap));
    } else if (when == moment::run)
        o = co_await outcome_within(f, pool.call(at_once, fn<&commit>, f));
    else if (when == moment::mid_result)
        o = co_await outcome_within(
            f, pool.call(at_once, fn<&large_while>, f, static_cast<int>(seed % 4000)));
    else
        o = co_await outcome_within(
            f, pool.call(at_once, fn<&give_out>, f, when == moment::half_encoded));
    if (when != moment::mid_result) {
        CHECK(o == expected_of(f));
    } else {
        // The result may have been faster. An error in a thread is the end of the process.
        const bool right =
            o == outcome::value || o == (never_comes_back(f) ? outcome::timeout : outcome::lost);
        CHECK(right);
        if (o == outcome::value && f == fault::stop)
            co_await until_it_is_stopped(pool);
    }
    co_await check_that_it_goes_on(pool);
}

void tell(const std::string& sign) {
    ::close(::open(sign.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

task<> while_idle(start_method m, fault f, const std::string& sign) {
    process_pool pool({.workers = 1, .start = m, .worker = {.errors = worker_errors::kept}});
    co_await pool.call(fn<&later_when_told>, sign, f);
    tell(sign); // only now is it idle, however slow the answer was
    if (f == fault::stop) {
        co_await until_it_is_stopped(pool);
    } else if (f != fault::hang) { // which disturbs nobody
        co_await eventually([&] { return pool.statistics().respawned == 1; });
        CHECK(pool.statistics().failed == 0);
    }
    co_await check_that_it_goes_on(pool);
    ::unlink(sign.c_str());
}

task<> at_shutdown(start_method m, fault f, const std::string& sign) {
    process_pool pool({.workers = 1, .start = m, .worker = {.errors = worker_errors::kept}});
    auto task_of = spawn(pool.call(at_once, fn<&when_told>, sign, f));
    co_await eventually([&] { return running(pool) == 1; });
    auto ends = spawn(never_comes_back(f) ? as_task(pool.shutdown_for(60ms))
                                          : as_task(pool.shutdown_for(60s)));
    co_await yield();
    tell(sign);
    auto o = co_await outcome_of(task_of.join());
    CHECK(o == (never_comes_back(f) ? outcome::terminated : expected_of(f)));
    co_await ends.join();
    ::unlink(sign.c_str());
    CHECK(pool.statistics().workers.empty());
    auto after = co_await outcome_of(as_task(pool.shutdown())); // again
    CHECK(after == outcome::value);
}

task<> while_quitting(start_method m, fault f) {
    process_pool pool(
        {.workers = 1, .stop_grace = 60ms, .start = m, .worker = {.errors = worker_errors::kept}});
    co_await pool.call(fn<&when_quitting>, f);
    co_await pool.shutdown(); // has no deadline, and ends
    auto s = pool.statistics();
    CHECK(s.workers.empty());
    CHECK(s.failed == 0);
    CHECK_FALSE(s.broken);
}

task<> in_the_initialiser(start_method m, fault f) {
    process_pool pool({.workers = 1,
                       .start_deadline = never_comes_back(f) ? duration(150ms) : duration(30s),
                       .deaths_before_broken = 2,
                       .start = m,
                       .worker = {.errors = worker_errors::kept}},
                      fn<&commit>, f);
    auto o = co_await outcome_of(pool.call(fn<&sum_up>, 1, 1));
    CHECK(o == outcome::broken); // the rule, and no endless row of workers
    CHECK(pool.statistics().respawned <= 1);
    co_await pool.shutdown_for(30s);
    CHECK(pool.statistics().workers.empty());
}

task<> try_all(start_method m, moment when, const std::string& sign) {
    for (fault f : faults) {
        CAPTURE(ipc::name_of(m), name_of(when), name_of(f));
        switch (when) {
        case moment::idle:
            co_await while_idle(m, f, sign);
            break;
        case moment::shutdown:
            co_await at_shutdown(m, f, sign);
            break;
        case moment::quitting:
            co_await while_quitting(m, f);
            break;
        case moment::initialiser:
            co_await in_the_initialiser(m, f);
            break;
        default:
            co_await in_the_middle(m, f, when, Catch::rngSeed() + static_cast<unsigned>(f) * 997);
            break;
        }
    }
}

bool has_one_thread() {
    DIR* d = ::opendir("/proc/self/task");
    int n = 0;
    while (d != nullptr && ::readdir(d) != nullptr)
        ++n;
    ::closedir(d);
    return n == 3; // with . and ..
}

} // namespace

TEST_CASE("process_pool: whatever happens to a worker, and whenever: one outcome, and it goes on",
          "[P1][P2][P8][P9][P10][CF-PPE-02][CF-PPE-03][MP-POOL-16][MP-POOL-17]") {
    for (start_method m : start_methods()) {
        if (m == start_method::fork && !has_one_thread())
            continue; // a sanitizer's
        for (moment when : moments) {
            SECTION(std::string(ipc::name_of(m)) + ", " + name_of(when)) {
                weft::tests::temp_dir dir;
                run(try_all(m, when, dir.path("sign")));
                ipc::detail::end_fork_server();
            }
        }
    }
}
