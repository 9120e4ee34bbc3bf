// SPDX-License-Identifier: MIT
#include <weft/runtime/buffered_stream.hpp>

#include "support/io.hpp"

#include <weft/runtime/pipe.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

namespace {

// Gives its text in the pieces that it is told to, and then the end or an error.
class pieces {
public:
    explicit pieces(std::deque<std::string> p) : pieces_(std::move(p)) {}
    task<std::size_t> read_some(std::span<std::byte> into) {
        ++reads;
        co_await yield();
        if (pieces_.empty() && error)
            throw std::system_error(error, "receive");
        if (pieces_.empty() || into.empty())
            co_return 0;
        std::string& first = pieces_.front();
        std::size_t n = std::min(first.size(), into.size());
        std::memcpy(into.data(), first.data(), n);
        first.erase(0, n);
        if (first.empty())
            pieces_.pop_front();
        co_return n;
    }
    int reads = 0;
    std::error_code error;

private:
    std::deque<std::string> pieces_;
};

// Takes what it is allowed to, in pieces of at most so many bytes, and fails if it is told to.
class valve {
public:
    explicit valve(std::size_t piece = 1024) : piece_(piece) {}
    task<std::size_t> write_some(std::span<const std::byte> from) {
        ++writes;
        while (allowed == 0 && !error)
            co_await yield();
        if (error)
            throw std::system_error(error, "send to the other end");
        std::size_t n = std::min({from.size(), piece_, allowed});
        allowed -= n;
        taken += as_text(from.first(n));
        co_return n;
    }
    std::size_t allowed = static_cast<std::size_t>(-1);
    std::string taken;
    int writes = 0;
    std::error_code error;

private:
    std::size_t piece_;
};
static_assert(byte_reader<pieces> && byte_writer<valve>);
static_assert(byte_reader<buffered_reader<pieces>> && byte_writer<buffered_writer<valve>>);

std::string digits(std::size_t n) {
    std::string s;
    while (s.size() < n)
        s += static_cast<char>('0' + s.size() % 10);
    return s;
}

task<> turns(int n) {
    for (int i = 0; i < n; ++i)
        co_await yield();
}

template <class Condition>
task<> until(Condition condition) {
    for (int i = 0; !condition(); ++i) {
        if (i > 1'000'000)
            throw std::runtime_error("a condition didn't come true");
        co_await yield();
    }
}

// What a read threw, as a limit_error says how much it had looked at.
struct overrun {
    bool thrown = false;
    std::size_t consumed = 0;
};
task<overrun> limited(task<std::string> read) {
    overrun o;
    try {
        co_await std::move(read);
    } catch (const limit_error& e) {
        o.thrown = true;
        o.consumed = e.consumed();
    }
    co_return o;
}

template <class S>
task<> answer_lines(S s) {
    buffered_reader in(s);
    buffered_writer out(s);
    while (true) {
        std::string line = co_await in.read_line();
        if (line.empty())
            break;
        out.write("you said ");
        out.write(line);
        co_await out.drain();
    }
    out.write("bye\n");
    co_await out.close();
}

template <class S>
task<> ask_lines(S s, int who, int& satisfied) {
    buffered_reader in(s);
    buffered_writer out(s);
    bool good = true;
    for (int i = 0; i < 20; ++i) {
        std::string line = std::to_string(who) + "." + std::to_string(i) + "\n";
        out.write(line);
        co_await out.drain();
        std::string answer = co_await in.read_line();
        good = good && answer == "you said " + line;
    }
    co_await out.shutdown_write();
    std::string rest = co_await in.read_all(100);
    if (good && rest == "bye\n")
        ++satisfied;
    co_await s.close();
}

} // namespace

// --- Servers and clients -------------------------------------------------------------------------

TEST_CASE("buffered_stream: servers and clients talk in lines, over TCP and over Unix sockets",
          "[AIO-STR-01][AIO-STR-05]") {
    constexpr int clients = 8;
    int satisfied = 0;
    auto serve = [&](auto& listener, auto connect) -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < clients; ++i) {
                auto client = [](auto dial, int who, int& content) -> task<> {
                    auto s = co_await dial();
                    co_await ask_lines(std::move(s), who, content);
                };
                g.spawn(client, connect, i, std::ref(satisfied));
            }
            for (int i = 0; i < clients; ++i) {
                auto s = co_await listener.accept();
                g.spawn(answer_lines(std::move(s)));
            }
        });
        co_await listener.close();
    };
    auto over_tcp = [&]() -> task<> {
        auto listener = listen_tcp(socket_address::ipv4_loopback(0));
        socket_address a = listener.local_address();
        auto dial = [a] { return connect_tcp(a); };
        co_await serve(listener, dial);
    };
    run_within(20s, over_tcp());
    CHECK(satisfied == clients);
    temp_dir dir;
    auto over_unix = [&]() -> task<> {
        socket_address a = socket_address::unix_path(dir.path("s"));
        auto listener = listen_unix(a);
        auto dial = [a] { return connect_unix(a); };
        co_await serve(listener, dial);
    };
    run_within(20s, over_unix());
    CHECK(satisfied == 2 * clients);
}

// --- Reading -------------------------------------------------------------------------------------

TEST_CASE("buffered_stream: read gives what there is, up to n, and waits only for the first byte",
          "[AIO-STR-02]") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"abc", "defghij", "k"};
        pieces p(given);
        buffered_reader in(p);
        std::string nothing = co_await in.read(0);
        CHECK(nothing.empty());
        CHECK(p.reads == 0); // at once
        std::string some = co_await in.read(100);
        CHECK(some == "abc");
        some = co_await in.read(2);
        CHECK(some == "de");
        some = co_await in.read(100);
        CHECK(some == "fghij"); // what is buffered, without another read
        CHECK(p.reads == 2);
        some = co_await in.read(1);
        CHECK(some == "k");
        some = co_await in.read(1);
        CHECK(some.empty());
        some = co_await in.read(0);
        CHECK(some.empty());
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: read_all goes to the end of the stream, or to its limit",
          "[AIO-STR-02][P5]") {
    auto reads = []() -> task<> {
        std::string sent = digits(100'000);
        std::deque<std::string> given{"first ", sent};
        pieces p(given);
        buffered_reader in(p);
        std::string one = co_await in.read(1);
        CHECK(one == "f"); // and the rest of that piece is buffered
        std::string all = co_await in.read_all(1'000'000);
        bool same = all == "irst " + sent;
        CHECK(same);
        all = co_await in.read_all(1'000'000);
        CHECK(all.empty());

        pieces exact(given);
        buffered_reader of_exact(exact);
        all = co_await of_exact.read_all(sent.size() + 6);
        CHECK(all.size() == sent.size() + 6);

        pieces longer(given);
        buffered_reader of_longer(longer);
        overrun o = co_await limited(of_longer.read_all(sent.size() + 5));
        CHECK(o.thrown);
        CHECK(o.consumed == sent.size() + 6);
        CHECK(of_longer.buffered().size() == sent.size() + 6); // still there
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: a second reader is told that there is one, who goes on undisturbed",
          "[AIO-STR-02]") {
    auto reads = []() -> task<> {
        auto ends = unix_stream_pair();
        buffered_reader in(ends.first);
        auto first = spawn(in.read_exactly(6));
        co_await ends.second.write_all(as_bytes("abc"));
        co_await until([&] { return in.buffered().size() == 3; });
        int refused = 0;
        auto second = [&](auto read) -> task<> {
            try {
                co_await std::move(read);
            } catch (const state_error& e) {
                CHECK_THAT(e.what(), Contains("a task is reading from this stream already"));
                ++refused;
            }
        };
        std::byte into[4];
        co_await second(in.read(1));
        co_await second(in.read_some(into));
        co_await second(in.read_all(10));
        co_await second(in.read_exactly(1));
        co_await second(in.read_until("c"));
        co_await second(in.read_line());
        co_await second(in.fill());
        CHECK(refused == 7);
        co_await ends.second.write_all(as_bytes("defg"));
        std::string text = co_await first.join();
        CHECK(text == "abcdef");
        text = co_await in.read(10); // the place is free again
        CHECK(text == "g");
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: read_exactly gives that many, or an error that has what came instead",
          "[AIO-STR-03]") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"a", "bcd", "efgh", "ij"};
        pieces p(given);
        buffered_reader in(p);
        std::string text = co_await in.read_exactly(0);
        CHECK(text.empty());
        CHECK(p.reads == 0);
        text = co_await in.read_exactly(6);
        CHECK(text == "abcdef");
        text = co_await in.read_exactly(1);
        CHECK(text == "g");
        bool truncated = false;
        try {
            co_await in.read_exactly(5);
        } catch (const truncated_error& e) {
            truncated = true;
            CHECK(e.partial() == "hij");
            CHECK(e.expected() == 5);
            CHECK_THAT(e.what(), Contains("3") && Contains("5"));
        }
        CHECK(truncated);
        text = co_await in.read(10); // they were taken
        CHECK(text.empty());
        truncated = false;
        try {
            co_await in.read_exactly(1);
        } catch (const eof_error&) { // also known by the name of the base
            truncated = true;
        }
        CHECK(truncated);
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: a claim of many bytes reserves nothing before they come", "[P5]") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"abc"};
        pieces p(given);
        buffered_reader in(p);
        std::size_t got = 0;
        try {
            co_await in.read_exactly(static_cast<std::size_t>(-1));
        } catch (const truncated_error& e) {
            got = e.partial().size();
        }
        CHECK(got == 3);
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: lines come with their newline, and the last one as it is",
          "[AIO-STR-04]") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"one\ntw", "o", "\n", "\n\r\nthe", "end"};
        pieces p(given);
        buffered_reader in(p);
        std::vector<std::string> lines;
        while (true) {
            std::string line = co_await in.read_line();
            if (line.empty())
                break;
            lines.push_back(line);
        }
        CHECK(lines == std::vector<std::string>{"one\n", "two\n", "\n", "\r\n", "theend"});
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: of several delimiters the one that ends first counts", "[AIO-STR-04]") {
    auto reads = []() -> task<> {
        const std::string_view either[] = {"\r\n\r\n", ";", "\n\n"};
        std::deque<std::string> given{"a\r\n\r", "\nb\n\nc;", "d\n;e\r\n\r", "\n", "aaab", "rest"};
        pieces p(given);
        buffered_reader in(p);
        std::vector<std::string> parts;
        for (int i = 0; i < 5; ++i) {
            std::string part = co_await in.read_until(either);
            parts.push_back(part);
        }
        CHECK(parts == std::vector<std::string>{"a\r\n\r\n", "b\n\n", "c;", "d\n;", "e\r\n\r\n"});
        // One that begins within a false start, and one that contains another.
        std::string part = co_await in.read_until("aab");
        CHECK(part == "aaab");
        const std::string_view nested[] = {"xresty", "es"};
        part = co_await in.read_until(nested);
        CHECK(part == "res");
        bool truncated = false;
        try {
            co_await in.read_until(either);
        } catch (const truncated_error& e) {
            truncated = true;
            CHECK(e.partial() == "t");
            CHECK(e.expected() == 0);
        }
        CHECK(truncated);
        CHECK(in.buffered().empty());
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: however a text comes in pieces, its parts are the same",
          "[AIO-STR-04]") {
    std::uint64_t s = seed();
    CAPTURE(s);
    std::mt19937_64 random(s);
    auto text_of = [&](std::size_t n) {
        std::string t;
        for (std::size_t i = 0; i < n; ++i)
            t += "ab\n"[random() % 3];
        return t;
    };
    for (int round = 0; round < 300; ++round) {
        std::string text = text_of(random() % 200);
        std::vector<std::string> delimiters;
        for (std::size_t i = 0; i <= random() % 3; ++i)
            delimiters.push_back(text_of(1 + random() % 4));
        // What must come out: as if all of it were there.
        std::vector<std::string> expected;
        for (std::string rest = text; !rest.empty();) {
            std::size_t end = std::string::npos;
            for (const std::string& d : delimiters) {
                std::size_t at = rest.find(d);
                if (at != std::string::npos)
                    end = std::min(end, at + d.size());
            }
            expected.push_back(rest.substr(0, end));
            rest.erase(0, end);
        }
        std::deque<std::string> cut;
        for (std::string rest = text; !rest.empty();) {
            std::size_t n = 1 + random() % 9;
            cut.push_back(rest.substr(0, n));
            rest.erase(0, n);
        }
        std::vector<std::string> parts;
        auto reads = [&]() -> task<> {
            pieces p(cut);
            reader_options small;
            small.chunk = 1 + random() % 20;
            buffered_reader in(p, small);
            std::vector<std::string_view> views(delimiters.begin(), delimiters.end());
            try {
                while (true) {
                    std::string part = co_await in.read_until(views);
                    parts.push_back(part);
                }
            } catch (const truncated_error& e) {
                if (!e.partial().empty())
                    parts.push_back(e.partial());
            }
        };
        run_within(10s, reads());
        CAPTURE(round, text, delimiters);
        REQUIRE(parts == expected);
    }
}

TEST_CASE("buffered_stream: a delimiter beyond the limit is an error, and everything stays",
          "[AIO-STR-04][P5]") {
    auto reads = []() -> task<> {
        reader_options few;
        few.limit = 8;
        std::deque<std::string> given{"12345678", "--", "123456789", "--rest"};
        pieces p(given);
        buffered_reader in(p, few);
        std::string part = co_await in.read_until("--");
        CHECK(part == "12345678--"); // the delimiter isn't counted
        overrun o = co_await limited(in.read_until("--"));
        CHECK(o.thrown);
        CHECK(o.consumed > 0);
        CHECK(o.consumed <= 9);
        part = co_await in.read(o.consumed); // whoever knows better reads on from there
        part += co_await in.read_until("--");
        CHECK(part == "123456789--");

        // The same if it is all there, delimiter included: then its place is known.
        std::deque<std::string> whole{"123456789--rest"};
        pieces q(whole);
        buffered_reader of_whole(q, few);
        o = co_await limited(of_whole.read_until("--"));
        CHECK(o.thrown);
        CHECK(o.consumed == 9);
        CHECK(of_whole.buffered() == "123456789--rest");
    };
    run_within(10s, reads());
    CHECK(reader_options().limit == 64 * 1024);
}

TEST_CASE("buffered_stream: a line beyond the limit is dropped, and the next one is whole",
          "[AIO-STR-04][P5]") {
    auto reads = []() -> task<> {
        reader_options few;
        few.limit = 4;
        // Found with its newline: only that line goes. Without: what was read of it.
        std::deque<std::string> given{"123456\nab\n1234\n", "12345", "67\ncd\n"};
        pieces p(given);
        buffered_reader in(p, few);
        overrun o = co_await limited(in.read_line());
        CHECK(o.thrown);
        CHECK(o.consumed == 6);
        std::string line = co_await in.read_line();
        CHECK(line == "ab\n");
        line = co_await in.read_line();
        CHECK(line == "1234\n");
        o = co_await limited(in.read_line());
        CHECK(o.thrown);
        line = co_await in.read_line();
        CHECK(line == "67\n");
        line = co_await in.read_line();
        CHECK(line == "cd\n");
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: no delimiter, or an empty one, is refused before anything is read") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"abc"};
        pieces p(given);
        buffered_reader in(p);
        int refused = 0;
        auto until_any = [&](std::span<const std::string_view> delimiters) -> task<> {
            try {
                co_await in.read_until(delimiters);
            } catch (const std::invalid_argument&) {
                ++refused;
            }
        };
        const std::string_view with_empty[] = {"a", ""};
        co_await until_any({});
        co_await until_any(with_empty);
        CHECK(refused == 2);
        CHECK(p.reads == 0);
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: a stopped read leaves what came to the next one", "[P3][G-05]") {
    auto reads = []() -> task<> {
        auto ends = unix_stream_pair();
        buffered_reader in(ends.first);
        auto stopped_after = [&](auto read, std::string_view sent, std::size_t total) -> task<> {
            auto h = spawn(std::move(read));
            co_await ends.second.write_all(as_bytes(sent));
            co_await until([&] { return in.buffered().size() == total; });
            h.cancel();
            co_await until([&] { return h.done(); });
            CHECK(h.stopped());
            CHECK(in.buffered().size() == total);
        };
        co_await stopped_after(in.read_line(), "a", 1);
        co_await stopped_after(in.read_exactly(9), "b", 2);
        co_await stopped_after(in.read_until("x"), "c", 3);
        co_await stopped_after(in.read_all(100), "d", 4);
        co_await ends.second.write_all(as_bytes("e\n"));
        std::string line = co_await in.read_line();
        CHECK(line == "abcde\n");
    };
    run_within(20s, reads());
}

TEST_CASE("buffered_stream: an error of the stream comes out, and what came before it stays") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"abc"};
        pieces p(given);
        p.error = std::make_error_code(std::errc::connection_reset);
        buffered_reader in(p);
        int resets = 0;
        auto fails = [&](auto read) -> task<> {
            try {
                co_await std::move(read);
            } catch (const std::system_error& e) {
                resets += e.code() == std::errc::connection_reset ? 1 : 0;
            }
        };
        co_await fails(in.read_exactly(5));
        co_await fails(in.read_line());
        co_await fails(in.read_until("x"));
        co_await fails(in.read_all(10));
        CHECK(resets == 4);
        std::string text = co_await in.read(10);
        CHECK(text == "abc");
        co_await fails(in.read(10));
        CHECK(resets == 5);
    };
    run_within(10s, reads());
}

TEST_CASE("buffered_stream: what is buffered can be looked at where it lies, and taken in parts") {
    auto reads = []() -> task<> {
        std::deque<std::string> given{"key=", "value", "!"};
        pieces p(given);
        buffered_reader in(p);
        CHECK(in.buffered().empty());
        std::size_t n = co_await in.fill();
        CHECK(n == 4);
        n = co_await in.fill();
        CHECK(n == 5);
        CHECK(in.buffered() == "key=value");
        in.consume(4);
        CHECK(in.buffered() == "value");
        n = co_await in.fill();
        CHECK(in.buffered() == "value!");
        n = co_await in.fill();
        CHECK(n == 0);
        // As a byte_reader it gives the buffer first.
        std::byte into[4];
        n = co_await in.read_some({});
        CHECK(n == 0);
        n = co_await in.read_some(into);
        CHECK(as_text(std::span(into, n)) == "valu");
        n = co_await in.read_some(into);
        CHECK(as_text(std::span(into, n)) == "e!");
    };
    run_within(10s, reads());
}

// --- Writing -------------------------------------------------------------------------------------

TEST_CASE("buffered_stream: small writes wait for drain and leave together", "[AIO-STR-05]") {
    auto writes = []() -> task<> {
        valve v;
        buffered_writer out(v);
        for (int i = 0; i < 10; ++i)
            out.write("0123456789");
        const const_buffer parts[] = {std::string_view("and "), std::string_view(),
                                      std::string_view("more")};
        out.write(parts);
        co_await turns(3);
        CHECK(v.writes == 0);
        CHECK(out.buffered() == 108);
        co_await out.drain();
        CHECK(v.writes == 1);
        CHECK(v.taken == digits(100) + "and more");
        CHECK(out.buffered() == 0);
        co_await out.drain(); // nothing to do
        co_await out.flush();
        CHECK(v.writes == 1);
    };
    run_within(10s, writes());
}

TEST_CASE("buffered_stream: drain waits until less than the high-water mark is left, flush for all",
          "[AIO-STR-05]") {
    auto writes = []() -> task<> {
        valve v;
        v.allowed = 0;
        writer_options low;
        low.high_water = 10;
        buffered_writer out(v, low);
        out.write(digits(30));
        auto sends = spawn(out.drain());
        co_await turns(2);
        auto drains = spawn(out.drain());
        auto flushes = spawn(out.flush());
        co_await turns(3);
        v.allowed = 20;
        co_await until([&] { return v.taken.size() == 20; });
        co_await turns(5);
        CHECK_FALSE(drains.done()); // ten are left, which isn't less
        v.allowed = 1;
        co_await drains.join();
        CHECK(out.buffered() == 9);
        CHECK_FALSE(flushes.done());
        // Below the mark nobody has to wait, although somebody sends.
        out.write("");
        auto at_once = spawn(out.drain());
        co_await turns(2);
        CHECK(at_once.done());
        v.allowed = 100;
        co_await flushes.join();
        co_await sends.join();
        CHECK(out.buffered() == 0);
        CHECK(v.taken == digits(30));
    };
    run_within(10s, writes());
}

TEST_CASE("buffered_stream: a lost connection is told to everybody who drains, and to who writes",
          "[AIO-STR-05]") {
    auto writes = []() -> task<> {
        valve v;
        v.allowed = 0;
        buffered_writer out(v);
        out.write("for nobody");
        int told = 0;
        auto drain = [&](bool flush) -> task<> {
            try {
                if (flush)
                    co_await out.flush();
                else
                    co_await out.drain();
            } catch (const std::system_error& e) {
                CHECK(e.code() == std::errc::broken_pipe);
                CHECK_THAT(e.what(), Contains("send to the other end"));
                ++told;
            }
        };
        auto sends = spawn(drain(false));
        co_await turns(2);
        auto waits = spawn(drain(true));
        co_await turns(2);
        v.error = std::make_error_code(std::errc::broken_pipe);
        co_await sends.join();
        co_await waits.join();
        CHECK(told == 2);
        co_await drain(false); // and from now on
        CHECK(told == 3);
        CHECK_THROWS_AS(out.write("more"), std::system_error);
        CHECK(out.buffered() == 10);
    };
    run_within(10s, writes());
}

TEST_CASE("buffered_stream: a peer that goes away ends a drain, without a signal",
          "[AIO-STR-05][P17]") {
    auto writes = []() -> task<> {
        auto ends = unix_stream_pair();
        buffered_writer out(ends.first);
        co_await with_task_group([&](task_group& g) -> task<> {
            bool lost = false;
            auto send = [&]() -> task<> {
                try {
                    while (true) {
                        out.write(digits(30'000));
                        co_await out.drain(); // waits for the peer, sooner or later
                    }
                } catch (const std::system_error& e) {
                    lost = e.code() == std::errc::broken_pipe ||
                           e.code() == std::errc::connection_reset;
                }
            };
            auto h = g.spawn(send());
            std::byte into[100];
            co_await ends.second.read_some(into);
            co_await ends.second.close();
            co_await h.join();
            CHECK(lost);
        });
    };
    run_within(20s, writes());
}

TEST_CASE("buffered_stream: more than the limit is refused as a whole", "[P5]") {
    auto writes = []() -> task<> {
        valve v;
        v.allowed = 0;
        writer_options few;
        few.limit = 20;
        few.high_water = 10;
        buffered_writer out(v, few);
        out.write(digits(15));
        std::size_t at = 0;
        try {
            out.write("123456");
        } catch (const limit_error& e) {
            at = e.consumed();
        }
        CHECK(at == 15);
        const const_buffer parts[] = {std::string_view("123"), std::string_view("456")};
        CHECK_THROWS_AS(out.write(parts), limit_error);
        CHECK(out.buffered() == 15);
        // As a byte_writer it waits for room instead.
        auto rest = spawn(out.write_some(as_bytes("abcdefghij")));
        auto copies = spawn(write_all(out, as_bytes("0123456789012345678901234567890123456789")));
        co_await turns(5);
        CHECK(out.buffered() <= 20);
        v.allowed = static_cast<std::size_t>(-1);
        std::size_t n = co_await rest.join();
        CHECK(n == 5);
        co_await copies.join();
        co_await out.flush();
        CHECK(v.taken == digits(15) + "abcde" + digits(40));
    };
    run_within(10s, writes());
}

TEST_CASE("buffered_stream: who drains may be stopped; somebody else sends the rest, once",
          "[P3][G-05]") {
    auto writes = []() -> task<> {
        valve v(7);
        v.allowed = 0;
        writer_options low;
        low.high_water = 1;
        buffered_writer out(v, low);
        out.write(digits(100));
        auto first = spawn(out.drain());
        co_await turns(2);
        auto second = spawn(out.drain());
        auto third = spawn(out.drain());
        co_await turns(2);
        v.allowed = 30;
        co_await until([&] { return v.taken.size() == 30; });
        second.cancel(); // waits
        first.cancel();  // sends
        co_await until([&] { return first.done() && second.done(); });
        CHECK(first.stopped());
        CHECK(second.stopped());
        CHECK_FALSE(third.done());
        out.write("the end");
        v.allowed = static_cast<std::size_t>(-1);
        co_await third.join();
        CHECK(v.taken == digits(100) + "the end");
    };
    run_within(10s, writes());
}

TEST_CASE("buffered_stream: a slow reader holds the writer up, and memory stays small",
          "[AIO-STR-05][P5]") {
    constexpr std::size_t total = 4'000'000;
    auto flows = [&]() -> task<> {
        auto ends = unix_stream_pair();
        ends.first.set_send_buffer(8192);
        buffered_writer out(ends.first);
        buffered_reader in(ends.second);
        std::size_t most = 0;
        std::size_t heard = 0;
        bool right = true;
        auto send = [&]() -> task<> {
            std::string piece = digits(5000);
            for (std::size_t sent = 0; sent < total; sent += piece.size()) {
                out.write(piece);
                most = std::max(most, out.buffered());
                co_await out.drain();
            }
        };
        auto send_twice = [&]() -> task<> { // their pieces don't mix
            co_await when_all(send(), send());
            co_await out.shutdown_write();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(send_twice());
            while (true) {
                std::string part;
                try {
                    part = co_await in.read_exactly(5000);
                } catch (const truncated_error& e) {
                    right = right && e.partial().empty();
                    break;
                }
                right = right && part[0] == '0' && part[4999] == '9';
                heard += part.size();
            }
        });
        CHECK(right);
        CHECK(heard == 2 * total);
        CHECK(most <= 64 * 1024 + 2 * 5000);
    };
    run_within(30s, flows());
}

TEST_CASE("buffered_stream: after a half-close the other direction goes on; after close nothing",
          "[AIO-STR-05]") {
    auto writes = []() -> task<> {
        auto ends = co_await tcp_pair();
        buffered_writer out(ends.first);
        buffered_reader in(ends.first);
        out.write("question");
        CHECK_FALSE(out.is_closing());
        co_await out.shutdown_write(); // sends first
        CHECK(out.is_closing());
        CHECK_THROWS_AS(out.write("more"), state_error);
        buffered_reader peer_in(ends.second);
        buffered_writer peer_out(ends.second);
        std::string text = co_await peer_in.read_all(100);
        CHECK(text == "question");
        peer_out.write("answer");
        co_await peer_out.close();
        CHECK_FALSE(ends.second.is_open());
        CHECK(peer_out.is_closing());
        text = co_await in.read_all(100);
        CHECK(text == "answer");
        co_await out.close();
        CHECK_FALSE(ends.first.is_open());
        co_await out.close(); // once more does nothing

        auto pipe = make_pipe(); // closes, without half-closing
        buffered_writer into_pipe(pipe.second);
        into_pipe.write("through a pipe");
        co_await into_pipe.close();
        buffered_reader from_pipe(pipe.first);
        text = co_await from_pipe.read_all(100);
        CHECK(text == "through a pipe");
    };
    run_within(10s, writes());
}

TEST_CASE("buffered_stream: a close that can't send what was written says so, and closes",
          "[AIO-STR-05]") {
    auto writes = []() -> task<> {
        auto ends = unix_stream_pair();
        co_await ends.second.close();
        buffered_writer out(ends.first);
        out.write("for nobody");
        bool lost = false;
        try {
            co_await out.close();
        } catch (const std::system_error& e) {
            lost = e.code() == std::errc::broken_pipe;
        }
        CHECK(lost);
        CHECK_FALSE(ends.first.is_open());
    };
    run_within(10s, writes());
}
