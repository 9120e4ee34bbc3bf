// SPDX-License-Identifier: MIT
#include <weft/ipc/connection.hpp>

#include "support/io.hpp"

#include <weft/runtime/loop.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;
using ends = std::pair<connection, connection>;

// What is written goes beside the connection, as by a peer of another kind.
void write_raw(const connection& c, std::string_view bytes) {
    REQUIRE(::write(c.fd(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

std::string_view raw(std::string_view bytes) { return bytes; }

task<std::string> next_text(connection& c) {
    byte_buffer m = co_await c.receive_bytes();
    co_return std::string(as_text(m.bytes()));
}

// What the awaited throws, as the name of a kind of error.
task<std::string> failure(task<> t) {
    try {
        co_await std::move(t);
        co_return "none";
    } catch (const buffer_too_short&) {
        co_return "buffer_too_short";
    } catch (const truncated_error&) {
        co_return "truncated_error";
    } catch (const eof_error&) {
        co_return "eof_error";
    } catch (const limit_error&) {
        co_return "limit_error";
    } catch (const protocol_error&) {
        co_return "protocol_error";
    } catch (const state_error&) {
        co_return "state_error";
    } catch (const codec_error&) {
        co_return "codec_error";
    } catch (const std::invalid_argument&) {
        co_return "invalid_argument";
    } catch (const std::system_error& e) {
        co_return std::string("errno ") + ::strerrorname_np(e.code().value());
    }
}

task<> drop_message(connection& c, std::uint64_t limit = connection::no_limit) {
    byte_buffer m = co_await c.receive_bytes(limit);
}

task<> drop_descriptors(connection& c) { auto d = co_await c.receive_descriptors(); }

task<ends> over_tcp(connection_options o = {}) {
    auto sockets = co_await tcp_pair();
    co_return ends(connection(sockets.first.release(), o), connection(sockets.second.release(), o));
}

// 0: a socket pair, 1: TCP, 2: a pipe, through which the second end sends.
task<ends> ends_over(int kind, connection_options o = {}) {
    if (kind == 1)
        co_return co_await over_tcp(o);
    co_return kind == 0 ? make_connection_pair(o) : make_one_way_connection(o);
}

std::string pattern(std::size_t size, unsigned salt) {
    std::string s(size, '\0');
    for (std::size_t i = 0; i != size; ++i)
        s[i] = static_cast<char>(i * 2654435761u >> 13 ^ salt);
    return s;
}

task<> exchange_all_sizes(connection& a, connection& b) {
    for (std::size_t size : {0u, 1u, 16384u, 16385u, 300'000u}) {
        std::string sent = pattern(size, 7);
        auto send = [](connection& c, std::string_view text) -> task<> {
            co_await c.send_bytes(as_bytes(text));
        };
        std::string got;
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(send(a, sent));
            got = co_await next_text(b);
        });
        CHECK(got.size() == size);
        CHECK((got == sent));
    }
}

} // namespace

TEST_CASE("connection: messages of any size keep their boundaries, over whatever carries them",
          "[MP-PIPE-01][MP-PIPE-02][MP-CONN-03][MP-CONN-08][W-FRM-05]") {
    auto test = [](int kind) -> task<> {
        ends both = co_await ends_over(kind);
        auto& [a, b] = both;
        bool one_way = kind == 2;
        CHECK(a.can_send() == !one_way);
        CHECK(b.can_receive() == !one_way);
        co_await exchange_all_sizes(b, a);
        if (!one_way)
            co_await exchange_all_sizes(a, b);
        // Several at once don't merge.
        co_await b.send_bytes(as_bytes("one"));
        co_await b.send_bytes({});
        co_await b.send_bytes(as_bytes("two"));
        std::string first = co_await next_text(a);
        std::string second = co_await next_text(a);
        std::string third = co_await next_text(a);
        CHECK(first + "|" + second + "|" + third == "one||two");
    };
    for (int kind : {0, 1, 2}) {
        CAPTURE(kind);
        run_within(20s, test(kind));
    }
}

TEST_CASE("connection: a small message leaves with its header, in one piece", "[W-FRM-04]") {
    // A pipe of packets keeps apart what is written in several pieces.
    int fds[2];
    REQUIRE(::pipe2(fds, O_CLOEXEC | O_DIRECT) == 0);
    descriptor there(fds[0]);
    connection c{descriptor(fds[1])};
    run_within(10s, c.send_bytes(as_bytes("hi")));
    char bytes[4096] = {};
    CHECK(::read(there.get(), bytes, sizeof bytes) == 6);
    CHECK(std::string_view(bytes, 6) == raw({"\0\0\0\2hi", 6}));
}

namespace {
std::uint64_t requests_so_far() { return this_loop().statistics().requests; }
task<> exchange(connection& a, connection& b, int n) {
    for (int i = 0; i != n; ++i)
        co_await a.send_bytes(as_bytes("12345678"));
    for (int i = 0; i != n; ++i) {
        byte_buffer m = co_await b.receive_bytes();
        CHECK(m.size() == 8);
    }
}
} // namespace

TEST_CASE("connection: what needn't wait takes no request, and lets others have their turn",
          "[P7]") {
    auto test = [](bool tcp) -> task<> {
        ends both = co_await ends_over(tcp ? 1 : 0);
        auto& [a, b] = both;
        std::uint64_t before = requests_so_far();
        co_await exchange(a, b, 64);
        // Sent by calls, and received by them as soon as it has turned out that messages queue up;
        // but one of 32 calls is a request all the same.
        CHECK(requests_so_far() - before < 64);

        int turns = 0;
        co_await with_task_group([&](task_group& g) -> task<> {
            auto other = [](int& n) -> task<> {
                while (true) {
                    ++n;
                    co_await yield();
                }
            };
            auto runs = g.spawn(other(turns));
            for (int i = 0; i != 4; ++i)
                co_await exchange(a, b, 64);
            runs.cancel();
        });
        CHECK(turns >= 12);

        // Who has been stopped sends nothing any more.
        co_await with_task_group([&](task_group& g) -> task<> {
            task_handle<> self;
            auto send = [&]() -> task<> {
                co_await yield();
                self.cancel();
                co_await a.send_bytes(as_bytes("too late"));
            };
            self = g.spawn(send());
            while (!self.done())
                co_await yield();
        });
        co_await a.send_bytes(as_bytes("next"));
        std::string next = co_await next_text(b);
        CHECK(next == "next");
    };
    for (bool tcp : {false, true}) {
        CAPTURE(tcp);
        run_within(10s, test(tcp));
    }
}

TEST_CASE("connection: one that reads ahead gets several messages in one go, and loses nothing",
          "[MP-CONN-08][MP-CONN-07][MP-CONN-06][P3]") {
    auto test = [](int kind) -> task<> {
        ends both = co_await ends_over(kind, {.read_ahead = true});
        auto& [b, a] = both; // a pipe's first end receives
        co_await exchange_all_sizes(a, b);
        if (kind != 2)
            co_await exchange_all_sizes(b, a);

        write_raw(a, raw({"\0\0\0\3one\0\0\0\0\0\0\0\3two\0\0", 20}));
        std::string got = co_await next_text(b);
        CHECK(got == "one");
        std::uint64_t before = requests_so_far();
        CHECK(b.ready()); // although there is nothing left in the kernel
        bool readable = co_await b.readable_for(0s);
        CHECK(readable);
        got = co_await next_text(b);
        CHECK(got.empty());
        got = co_await next_text(b);
        CHECK(got == "two");
        CHECK(requests_so_far() - before <= 1);

        // Half a header is here. Who took over now would miss it.
        CHECK(b.ready());
        CHECK_THROWS_AS(b.release(), state_error);
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(drop_message(b));
            for (int i = 0; i < 5; ++i)
                co_await yield();
            waits.cancel();
        });
        write_raw(a, raw({"\0\5final", 7}));
        got = co_await next_text(b);
        CHECK(got == "final");
        CHECK_FALSE(b.ready());

        // The limit is told of before the rest has come, the end after what came before it.
        write_raw(a, raw({"\0\0\0\1x\0\0\0\4ab", 11}));
        a.close();
        got = co_await next_text(b);
        CHECK(got == "x");
        std::string end = co_await failure(drop_message(b));
        CHECK(end == "truncated_error");
        end = co_await failure(drop_message(b));
        CHECK(end == "truncated_error");
    };
    for (int kind : {0, 1, 2}) {
        CAPTURE(kind);
        run_within(20s, test(kind));
    }

    auto refusals = []() -> task<> {
        auto both = make_connection_pair({.message_limit = 4, .read_ahead = true});
        auto& [a, b] = both;
        std::string fds = co_await failure(drop_descriptors(b));
        CHECK(fds == "state_error");
        write_raw(a, raw({"\0\0\0\1x\0\0\0\5hello", 14}));
        std::string got = co_await next_text(b);
        CHECK(got == "x");
        std::string end = co_await failure(drop_message(b));
        CHECK(end == "limit_error");
        both = make_connection_pair({.read_ahead = true});
        write_raw(both.first, raw({"\0\0\0\1x\x80\0\0\0", 9}));
        got = co_await next_text(both.second);
        CHECK(got == "x");
        end = co_await failure(drop_message(both.second));
        CHECK(end == "protocol_error");
        both = make_connection_pair({.read_ahead = true});
        write_raw(both.first, raw({"\0\0\0\1x", 5}));
        got = co_await next_text(both.second);
        descriptor all = both.second.release(); // nothing is left of it here
        CHECK(all);

        // Who waits isn't left behind by who takes more than he needs.
        both = make_connection_pair({.read_ahead = true});
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(both.second.readable());
            g.spawn(drop_message(both.second));
            g.spawn(both.second.readable());
            co_await yield();
            write_raw(both.first, raw({"\0\0\0\1x\0\0\0\1y", 10}));
        });
        got = co_await next_text(both.second);
        CHECK(got == "y");
    };
    run_within(10s, refusals());
}

TEST_CASE("connection: values travel as the codec writes them", "[MP-CONN-01]") {
    struct order {
        std::string item;
        std::vector<int> sizes;
    };
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        {
            order o{"nail", {1, 2, 3}};
            auto sending = a.send(o);
            o.item = "changed later"; // was encoded by the call
            co_await std::move(sending);
        }
        order got = co_await b.receive<order>();
        CHECK(got.item == "nail");
        CHECK(got.sizes == std::vector<int>{1, 2, 3});
        // What is no such value costs its message and nothing else.
        co_await a.send_bytes(as_bytes("xyz"));
        auto wrong = [](connection& c) -> task<> { auto o = co_await c.receive<order>(); };
        std::string error = co_await failure(wrong(b));
        CHECK(error == "codec_error");
        co_await a.send(7);
        int seven = co_await b.receive<int>();
        CHECK(seven == 7);
    };
    run_within(10s, test());
}

namespace {
struct album {
    std::string title;
    std::vector<std::vector<double>> pictures;
    std::vector<std::string> notes;
    friend bool operator==(const album&, const album&) = default;
};
album large_album() {
    album a{pattern(70'000, 1), {}, {}};
    for (unsigned i = 0; i != 1500; ++i) { // more pieces than the kernel takes at a time
        a.pictures.emplace_back(512 + i % 3, i * 0.5);
        a.notes.push_back(pattern(i % 5 == 0 ? 5000 : i % 7, i));
    }
    return a;
}
} // namespace

TEST_CASE("connection: values that are given away arrive whole, large blocks from where they lie",
          "[MP-CONN-01]") {
    auto test = [](int kind) -> task<> {
        ends both = co_await ends_over(kind);
        auto& [a, b] = both;
        const album original = large_album();
        std::vector<double> numbers(100'000, 2.5);
        album got;
        std::vector<double> elements;
        std::string text;
        co_await with_task_group([&](task_group& g) -> task<> {
            auto send = [&](connection& c) -> task<> {
                auto later = c.send(album(original)); // it is kept until then
                co_await std::move(later);
                co_await c.send(std::span<const double>(numbers));
                co_await c.send(std::string("short"));
            };
            g.spawn(send(b));
            got = co_await a.receive<album>();
            elements = co_await a.receive<std::vector<double>>();
            text = co_await a.receive<std::string>();
        });
        CHECK((got == original));
        CHECK((elements == numbers));
        CHECK(text == "short");
    };
    for (int kind : {0, 1, 2}) {
        CAPTURE(kind);
        run_within(20s, test(kind));
    }
}

TEST_CASE("connection: a receive has a limit, and a buffer a length",
          "[MP-CONN-04][MP-CONN-05][MP-ERR-01][MP-ERR-02][W-FRM-06]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        co_await a.send_bytes(as_bytes("hello"));
        co_await a.send_bytes(as_bytes("hello"));
        co_await a.send_bytes(as_bytes("x"));
        std::byte room[4];
        try {
            co_await b.receive_into(room);
            FAIL("no error");
        } catch (const process_error& e) {
            auto& short_of = dynamic_cast<const buffer_too_short&>(e);
            CHECK(as_text(short_of.message()) == "hello");
        }
        // It was consumed, and the connection goes on.
        std::byte more_room[8];
        std::size_t n = co_await b.receive_into(more_room);
        CHECK(as_text(std::span(more_room, n)) == "hello");

        byte_buffer fits = co_await b.receive_bytes(1);
        CHECK(fits.size() == 1);
        co_await a.send_bytes(as_bytes("hello"));
        std::string too_long = co_await failure(drop_message(b, 4));
        CHECK(too_long == "limit_error");
        // Nothing more can be received, but sent.
        std::string after = co_await failure(drop_message(b));
        CHECK(after == "state_error");
        co_await b.send_bytes(as_bytes("still here"));
        std::string answer = co_await next_text(a);
        CHECK(answer == "still here");

        // One that only receives is closed, and its peer notices.
        auto one_way = make_one_way_connection({.message_limit = 4});
        co_await one_way.second.send_bytes(as_bytes("hello"));
        std::string by_default = co_await failure(drop_message(one_way.first));
        CHECK(by_default == "limit_error");
        CHECK_FALSE(one_way.first.is_open());
        std::string peer = co_await failure(one_way.second.send_bytes(as_bytes("x")));
        CHECK(peer == "errno EPIPE");
    };
    run_within(10s, test());
}

TEST_CASE("connection: the end is told apart from an end inside of a message",
          "[MP-CONN-06][MP-CONN-10][P14][P17]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        co_await a.send_bytes(as_bytes("last"));
        a = connection();
        std::string last = co_await next_text(b);
        CHECK(last == "last");
        for (int i = 0; i < 3; ++i) {
            std::string end = co_await failure(drop_message(b));
            CHECK(end == "eof_error");
        }
        std::string broken = co_await failure(b.send_bytes(as_bytes("x")));
        CHECK(broken == "errno EPIPE");

        for (std::string_view cut :
             {raw({"\0", 1}), raw({"\0\0\0\4", 4}), raw({"\0\0\0\4abc", 7})}) {
            CAPTURE(cut.size());
            both = make_connection_pair();
            write_raw(both.first, cut);
            both.first.close();
            for (int i = 0; i < 2; ++i) {
                std::string end = co_await failure(drop_message(both.second));
                CHECK(end == "truncated_error");
            }
        }
    };
    run_within(10s, test());
}

TEST_CASE("connection: a negative length closes it", "[W-FRM-03]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        write_raw(a, raw({"\x80\0\0\0", 4}));
        std::string first = co_await failure(drop_message(b));
        CHECK(first == "protocol_error");
        CHECK_FALSE(b.is_open());
        std::string second = co_await failure(drop_message(b));
        CHECK(second == "state_error");
        std::string peer = co_await failure(drop_message(a));
        CHECK(peer == "eof_error");
    };
    run_within(10s, test());
}

TEST_CASE("connection: tells whether there is something, and takes nothing", "[MP-CONN-07]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        CHECK_FALSE(b.ready());
        bool now = co_await b.readable_for(0s);
        bool before = co_await b.readable_for(-1s);
        bool soon = co_await b.readable_for(1ms);
        CHECK_FALSE(now);
        CHECK_FALSE(before);
        CHECK_FALSE(soon);
        co_await a.send_bytes({});
        for (int i = 0; i < 2; ++i) { // an empty message is one, and stays
            bool there = co_await b.readable_for(0s);
            CHECK(there);
        }
        std::string empty = co_await next_text(b);
        CHECK(empty.empty());
        CHECK_FALSE(b.ready());
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(b.readable());
            co_await yield();
            CHECK_FALSE(waits.done());
            write_raw(a, raw({"\0\0", 2})); // a part of a message counts
        });
        CHECK(b.ready());
        a.close();
        co_await b.readable();
        std::string end = co_await failure(drop_message(b));
        CHECK(end == "truncated_error");
        bool at_end = co_await b.readable_for(0s);
        CHECK(at_end);
    };
    run_within(10s, test());
}

TEST_CASE("connection: has a direction, and is closed once", "[MP-CONN-09][MP-CONN-11]") {
    auto test = []() -> task<> {
        auto both = make_one_way_connection();
        auto& [r, w] = both;
        CHECK(r.can_receive());
        CHECK_FALSE(r.can_send());
        CHECK(w.can_send());
        CHECK_FALSE(w.can_receive());
        std::string sends = co_await failure(r.send_bytes(as_bytes("x")));
        std::string receives = co_await failure(drop_message(w));
        std::string polls = co_await failure(w.readable());
        CHECK(sends == "state_error");
        CHECK(receives == "state_error");
        CHECK(polls == "state_error");

        int fd = r.fd();
        r.close();
        r.close();
        CHECK(::fcntl(fd, F_GETFD) == -1);
        CHECK_FALSE(r.is_open());
        CHECK_THROWS_AS(r.fd(), state_error);
        CHECK_THROWS_AS(r.ready(), state_error);
        std::string closed = co_await failure(drop_message(r));
        std::string none = co_await failure(drop_message(both.first = connection()));
        CHECK(closed == "state_error");
        CHECK(none == "state_error");

        // Not under the feet of a task that uses it.
        auto busy = make_connection_pair();
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(drop_message(busy.first));
            co_await yield();
            CHECK_THROWS_AS(busy.first.close(), state_error);
            CHECK_THROWS_AS(busy.first.release(), state_error);
            waits.cancel();
        });
        busy.first.close();

        CHECK_THROWS_AS(connection(descriptor(::eventfd(0, EFD_CLOEXEC))), std::invalid_argument);
    };
    run_within(10s, test());
}

TEST_CASE("connection: messages of many tasks on several loops stay whole", "[MP-PIPE-03][P14]") {
    constexpr int senders = 4;
    constexpr int messages = 300;
    const bool read_ahead = GENERATE(false, true);
    auto both = make_connection_pair({.read_ahead = read_ahead});
    auto& [a, b] = both;
    auto send_some = [](connection& c, int id) -> task<> {
        for (int i = 0; i < messages; ++i) {
            std::size_t size = i % 50 == 0 ? 300'000 : static_cast<std::size_t>(i * 37 % 5000);
            std::string text = std::string(1, static_cast<char>(id)) +
                               std::string(size, static_cast<char>('a' + id));
            co_await c.send_bytes(as_bytes(text));
        }
    };
    std::atomic<int> whole = 0;
    std::atomic<int> received = 0;
    auto receive_some = [&](connection& c) -> task<> {
        for (int i = 0; i < messages; ++i) {
            byte_buffer m = co_await c.receive_bytes();
            std::string_view text = as_text(m.bytes());
            char fill = static_cast<char>('a' + text[0]);
            whole += text.find_first_not_of(fill, 1) == text.npos ? 1 : 0;
            ++received;
        }
    };
    auto half = [&](int first) -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = first; i < first + senders / 2; ++i) {
                g.spawn(send_some(a, i));
                g.spawn(receive_some(b));
            }
            co_return;
        });
    };
    runtime r({.loops = 2});
    auto all = [&]() -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(on(r.get_loop(0), half(0)));
            g.spawn(on(r.get_loop(1), half(senders / 2)));
            co_return;
        });
    };
    r.run(as_task(with_timeout(50s, all())));
    CHECK(received == senders * messages);
    CHECK(whole == senders * messages);
}

TEST_CASE("connection: two that send long messages to each other before they read both finish",
          "[P14]") {
    auto test = [](ends both) -> task<> {
        std::string sent = pattern(8'000'000, 1);
        auto side = [&](connection& c) -> task<> {
            co_await c.send_bytes(as_bytes(sent));
            byte_buffer m = co_await c.receive_bytes();
            CHECK((as_text(m.bytes()) == sent));
            CHECK_FALSE(c.ready());
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(side(both.first));
            g.spawn(side(both.second));
            co_return;
        });
    };
    run_within(30s, test(make_connection_pair()));
    run_within(30s, test(make_connection_pair({.read_ahead = true})));
    auto tcp = [&]() -> task<> { co_await test(co_await over_tcp()); };
    run_within(30s, tcp());
}

TEST_CASE("connection: what comes while a long message leaves is there afterwards", "[P14]") {
    auto test = [](std::string_view what) -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        std::string sent = pattern(3'000'000, 2);
        descriptor event(::eventfd(5, EFD_CLOEXEC));
        const int fds[] = {event.get()};
        if (what == "descriptors")
            co_await b.send_descriptors(fds);
        else if (what == "garbage")
            write_raw(b, raw({"\xf0\0\0\0", 4}));
        else if (what == "long message")
            write_raw(b, raw({"\x7f\0\0\0", 4}));
        else
            co_await b.send_bytes(as_bytes(what));
        std::string got;
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(a.send_bytes(as_bytes(sent)));
            got = co_await next_text(b);
        });
        CHECK((got == sent));
        CHECK(a.ready());
        if (what == "descriptors") {
            std::string message = co_await failure(drop_message(a));
            CHECK(message == "state_error"); // they come first
            auto d = co_await a.receive_descriptors();
            CHECK(d.size() == 1);
            CHECK_FALSE(a.ready());
        } else if (what == "garbage") {
            std::string end = co_await failure(drop_message(a));
            CHECK(end == "protocol_error");
        } else if (what == "long message") {
            std::string end = co_await failure(drop_message(a));
            CHECK(end == "limit_error");
        } else {
            CHECK_THROWS_AS(a.release(), state_error);
            std::string text = co_await next_text(a);
            CHECK(text == what);
        }
    };
    for (std::string_view what : {"descriptors", "garbage", "long message", "a message", ""}) {
        CAPTURE(what);
        run_within(20s, test(what));
    }
}

TEST_CASE("connection: a stopped receive loses nothing, a stopped send tears nothing unseen",
          "[P3][MP-CONN-12]") {
    auto stopped_receive = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        std::string message = std::string({"\0\0\0\6", 4}) + "abcdef";
        for (std::size_t cut = 0; cut != message.size(); ++cut) {
            write_raw(a, std::string_view(message).substr(0, cut));
            co_await with_task_group([&](task_group& g) -> task<> {
                auto waits = g.spawn(drop_message(b));
                for (int i = 0; i < 5; ++i)
                    co_await yield();
                waits.cancel();
            });
            write_raw(a, std::string_view(message).substr(cut));
            std::string got = co_await next_text(b);
            CHECK(got == "abcdef");
        }
    };
    run_within(10s, stopped_receive());

    auto stopped_send = [](bool begun) -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        std::string large(4'000'000, 'x');
        task_handle<> first;
        if (!begun) // another one is in its way
            first = spawn(a.send_bytes(as_bytes(large)));
        co_await with_task_group([&](task_group& g) -> task<> {
            auto second = g.spawn(a.send_bytes(as_bytes(large)));
            for (int i = 0; i < 5; ++i)
                co_await yield();
            co_await b.readable();
            second.cancel();
        });
        if (!begun) {
            std::string got = co_await next_text(b);
            CHECK(got.size() == large.size());
            co_await first.join();
            co_await a.send_bytes(as_bytes("next"));
            got = co_await next_text(b);
            CHECK(got == "next");
        } else {
            std::string torn = co_await failure(a.send_bytes(as_bytes("next")));
            CHECK(torn == "state_error");
            std::string seen = co_await failure(drop_message(b));
            CHECK(seen == "truncated_error");
            co_await b.send_bytes(as_bytes("the other way"));
            std::string other = co_await next_text(a);
            CHECK(other == "the other way");
        }
    };
    run_within(10s, stopped_send(false));
    run_within(10s, stopped_send(true));
}

TEST_CASE("connection: descriptors travel beside and with messages",
          "[MP-CONN-13][W-FRM-07][P12]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        // A connection through a connection.
        auto inner = make_connection_pair();
        {
            const int fds[] = {inner.second.fd()};
            co_await a.send_descriptors(fds);
            inner.second.close();
        }
        std::vector<descriptor> got = co_await b.receive_descriptors();
        REQUIRE(got.size() == 1);
        CHECK(::fcntl(got[0].get(), F_GETFD) == FD_CLOEXEC);
        connection arrived(std::move(got[0]));
        co_await arrived.send_bytes(as_bytes("through"));
        std::string through = co_await next_text(inner.first);
        CHECK(through == "through");

        // Several with a message, and none with another.
        descriptor event(::eventfd(0, EFD_CLOEXEC));
        const std::vector<int> many(most_descriptors, event.get());
        co_await a.send_bytes(as_bytes("many"), many);
        co_await a.send_bytes(as_bytes("none"), {});
        co_await a.send_bytes(as_bytes("plain"));
        auto with_many = co_await b.receive_with_descriptors();
        auto with_none = co_await b.receive_with_descriptors();
        std::string plain = co_await next_text(b);
        CHECK(as_text(with_many.bytes().bytes()) == "many");
        CHECK(with_many.descriptors().size() == most_descriptors);
        CHECK(as_text(with_none.bytes().bytes()) == "none");
        CHECK(with_none.descriptors().empty());
        CHECK(plain == "plain");

        // Another number than was said: all are closed, which the audit sees.
        const std::byte two[] = {std::byte{2}};
        const int one[] = {event.get()};
        unix_stream peer{descriptor(::dup(a.fd()))};
        co_await peer.send(two, one);
        std::string wrong = co_await failure(drop_descriptors(b));
        CHECK(wrong == "protocol_error");
        CHECK_FALSE(b.is_open());

        std::string pipe = co_await failure(make_one_way_connection().second.send_descriptors(one));
        CHECK(pipe == "state_error");
    };
    run_within(10s, test());

    auto stopped = []() -> task<> { // between the two
        auto both = make_connection_pair();
        auto& [a, b] = both;
        co_await a.send_bytes(as_bytes("half"));
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(b.receive_with_descriptors());
            for (int i = 0; i < 5; ++i)
                co_await yield();
            waits.cancel();
        });
        CHECK(b.ready());
        descriptor event(::eventfd(0, EFD_CLOEXEC));
        const int one[] = {event.get()};
        co_await a.send_descriptors(one);
        auto whole = co_await b.receive_with_descriptors();
        CHECK(as_text(whole.bytes().bytes()) == "half");
        CHECK(whole.descriptors().size() == 1);
    };
    run_within(10s, stopped());
}

TEST_CASE("connection: the descriptor can be handed on between messages", "[MP-CONN-11]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        auto& [a, b] = both;
        co_await a.send_bytes(as_bytes("first"));
        co_await a.send_bytes(as_bytes("second"));
        std::string first = co_await next_text(b);
        connection heir(b.release()); // has read nothing of the second
        CHECK_FALSE(b.is_open());
        std::string second = co_await next_text(heir);
        CHECK(first + second == "firstsecond");
    };
    run_within(10s, test());
}
