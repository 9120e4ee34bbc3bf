// SPDX-License-Identifier: MIT
#include <weft/ipc/listener.hpp>

#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <sys/stat.h>

namespace {

using namespace weft;
using namespace weft::tests;
using ipc::authentication_error;
using ipc::connection;
using ipc::listener;
using ipc::secret_bytes;

socket_address abstract_name(const char* of) {
    return socket_address::unix_abstract(std::string("weft-") + of + std::to_string(::getpid()));
}

task<std::string> next_text(connection& c) {
    ipc::byte_buffer m = co_await c.receive_bytes();
    co_return std::string(as_text(m.bytes()));
}

// One goes each way.
task<> greet(listener& l, const ipc::client_options& options = {}) {
    std::string heard;
    auto call = [&]() -> task<> {
        connection c = co_await ipc::connect(l.address(), options);
        co_await c.send_bytes(as_bytes("hello"));
        heard = co_await next_text(c);
    };
    co_await with_task_group([&](task_group& g) -> task<> {
        g.spawn(call());
        connection c = co_await l.accept();
        std::string hello = co_await next_text(c);
        CHECK(hello == "hello");
        co_await c.send_bytes(as_bytes("welcome"));
    });
    CHECK(heard == "welcome");
}

// Why accept gave no connection.
task<std::string> refusal(listener& l) {
    try {
        connection c = co_await l.accept();
        co_return "none";
    } catch (const authentication_error& e) {
        co_return e.what();
    } catch (const state_error&) {
        co_return "state_error";
    }
}

template <class E>
task<bool> fails_to_connect(socket_address to, ipc::client_options options = {}) {
    try {
        connection c = co_await ipc::connect(to, options);
        co_return false;
    } catch (const E&) {
        co_return true;
    }
}

bool exists(const std::string& path) {
    struct stat s{};
    return ::lstat(path.c_str(), &s) == 0;
}

} // namespace

TEST_CASE("listener: connects two ends at a path, a name and an IP address, with a key and without",
          "[MP-LSN-01][MP-LSN-02][MP-LSN-05][MP-ADDR-01][MP-ADDR-02]") {
    temp_dir dir;
    secret_bytes key("abc");
    std::vector<socket_address> all{socket_address::unix_path(dir.path("s")),
                                    abstract_name("listener"), socket_address::ipv4_loopback(0)};
    if (has_ipv6())
        all.push_back(socket_address::ipv6_loopback(0));
    auto test = [&](socket_address at, const secret_bytes* with) -> task<> {
        ipc::listener_options options;
        options.key = with;
        options.unauthenticated = true;
        listener l = ipc::listen(at, options);
        CHECK_FALSE(l.last_accepted());
        ipc::client_options client;
        client.key = with;
        co_await greet(l, client);
        co_await greet(l, client);
        REQUIRE(l.last_accepted());
        if (at.family() == address_family::unix_domain)
            CHECK(l.last_accepted()->host().empty());
        else
            CHECK(l.last_accepted()->port() != 0);
        co_await l.close();
    };
    for (const socket_address& at : all)
        for (bool with_key : {false, true}) {
            CAPTURE(at.to_string(), with_key);
            run_within(10s, test(at, with_key ? &key : nullptr));
        }
}

TEST_CASE("listener: knows where it is, and takes its path with it",
          "[MP-LSN-01][MP-LSN-03][MP-LSN-04]") {
    auto test = []() -> task<> {
        listener tcp = ipc::listen(socket_address::ipv4_loopback(0));
        CHECK(tcp.address().port() != 0);
        bool taken = false;
        try {
            listener again = ipc::listen(tcp.address());
        } catch (const std::system_error& e) {
            taken = e.code() == std::errc::address_in_use;
        }
        CHECK(taken);

        listener l = ipc::listen_at_fresh_path();
        std::string path = l.address().host();
        std::string directory = path.substr(0, path.rfind('/'));
        struct stat s{};
        REQUIRE(::stat(directory.c_str(), &s) == 0);
        CHECK((s.st_mode & 0777) == 0700);
        REQUIRE(::lstat(path.c_str(), &s) == 0);
        CHECK((s.st_mode & 0777) == 0600);
        listener other = ipc::listen_at_fresh_path();
        CHECK(other.address() != l.address());
        co_await greet(l);
        co_await l.close();
        CHECK_FALSE(exists(path));
        CHECK_FALSE(exists(directory));
        co_await l.close();
        std::string closed = co_await refusal(l);
        CHECK(closed == "state_error");
        bool gone = co_await fails_to_connect<std::system_error>(l.address());
        CHECK(gone);
        // One that is only dropped goes too.
        path = other.address().host();
        other = listener();
        CHECK_FALSE(exists(path));

        // But not what somebody else has put in its place.
        temp_dir dir;
        listener replaced = ipc::listen(socket_address::unix_path(dir.path("s")));
        ::unlink(dir.path("s").c_str());
        listener heir = ipc::listen(socket_address::unix_path(dir.path("s")));
        co_await replaced.close();
        CHECK(exists(dir.path("s")));
        co_await greet(heir);
        co_await heir.close();
        co_await tcp.close();
    };
    run_within(10s, test());
}

TEST_CASE("listener: closing ends who waits to accept, not what was accepted", "[MP-LSN-03]") {
    auto test = [](const secret_bytes* key) -> task<> {
        ipc::listener_options options;
        options.key = key;
        ipc::client_options client;
        client.key = key;
        listener l = ipc::listen_at_fresh_path(options);
        connection ours;
        connection theirs;
        auto call = [&]() -> task<> { ours = co_await ipc::connect(l.address(), client); };
        std::string waiting;
        auto wait = [&]() -> task<> { waiting = co_await refusal(l); };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(call());
            theirs = co_await l.accept();
            g.spawn(wait());
            g.spawn(wait());
            co_await yield();
            co_await l.close();
        });
        CHECK(waiting == "state_error");
        co_await ours.send_bytes(as_bytes("still"));
        std::string still = co_await next_text(theirs);
        CHECK(still == "still");
    };
    secret_bytes key("abc");
    run_within(10s, test(nullptr));
    run_within(10s, test(&key));
}

TEST_CASE("listener: what a client said before it left can be read", "[MP-LSN-02]") {
    auto test = []() -> task<> {
        for (bool unix_path : {true, false}) {
            listener l = unix_path ? ipc::listen_at_fresh_path()
                                   : ipc::listen(socket_address::ipv4_loopback(0));
            {
                connection c = co_await ipc::connect(l.address());
                co_await c.send_bytes(as_bytes("bye"));
            }
            connection c = co_await l.accept();
            std::string bye = co_await next_text(c);
            CHECK(bye == "bye");
            co_await l.close();
        }
    };
    run_within(10s, test());
}

TEST_CASE("listener: who doesn't know the key is kept out, and the others come in",
          "[MP-LSN-02][W-AUTH-12][W-AUTH-14][P15]") {
    auto test = []() -> task<> {
        secret_bytes key("abc");
        secret_bytes other("abd");
        ipc::listener_options options;
        options.key = &key;
        listener l = ipc::listen(socket_address::ipv4_loopback(0), options);
        ipc::client_options right;
        right.key = &key;
        ipc::client_options wrong;
        wrong.key = &other;
        bool refused = false;
        std::string why;
        auto call = [&]() -> task<> {
            refused = co_await fails_to_connect<authentication_error>(l.address(), wrong);
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(call());
            why = co_await refusal(l);
        });
        CHECK(refused);
        CHECK_THAT(why, Catch::Contains("127.0.0.1:") && Catch::Contains("doesn't know the key"));

        // Silent, talkative and leaving ones hold nobody up.
        auto silent = co_await connect_tcp(l.address());
        auto talkative = co_await connect_tcp(l.address());
        co_await talkative.write_all(as_bytes("\x7f\xff\xff\xff and more"));
        auto leaving = co_await connect_tcp(l.address());
        leaving = tcp_stream();
        bool welcome = false;
        auto honest = [&]() -> task<> {
            connection c = co_await ipc::connect(l.address(), right);
            welcome = true;
        };
        int failures = 0;
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(honest());
            for (bool in = false; !in || failures < 2;) {
                try {
                    connection c = co_await l.accept();
                    in = true;
                } catch (const authentication_error&) {
                    ++failures;
                }
            }
        });
        CHECK(welcome);
        CHECK(failures == 2);
        CHECK(l.unfinished() == 1); // the silent one
        co_await l.close();
        CHECK(l.unfinished() == 0);
    };
    run_within(20s, test());
}

TEST_CASE("listener: so many may be on their way in; then the oldest goes, or its time is over",
          "[W-AUTH-14][P5][P15]") {
    auto test = []() -> task<> {
        secret_bytes key("abc");
        ipc::listener_options options;
        options.key = &key;
        options.most_unfinished = 4;
        listener l = ipc::listen_at_fresh_path(options);
        std::vector<unix_stream> silent;
        for (int i = 0; i < 6; ++i)
            silent.push_back(co_await connect_unix(l.address()));
        std::string first = co_await refusal(l);
        std::string second = co_await refusal(l);
        CHECK_THAT(first, Catch::Contains("give way"));
        CHECK_THAT(second, Catch::Contains("give way"));
        CHECK(l.unfinished() == 4);
        // The oldest two were closed: after the challenge, if there was one, comes the end.
        for (std::size_t i = 0; i < 2; ++i) {
            std::byte challenge[256];
            while (std::size_t n = co_await silent[i].read_some(challenge))
                CHECK(n <= 63);
        }
        bool in = false; // an honest one comes in, and one more has to go
        auto call = [&]() -> task<> {
            connection c = co_await ipc::connect(l.address(), {.key = &key});
            in = true;
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(call());
            std::string third = co_await refusal(l);
            CHECK_THAT(third, Catch::Contains("give way"));
            connection c = co_await l.accept();
        });
        CHECK(in);
        co_await l.close();

        options.handshake_time = 1ms;
        listener hasty = ipc::listen_at_fresh_path(options);
        auto late = co_await connect_unix(hasty.address());
        std::string why = co_await refusal(hasty);
        CHECK_THAT(why, Catch::Contains("deadline"));
        co_await hasty.close();
    };
    run_within(10s, test());
}

TEST_CASE("listener: stops looking at who comes when nobody takes those that are in", "[P5]") {
    auto test = []() -> task<> {
        secret_bytes key("abc");
        ipc::listener_options options;
        options.key = &key;
        options.ahead = 2;
        listener l = ipc::listen_at_fresh_path(options);
        int connected = 0;
        auto call = [&]() -> task<> {
            connection c = co_await ipc::connect(l.address(), {.key = &key});
            ++connected;
            co_await c.readable(); // until the other side closes it
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < 8; ++i)
                g.spawn(call());
            for (int i = 0; i < 8; ++i)
                connection c = co_await l.accept();
        });
        CHECK(connected == 8);
        co_await l.close();
    };
    run_within(10s, test());
}

TEST_CASE("listener: an address that others reach needs a key; some are none at all",
          "[MP-ADDR-01][MP-ADDR-03][MP-ADDR-04]") {
    CHECK_THROWS_AS(ipc::listen(abstract_name("open")), std::invalid_argument);
    CHECK_THROWS_AS(ipc::listen(socket_address::ipv4_any(0)), std::invalid_argument);
    CHECK_THROWS_AS(ipc::listen(socket_address()), std::invalid_argument);
    CHECK_THROWS_AS(socket_address::parse(R"(\\.\pipe\x)"), std::invalid_argument);
    CHECK_THROWS_AS(socket_address::unix_path(std::string(108, 'x')), std::invalid_argument);
    {
        listener l = ipc::listen(socket_address::ipv4_any(0), {.unauthenticated = true});
        secret_bytes key("abc");
        listener k = ipc::listen(abstract_name("open"), {.key = &key});
    }
    auto test = []() -> task<> {
        bool nowhere = co_await fails_to_connect<std::invalid_argument>(socket_address());
        CHECK(nowhere);
        bool missing = co_await fails_to_connect<std::system_error>(
            socket_address::unix_path("/nonexistent/socket"));
        CHECK(missing);
        descriptor place;
        socket_address at = unheard_address(place);
        bool refused = co_await fails_to_connect<std::system_error>(at);
        CHECK(refused);
    };
    run_within(10s, test());
}

TEST_CASE("listener: the end of its loop ends what it has begun", "[P23]") {
    secret_bytes key("abc");
    listener l = ipc::listen_at_fresh_path({.key = &key});
    std::optional<unix_stream> silent;
    auto test = [&]() -> task<> {
        silent = co_await connect_unix(l.address());
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(refusal(l));
            while (l.unfinished() == 0)
                co_await yield();
            waits.cancel();
        });
    };
    run_within(10s, test());
}
