// SPDX-License-Identifier: MIT
#include <weft/runtime/impl/ring.hpp>

#include "support/io.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace weft;
using namespace weft::tests;

namespace {

const kernel& k = real_kernel();

constexpr std::int64_t for_ever = INT64_MAX;
constexpr std::int64_t ms = 1'000'000;

void put(io_uring_sqe* sqe, std::uint64_t user_data, std::uint8_t opcode = IORING_OP_NOP,
         int fd = -1) {
    REQUIRE(sqe != nullptr);
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = user_data;
}

std::vector<std::uint64_t> reaped(detail::ring& r) {
    std::vector<std::uint64_t> all;
    r.reap([&](const io_uring_cqe& c) { all.push_back(c.user_data); }, ~0u);
    return all;
}

// A ring as the table makes it.
struct plain_ring {
    explicit plain_ring(unsigned entries) { error = k.setup(k.state, entries, &its, &params); }
    plain_ring(const plain_ring&) = delete;
    plain_ring& operator=(const plain_ring&) = delete;
    ~plain_ring() {
        if (error == 0)
            k.teardown(k.state, &its);
    }
    ::io_uring its{};
    ::io_uring_params params{};
    int error = 0;
};

bool kernel_is_at_least(int major, int minor) {
    utsname name{};
    REQUIRE(::uname(&name) == 0);
    int a = 0;
    int b = 0;
    REQUIRE(std::sscanf(name.release, "%d.%d", &a, &b) == 2);
    return std::pair(a, b) >= std::pair(major, minor);
}

} // namespace

TEST_CASE("kernel_ring: what the version of the kernel has is found out", "[P22]") {
    detail::ring r(k, 8, kernel_feature::all);
    struct since {
        kernel_feature what;
        int major, minor;
    };
    const since features[] = {
        {kernel_feature::defer_taskrun, 6, 1},     {kernel_feature::registered_ring, 5, 18},
        {kernel_feature::multishot_accept, 5, 19}, {kernel_feature::multishot_receive, 6, 0},
        {kernel_feature::buffer_ring, 5, 19},      {kernel_feature::no_sq_array, 6, 6},
        {kernel_feature::absolute_timeout, 6, 12}, {kernel_feature::no_iowait, 6, 15},
    };
    for (const since& f : features) {
        CAPTURE(static_cast<std::uint32_t>(f.what));
        // Distributions bring some of them to older kernels.
        CHECK((r.has(f.what) || !kernel_is_at_least(f.major, f.minor)));
    }
}

TEST_CASE("kernel_ring: submits, waits and wakes with each feature masked", "[P22]") {
    detail::ring whole(k, 8, kernel_feature::all);
    for (kernel_feature allowed : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(allowed));
        detail::ring r(k, 8, allowed);
        CHECK(r.features() == (whole.features() & allowed));
        for (std::uint64_t i = 1; i <= 100; i += 2) {
            put(r.get_sqe(), i);
            put(r.get_sqe(), i + 1);
            CHECK(r.enter(true, for_ever) == 2);
            CHECK(reaped(r) == std::vector<std::uint64_t>{i, i + 1});
        }
        std::int64_t start = k.now(nullptr);
        CHECK(r.enter(true, start + 3 * ms) == -ETIME);
        CHECK(k.now(nullptr) >= start + 3 * ms);
        CHECK(r.enter(true, start) == -ETIME);

        int wake_fd = k.make_wake_fd(nullptr);
        io_uring_sqe* poll = r.get_sqe();
        put(poll, 7, IORING_OP_POLL_ADD, wake_fd);
        poll->len = IORING_POLL_ADD_MULTI;
        poll->poll32_events = POLLIN | EPOLLET;
        CHECK(r.enter(false, 0) == 1);
        for (int round = 0; round < 3; ++round) {
            std::thread([&] { k.wake(nullptr, wake_fd); }).join();
            CHECK(r.enter(true, for_ever) == 0);
            CHECK(reaped(r) == std::vector<std::uint64_t>{7}); // an edge each, and nobody reads
        }
        k.close(nullptr, wake_fd);
    }
}

TEST_CASE("kernel_ring: a full completion queue loses nothing") {
    for (kernel_feature allowed : {kernel_feature::all, kernel_feature::none}) {
        detail::ring r(k, 4, allowed); // 16 completions
        std::vector<std::uint64_t> expected;
        for (std::uint64_t i = 1; i <= 60; ++i) {
            io_uring_sqe* sqe = r.get_sqe();
            if (sqe == nullptr) {
                int n = r.enter(false, 0);
                CHECK((n > 0 || n == -EBUSY));
                sqe = r.get_sqe();
            }
            if (sqe == nullptr)
                break; // a kernel that takes no more before we have read
            put(sqe, i);
            expected.push_back(i);
        }
        std::vector<std::uint64_t> seen;
        until_here([&] {
            r.enter(false, 0);
            for (std::uint64_t i : reaped(r))
                seen.push_back(i);
            return seen.size() == expected.size();
        });
        CHECK(seen == expected);
        CHECK_FALSE(r.kernel_has_work());
    }
}

TEST_CASE("kernel_ring: a signal ends a wait with EINTR", "[P17]") {
    struct sigaction nothing{};
    struct sigaction before{};
    nothing.sa_handler = [](int) {};
    REQUIRE(::sigaction(SIGUSR1, &nothing, &before) == 0);
    {
        detail::ring r(k, 4, kernel_feature::all);
        std::atomic<bool> over{false};
        pthread_t self = ::pthread_self();
        std::thread other([&] {
            while (!over) { // the first may come before the wait
                ::pthread_kill(self, SIGUSR1);
                std::this_thread::yield();
            }
        });
        int result = r.enter(true, for_ever);
        over = true;
        other.join();
        CHECK(result == -EINTR);
    }
    ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("kernel_ring: its descriptors stay out of programs that are started") {
    plain_ring r(4);
    REQUIRE(r.error == 0);
    int wake_fd = k.make_wake_fd(nullptr);
    CHECK((::fcntl(r.its.ring_fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(wake_fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(wake_fd, F_GETFL) & O_NONBLOCK) != 0);
    k.close(nullptr, wake_fd);
}

TEST_CASE("kernel_ring: a child of a fork doesn't have the memory of a ring") {
    plain_ring r(4);
    REQUIRE(r.error == 0);
    auto page_of = [](const void* p) {
        auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p) / page * page);
    };
    void* pages[] = {page_of(r.its.sq.khead), page_of(r.its.cq.cqes), page_of(r.its.sq.sqes)};
    auto mapped = [](void* page) {
        unsigned char there = 0;
        return ::mincore(page, 1, &there) == 0;
    };
    for (void* page : pages)
        CHECK(mapped(page));
    pid_t child = ::fork();
    if (child == 0)
        ::_exit(std::none_of(std::begin(pages), std::end(pages), mapped) ? 42 : 1);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("kernel_ring: what the kernel refuses is an errno, and leaves nothing behind") {
    CHECK(plain_ring(0).error == -EINVAL);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit none = before;
    none.rlim_cur = 3;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    int ring_error = plain_ring(4).error;
    int wake_error = k.make_wake_fd(nullptr);
    ::setrlimit(RLIMIT_NOFILE, &before);
    CHECK(ring_error == -EMFILE);
    CHECK(wake_error == -EMFILE);
    CHECK(k.enter(nullptr, -1, 0, 0, 0, nullptr, 0) == -EBADF);
    CHECK(k.register_ring(nullptr, -1, 0, nullptr, 0) < 0);
}

TEST_CASE("kernel_ring: parking ends by the word, by a wake-up and by the deadline") {
    std::uint32_t word = 1;
    k.park(nullptr, &word, 2, for_ever); // isn't what was expected
    std::int64_t start = k.now(nullptr);
    k.park(nullptr, &word, 1, start + 3 * ms);
    CHECK(k.now(nullptr) >= start + 3 * ms);
    k.park(nullptr, &word, 1, start); // gone
    std::thread other([&] {
        std::atomic_ref(word).store(2);
        k.unpark(nullptr, &word);
    });
    while (std::atomic_ref(word).load() == 1)
        k.park(nullptr, &word, 1, for_ever);
    other.join();
    CHECK(word == 2);
}

TEST_CASE("kernel_ring: its random bytes differ") {
    std::byte a[64] = {};
    std::byte b[64] = {};
    CHECK(k.random(nullptr, a, sizeof a) == 64);
    CHECK(k.random(nullptr, b, sizeof b) == 64);
    CHECK(std::memcmp(a, b, sizeof a) != 0);
}
