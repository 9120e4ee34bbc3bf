// SPDX-License-Identifier: MIT
#include "support/io.hpp"
#include "support/report.hpp"

#include <weft/ipc/impl/fork_server.hpp>
#include <weft/ipc/impl/fork_server_machine.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <csignal>
#include <cstddef>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;
using ipc::detail::fork_packet;
using ipc::detail::fork_server;
using ipc::detail::fork_server_machine;
using step = fork_server_machine::step;

// Nothing of it is left for the next test.
struct until_server_stops {
    until_server_stops() = default;
    until_server_stops(const until_server_stops&) = delete;
    until_server_stops& operator=(const until_server_stops&) = delete;
    ~until_server_stops() {
        ipc::detail::set_preload({});
        fork_server::instance().stop();
    }
};

constexpr process_options by_server{.start = start_method::forkserver};

task<> wait_for_the_end(connection c) {
    auto r = co_await as_result(c.receive_bytes());
    throw process_exit(r ? 1 : 5);
}
void exit_five() { throw process_exit(5); }
void exit_with_parent() { throw process_exit(static_cast<int>(::getppid() % 251)); }

int loaded = 0;
void load_something() { loaded = 42; }
void fail_to_load() { throw std::runtime_error("no such file"); }
void exit_with_loaded() { throw process_exit(loaded); }
void leave_a_thread() {
    std::thread([] { ::pause(); }).detach();
}

// The thread's id is the C library's too, and a robust lock says that its owner is gone.
void use_c_library() {
    std::thread([] {}).join();
    if (::pthread_kill(::pthread_self(), 0) != 0)
        throw process_exit(1);
    pthread_t self = ::pthread_self();
    int answer = 0;
    std::thread([&] { answer = ::pthread_kill(self, 0); }).join();
    if (answer != 0)
        throw process_exit(2);
    pthread_mutex_t m;
    pthread_mutexattr_t a;
    ::pthread_mutexattr_init(&a);
    ::pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    ::pthread_mutex_init(&m, &a);
    ::pthread_mutex_lock(&m);
    if (::pthread_mutex_lock(&m) != EDEADLK)
        throw process_exit(3);
}

// As on a kernel that was built without CONFIG_CHECKPOINT_RESTORE, for this process and those that
// come from it. False if that can't be had here.
bool hide_thread_ids() {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_GET_TID_ADDRESS, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{std::size(steps), steps};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
constexpr int cannot_hide = 77;
task<> fork_without_help() {
    int* place = nullptr;
    if (!hide_thread_ids() || ::prctl(PR_GET_TID_ADDRESS, &place) == 0)
        throw process_exit(cannot_hide);
    process p(by_server, fn<&use_c_library>);
    co_await p.start();
    co_await p.join();
    throw process_exit(p.exit_code().value());
}

descriptor open_process(int pid) {
    return descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}
bool gone_within(const descriptor& pidfd, std::chrono::milliseconds d) {
    pollfd p{pidfd.get(), POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(d.count())) == 1;
}

// Starts a process through a server of its own, tells who the server is, and goes on.
task<> have_a_server(connection c) {
    auto [ours, theirs] = make_connection_pair();
    process p(by_server, fn<&wait_for_the_end>, std::move(theirs));
    co_await p.start();
    descriptor server = open_process(fork_server::instance().pid());
    const int both[] = {server.get(), p.sentinel()};
    co_await c.send_descriptors(both);
    co_await sleep_for(1h);
}

fork_packet packet_of(fork_packet::kind k, std::uint32_t descriptors = 0) {
    fork_packet p;
    p.what = k;
    p.descriptors = descriptors;
    return p;
}
step give(fork_server_machine& m, const fork_packet& p, std::size_t descriptors) {
    return m.received(std::as_bytes(std::span(&p, 1)), descriptors);
}

} // namespace

TEST_CASE("fork_server: a request is complete with its last descriptor", "[MP-START-03]") {
    fork_server_machine m;
    CHECK(give(m, packet_of(fork_packet::kind::start, 5), 5) == step::start);
    CHECK(give(m, packet_of(fork_packet::kind::start, 70), 32) == step::wait);
    CHECK(give(m, packet_of(fork_packet::kind::more), 32) == step::wait);
    CHECK(give(m, packet_of(fork_packet::kind::more), 6) == step::start);
    fork_packet p = packet_of(fork_packet::kind::preload);
    p.function = 3;
    p.signature = 4;
    CHECK(give(m, p, 0) == step::preload);
    CHECK(m.function() == 3);
    CHECK(m.signature() == 4);
}

TEST_CASE("fork_server: what makes no sense is the end", "[MP-START-05]") {
    struct {
        fork_packet p;
        std::size_t descriptors;
    } bad[] = {{packet_of(fork_packet::kind::start, 4), 4},
               {packet_of(fork_packet::kind::start, 6), 7},
               {packet_of(fork_packet::kind::start, 6), 0},
               {packet_of(fork_packet::kind::start, 5000), 32},
               {packet_of(fork_packet::kind::start, 40), 33},
               {packet_of(fork_packet::kind::more), 1},
               {packet_of(fork_packet::kind::preload), 1},
               {packet_of(static_cast<fork_packet::kind>(9)), 0}};
    for (auto& b : bad) {
        fork_server_machine m;
        CHECK(give(m, b.p, b.descriptors) == step::bad);
        CHECK(give(m, packet_of(fork_packet::kind::start, 5), 5) == step::bad);
    }
    fork_server_machine m;
    fork_packet p = packet_of(fork_packet::kind::start, 5);
    CHECK(m.received(std::as_bytes(std::span(&p, 1)).first(31), 5) == step::bad);
    p.mark = 0;
    fork_server_machine n;
    CHECK(give(n, p, 5) == step::bad);
}

TEST_CASE("fork_server: finds the thread's id also where the kernel doesn't tell", "[P22]") {
    std::array<bool, 2> right{};
    auto look = [](bool& found) {
        int* place = ipc::detail::place_of_thread_id(false);
        found = place != nullptr && *place == ::gettid() &&
                place == ipc::detail::place_of_thread_id(true);
    };
    look(right[0]);
    std::thread([&] { look(right[1]); }).join();
    CHECK(right[0]);
    CHECK(right[1]);

    auto test = []() -> task<int> {
        process p(fn<&fork_without_help>);
        co_await p.start();
        co_await p.join();
        co_return p.exit_code().value();
    };
    int code = run_within(20s, test());
    if (code == cannot_hide)
        skip("no filter for system calls here");
    else
        CHECK(code == 0);
}

TEST_CASE("fork_server: makes children of this process", "[MP-START-03]") {
    until_server_stops guard;
    auto test = []() -> task<> {
        process p(by_server, fn<&exit_with_parent>);
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == ::getpid() % 251);
        process q(by_server, fn<&use_c_library>);
        co_await q.start();
        co_await q.join();
        CHECK(q.exit_code() == 0);
        // Many descriptors, many at a time.
        auto [ours, theirs] = make_connection_pair();
        std::vector<connection> many;
        for (int i = 0; i != 100; ++i)
            many.push_back(make_connection_pair().first);
        auto last = [](std::vector<connection> all, connection c) -> task<> {
            co_await c.send(all.size());
        };
        process r(by_server, last, std::move(many), std::move(theirs));
        co_await r.start();
        auto n = co_await ours.receive<std::size_t>();
        CHECK(n == 100);
        co_await r.join();
        int good = 0;
        auto one = [&]() -> task<> {
            process each(by_server, fn<&exit_five>);
            co_await each.start();
            exit_status s = co_await each.join();
            good += s == exit_status::by_exit(5) ? 1 : 0;
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i != 30; ++i)
                g.spawn(one());
            co_return;
        });
        CHECK(good == 30);
    };
    run_within(30s, test());
}

TEST_CASE("fork_server: when it dies its processes go on, and the next start makes a new one",
          "[P13][MP-START-04]") {
    until_server_stops guard;
    auto test = []() -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p(by_server, fn<&wait_for_the_end>, std::move(theirs));
        co_await p.start();
        int first = fork_server::instance().pid();
        descriptor server = open_process(first);
        ::kill(first, SIGINT); // which it ignores
        CHECK_FALSE(gone_within(server, 50ms));
        ::kill(first, SIGKILL);
        // Its end is seen on the loop, and no zombie stays.
        const std::string entry = "/proc/" + std::to_string(first);
        while (std::filesystem::exists(entry))
            co_await sleep_for(1ms);
        CHECK(gone_within(server, 0ms));
        CHECK(fork_server::instance().pid() == 0);
        CHECK(p.alive());
        ours.close();
        exit_status s = co_await p.join();
        CHECK(s == exit_status::by_exit(5));
        process q(by_server, fn<&exit_five>);
        co_await q.start();
        co_await q.join();
        CHECK(q.exit_code() == 5);
        CHECK(fork_server::instance().pid() != 0);
        CHECK(fork_server::instance().pid() != first);
    };
    run_within(30s, test());
}

TEST_CASE("fork_server: killed at any moment, every start comes to an end, and none is lost",
          "[P13][P2][P11]") {
    const std::uint64_t s = seed();
    CAPTURE(s);
    until_server_stops guard;
    auto test = [&]() -> task<> {
        std::mt19937_64 random(s);
        int ended = 0;
        for (int round = 0; round != 25; ++round) {
            auto one = [&]() -> task<> {
                process p(by_server, fn<&exit_five>);
                auto started = co_await as_result(p.start());
                if (!started) {
                    try {
                        started.value();
                    } catch (const process_error&) { // died three times
                        ++ended;
                    }
                    co_return;
                }
                exit_status status = co_await p.join();
                ended += status == exit_status::by_exit(5) ? 1 : 0;
            };
            co_await with_task_group([&](task_group& g) -> task<> {
                for (int i = 0; i != 4; ++i)
                    g.spawn(one());
                co_await sleep_for(std::chrono::microseconds(random() % 3000));
                if (int pid = fork_server::instance().pid(); pid != 0)
                    ::kill(pid, SIGKILL);
            });
        }
        CHECK(ended == 100);
    };
    run_within(50s, test());
}

TEST_CASE("fork_server: ends with its parent, and so does what came from it",
          "[P11][MP-START-05]") {
    auto test = []() -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p({.start = start_method::spawn}, fn<&have_a_server>, std::move(theirs));
        co_await p.start();
        auto both = co_await ours.receive_descriptors();
        CHECK_FALSE(gone_within(both.at(0), 0ms));
        CHECK_FALSE(gone_within(both.at(1), 0ms));
        p.kill();
        co_await p.join();
        CHECK(gone_within(both.at(0), 40s));
        CHECK(gone_within(both.at(1), 40s));
    };
    run_within(30s, test());
}

TEST_CASE("fork_server: calls the preload functions once, and goes on when one fails",
          "[MP-START-06]") {
    until_server_stops guard;
    auto test = []() -> task<> {
        set_forkserver_preload(fn<&fail_to_load>, fn<&load_something>);
        process p(by_server, fn<&exit_with_loaded>);
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == 42);
    };
    run_within(30s, test());
}

TEST_CASE("fork_server: with threads that a preload function left it refuses", "[MP-START-06]") {
    if (std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}) != 1) {
        skip("a sanitizer has a thread in each process");
        return;
    }
    until_server_stops guard;
    auto test = []() -> task<> {
        set_forkserver_preload(fn<&leave_a_thread>);
        process p(by_server, fn<&exit_five>);
        auto r = co_await as_result(p.start());
        CHECK_THROWS_AS(r.value(), state_error);
        CHECK_FALSE(p.pid());
    };
    run_within(30s, test());
}

TEST_CASE("fork_server: a start that is stopped leaves nothing behind", "[P3]") {
    until_server_stops guard;
    auto test = []() -> task<> {
        for (int i = 0; i != 10; ++i) {
            process p(by_server, fn<&exit_five>);
            co_await with_task_group([&](task_group& g) -> task<> {
                auto start = g.spawn(p.start());
                co_await yield();
                start.cancel();
            });
            // It was faster, or it wasn't begun.
            if (p.pid())
                co_await p.join();
        }
    };
    run_within(30s, test());
}
