// SPDX-License-Identifier: MIT
#include "support/audit.hpp"
#include "support/io.hpp"

#include <weft/ipc/impl/fork_server.hpp>
#include <weft/ipc/impl/tracker.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>

#include <catch2/catch.hpp>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;
using ipc::detail::tracked_name;
using ipc::detail::tracker;
using ipc::detail::tracker_machine;
using ipc::detail::tracker_order;

bool name_exists(const std::string& name) {
    struct stat s{};
    return ::stat(("/dev/shm/" + name).c_str(), &s) == 0;
}
std::string free_name() {
    static int n = 0;
    return tests::own_shared_name(std::to_string(++n));
}

// Says which names it has made, and who its tracker is; then waits to be ended.
task<> make_names(connection c, std::string first, std::string second, bool deeper) {
    auto a = shared_memory::create(64, first, {.track = true});
    if (deeper) {
        // The other one is made by a child, which belongs to the same family.
        auto [ours, theirs] = make_connection_pair();
        process p(fn<&make_names>, std::move(theirs), second, first, false);
        co_await p.start();
        static_cast<void>(co_await ours.receive_descriptors());
        descriptor server(
            static_cast<int>(::syscall(SYS_pidfd_open, tracker::instance().pid(), 0)));
        const int pidfd[] = {server.get()};
        co_await c.send_descriptors(pidfd);
        co_await sleep_for(1h);
    }
    const int nothing[] = {c.fd()};
    co_await c.send_descriptors(nothing);
    co_await sleep_for(1h);
}
void make_one_and_leave(std::string name) {
    auto a = shared_memory::create(64, name, {.track = true});
}
// As fast as it can, until it is killed.
void make_names_for_ever(std::string name) {
    for (int i = 0;; ++i) {
        auto m = shared_memory::create(64, name + "_" + std::to_string(i), {.track = true});
        if (i % 3 != 0)
            m.unlink();
    }
}
unsigned names_that_begin_with(const std::string& start) {
    unsigned n = 0;
    for (const auto& e : std::filesystem::directory_iterator("/dev/shm"))
        n += e.path().filename().string().starts_with(start) ? 1 : 0;
    return n;
}

bool pidfd_ends_within(const descriptor& pidfd, std::chrono::milliseconds d) {
    pollfd p{pidfd.get(), POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(d.count())) == 1;
}

} // namespace

TEST_CASE("tracker: what was added and not removed is left", "[SHM-08]") {
    tracker_machine m;
    tracked_name a{"one", 1, 2}, b{"two", 1, 3}, other{"one", 1, 9};
    CHECK(m.received(tracker_packet(tracker_order::add, a)));
    CHECK(m.received(tracker_packet(tracker_order::add, b)));
    CHECK(m.left() == std::vector{a, b});
    // Somebody else's file of the same name isn't meant.
    CHECK(m.received(tracker_packet(tracker_order::remove, other)));
    CHECK(m.left() == std::vector{a, b});
    CHECK(m.received(tracker_packet(tracker_order::remove, a)));
    CHECK(m.received(tracker_packet(tracker_order::remove, a)));
    CHECK(m.left() == std::vector{b});
    CHECK(m.received(tracker_packet(tracker_order::add, other)));
    CHECK(m.received(tracker_packet(tracker_order::add, a)));
    CHECK(m.left() == std::vector{a, b});

    for (const tracked_name& bad :
         {tracked_name{"", 1, 1}, tracked_name{"a/b", 1, 1},
          tracked_name{std::string("a\0b", 3), 1, 1}, tracked_name{std::string(256, 'x'), 1, 1}})
        CHECK_FALSE(m.received(tracker_packet(tracker_order::add, bad)));
    CHECK_FALSE(m.received(""));
    CHECK_FALSE(m.received("+123"));
    CHECK_FALSE(m.received(tracker_packet(static_cast<tracker_order>('?'), a)));
    CHECK(m.left() == std::vector{a, b});
}

TEST_CASE("tracker: a tracked block is made like any other", "[SHM-08][SHM-02]") {
    const std::string name = free_name();
    {
        auto m = shared_memory::create(100, name, {.track = true});
        CHECK(m.tracked());
        CHECK(m.size() == 100);
        CHECK(m.bytes()[99] == std::byte{0});
        struct stat s{};
        REQUIRE(::stat(("/dev/shm/" + name).c_str(), &s) == 0);
        CHECK((s.st_mode & 0777) == 0600);
        try {
            static_cast<void>(shared_memory::create(100, name, {.track = true}));
            FAIL("it was made twice");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::file_exists);
        }
        CHECK_THROWS_AS(shared_memory::create(100, "a/b", {.track = true}), std::system_error);
        auto opened = shared_memory::open(name);
        CHECK_FALSE(opened.tracked());
        auto moved = std::move(m);
        CHECK(moved.tracked());
        moved.unlink();
        CHECK_FALSE(moved.tracked());
        CHECK_FALSE(name_exists(name));
        auto random = shared_memory::create(100, {.track = true});
        CHECK(random.tracked());
        random.unlink();
    }
    tracker::instance().stop();
}

TEST_CASE("tracker: takes away what a program leaves, when all of it is gone",
          "[P11][SHM-08][MP-START-13]") {
    auto test = [](start_method method) -> task<> {
        const std::string first = free_name(), second = free_name();
        auto [ours, theirs] = make_connection_pair();
        process_options options;
        options.start = method;
        process p(options, fn<&make_names>, std::move(theirs), first, second, true);
        co_await p.start();
        auto helper = co_await ours.receive_descriptors();
        CHECK(name_exists(first));
        CHECK(name_exists(second));
        // What ends a program from a terminal doesn't end it.
        CHECK(::syscall(SYS_pidfd_send_signal, helper.at(0).get(), SIGTERM, nullptr, 0) == 0);
        CHECK(::syscall(SYS_pidfd_send_signal, helper.at(0).get(), SIGINT, nullptr, 0) == 0);
        CHECK_FALSE(pidfd_ends_within(helper.at(0), 20ms));
        p.kill();
        co_await p.join();
        CHECK(pidfd_ends_within(helper.at(0), 40s));
        CHECK_FALSE(name_exists(first));
        CHECK_FALSE(name_exists(second));
    };
    run_within(30s, test(start_method::spawn));
}

TEST_CASE("tracker: a child's names last as long as the program", "[SHM-08]") {
    const std::string ours = free_name(), theirs = free_name();
    auto m = shared_memory::create(64, ours, {.track = true});
    auto test = [&]() -> task<> {
        for (start_method method : {start_method::spawn, start_method::forkserver}) {
            process_options options;
            options.start = method;
            process p(options, fn<&make_one_and_leave>, theirs);
            co_await p.start();
            co_await p.join();
            CHECK(p.exit_code() == 0);
            CHECK(name_exists(theirs));
            shared_memory::open(theirs).unlink();
        }
        process p(fn<&make_one_and_leave>, theirs);
        co_await p.start();
        co_await p.join();
    };
    run_within(30s, test());
    ipc::detail::fork_server::instance().stop();
    // As if this process were gone, too. A stranger's file under a name of ours isn't touched.
    m.unlink();
    auto stranger = shared_memory::create(64, ours);
    CHECK(name_exists(theirs));
    tracker::instance().stop();
    CHECK_FALSE(name_exists(theirs));
    CHECK(name_exists(ours));
    stranger.unlink();
}

TEST_CASE("tracker: another one takes over the names of one that was killed", "[P13]") {
    const std::string a = free_name(), b = free_name();
    auto m = shared_memory::create(64, a, {.track = true});
    int first = tracker::instance().pid();
    ::kill(first, SIGKILL);
    descriptor helper(static_cast<int>(::syscall(SYS_pidfd_open, first, 0)));
    REQUIRE(pidfd_ends_within(helper, 40s));
    auto n = shared_memory::create(64, b, {.track = true});
    CHECK(tracker::instance().pid() != first);
    tracker::instance().stop();
    CHECK_FALSE(name_exists(a));
    CHECK_FALSE(name_exists(b));
}

TEST_CASE("tracker: whenever a process is killed, no name of it stays", "[P11]") {
    const std::uint64_t s = seed();
    CAPTURE(s);
    std::mt19937_64 random(s);
    auto test = [&]() -> task<> {
        for (int i = 0; i != 10; ++i) {
            const std::string name = free_name();
            process p(fn<&make_names_for_ever>, name);
            co_await p.start();
            while (names_that_begin_with(name + "_") == 0 && p.alive())
                co_await sleep_for(1ms);
            co_await sleep_for(std::chrono::microseconds(random() % 2000));
            p.kill();
            co_await p.join();
            const auto end = now() + 40s;
            while (names_that_begin_with(name + "_") != 0 && now() < end)
                co_await sleep_for(1ms);
            CHECK(names_that_begin_with(name + "_") == 0);
        }
    };
    run_within(50s, test());
}
