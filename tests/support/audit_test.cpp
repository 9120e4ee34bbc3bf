// SPDX-License-Identifier: MIT
#include "support/audit.hpp"

#include <catch2/catch.hpp>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using weft::tests::left_over;
using weft::tests::look;

namespace {

const weft::tests::resident_thread kept{"kept-*"};

/// A thread that lives until it is destroyed.
class waiting_thread {
public:
    explicit waiting_thread(const char* name)
        : thread_([this, name] {
              pthread_setname_np(pthread_self(), name);
              std::unique_lock lock(mutex_);
              named_ = true;
              changed_.notify_all();
              changed_.wait(lock, [this] { return released_; });
          }) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return named_; });
    }
    ~waiting_thread() {
        {
            std::lock_guard lock(mutex_);
            released_ = true;
            changed_.notify_all();
        }
        thread_.join();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool named_ = false;
    bool released_ = false;
    std::thread thread_; // last: it uses the others
};

pid_t start_child() {
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    return child;
}

} // namespace

TEST_CASE("audit: finds a descriptor that was left, and says where it leads") {
    auto before = look();
    int fd = eventfd(0, EFD_CLOEXEC);
    auto found = left_over(before, 0ms);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0], Contains("descriptor " + std::to_string(fd) + " is left"));
    CHECK_THAT(found[0], Contains("eventfd"));
    close(fd);
    CHECK(left_over(before, 0ms).empty());
}

TEST_CASE("audit: finds that a descriptor of someone else was closed or replaced") {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    int copy = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
    auto before = look();

    close(ends[0]);
    auto found = left_over(before, 0ms);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0], Contains("descriptor " + std::to_string(ends[0]) + " was closed"));

    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(dup3(other, ends[0], O_CLOEXEC) == (other == ends[0] ? -1 : ends[0]));
    found = left_over(before, 0ms);
    REQUIRE_FALSE(found.empty());
    CHECK_THAT(found[0], Contains("leads to /dev/null"));
    if (other != ends[0])
        close(other);

    REQUIRE(dup3(copy, ends[0], O_CLOEXEC) == ends[0]);
    CHECK(left_over(before, 0ms).empty());
    for (int fd : {copy, ends[0], ends[1]})
        close(fd);
}

TEST_CASE("audit: finds a thread that still runs, by its name") {
    auto before = look();
    {
        waiting_thread thread("forgotten");
        auto found = left_over(before, 0ms);
        REQUIRE(found.size() == 1);
        CHECK_THAT(found[0], Contains("thread") && Contains("forgotten"));
    }
    CHECK(left_over(before).empty());
}

TEST_CASE("audit: does not look at threads that are kept on purpose") {
    auto before = look();
    waiting_thread thread("kept-by-design");
    CHECK(left_over(before, 0ms).empty());
}

TEST_CASE("audit: finds a child that runs, and one that nobody has reaped") {
    auto before = look();
    pid_t child = start_child();
    REQUIRE(child > 0);
    auto found = left_over(before, 0ms);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0], Contains("child " + std::to_string(child) + " is left"));

    kill(child, SIGKILL);
    siginfo_t info{};
    REQUIRE(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
    found = left_over(before, 0ms);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0], Contains("in state Z"));

    REQUIRE(waitpid(child, nullptr, 0) == child);
    CHECK(left_over(before).empty());
}

TEST_CASE("audit: finds a name in shared memory, unless another process uses it") {
    const std::string name = weft::tests::own_shared_name("audit");
    auto before = look();
    int fd = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
    REQUIRE(fd >= 0);
    pid_t child = start_child(); // inherits the descriptor
    close(fd);
    auto found = left_over(before, 0ms);
    CHECK(found.size() == 1); // the child alone

    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    found = left_over(before, 0ms);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0], Contains("/dev/shm/" + name + " is left"));

    REQUIRE(shm_unlink(name.c_str()) == 0);
    CHECK(left_over(before, 0ms).empty());

    // Another test's, whose process was killed.
    const std::string foreign = "weft-test-1-foreign";
    fd = shm_open(foreign.c_str(), O_CREAT | O_RDWR, 0600);
    REQUIRE(fd >= 0);
    close(fd);
    CHECK(left_over(before, 0ms).empty());
    REQUIRE(shm_unlink(foreign.c_str()) == 0);
}

TEST_CASE("audit: waits a moment for what ends on its own") {
    auto before = look();
    pid_t child = start_child();
    CHECK(left_over(before, 0ms).size() == 1);
    std::thread reaper([child] {
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
    });
    CHECK(left_over(before).empty());
    reaper.join();
}

TEST_CASE("audit: a test may declare what it leaves") {
    static int left_behind = eventfd(0, EFD_CLOEXEC);
    weft::tests::accept_current_state();
    CHECK(left_behind >= 0);
}

// Hidden: leaks_are_failures.py runs it, and expects it to fail in one of its two runs.
TEST_CASE("audit: a case that leaks fails", "[.leaks]") {
    SECTION("a descriptor") { CHECK(eventfd(0, EFD_CLOEXEC) >= 0); }
    SECTION("nothing") { CHECK(true); }
}
