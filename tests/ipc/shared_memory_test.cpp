// SPDX-License-Identifier: MIT
#include <weft/ipc/shared_memory.hpp>

#include "support/audit.hpp"
#include "support/io.hpp"

#include <weft/ipc/connection.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::tests;
using ipc::shared_memory;

template <class F>
int errno_of(F f) {
    try {
        f();
        return 0;
    } catch (const std::system_error& e) {
        return e.code().value();
    }
}

bool all_zero(std::span<const std::byte> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{}; });
}

} // namespace

TEST_CASE("shared_memory: is made once, zeroed, for this user, in the size that was asked for",
          "[SHM-01][SHM-02][SHM-05][P21]") {
    shared_memory m = shared_memory::create(5001);
    struct stat s{};
    REQUIRE(::stat(("/dev/shm/" + m.name()).c_str(), &s) == 0);
    CHECK(s.st_blocks * 512 >= 5001); // the pages are there before anybody has touched them
    CHECK(m.size() == 5001);
    CHECK(m.bytes().size() == 5001);
    CHECK(all_zero(m.bytes()));
    CHECK(m.name().size() == 12);
    CHECK(m.name().starts_with("psm_"));
    CHECK(m.name().find_first_not_of("0123456789abcdef", 4) == std::string::npos);
    CHECK((s.st_mode & 0777) == 0600);
    CHECK(s.st_size == 5001);
    CHECK(errno_of([&] { auto again = shared_memory::create(1, m.name()); }) == EEXIST);
    shared_memory other = shared_memory::create(1);
    CHECK(other.name() != m.name());
    other.unlink();
    m.unlink();
    CHECK_THROWS_AS(shared_memory::create(0), std::invalid_argument);
    CHECK_THROWS_AS(shared_memory::create_nameless(0), std::invalid_argument);
}

TEST_CASE("shared_memory: others open it by its name, whole, and see the same bytes",
          "[SHM-03][SHM-04][SHM-09]") {
    std::string name = own_shared_name("open");
    shared_memory m = shared_memory::create(100, name);
    CHECK(m.name() == name);
    CHECK(::access(("/dev/shm/" + name).c_str(), F_OK) == 0);
    shared_memory same = shared_memory::open(name);
    CHECK(same.size() == 100);
    CHECK(same.name() == name);
    CHECK(same.bytes().data() != m.bytes().data());
    m.bytes()[99] = std::byte{7};
    CHECK(same.bytes()[99] == std::byte{7});
    m.unlink();
    CHECK(errno_of([&] { auto gone = shared_memory::open(name); }) == ENOENT);
    CHECK(errno_of([] { auto no = shared_memory::open("a/b"); }) == EINVAL);
    CHECK(errno_of([] { auto no = shared_memory::create(1, "a/b"); }) == EINVAL);

    // The kernel would take what stands before a null character for the name.
    shared_memory before_null = shared_memory::create(100, name);
    const std::string longer = name + std::string("\0x", 2);
    CHECK(errno_of([&] { auto no = shared_memory::open(longer); }) == EINVAL);
    CHECK(errno_of([&] { auto no = shared_memory::create(1, longer, {.track = true}); }) == EINVAL);
    before_null.unlink();
}

TEST_CASE("shared_memory: closing is for one, unlinking for all, in any order",
          "[SHM-06][SHM-07]") {
    std::string name = own_shared_name("close");
    shared_memory m = shared_memory::create(10, name);
    shared_memory same = shared_memory::open(name);
    m.close();
    m.close();
    CHECK(m.bytes().empty());
    CHECK(m.fd() == -1);
    m.unlink();
    CHECK(errno_of([&] { m.unlink(); }) == ENOENT);
    CHECK(errno_of([&] { same.unlink(); }) == ENOENT);
    same.bytes()[0] = std::byte{1}; // stays valid
    CHECK(same.bytes()[0] == std::byte{1});
    // The name is free again, and moving moves all of it.
    shared_memory next = shared_memory::create(10, name);
    next = shared_memory::create_nameless(20);
    CHECK(next.size() == 20);
    CHECK(next.name().empty());
    CHECK_THROWS_AS(next.unlink(), state_error);
    shared_memory::open(name).unlink();
}

TEST_CASE("shared_memory: whoever opens one doesn't take its name away when it ends") {
    shared_memory m = shared_memory::create(10);
    {
        shared_memory same = shared_memory::open(m.name());
    }
    CHECK_NOTHROW(shared_memory::open(m.name()));
    m.unlink();
}

TEST_CASE("shared_memory: more than there is is an error when it is made, and leaves no name",
          "[P16][P21]") {
    std::string name = own_shared_name("large");
    constexpr std::size_t too_much = std::size_t{1} << 50;
    int e = errno_of([&] { auto m = shared_memory::create(too_much, name); });
    CHECK(e == ENOSPC);
    CHECK(errno_of([&] { auto m = shared_memory::open(name); }) == ENOENT);

    // Memory without a name has no bound of its own: where the kernel was asked for it, other
    // processes would end. Here it would refuse.
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    rlimit small = before;
    small.rlim_cur = 1 << 20;
    auto ignored = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    e = errno_of([] { auto m = shared_memory::create_nameless(too_much); });
    std::signal(SIGXFSZ, ignored);
    CHECK(e == ENOSPC);
    // The limit of a file's size is an error, and no signal.
    e = errno_of([] { auto m = shared_memory::create_nameless((1 << 20) + 1); });
    CHECK(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(e == EFBIG);
}

TEST_CASE("shared_memory: without a name it goes by its descriptor, and keeps its size", "[P21]") {
    auto test = []() -> task<> {
        auto both = ipc::make_connection_pair();
        shared_memory m = shared_memory::create_nameless(5000);
        CHECK(all_zero(m.bytes()));
        const int fds[] = {m.fd()};
        co_await both.first.send_descriptors(fds);
        std::vector<descriptor> got = co_await both.second.receive_descriptors();
        shared_memory same = shared_memory::adopt(std::move(got.at(0)));
        CHECK(same.size() == 5000);
        same.bytes()[4999] = std::byte{9};
        CHECK(m.bytes()[4999] == std::byte{9});
        CHECK(::ftruncate(same.fd(), 1) == -1);
        CHECK(::ftruncate(same.fd(), 10'000) == -1);
        CHECK(::fcntl(same.fd(), F_GETFD) == FD_CLOEXEC);
        m.close();
        CHECK(same.bytes()[4999] == std::byte{9});

        // What somebody could make smaller under one's feet isn't taken.
        descriptor loose(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        REQUIRE(::ftruncate(loose.get(), 100) == 0);
        CHECK_THROWS_AS(shared_memory::adopt(std::move(loose)), protocol_error);
        CHECK_THROWS_AS(shared_memory::adopt(both.first.release()), protocol_error);
    };
    run_within(10s, test());
}
