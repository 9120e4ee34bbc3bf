// SPDX-License-Identifier: MIT
#include <weft/runtime/stream.hpp>

#include "support/io.hpp"

#include <weft/runtime/file.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <cstring>
#include <deque>
#include <fcntl.h>
#include <numeric>

using namespace weft;
using namespace weft::tests;

namespace {

// Gives its text in the pieces it is told to, and takes no more than three bytes at once.
class pieces {
public:
    explicit pieces(std::deque<std::string> p) : pieces_(std::move(p)) {}
    task<std::size_t> read_some(std::span<std::byte> into) {
        co_await yield();
        if (pieces_.empty())
            co_return 0;
        std::string& first = pieces_.front();
        std::size_t n = std::min(first.size(), into.size());
        std::memcpy(into.data(), first.data(), n);
        first.erase(0, n);
        if (first.empty())
            pieces_.pop_front();
        co_return n;
    }
    task<std::size_t> write_some(std::span<const std::byte> from) {
        co_await yield();
        std::size_t n = std::min(from.size(), std::size_t{3});
        taken += as_text(from.first(n));
        co_return n;
    }
    // Likewise, across the borders of pieces.
    task<std::size_t> write_some(std::span<const const_buffer> from) {
        co_await yield();
        std::string all;
        for (const const_buffer& part : from)
            all += as_text(part.bytes());
        std::size_t n = std::min(all.size(), std::size_t{3});
        taken.append(all, 0, n);
        co_return n;
    }
    std::string taken;

private:
    std::deque<std::string> pieces_;
};
static_assert(byte_reader<pieces> && byte_writer<pieces>);
static_assert(!byte_reader<int> && !byte_writer<std::string>);

std::string pattern(std::size_t n) {
    std::string s(n, '\0');
    std::iota(s.begin(), s.end(), '\0');
    return s;
}

template <class R>
task<std::string> all_of(R& r) {
    std::string all;
    std::string part(65'536, '\0');
    while (std::size_t n = co_await r.read_some(std::as_writable_bytes(std::span(part))))
        all.append(part, 0, n);
    co_return all;
}

} // namespace

TEST_CASE("stream: write_all and read_exactly go on until all is done") {
    auto all = []() -> task<> {
        std::deque<std::string> given{"ab", "cdefg", "h"};
        pieces p(given);
        std::byte b[6];
        co_await read_exactly(p, b);
        CHECK(as_text(b) == "abcdef");
        co_await write_all(p, as_bytes("0123456789"));
        CHECK(p.taken == "0123456789");
        co_await write_all(p, std::span<const std::byte>());
        try {
            co_await read_exactly(p, b);
            FAIL("no error");
        } catch (const truncated_error& e) {
            CHECK(e.partial() == "gh");
            CHECK(e.expected() == 6);
        }
    };
    run_within(10s, all());
}

TEST_CASE("stream: several pieces are written whole, however the stream takes them") {
    auto gathered = []() -> task<> {
        std::deque<std::string> none;
        pieces p(none);
        const const_buffer parts[] = {std::string_view(""),         std::string_view("a"),
                                      std::string_view("bcdefghi"), std::string_view(),
                                      std::string_view("j"),        std::string_view("kl"),
                                      std::string_view("mnopqr"),   std::string_view("")};
        co_await write_all(p, parts);
        CHECK(p.taken == "abcdefghijklmnopqr");
        co_await write_all(p, std::span<const const_buffer>());
        CHECK(p.taken.size() == 18);

        // More than the kernel takes at once, in count and in bytes.
        auto ends = unix_stream_pair();
        ends.first.set_send_buffer(4096);
        std::string line = pattern(333);
        std::vector<const_buffer> many(3000, const_buffer(line));
        std::string heard;
        auto send = [&]() -> task<> {
            co_await write_all(ends.first, many);
            ends.first.shutdown_write();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(send());
            heard = co_await all_of(ends.second);
        });
        CHECK(heard.size() == 3000 * line.size());
        bool same = true;
        for (std::size_t at = 0; at < heard.size(); at += line.size())
            same = same && heard.compare(at, line.size(), line) == 0;
        CHECK(same);
    };
    run_within(20s, gathered());
}

TEST_CASE("stream: copying moves everything, between any two kinds of stream") {
    auto any = []() -> task<> {
        std::deque<std::string> given{"abc", "defgh", "i"};
        pieces from(given);
        std::deque<std::string> none;
        pieces to(none);
        std::uint64_t n = co_await copy(from, to);
        CHECK(n == 9);
        CHECK(to.taken == "abcdefghi");
    };
    run_within(10s, any());
}

TEST_CASE("stream: between descriptors the bytes stay in the kernel") {
    temp_dir dir;
    std::string sent = pattern(3'000'000);
    auto relay = [&](bool through_pipe) -> task<> {
        co_await write_file(dir.path("source"), as_bytes(sent));
        file source = co_await open_file(dir.path("source"));
        auto near = co_await tcp_pair();
        auto far = unix_stream_pair();
        std::string heard;
        std::uint64_t sent_bytes = 0;
        std::uint64_t relayed = 0;
        auto send = [&]() -> task<> {
            sent_bytes = co_await copy(source, near.first);
            near.first.shutdown_write();
        };
        auto pass_on = [&]() -> task<> {
            if (through_pipe) {
                auto ends = make_pipe();
                co_await with_task_group([&](task_group& g) -> task<> {
                    auto first = [&]() -> task<> {
                        relayed = co_await copy(near.second, ends.second);
                        co_await ends.second.close();
                    };
                    g.spawn(first());
                    co_await copy(ends.first, far.first);
                });
            } else {
                relayed = co_await copy(near.second, far.first);
            }
            far.first.shutdown_write();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(send());
            g.spawn(pass_on());
            heard = co_await all_of(far.second);
        });
        CHECK(sent_bytes == sent.size());
        CHECK(relayed == sent.size());
        bool same = heard == sent;
        CHECK(same);
    };
    run_within(20s, relay(false));
    run_within(20s, relay(true));
}

TEST_CASE("stream: what can't be spliced is copied all the same") {
    temp_dir dir;
    std::string sent = pattern(1'000'000);
    auto appended = [&]() -> task<> {
        co_await write_file(dir.path("source"), as_bytes(sent));
        open_options append;
        append.access = file_access::append; // the kernel refuses to splice into these
        append.creation = file_creation::if_missing;
        file source = co_await open_file(dir.path("source"));
        file target = co_await open_file(dir.path("target"), append);
        co_await write_all(target, as_bytes("begin:"));
        std::uint64_t n = co_await copy(source, target);
        CHECK(n == sent.size());
        std::string heard = co_await read_file(dir.path("target"));
        bool same = heard == "begin:" + sent;
        CHECK(same);
    };
    run_within(10s, appended());
}

TEST_CASE("stream: a copy waits for ends that somebody has made non-blocking") {
    std::string sent = pattern(1'000'000);
    auto relay = [&]() -> task<> {
        auto from = unix_stream_pair();
        auto to = unix_stream_pair();
        for (int fd : {from.first.fd(), to.first.fd()})
            REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        std::string heard;
        auto write = [&]() -> task<> {
            co_await from.second.write_all(as_bytes(sent));
            from.second.shutdown_write();
        };
        auto pass_on = [&]() -> task<> {
            co_await copy(from.first, to.first);
            to.first.shutdown_write();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(write());
            g.spawn(pass_on());
            co_await sleep_for(5ms);
            heard = co_await all_of(to.second);
        });
        bool same = heard == sent;
        CHECK(same);
    };
    run_within(20s, relay());
}

TEST_CASE("stream: a copy into a connection that is gone is an error and no signal", "[P17]") {
    auto gone = []() -> task<> {
        auto from = unix_stream_pair();
        auto to = unix_stream_pair();
        co_await to.second.close();
        co_await from.second.write_all(as_bytes("for nobody"));
        try {
            co_await copy(from.first, to.first);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::broken_pipe);
        }
        try {
            co_await to.first.write_all(as_bytes("for nobody"));
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK_THAT(e.what(), Catch::Contains("a unix socket without a name: "));
        }
        auto pipe = make_pipe();
        co_await pipe.first.close();
        co_await from.second.write_all(as_bytes("for nobody"));
        try {
            co_await copy(from.first, pipe.second);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::broken_pipe);
        }
    };
    run_within(10s, gone());
}

TEST_CASE("stream: a copy of what has ended moves nothing, and is no error") {
    temp_dir dir;
    auto ended = [&]() -> task<> {
        auto to = unix_stream_pair();
        auto socket = unix_stream_pair();
        socket.second.shutdown_write();
        std::uint64_t n = co_await copy(socket.first, to.first);
        CHECK(n == 0);
        auto pipe = make_pipe();
        co_await pipe.second.close();
        n = co_await copy(pipe.first, to.first);
        CHECK(n == 0);
        co_await write_file(dir.path("empty"), {});
        file f = co_await open_file(dir.path("empty"));
        n = co_await copy(f, to.first);
        CHECK(n == 0);
        to.first.shutdown_write();
        std::string heard = co_await all_of(to.second);
        CHECK(heard.empty());
    };
    run_within(10s, ended());
}

TEST_CASE("stream: a copy passes on what came before its source failed, and then the error") {
    auto resets = []() -> task<> {
        auto from = co_await tcp_pair();
        auto to = unix_stream_pair();
        std::error_code code;
        std::string text;
        auto copies = [&]() -> task<> {
            try {
                co_await copy(from.first, to.first);
            } catch (const std::system_error& e) {
                code = e.code();
                text = e.what();
            }
            to.first.shutdown_write();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(copies());
            co_await from.second.write_all(as_bytes("abc"));
            std::byte b[3];
            co_await read_exactly(to.second, b);
            CHECK(as_text(b) == "abc");
            from.second.set_linger(std::chrono::seconds(0));
            co_await from.second.close();
            std::string rest = co_await all_of(to.second);
            CHECK(rest.empty());
        });
        CHECK(code == std::errc::connection_reset);
        CHECK_THAT(text, Catch::Contains("splice"));
    };
    run_within(10s, resets());
}

TEST_CASE("stream: an idle copy can be stopped") {
    auto idle = []() -> task<> {
        auto from = unix_stream_pair();
        auto to = unix_stream_pair();
        bool timed_out = false;
        try {
            co_await with_timeout(10ms, copy(from.first, to.first));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
    };
    run_within(10s, idle());
}
