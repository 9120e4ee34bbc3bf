// SPDX-License-Identifier: MIT
#include <weft/runtime/file.hpp>

#include "support/audit.hpp"
#include "support/io.hpp"
#include "support/report.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/filesystem.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <numeric>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

static_assert(byte_reader<file> && byte_writer<file>);

namespace {

const resident_thread helpers{"weft-helper"};

std::string contents_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

open_options how(file_access a, file_creation c = file_creation::existing) {
    open_options o;
    o.access = a;
    o.creation = c;
    return o;
}

task<int> error_of_open(std::string path, open_options o = {}) {
    try {
        co_await open_file(path, o);
    } catch (const std::system_error& e) {
        CHECK_THAT(e.what(), Contains("open " + path));
        co_return e.code().value();
    }
    co_return 0;
}

// A file on a disk of 64 KiB. None where a process may have no name space of its own.
descriptor file_on_a_small_disk() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    descriptor ours(ends[0]);
    descriptor theirs(ends[1]);
    pid_t child = ::fork();
    if (child == 0) {
        bool mounted =
            (::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
            ::mount("none", "/tmp", "tmpfs", 0, "size=64k") == 0;
        int fd = mounted ? ::open("/tmp/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
        char byte = 0;
        iovec part{&byte, 1};
        msghdr h{};
        h.msg_iov = &part;
        h.msg_iovlen = 1;
        if (fd >= 0) {
            h.msg_control = control;
            h.msg_controllen = sizeof control;
            cmsghdr* c = CMSG_FIRSTHDR(&h);
            c->cmsg_len = CMSG_LEN(sizeof fd);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
        }
        ::sendmsg(theirs.get(), &h, 0);
        ::_exit(0);
    }
    theirs.reset();
    int status = 0;
    ::waitpid(child, &status, 0);
    auto receive = [&]() -> task<descriptor> {
        unix_stream s(std::move(ours));
        std::byte byte[1];
        received_message m = co_await s.receive_message(byte);
        if (m.descriptors().empty())
            co_return descriptor();
        co_return std::move(m.descriptors().front());
    };
    return run_within(10s, receive());
}

} // namespace

TEST_CASE("file: what is written one after the other is read so") {
    temp_dir dir;
    auto sequence = [&]() -> task<> {
        std::string path = dir.path("f");
        file f = co_await open_file(path, how(file_access::read_write, file_creation::exclusive));
        CHECK(::fcntl(f.fd(), F_GETFD) == FD_CLOEXEC);
        co_await write_all(f, as_bytes("one "));
        const_buffer parts[] = {std::string_view("two "), std::string_view("three")};
        std::size_t n = co_await f.write_some(parts);
        CHECK(n == 9);
        CHECK(f.position() == 13);
        f.seek(4);
        std::byte b[64];
        n = co_await f.read_some(b);
        CHECK(as_text(std::span(b, n)) == "two three");
        n = co_await f.read_some(b);
        CHECK(n == 0);
        co_await f.close();
        CHECK(contents_of(path) == "one two three");
    };
    for (kernel_feature features : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        run_within(10s, sequence(), {.features = features});
        ::unlink(dir.path("f").c_str());
    }
}

TEST_CASE("file: operations at a position leave the file's own alone, and may run at once") {
    temp_dir dir;
    auto positional = [&]() -> task<> {
        file f = co_await open_file(dir.path("f"),
                                    how(file_access::read_write, file_creation::exclusive));
        co_await with_task_group([&](task_group& g) -> task<> {
            static const std::string blocks(1000, 'x');
            for (std::uint64_t i = 0; i < 50; ++i)
                g.spawn(as_task(f.write_at(i * 1000, as_bytes(blocks))));
            co_return;
        });
        CHECK(f.position() == 0);
        std::uint64_t size = co_await f.size();
        CHECK(size == 50'000);
        const_buffer parts[] = {std::string_view("a"), std::string_view("b")};
        co_await f.write_at(10, parts);
        std::byte b[4];
        std::size_t n = co_await f.read_at(9, b);
        CHECK(as_text(std::span(b, n)) == "xabx");
        n = co_await f.read_at(50'000, b);
        CHECK(n == 0);
    };
    run_within(10s, positional(), {.ring_entries = 4});
}

TEST_CASE("file: opened as it was asked for") {
    temp_dir dir;
    auto open = [&]() -> task<> {
        std::string path = dir.path("f");
        int e = co_await error_of_open(path);
        CHECK(e == ENOENT);
        co_await write_file(path, as_bytes("contents"));
        e = co_await error_of_open(path, how(file_access::write, file_creation::exclusive));
        CHECK(e == EEXIST);
        {
            file f = co_await open_file(path, how(file_access::append, file_creation::if_missing));
            co_await write_all(f, as_bytes(", more"));
        }
        CHECK(contents_of(path) == "contents, more");
        file f = co_await open_file(path, how(file_access::write, file_creation::truncate));
        std::uint64_t size = co_await f.size();
        CHECK(size == 0);
        try {
            std::byte b[1];
            co_await f.read_some(b);
            FAIL("no error");
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::bad_file_descriptor);
            CHECK_THAT(error.what(), Contains("read " + path));
        }
        open_options mode = how(file_access::write, file_creation::exclusive);
        mode.permissions = 0640;
        file g = co_await open_file(dir.path("g"), mode);
        file_status s = co_await g.status();
        mode_t mask = ::umask(0);
        ::umask(mask);
        CHECK(s.permissions == (0640 & ~mask));
        e = co_await error_of_open(dir.path(""), how(file_access::write));
        CHECK(e == EISDIR);
    };
    run_within(10s, open());
}

TEST_CASE("file: resizing, reserving and syncing") {
    temp_dir dir;
    auto change = [&]() -> task<> {
        file f = co_await open_file(dir.path("f"),
                                    how(file_access::read_write, file_creation::exclusive));
        co_await write_all(f, as_bytes("0123456789"));
        co_await f.sync();
        co_await f.sync_data();
        co_await f.resize(4);
        std::uint64_t size = co_await f.size();
        CHECK(size == 4);
        co_await f.reserve(0, 8192);
        file_status s = co_await f.status();
        CHECK(s.size == 8192);
        CHECK(s.allocated >= 8192);
        CHECK(s.type == file_type::regular);
        CHECK(s.links == 1);
        CHECK(s.uid == ::getuid());
        struct stat expected{};
        REQUIRE(::fstat(f.fd(), &expected) == 0);
        CHECK(s.inode == expected.st_ino);
        CHECK(s.device == expected.st_dev);
        CHECK(std::chrono::system_clock::now() - s.modified < 1min);
        file readable_only = co_await open_file(dir.path("f"));
        try {
            co_await readable_only.resize(0);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK_THAT(e.what(), Contains("resize " + dir.path("f")));
        }
    };
    run_within(10s, change());
}

TEST_CASE("file: read and written whole") {
    temp_dir dir;
    auto whole = [&]() -> task<> {
        std::string path = dir.path("f");
        std::string sent(1'000'000, '\0');
        std::iota(sent.begin(), sent.end(), '\0');
        co_await write_file(path, as_bytes(sent));
        std::string heard = co_await read_file(path);
        CHECK(heard == sent);
        heard = co_await read_file(path, sent.size());
        CHECK(heard.size() == sent.size());
        try {
            co_await read_file(path, sent.size() - 1);
            FAIL("no error");
        } catch (const limit_error&) {
            SUCCEED();
        }
        co_await write_file(path, {});
        heard = co_await read_file(path);
        CHECK(heard.empty());
        heard = co_await read_file("/proc/self/status"); // says that its size is 0
        CHECK_THAT(heard, Contains("VmRSS"));
    };
    run_within(10s, whole());
}

TEST_CASE("file: a full disk is an error, after a short write of what fitted", "[P16]") {
    descriptor small = file_on_a_small_disk();
    if (!small) {
        skip("no small disk: mounting isn't permitted");
        return;
    }
    auto fill = [&]() -> task<> {
        file f(std::move(small));
        std::string much(100'000, 'x');
        std::size_t written = 0;
        try {
            while (true)
                written += co_await f.write_some(as_bytes(much));
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::no_space_on_device);
            CHECK_THAT(e.what(), Contains("/file: No space"));
        }
        CHECK(written == 65'536);
        try {
            co_await f.reserve(0, 1'000'000);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::no_space_on_device);
        }
        co_await f.resize(0); // and the file is usable as before
        std::size_t n = co_await f.write_at(0, as_bytes("there is room"));
        CHECK(n == 13);
    };
    run_within(10s, fill());
}

TEST_CASE("file: a device that is always full") {
    auto full = []() -> task<> {
        file f = co_await open_file("/dev/full", how(file_access::write));
        try {
            co_await write_all(f, as_bytes("x"));
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::no_space_on_device);
        }
    };
    run_within(10s, full());
}

TEST_CASE("file: opened in the race with a stop, it is delivered or closed", "[P3]") {
    temp_dir dir;
    auto race = [&]() -> task<> {
        int delivered = 0;
        for (int i = 0; i < 2000; ++i) {
            co_await with_task_group([&](task_group& g) -> task<> {
                auto open = [&]() -> task<> {
                    open_options o = how(file_access::write, file_creation::if_missing);
                    file f = co_await open_file(dir.path("f"), o); // on a thread of the kernel
                    ++delivered;
                };
                g.spawn(open());
                for (int k = 0; k < i % 8; ++k)
                    co_await yield();
                if (i % 3 == 0)
                    co_await sleep_for(std::chrono::microseconds(i % 50));
                g.cancel();
            });
        }
        CAPTURE(delivered);
        CHECK(delivered > 0);
        CHECK(delivered < 2000);
    }; // the audit counts the descriptors
    run_within(20s, race());
}
