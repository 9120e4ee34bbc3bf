// SPDX-License-Identifier: MIT
// How workers come into being, in which surroundings, and what is known of their end.
#include "support/io.hpp"
#include "support/report.hpp"
#include "support/sanitizer.hpp"
#include "sync/patience.hpp"

#include <weft/executors/error.hpp>
#include <weft/executors/impl/oom_watch.hpp>
#include <weft/executors/impl/system_call_filter.hpp>
#include <weft/executors/process_pool.hpp>

#include <weft/ipc/detail/forked_role.hpp>
#include <weft/ipc/error.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/runtime/result.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <numeric>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace std::chrono_literals;

// --- What workers do -----------------------------------------------------------------------------

int plus(int a, int b) { return a + b; }
std::vector<int> pid_and_parent() { return {::getpid(), ::getppid()}; }
int loaded = 0;
void load() { loaded = 42; }
int what_is_loaded() { return loaded; }

std::string directory() {
    char name[4096];
    return ::getcwd(name, sizeof name) == nullptr ? "" : name;
}
std::string variable(const std::string& name) {
    const char* v = std::getenv(name.c_str());
    return v == nullptr ? "none" : v;
}
std::vector<int> cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int> all;
    if (::sched_getaffinity(0, sizeof set, &set) == 0)
        for (int c = 0; c != CPU_SETSIZE; ++c)
            if (CPU_ISSET(c, &set))
                all.push_back(c);
    return all;
}
std::uint64_t fill(std::uint64_t bytes) {
    std::vector<std::uint8_t> v(bytes, 1);
    return std::accumulate(v.begin(), v.end(), std::uint64_t{0});
}
std::uint64_t count_bytes(std::span<const std::uint8_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0});
}
std::uint64_t address_space() {
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}
int open_until_it_fails() {
    std::vector<descriptor> all;
    while (true) {
        descriptor d(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        if (!d)
            return errno;
        all.push_back(std::move(d));
    }
}
void without_core() {
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
}
// Of the processors, so far.
std::chrono::nanoseconds time_used() {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}
void burn() {
    without_core();
    while (true)
        asm volatile("");
}
int errno_of(long call) {
    without_core();
    return ::syscall(call, 0, 0, 0) < 0 ? errno : 0;
}
int errno_before_tasks = -1;
void try_early(long call) { errno_before_tasks = errno_of(call); }
int early_errno() { return errno_before_tasks; }
// How many threads have a filter, and how many haven't.
std::vector<int> threads_with_filter() {
    std::vector<int> n(2);
    DIR* tasks = ::opendir("/proc/self/task");
    while (const dirent* e = ::readdir(tasks)) {
        std::ifstream status(std::string("/proc/self/task/") + e->d_name + "/status");
        for (std::string line; e->d_name[0] != '.' && std::getline(status, line);)
            if (line.starts_with("Seccomp:"))
                ++n[line.ends_with("2") ? 0 : 1];
    }
    ::closedir(tasks);
    return n;
}
void refuse(const std::string& why) { throw std::out_of_range(why); }
int until_stopped(std::stop_token stop) {
    while (!stop.stop_requested())
        ::poll(nullptr, 0, 1);
    return 1;
}
std::vector<std::uint64_t> mirror(std::vector<std::uint64_t> v) {
    std::reverse(v.begin(), v.end());
    return v;
}
void say(const std::string& text) {
    std::size_t done = 0;
    while (done != text.size()) {
        ssize_t n = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
        if (n < 0)
            ::_exit(9);
        done += static_cast<std::size_t>(n);
    }
}
void say_and_die(const std::string& text, int signal) {
    without_core();
    say(text);
    std::signal(signal, SIG_DFL);
    ::raise(signal);
}
void wait_for_a_signal() {
    while (true)
        ::pause();
}

// --- What tests do -------------------------------------------------------------------------------

bool has_one_thread() {
    DIR* d = ::opendir("/proc/self/task");
    int n = 0;
    while (d != nullptr && ::readdir(d) != nullptr)
        ++n;
    ::closedir(d);
    return n == 3; // with . and ..
}

// Those that can be used here. The helper of forkserver is gone at the end.
class methods_here {
public:
    methods_here() {
        for (start_method m : start_methods())
            if (m != start_method::fork || has_one_thread())
                list.push_back(m);
    }
    methods_here(const methods_here&) = delete;
    methods_here& operator=(const methods_here&) = delete;
    ~methods_here() {
        ipc::detail::set_preload({});
        ipc::detail::end_fork_server();
    }
    std::vector<start_method> list;
};

// What is thrown by what is awaited, which must be an E.
template <class E, class A>
task<E> error_of(A a) {
    auto r = co_await as_result(std::move(a));
    REQUIRE_FALSE(r);
    try {
        r.value();
    } catch (const E& e) {
        co_return e;
    } catch (const std::exception& e) {
        FAIL(e.what());
    }
    throw std::logic_error("unreachable");
}

// The standard error of this process is a file for a while.
class captured_stderr {
public:
    captured_stderr()
        : file_(::memfd_create("stderr", MFD_CLOEXEC)), before_(::fcntl(2, F_DUPFD_CLOEXEC, 3)) {
        ::dup2(file_.get(), STDERR_FILENO);
    }
    captured_stderr(const captured_stderr&) = delete;
    captured_stderr& operator=(const captured_stderr&) = delete;
    ~captured_stderr() { ::dup2(before_.get(), STDERR_FILENO); }
    [[nodiscard]] std::string text() const {
        struct stat s{};
        ::fstat(file_.get(), &s);
        std::string all(static_cast<std::size_t>(s.st_size), ' ');
        REQUIRE(::pread(file_.get(), all.data(), all.size(), 0) == s.st_size);
        return all;
    }

private:
    descriptor file_, before_;
};

} // namespace

// --- Start methods -------------------------------------------------------------------------------

TEST_CASE("process_pool: workers come into being by each of the start methods",
          "[MP-START-01][MP-START-02][MP-START-03][MP-POOL-01]") {
    const methods_here methods;
    loaded = 7; // which a copy of this process has, and another program hasn't
    set_forkserver_preload(fn<&load>);
    run([](std::vector<start_method> list) -> task<> {
        for (start_method m : list) {
            CAPTURE(name_of(m));
            process_pool pool({.workers = 1, .start = m});
            auto ids = co_await pool.call(fn<&pid_and_parent>);
            CHECK(ids[0] != ::getpid());
            CHECK(ids[1] == ::getpid()); // so its end is known, whoever made it
            const int found = co_await pool.call(fn<&what_is_loaded>);
            CHECK(found == (m == start_method::spawn ? 0 : m == start_method::fork ? 7 : 42));
            auto refused = co_await error_of<std::out_of_range>(pool.call(fn<&refuse>, "so"));
            CHECK(std::string(refused.what()) == "so");
            std::vector<std::uint64_t> large(300'000);
            std::iota(large.begin(), large.end(), 0u);
            auto back = co_await pool.call(fn<&mirror>, large);
            std::reverse(back.begin(), back.end());
            CHECK(back == large);
            co_await error_of<worker_lost>(pool.call(fn<&say_and_die>, "", SIGKILL));
            const int two = co_await pool.call(fn<&plus>, 1, 1);
            CHECK(two == 2);
            CHECK(pool.statistics().respawned == 1);
            co_await error_of<timeout_error>(
                with_timeout(20ms, pool.call({.stop_grace = 0s}, fn<&wait_for_a_signal>)));
            co_await pool.shutdown();
        }
    }(methods.list));
    loaded = 0;
}

TEST_CASE("process_pool: a fork server that dies takes no worker with it, and another one comes",
          "[MP-START-04][P13]") {
    const methods_here methods;
    run([]() -> task<> {
        process_pool pool({.workers = 1, .start = start_method::forkserver});
        auto before = co_await pool.call(fn<&pid_and_parent>);
        const int server = ipc::detail::fork_server_pid();
        ::kill(server, SIGKILL);
        auto after = co_await pool.call(fn<&pid_and_parent>);
        CHECK(after == before);
        co_await error_of<worker_lost>(pool.call(fn<&say_and_die>, "", SIGKILL));
        auto next = co_await pool.call(fn<&pid_and_parent>);
        CHECK(next[1] == ::getpid());
        CHECK(ipc::detail::fork_server_pid() != server);
        co_await pool.shutdown();
    }());
}

TEST_CASE("process_pool: fork starts all workers at once, and none from a process with threads",
          "[CF-PPE-05][CF-PPE-06][MP-START-02]") {
    const methods_here methods;
    run([]() -> task<> {
        CHECK_THROWS_WITH(process_pool({.max_tasks_per_worker = 1, .start = start_method::fork}),
                          Catch::Contains("max_tasks_per_worker"));
        CHECK_THROWS_AS(process_pool({.start = static_cast<start_method>(9)}),
                        std::invalid_argument);
        // Who wants new workers now and then gets a method that can make them.
        set_forkserver_preload(fn<&load>);
        set_start_method(start_method::forkserver, true);
        process_pool standard({.workers = 1});
        const int by_server = co_await standard.call(fn<&what_is_loaded>);
        CHECK(by_server == 42);
        process_pool renewed({.workers = 1, .max_tasks_per_worker = 1});
        const int by_spawn = co_await renewed.call(fn<&what_is_loaded>);
        CHECK(by_spawn == 0);
        set_start_method(start_method::spawn, true);
        co_await standard.shutdown();
        co_await renewed.shutdown();

        if (has_one_thread()) {
            process_pool pool({.workers = 3, .min_workers = 0, .start = start_method::fork});
            while (pool.statistics().workers.size() != 3)
                co_await sleep_for(1ms);
            co_await pool.shutdown();
        }
        std::atomic<bool> done{false};
        std::jthread other([&] { done.wait(false); });
        process_pool pool({.workers = 1, .start = start_method::fork});
        auto e = co_await error_of<broken_process_pool>(pool.call(fn<&plus>, 1, 1));
        CHECK_THAT(e.what(), Catch::Contains("several threads"));
        done = true;
        done.notify_one();
    }());
}

// --- Surroundings --------------------------------------------------------------------------------

TEST_CASE("process_pool: workers are where they should be, and see what they should") {
    const methods_here methods;
    ::setenv("WEFT_TEST_KEPT", "kept", 1);
    ::setenv("WEFT_TEST_GONE", "still there", 1);
    run([](std::vector<start_method> list) -> task<> {
        const char* variables[] = {"WEFT_TEST_NEW=new=1", "WEFT_TEST_GONE"};
        const int first = cpus().front();
        const int last = cpus().back();
        const int one[] = {first};
        const int other[] = {last};
        const std::span<const int> lists[] = {one, other};
        for (start_method m : list) {
            CAPTURE(name_of(m));
            worker_options w;
            w.directory = "/proc";
            w.environment = variables;
            w.cpu_lists = lists;
            process_pool pool({.workers = 1, .start = m, .worker = w});
            auto where = co_await pool.call(fn<&directory>);
            CHECK(where == "/proc");
            auto added = co_await pool.call(fn<&variable>, "WEFT_TEST_NEW");
            CHECK(added == "new=1");
            auto gone = co_await pool.call(fn<&variable>, "WEFT_TEST_GONE");
            CHECK(gone == "none");
            auto kept = co_await pool.call(fn<&variable>, "WEFT_TEST_KEPT");
            CHECK(kept == "kept");
            auto here = co_await pool.call(fn<&cpus>);
            CHECK(here == std::vector<int>{first});

            w.clean_environment = true;
            w.cpu_lists = {};
            w.one_cpu_each = true;
            process_pool clean({.workers = 1, .start = m, .worker = w});
            auto not_kept = co_await clean.call(fn<&variable>, "WEFT_TEST_KEPT");
            CHECK(not_kept == "none");
            auto added_too = co_await clean.call(fn<&variable>, "WEFT_TEST_NEW");
            CHECK(added_too == "new=1");
            auto its_own = co_await clean.call(fn<&cpus>);
            CHECK(its_own.size() == 1);
            co_await pool.shutdown();
            co_await clean.shutdown();
        }
        // Each worker in its turn.
        process_pool pool({.workers = 2, .worker = {.cpu_lists = lists}});
        auto a = spawn(pool.call({.stop_grace = 0s}, fn<&wait_for_a_signal>));
        auto b = spawn(pool.call({.stop_grace = 0s}, fn<&wait_for_a_signal>));
        while (std::ranges::count_if(pool.statistics().workers, [](const auto& worker) {
                   return worker.is == process_pool_statistics::state::running;
               }) != 2)
            co_await sleep_for(1ms);
        std::vector<int> found;
        for (const auto& worker : pool.statistics().workers) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CHECK(::sched_getaffinity(worker.pid, sizeof set, &set) == 0);
            CHECK(CPU_COUNT(&set) == 1);
            for (int c = 0; c != CPU_SETSIZE; ++c)
                if (CPU_ISSET(c, &set))
                    found.push_back(c);
        }
        CHECK(found == std::vector<int>{first, last});
        a.cancel();
        b.cancel();
    }(methods.list));
    ::unsetenv("WEFT_TEST_KEPT");
    ::unsetenv("WEFT_TEST_GONE");
}

TEST_CASE("process_pool: what exceeds a limit is an error of the task, or the end of the worker") {
    const methods_here methods;
    run([](std::vector<start_method> list) -> task<> {
        for (start_method m : list) {
            CAPTURE(name_of(m));
            worker_options w;
            w.limits.open_files = 64;
            w.limits.cpu_time = 1h;
            if (!tests::sanitized)
                w.limits.memory = std::uint64_t{1} << 30;
            process_pool pool({.workers = 1, .start = m, .worker = w});
            auto ids = co_await pool.call(fn<&pid_and_parent>);
            const int number = co_await pool.call(fn<&open_until_it_fails>);
            CHECK(number == EMFILE);
            if (!tests::sanitized) {
                auto much = std::uint64_t{2} << 30;
                co_await error_of<std::bad_alloc>(pool.call(fn<&fill>, much));
                auto little = co_await pool.call(fn<&fill>, std::uint64_t{1} << 20);
                CHECK(little == std::uint64_t{1} << 20);
            }
            auto same = co_await pool.call(fn<&pid_and_parent>); // nobody died of it
            CHECK(same == ids);
            if (m == list.front()) {
                // Its start takes some of that, with a sanitizer or on a slow machine much.
                auto used = co_await pool.call(fn<&time_used>);
                w.limits.cpu_time = 1s + std::chrono::duration_cast<std::chrono::seconds>(2 * used);
                process_pool brief({.workers = 1, .start = m, .worker = w});
                auto lost = co_await error_of<worker_lost>(brief.call(fn<&burn>));
                CHECK(lost.status().signal() == SIGXCPU);
                CHECK_FALSE(lost.out_of_memory());
                const int two = co_await brief.call(fn<&plus>, 1, 1);
                CHECK(two == 2);
                co_await brief.shutdown();
            }
            co_await pool.shutdown();
        }
    }(methods.list));
}

TEST_CASE("process_pool: arguments that a worker has no memory for fail their task, and no worker",
          "[P16]") {
    if (tests::sanitized)
        tests::skip("a sanitizer takes more address space than can be limited");
    else
        run([]() -> task<> {
            constexpr std::uint64_t mib = 1 << 20;
            process_pool unlimited({.workers = 1, .start = start_method::spawn});
            worker_options w;
            w.limits.memory = co_await unlimited.call(fn<&address_space>) + 48 * mib;
            const std::vector<std::uint8_t> much(64 * mib, 1), some(20 * mib, 1);
            // In blocks, and by the stream.
            for (std::size_t memory : {std::size_t{256} << 20, std::size_t{0}}) {
                CAPTURE(memory);
                process_pool pool({.workers = 1,
                                   .message_memory = memory,
                                   .start = start_method::spawn,
                                   .worker = w});
                auto ids = co_await pool.call(fn<&pid_and_parent>);
                co_await error_of<std::bad_alloc>(pool.call({.retry = 1}, fn<&count_bytes>, much));
                for (int i = 0; i != 4; ++i) { // none of them leaves anything there
                    auto n = co_await pool.call(fn<&count_bytes>, some);
                    CHECK(n == some.size());
                }
                const std::uint64_t room = memory == 0 ? 16 * mib : 32 * mib; // the heap keeps some
                auto filled = co_await pool.call(fn<&fill>, room);
                CHECK(filled == room);
                auto same = co_await pool.call(fn<&pid_and_parent>);
                CHECK(same == ids);
                CHECK(pool.statistics().respawned == 0);
            }
        }());
}

TEST_CASE("process_pool: a filter lets no listed system call through, in no thread and from the "
          "start") {
    const methods_here methods;
    using list = system_call_filter::list;
    run([](std::vector<start_method> methods_list) -> task<> {
        const system_call denied[] = {"uname", SYS_getpriority};
        for (start_method m : methods_list) {
            CAPTURE(name_of(m));
            worker_options w;
            w.system_calls = {.listed = list::denied, .calls = denied};
            process_pool pool({.workers = 1, .start = m, .worker = w}, fn<&try_early>,
                              static_cast<long>(SYS_uname));
            const int early = co_await pool.call(fn<&early_errno>);
            CHECK(early == EPERM);
            const int by_name = co_await pool.call(fn<&errno_of>, static_cast<long>(SYS_uname));
            CHECK(by_name == EPERM);
            const int by_number =
                co_await pool.call(fn<&errno_of>, static_cast<long>(SYS_getpriority));
            CHECK(by_number == EPERM);
            const int another = co_await pool.call(fn<&errno_of>, static_cast<long>(SYS_getuid));
            CHECK(another == 0);
            auto threads = co_await pool.call(fn<&threads_with_filter>);
            CHECK(threads[0] >= 2);
            CHECK(threads[1] == 0);
#if defined(__x86_64__)
            // By the back door: the same call of x32.
            const int foreign = co_await pool.call(fn<&errno_of>, SYS_uname | 0x40000000L);
            CHECK(foreign == EPERM);
#endif
            co_await pool.shutdown();

            w.system_calls.when_denied = denied_call::kills;
            process_pool strict({.workers = 1, .start = m, .worker = w});
            auto lost = co_await error_of<worker_lost>(
                strict.call(fn<&errno_of>, static_cast<long>(SYS_uname)));
            CHECK(lost.status().signal() == SIGSYS);
            const int two = co_await strict.call(fn<&plus>, 1, 1);
            CHECK(two == 2);
            co_await strict.shutdown();
        }
        // Not even for large results, without which those go another way.
        const system_call memory[] = {"memfd_create"};
        worker_options careful;
        careful.system_calls = {
            .listed = list::denied, .calls = memory, .when_denied = denied_call::kills};
        process_pool large({.workers = 1, .worker = careful});
        auto mirrored = co_await large.call(fn<&mirror>, std::vector<std::uint64_t>(300'000, 7));
        CHECK(mirrored == std::vector<std::uint64_t>(300'000, 7));
        co_await large.shutdown();

        worker_options w;
        w.system_calls = {.listed = list::denied, .calls = recommended_denials};
        process_pool pool({.workers = 1, .worker = w});
        const int ring = co_await pool.call(fn<&errno_of>, static_cast<long>(SYS_io_uring_setup));
        CHECK(ring == EPERM);
        const int two = co_await pool.call(fn<&plus>, 1, 1);
        CHECK(two == 2);
        co_await pool.shutdown();
    }(methods.list));
}

TEST_CASE("process_pool: a worker that may make no system call of its own computes all the same") {
    const methods_here methods;
    if (tests::sanitized)
        tests::skip("a sanitizer makes system calls of its own");
    else
        run([](std::vector<start_method> methods_list) -> task<> {
            for (start_method m : methods_list) {
                CAPTURE(name_of(m));
                worker_options w;
                w.system_calls = {.listed = system_call_filter::list::allowed,
                                  .when_denied = denied_call::kills};
                process_pool pool({.workers = 1, .start = m, .worker = w}, fn<&load>);
                const int found = co_await pool.call(fn<&what_is_loaded>);
                CHECK(found == 42);
                co_await error_of<std::out_of_range>(pool.call(fn<&refuse>, "so"));
                std::vector<std::uint64_t> large(300'000);
                std::iota(large.begin(), large.end(), 0u);
                auto back = co_await pool.call(fn<&mirror>, large);
                CHECK(back.front() == large.back());
                CHECK(pool.statistics().message_memory == 0); // others will get none of it
                auto sum = co_await pool.call(fn<&fill>, std::uint64_t{50} << 20);
                CHECK(sum == std::uint64_t{50} << 20);
                co_await error_of<timeout_error>(
                    with_timeout(20ms, pool.call({.stop_grace = 10s}, fn<&until_stopped>)));
                CHECK(pool.statistics().respawned == 0);
                auto lost = co_await error_of<worker_lost>(
                    pool.call(fn<&errno_of>, static_cast<long>(SYS_socket)));
                CHECK(lost.status().signal() == SIGSYS);
                co_await pool.shutdown();
            }
        }(methods.list));
}

TEST_CASE("process_pool: surroundings that can't be are refused, or break the pool with the reason",
          "[CF-PPE-03][P9]") {
    const methods_here methods;
    using list = system_call_filter::list;
    run([](std::vector<start_method> methods_list) -> task<> {
        auto refused = [](const worker_options& w, const std::string& why) {
            CHECK_THROWS_WITH(process_pool({.workers = 1, .worker = w}), Catch::Contains(why));
            CHECK_THROWS_AS(process_pool({.workers = 1, .worker = w}), std::invalid_argument);
        };
        const system_call unknown[] = {"frobnicate"};
        const system_call negative[] = {-5};
        const system_call write[] = {"write"};
        const char* nameless[] = {"=value"};
        const int no_cpu[] = {-1};
        const std::span<const int> bad_cpus[] = {no_cpu};
        const std::span<const int> none[] = {{}};
        refused({.limits = {.cpu_time = -1s}}, "cpu_time");
        refused({.directory = ""}, "directory");
        refused({.environment = nameless}, "without a name");
        refused({.cpu_lists = bad_cpus}, "no CPU -1");
        refused({.cpu_lists = none}, "no CPU");
        refused({.cpu_lists = bad_cpus, .one_cpu_each = true}, "contradict");
        refused({.system_calls = {.listed = list::denied, .calls = unknown}}, "frobnicate");
        refused({.system_calls = {.listed = list::allowed, .calls = negative}}, "-5");
        refused({.system_calls = {.listed = list::denied, .calls = write}}, "write");
        refused({.system_calls = {.calls = write}}, "what for");

        const int far[] = {1'000'000};
        const std::span<const int> far_away[] = {far};
        rlimit files{};
        ::getrlimit(RLIMIT_NOFILE, &files);
        struct attempt {
            worker_options worker;
            std::string why;
        };
        std::vector<attempt> attempts{
            {{.directory = "/nowhere/at/all"}, "chdir /nowhere/at/all: No such file or directory"},
            {{.limits = {.open_files = files.rlim_max + 1}}, "above the highest"},
            {{.limits = {.memory = 1 << 20}}, "less than what a worker begins with"},
            {{.cpu_lists = far_away}, "sched_setaffinity CPU 1000000"},
        };
        for (start_method m : methods_list) {
            CAPTURE(name_of(m));
            for (const attempt& a : attempts) {
                process_pool pool({.workers = 2, .start = m, .worker = a.worker});
                auto e = co_await error_of<broken_process_pool>(pool.call(fn<&plus>, 1, 1));
                CHECK_THAT(e.what(), Catch::Contains("couldn't start") && Catch::Contains(a.why));
                CHECK(pool.statistics().respawned == 0);
                co_await pool.shutdown();
            }
        }
    }(methods.list));
}

// --- What is known of a death --------------------------------------------------------------------

TEST_CASE("process_pool: worker_lost says who, how, what it ran, how long, and its last words",
          "[P8][MP-POOL-17]") {
    const methods_here methods;
    run([](std::vector<start_method> methods_list) -> task<> {
        for (start_method m : methods_list) {
            CAPTURE(name_of(m));
            captured_stderr shown;
            process_pool pool({.workers = 1, .start = m});
            auto lost = co_await error_of<worker_lost>(
                pool.call({.tag = 77}, fn<&say_and_die>, "first line\nlast line\n", SIGSEGV));
            CHECK(lost.status().signal() == SIGSEGV);
            CHECK(lost.tag() == 77);
            CHECK_THAT(lost.function(), Catch::Contains("say_and_die"));
            CHECK(lost.ran_for() > duration::zero());
            CHECK(lost.ran_for() < 60s);
            CHECK_FALSE(lost.out_of_memory());
            CHECK(lost.last_words() == "first line\nlast line\n");
            const std::string what = lost.what();
            CHECK_THAT(what,
                       Catch::Contains("worker " + std::to_string(lost.pid()) + " was lost") &&
                           Catch::Contains("killed by signal 11 (SIGSEGV)") &&
                           Catch::Contains(" s after it began ") &&
                           Catch::Contains("say_and_die (task 77)") &&
                           Catch::Contains("it last wrote: first line | last line"));
            CHECK(what.find('\n') == std::string::npos);
            CHECK(shown.text() == "first line\nlast line\n"); // before the task has failed

            // A bounded part, and nothing of the worker's that was there before.
            auto again = co_await error_of<worker_lost>(
                pool.call(fn<&say_and_die>, std::string(100'000, 'x') + "the end", SIGKILL));
            CHECK(again.last_words().size() == 4096);
            CHECK_THAT(again.last_words(), Catch::EndsWith("xxx"
                                                           "the end"));
            CHECK(std::string(again.what()).size() < 2048);
            CHECK(shown.text().size() == 22 - 1 + 100'007);
            co_await pool.shutdown();
        }
        captured_stderr shown;
        process_pool kept({.workers = 1, .worker = {.errors = worker_errors::kept}});
        auto quiet = co_await error_of<worker_lost>(kept.call(fn<&say_and_die>, "hush", SIGKILL));
        CHECK(quiet.last_words() == "hush");
        CHECK(shown.text().empty());
        process_pool direct({.workers = 1, .worker = {.errors = worker_errors::direct}});
        auto loud = co_await error_of<worker_lost>(direct.call(fn<&say_and_die>, "loud", SIGKILL));
        CHECK(loud.last_words().empty());
        CHECK(shown.text() == "loud");
        co_await kept.shutdown();
        co_await direct.shutdown();
    }(methods.list));
}

TEST_CASE("process_pool: the reason why a pool is broken has a worker's last words") {
    run([]() -> task<> {
        process_pool pool({.workers = 1,
                           .on_worker_death = worker_death::breaks_pool,
                           .worker = {.errors = worker_errors::kept}});
        auto e = co_await error_of<broken_process_pool>(
            pool.call(fn<&say_and_die>, "assertion failed: n > 0\n", SIGABRT));
        CHECK_THAT(e.what(), Catch::Contains("killed by signal 6 (SIGABRT)") &&
                                 Catch::Contains("it last wrote: assertion failed: n > 0"));
    }());
}

TEST_CASE("process_pool: whoever reads our standard error slowly holds up only who writes to it") {
    run([]() -> task<> {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        descriptor out(ends[0]), in(ends[1]);
        descriptor before(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
        ::dup2(in.get(), STDERR_FILENO);
        process_pool pool({.workers = 2});
        const std::string much(400'000, 'm'); // more than all pipes hold
        auto writes = spawn(pool.call(fn<&say>, much));
        for (int i = 0; i != 100; ++i) {
            const int sum = co_await pool.call(fn<&plus>, i, 1);
            CHECK(sum == i + 1);
        }
        co_await tests::until([&] { // it has begun, or is about to
            return std::ranges::count_if(pool.statistics().workers, [](const auto& w) {
                       return w.is == process_pool_statistics::state::running;
                   }) == 1;
        });
        std::string got;
        std::vector<char> buffer(65536);
        while (got.size() != much.size()) {
            co_await readable(out.get());
            ssize_t n = ::read(out.get(), buffer.data(), buffer.size());
            REQUIRE(n > 0);
            got.append(buffer.data(), static_cast<std::size_t>(n));
        }
        CHECK(got == much);
        co_await writes.join();

        // Nobody reads any more: that ends neither us nor the worker.
        out.reset();
        co_await pool.call(fn<&say>, much);
        const int two = co_await pool.call(fn<&plus>, 1, 1);
        CHECK(two == 2);
        co_await pool.shutdown();
        ::dup2(before.get(), STDERR_FILENO);
        in.reset();
    }());
}

TEST_CASE("process_pool: a worker killed for lack of memory is told from one that was just killed",
          "[P8]") {
    tests::temp_dir dir;
    const std::string counter = dir.path("memory.events");
    auto set_counter = [&](int n) {
        std::ofstream(counter) << "low 0\nhigh 0\nmax 17\noom 5\noom_kill " << n
                               << "\noom_group_kill 0\n";
    };
    set_counter(3);
    weft::detail::set_oom_counter_file(counter);
    run([](auto set) -> task<> {
        process_pool pool({.workers = 1, .worker = {.errors = worker_errors::kept}});
        auto killed = [&](int n) -> task<worker_lost> {
            auto t = spawn(pool.call(fn<&wait_for_a_signal>));
            while (pool.statistics().workers.empty() ||
                   pool.statistics().workers[0].is != process_pool_statistics::state::running)
                co_await sleep_for(1ms);
            set(n);
            ::kill(pool.statistics().workers[0].pid, SIGKILL);
            auto e = error_of<worker_lost>(t.join());
            co_return co_await std::move(e);
        };
        auto plain = co_await killed(3);
        CHECK_FALSE(plain.out_of_memory());
        auto memory = co_await killed(4);
        CHECK(memory.out_of_memory());
        CHECK_THAT(memory.what(), Catch::Contains("SIGKILL) because memory ran out"));
        auto later = co_await killed(4); // that one is explained
        CHECK_FALSE(later.out_of_memory());
        // One that we kill ourselves is none, whatever the counter says.
        co_await error_of<timeout_error>(
            with_timeout(5ms, pool.call({.stop_grace = 0s}, fn<&wait_for_a_signal>)));
        co_await pool.shutdown();
    }(set_counter));
    weft::detail::set_oom_counter_file("");

    weft::detail::oom_watch watch(counter);
    CHECK_FALSE(watch.explains_kill());
    set_counter(6);
    CHECK(watch.explains_kill());
    CHECK(watch.explains_kill()); // both of two
    CHECK_FALSE(watch.explains_kill());
    weft::detail::oom_watch nothing("/nowhere/memory.events");
    CHECK_FALSE(nothing.explains_kill());
    CHECK_FALSE(weft::detail::oom_counter_file().empty());
}

TEST_CASE("system_call_filter: names stand for this machine's numbers") {
    using weft::detail::system_call_number;
    CHECK(system_call_number("read") == static_cast<std::uint32_t>(SYS_read));
    CHECK(system_call_number("io_uring_setup") == static_cast<std::uint32_t>(SYS_io_uring_setup));
    CHECK(system_call_number("openat") == static_cast<std::uint32_t>(SYS_openat));
    CHECK_FALSE(system_call_number("frobnicate"));
    CHECK_FALSE(system_call_number(""));
    for (const system_call& c : recommended_denials)
        CHECK(system_call_number(c.name()));
}
