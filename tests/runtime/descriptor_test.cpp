// SPDX-License-Identifier: MIT
#include <weft/runtime/descriptor.hpp>

#include "support/io.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>

using namespace weft;
using namespace weft::tests;

namespace {
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
descriptor event() { return descriptor(::eventfd(0, EFD_CLOEXEC)); }
} // namespace

TEST_CASE("descriptor: closes what it owns, and only that") {
    int raw = -1;
    {
        descriptor d = event();
        raw = d.get();
        CHECK(is_open(raw));
        descriptor moved = std::move(d);
        CHECK_FALSE(d);
        CHECK(moved.get() == raw);
        descriptor copy = moved.duplicate();
        CHECK(copy.get() != raw);
        CHECK(::fcntl(copy.get(), F_GETFD) == FD_CLOEXEC);
        int second = copy.get();
        copy = std::move(moved);
        CHECK_FALSE(is_open(second));
    }
    CHECK_FALSE(is_open(raw));
    descriptor kept = event();
    raw = kept.release();
    kept.reset();
    CHECK(is_open(raw));
    ::close(raw);
}

TEST_CASE("descriptor: an awaited close is done when it returns") {
    auto close = []() -> task<> {
        descriptor d = event();
        int raw = d.get();
        co_await d.close();
        CHECK_FALSE(is_open(raw));
        CHECK_FALSE(d);
        co_await d.close(); // of none: nothing to do
    };
    run_within(10s, close());
}

TEST_CASE("descriptor: a close that nobody awaits, or that a stop comes before, closes too") {
    auto close = []() -> task<> {
        descriptor d = event();
        int raw = d.get();
        static_cast<void>(d.close());
        CHECK_FALSE(is_open(raw));
        auto closing = [](descriptor e) -> task<> {
            co_await yield();
            co_await e.close();
        };
        descriptor e = event();
        raw = e.get();
        auto h = spawn(closing(std::move(e)));
        co_await yield();
        h.cancel();
        while (!h.done())
            co_await yield();
        CHECK_FALSE(is_open(raw));
    };
    run_within(10s, close());
}

TEST_CASE("descriptor: waits until it is readable or writable") {
    auto wait = []() -> task<> {
        descriptor d = event();
        co_await writable(d.get());
        bool seen = false;
        auto watch = [&]() -> task<> {
            co_await readable(d.get());
            seen = true;
        };
        auto h = spawn(watch());
        co_await sleep_for(5ms);
        CHECK_FALSE(seen);
        ::eventfd_write(d.get(), 1);
        co_await h.join();
        CHECK(seen);
        bool timed_out = false;
        eventfd_t value = 0;
        ::eventfd_read(d.get(), &value);
        try {
            co_await with_timeout(5ms, readable(d.get()));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
    };
    run_within(10s, wait());
}

TEST_CASE("descriptor: polling what isn't open is an error") {
    auto poll = []() -> task<> {
        try {
            co_await readable(-1);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::bad_file_descriptor);
        }
    };
    run_within(10s, poll());
}
