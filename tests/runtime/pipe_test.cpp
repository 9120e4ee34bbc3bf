// SPDX-License-Identifier: MIT
#include <weft/runtime/pipe.hpp>

#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <fcntl.h>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

static_assert(byte_reader<pipe_reader> && byte_writer<pipe_writer>);

TEST_CASE("pipe: carries bytes until the last writer is gone") {
    auto carry = []() -> task<> {
        auto [out, in] = make_pipe();
        CHECK(::fcntl(out.fd(), F_GETFD) == FD_CLOEXEC);
        const_buffer parts[] = {std::string_view("one "), std::string_view("two")};
        std::size_t n = co_await in.write_some(parts);
        CHECK(n == 7);
        std::byte b[4];
        n = co_await out.read_some(b);
        CHECK(n == 4);
        {
            lent_buffer rest = co_await out.receive();
            CHECK(rest.text() == "two");
        }
        co_await in.close();
        n = co_await out.read_some(b);
        CHECK(n == 0);
        lent_buffer none = co_await out.receive();
        CHECK(none.empty());
    };
    for (kernel_feature features : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        run_within(10s, carry(), {.features = features});
    }
}

TEST_CASE("pipe: a reader waits for data, a writer for room") {
    auto wait = []() -> task<> {
        auto ends = make_pipe();
        auto& [out, in] = ends;
        std::string sent(300'000, 'x');
        std::string heard(sent.size(), '\0');
        bool written = false;
        auto write = [&]() -> task<> {
            co_await write_all(in, as_bytes(sent));
            written = true;
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(read_exactly(out, std::as_writable_bytes(std::span(heard).first(10))));
            co_await yield();
            g.spawn(write());
            co_await sleep_for(5ms);
            CHECK_FALSE(written);
            auto rest = std::as_writable_bytes(std::span(heard).subspan(10));
            co_await read_exactly(out, rest);
        });
        CHECK(heard == sent);
    };
    run_within(10s, wait());
    run_within(10s, wait(), {.features = kernel_feature::none});
}

TEST_CASE("pipe: writing where nobody reads is an error and no signal", "[P17]") {
    auto broken = []() -> task<> {
        auto [out, in] = make_pipe();
        co_await out.close();
        for (int i = 0; i < 3; ++i) {
            try {
                co_await in.write_some(as_bytes("x"));
                FAIL("no error");
            } catch (const std::system_error& e) {
                CHECK(e.code() == std::errc::broken_pipe);
                CHECK_THAT(e.what(), Contains("write pipe:["));
            }
        }
    };
    struct sigaction before{};
    REQUIRE(::sigaction(SIGPIPE, nullptr, &before) == 0);
    REQUIRE(before.sa_handler == SIG_DFL); // it would end this program
    run_within(10s, broken());
    run_within(10s, broken(), {.features = ~kernel_feature::silent_write});
    sigset_t pending;
    ::sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE) == 0);
}

TEST_CASE("pipe: a named pipe opens when both ends are there") {
    temp_dir dir;
    auto named = [&]() -> task<> {
        std::string path = dir.path("fifo");
        create_fifo(path);
        std::string heard;
        auto read = [&]() -> task<> {
            pipe_reader out = co_await open_fifo_reader(path);
            while (lent_buffer data = co_await out.receive())
                heard += data.text();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            auto reading = g.spawn(read());
            co_await sleep_for(5ms);
            CHECK_FALSE(reading.done());
            pipe_writer in = co_await open_fifo_writer(path);
            co_await write_all(in, as_bytes("by name"));
        });
        CHECK(heard == "by name");
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, open_fifo_reader(path));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK_THROWS_AS(create_fifo(path), std::system_error);
    };
    run_within(10s, named());
}
