// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using ipc::detail::child;
using ipc::detail::spawn_child;

exit_status status_of(child p) {
    pollfd until{p.pidfd(), POLLIN, 0};
    REQUIRE(::poll(&until, 1, 40'000) == 1);
    auto status = p.try_wait();
    REQUIRE(status);
    return *status;
}

exit_status started_with(const char* argument) {
    const std::array<const char*, 3> arguments{"worker", argument, nullptr};
    return status_of(spawn_child({.arguments = arguments}));
}

// 0 if the worker has what it should have, else the number of what is wrong.
int inspect(int parent, std::span<const int> descriptors) {
    if (descriptors.size() != 1)
        return 1;
    if ((::fcntl(descriptors[0], F_GETFD) & FD_CLOEXEC) == 0 ||
        (::fcntl(parent, F_GETFD) & FD_CLOEXEC) == 0)
        return 2;
    pollfd alive{parent, POLLIN, 0};
    if (::poll(&alive, 1, 0) != 0)
        return 3;
    struct sigaction interrupt{};
    if (::sigaction(SIGINT, nullptr, &interrupt) != 0 || interrupt.sa_handler != SIG_IGN)
        return 4;
    char said = 0;
    if (::read(descriptors[0], &said, 1) != 1 || said != 'x')
        return 5;
    return 42;
}
const ipc::detail::worker_role inspector("test: inspect", 1, inspect);

// What is said to somebody who wants a worker now.
std::string refusal() {
    try {
        ipc::detail::require_worker_entry("this test");
    } catch (const state_error& e) {
        return e.what();
    }
    return "";
}
const std::string refused_before_main = refusal(); // in each process of this program

int look_back(int, std::span<const int>) {
    return refused_before_main.find("was started as a worker") != std::string::npos ? 42 : 1;
}
const ipc::detail::worker_role early("test: early", 1, look_back);

// A main() that goes on although it was a worker's.
int go_on(int, std::span<const int>) {
    char name[] = "worker";
    char role[] = "--weft-worker=test: early";
    char* arguments[] = {name, role, nullptr};
    if (!refusal().empty()) // at work it may have workers itself
        return 1;
    if (worker_entry(2, arguments) != 42)
        return 2;
    return refusal().find("work of this worker is done") != std::string::npos ? 43 : 3;
}
const ipc::detail::worker_role late("test: late", 1, go_on);

} // namespace

TEST_CASE("worker_entry: does nothing in a process that is no worker") {
    char name[] = "program";
    char option[] = "--weft";
    char* arguments[] = {name, option, nullptr};
    CHECK_FALSE(worker_entry(2, arguments));
    CHECK_FALSE(worker_entry(1, arguments));
    CHECK_FALSE(worker_entry(0, arguments + 2));
    CHECK_NOTHROW(ipc::detail::require_worker_entry("this test"));
}

TEST_CASE("worker_entry: runs the role with its descriptors and returns its status") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    descriptor ours(ends[0]), theirs(ends[1]);
    REQUIRE(::write(ours.get(), "x", 1) == 1);
    const std::array<int, 1> passed{theirs.get()};
    CHECK(status_of(ipc::detail::start_worker(inspector, passed)) == exit_status::by_exit(42));
}

TEST_CASE("worker_entry: nobody starts workers without end, in vain or too late", "[MP-GUIDE-04]") {
    CHECK(refused_before_main.find("started again, and it wouldn't notice") != std::string::npos);
    CHECK(refusal().empty());
    descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::array<int, 1> passed{nothing.get()};
    CHECK(status_of(ipc::detail::start_worker(early, passed)).code() == 42);
    CHECK(status_of(ipc::detail::start_worker(late, passed)).code() == 43);
}

TEST_CASE("worker_entry: a worker that nobody started properly says so and ends", "[P2]") {
    CHECK(started_with("--weft-worker=no such role").code() == 70);
    CHECK(started_with("--weft-worker=test: inspect").code() == 70); // without its descriptors
}

TEST_CASE("worker_role: is found by its name") {
    CHECK(ipc::detail::worker_role::find("test: inspect") == &inspector);
    CHECK(ipc::detail::worker_role::find("test: nothing") == nullptr);
}
