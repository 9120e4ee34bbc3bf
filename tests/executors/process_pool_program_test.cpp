// SPDX-License-Identifier: MIT
// Whole programs with a process pool (pool_program.cpp): one that is killed, and those that lack
// the line in main().
#include "support/audit.hpp"

#include <weft/ipc/detail/child.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <poll.h>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// Far beyond what anything takes that isn't broken, also with sanitizers on a busy machine.
constexpr auto patience = 40s;

bool readable_within(int fd, std::chrono::milliseconds d) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(d.count())) == 1;
}

// It lies beside this program.
std::string pool_program() {
    char self[4096];
    auto n = ::readlink("/proc/self/exe", self, sizeof self);
    REQUIRE(n > 0);
    std::string path(self, static_cast<std::size_t>(n));
    return path.substr(0, path.rfind('/')) + "/executors/pool_program";
}

class running_program {
public:
    explicit running_program(const char* mode, std::string_view method = "spawn") {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        output_.reset(ends[0]);
        descriptor theirs(ends[1]);
        starts_.reset(::memfd_create("starts", MFD_CLOEXEC));
        // Nobody else's name: it also tells which processes come from this one.
        path_ = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(starts_.get());
        ::setenv("WEFT_TEST_STARTS", path_.c_str(), 1);
        ::setenv("WEFT_TEST_MODE", mode, 1);
        static int programs = 0; // the name of the last one may still be there
        name_ = weft::tests::own_shared_name(std::to_string(++programs));
        ::setenv("WEFT_TEST_NAME", name_.c_str(), 1);
        ::setenv("WEFT_TEST_METHOD", std::string(method).c_str(), 1);
        std::string program = pool_program();
        const std::array<const char*, 3> arguments{program.c_str(), mode, nullptr};
        const std::array<int, 1> passed{theirs.get()};
        // The tracker says there that it has cleaned up.
        descriptor nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        process_ = ipc::detail::spawn_child({.path = program.c_str(),
                                             .arguments = arguments,
                                             .descriptors = passed,
                                             .standard_error = nowhere.get()});
        ::unsetenv("WEFT_TEST_STARTS");
        ::unsetenv("WEFT_TEST_MODE");
        ::unsetenv("WEFT_TEST_NAME");
        ::unsetenv("WEFT_TEST_METHOD");
    }

    std::string read_line() {
        std::string line;
        char c = 0;
        while (c != '\n') {
            REQUIRE(readable_within(output_.get(), patience));
            if (::read(output_.get(), &c, 1) != 1)
                break; // the program ended
            line += c;
        }
        return line;
    }
    exit_status wait() {
        REQUIRE(readable_within(process_.pidfd(), patience));
        auto status = process_.try_wait();
        REQUIRE(status);
        return *status;
    }
    void kill() { CHECK(process_.send_signal(SIGKILL)); }

    // How often the program was started, by us and by itself.
    [[nodiscard]] long starts() const {
        struct stat s{};
        REQUIRE(::fstat(starts_.get(), &s) == 0);
        return static_cast<long>(s.st_size);
    }

    // Whether its shared memory is there.
    [[nodiscard]] bool has_name() const {
        return ::access(("/dev/shm/" + name_).c_str(), F_OK) == 0;
    }

    // How many processes there are that it started, or that those started.
    [[nodiscard]] int descendants() const {
        const std::string mark = "WEFT_TEST_STARTS=" + path_ + '\0';
        int n = 0;
        DIR* dir = ::opendir("/proc");
        REQUIRE(dir != nullptr);
        while (const dirent* e = ::readdir(dir)) {
            std::ifstream file(std::string("/proc/") + e->d_name + "/environ", std::ios::binary);
            std::string environment{std::istreambuf_iterator<char>(file), {}};
            n += environment.find(mark) == std::string::npos ? 0 : 1;
        }
        ::closedir(dir);
        return n;
    }

private:
    ipc::detail::child process_;
    descriptor output_, starts_;
    std::string path_, name_;
};

// A process in which a sanitizer has a thread can't fork.
bool has_one_thread() {
    DIR* dir = ::opendir("/proc/self/task");
    REQUIRE(dir != nullptr);
    int n = 0;
    while (::readdir(dir) != nullptr)
        ++n;
    ::closedir(dir);
    return n == 3; // with . and ..
}

std::vector<std::string_view> methods_here() {
    std::vector<std::string_view> all{"spawn", "forkserver"};
    if (has_one_thread())
        all.emplace_back("fork");
    return all;
}

} // namespace

TEST_CASE("process_pool: no worker outlives a parent that is killed", "[P11]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto methods = methods_here();
    for (std::size_t round = 0; round != 9; ++round) {
        const auto method = methods[round % methods.size()];
        CAPTURE(method);
        running_program parent("orphans", method);
        // Running, deaf to signals, stopped, and idle.
        std::istringstream pids(parent.read_line());
        std::vector<descriptor> workers;
        for (int pid = 0; pids >> pid;) {
            workers.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
            REQUIRE(workers.back());
        }
        REQUIRE(workers.size() == 4);
        ::poll(nullptr, 0, static_cast<int>(random() % 20)); // at some moment
        parent.kill();
        parent.wait();
        for (const descriptor& w : workers)
            CHECK(readable_within(w.get(), patience));
    }
}

TEST_CASE("process_pool: a parent that is killed at any moment leaves nothing", "[P11]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const char* asked = std::getenv("WEFT_TEST_KILLS");
    const int kills = asked == nullptr ? 30 : std::atoi(asked);
    // Who asks for more has the machine for it; sanitizers and other work take their time.
    const auto bound = asked == nullptr ? patience : 2s;
    const auto methods = methods_here();
    for (int round = 0; round != kills; ++round) {
        const auto method = methods[static_cast<std::size_t>(round) % methods.size()];
        CAPTURE(round, method);
        running_program parent("orphans", method);
        ::poll(nullptr, 0, static_cast<int>(random() % 60));
        parent.kill();
        parent.wait();
        // One that is just being started has no environment for a moment, and isn't seen.
        constexpr int looks = 3;
        int descendants = 0, in_vain = 0;
        bool has_name = false;
        const auto end = steady::now() + bound;
        do {
            ::poll(nullptr, 0, 5);
            descendants = parent.descendants();
            has_name = parent.has_name();
            in_vain = descendants != 0 || has_name ? 0 : in_vain + 1;
        } while (in_vain != looks && steady::now() < end);
        CAPTURE(descendants, has_name);
        CHECK(in_vain == looks);
    }
}

TEST_CASE("process_pool: a main() without worker_entry is told so, before anything is started") {
    running_program program("without");
    std::string said = program.read_line();
    CHECK_THAT(said, Catch::Contains("worker_entry(argc, argv)"));
    CHECK(program.wait() == exit_status::by_exit(0));
    CHECK(program.starts() == 1);
}

TEST_CASE("process_pool: workers that don't notice what they are are no fork bomb", "[P2][P9]") {
    SECTION("they go on with main and want a pool") {
        running_program program("late");
        std::string said = program.read_line();
        CHECK_THAT(said, Catch::Contains("exited with code 3 before it could work") &&
                             Catch::Contains("worker_entry(argc, argv)"));
        CHECK(program.wait() == exit_status::by_exit(0));
        CHECK(program.starts() <= 4); // itself and three workers
    }
    SECTION("they do something else for ever") {
        running_program program("silent");
        std::string said = program.read_line();
        CHECK_THAT(said, Catch::Contains("didn't answer within the start deadline") &&
                             Catch::Contains("worker_entry(argc, argv)"));
        CHECK(program.wait() == exit_status::by_exit(0));
        CHECK(program.starts() <= 4); // one that is slow is ended before it has begun
    }
}
