// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/child.hpp>
#include <weft/ipc/detail/worker_role.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;
using namespace weft::ipc;
using ipc::detail::child;
using ipc::detail::spawn_child;
using namespace std::chrono_literals;

constexpr auto bound = 40'000ms;

bool becomes_readable(int fd, std::chrono::milliseconds within = bound) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(within.count())) == 1;
}

exit_status wait_for(child& p) {
    if (p.pidfd() >= 0)
        REQUIRE(becomes_readable(p.pidfd()));
    auto status = p.try_wait();
    REQUIRE(status);
    return *status;
}

struct pipe_ends {
    pipe_ends() {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        reading.reset(ends[0]);
        writing.reset(ends[1]);
    }
    // Everything, until the last writer is gone.
    std::string read_all() {
        writing.reset();
        std::string all;
        char buffer[4096];
        while (true) {
            REQUIRE(becomes_readable(reading.get()));
            auto n = ::read(reading.get(), buffer, sizeof buffer);
            REQUIRE(n >= 0);
            if (n == 0)
                return all;
            all.append(buffer, static_cast<std::size_t>(n));
        }
    }
    descriptor reading, writing;
};

child shell(const char* script, std::span<const int> descriptors = {}) {
    const std::array<const char*, 4> arguments{"sh", "-c", script, nullptr};
    return spawn_child({.path = "/bin/sh", .arguments = arguments, .descriptors = descriptors});
}

// Says what is in the memory behind each of its descriptors but the first, into that.
int read_descriptors(int, std::span<const int> descriptors) {
    std::string all;
    for (int fd : descriptors.subspan(1)) {
        char text[16];
        auto n = ::pread(fd, text, sizeof text, 0);
        all.append(text, n < 0 ? 0 : static_cast<std::size_t>(n)).append(" ");
    }
    return ::write(descriptors[0], all.data(), all.size()) < 0 ? 1 : 0;
}
const ipc::detail::worker_role reader("test: read descriptors", 41, read_descriptors);

} // namespace

TEST_CASE("child: the status is that of waitid, and is told again") {
    child exits = shell("exit 7");
    CHECK(wait_for(exits) == exit_status::by_exit(7));
    CHECK(exits.try_wait() == exit_status::by_exit(7));

    child dies = shell("kill -TERM $$");
    CHECK(wait_for(dies) == exit_status::by_signal(SIGTERM));
}

TEST_CASE("child: a signal reaches it while it runs, and nobody afterwards", "[P12]") {
    child started = shell("exec sleep 1000");
    CHECK_FALSE(started.try_wait());
    CHECK(started.send_signal(0));
    CHECK(started.send_signal(SIGKILL));
    CHECK(wait_for(started) == exit_status::by_signal(SIGKILL));
    CHECK_FALSE(started.send_signal(SIGKILL));
    CHECK_FALSE(child().send_signal(SIGKILL));
}

TEST_CASE("child: one that still runs dies with its handle, without a zombie", "[P11]") {
    pipe_ends p;
    const std::array<int, 1> passed{p.reading.get()}; // from which nothing comes
    {
        child started = shell("trap '' TERM INT; read line <&3", passed);
        child moved = std::move(started);
        CHECK(moved.pid() > 0);
    }
    // The audit looks for the zombie.
    child again = shell("exit 0");
    again = shell("exit 1");
    CHECK(wait_for(again).code() == 1);
}

TEST_CASE("child: a program that isn't there is an error with errno and path", "[P12]") {
    const std::array<const char*, 2> arguments{"nothing", nullptr};
    try {
        static_cast<void>(spawn_child({.path = "/nowhere/nothing", .arguments = arguments}));
        FAIL("it was started");
    } catch (const std::system_error& e) {
        CHECK(e.code().value() == ENOENT);
        CHECK_THAT(e.what(), Catch::Contains("/nowhere/nothing"));
    }
}

TEST_CASE("child: a child gets the descriptors that are listed and no others", "[P12]") {
    pipe_ends p;
    // Neither close-on-exec ones nor others.
    descriptor open(::dup(p.reading.get()));
    REQUIRE(open.get() >= 0);
    descriptor high(::fcntl(p.reading.get(), F_DUPFD, 777));
    REQUIRE(high.get() >= 777);
    const std::array<int, 1> passed{p.writing.get()};
    child started = shell("ls /proc/self/fd >&3", passed);
    std::istringstream listed(p.read_all());
    wait_for(started);
    std::vector<int> numbers;
    for (int n = 0; listed >> n;)
        numbers.push_back(n);
    // Those of ls: the standard streams, ours, and the directory that it is reading.
    CHECK(numbers == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("child: each listed descriptor comes out at its place, whatever its number is here",
          "[P12]") {
    pipe_ends p;
    std::vector<descriptor> memories;
    std::vector<int> passed{p.writing.get()};
    std::string expected;
    for (int i = 0; i != 40; ++i) {
        memories.emplace_back(::memfd_create("test", MFD_CLOEXEC));
        std::string text = std::to_string(i);
        REQUIRE(::pwrite(memories.back().get(), text.data(), text.size(), 0) > 0);
    }
    // In reverse, so that most of them lie where another one has to go.
    for (int i = 39; i >= 0; --i) {
        passed.push_back(memories[static_cast<std::size_t>(i)].get());
        expected += std::to_string(i) + " ";
    }
    child started = ipc::detail::start_worker(reader, passed);
    CHECK(p.read_all() == expected);
    CHECK(wait_for(started).code() == 0);
}

TEST_CASE("child: a child starts with no signal blocked or ignored, and /dev/null as its input",
          "[P12]") {
    sigset_t blocked, before;
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
    auto handler = std::signal(SIGUSR2, SIG_IGN);
    pipe_ends p;
    const std::array<int, 1> passed{p.writing.get()};
    child started = shell(
        "exec >&3; grep -E 'SigBlk|SigIgn' /proc/self/status; readlink /proc/self/fd/0", passed);
    std::signal(SIGUSR2, handler);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    // The two that glibc keeps for itself, 32 and 33, it ignores in every child.
    CHECK(p.read_all() == "SigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n/dev/null\n");
    wait_for(started);
}

TEST_CASE("child: in a program that ignores SIGCHLD the status is unknown, and nothing hangs",
          "[P2]") {
    auto handler = std::signal(SIGCHLD, SIG_IGN);
    child started = shell("exit 3");
    exit_status status = wait_for(started);
    std::signal(SIGCHLD, handler);
    CHECK_FALSE(status.known());
    CHECK_FALSE(started.send_signal(SIGKILL));
}
