// SPDX-License-Identifier: MIT
#include <weft/runtime/udp.hpp>

#include "support/io.hpp"
#include "support/report.hpp"

#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <netinet/in.h>
#include <string>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

TEST_CASE("udp: a datagram arrives whole, with its sender, over IPv4 and IPv6") {
    auto exchange = [](socket_address a) -> task<> {
        auto server = bind_udp(a);
        auto client = bind_udp(a);
        co_await client.send_to(as_bytes("hello"), server.local_address());
        std::byte into[64];
        datagram d = co_await server.receive_from(into);
        CHECK(as_text(std::span(into, d.size())) == "hello");
        CHECK(d.from() == client.local_address());
        co_await server.send_to({}, d.from());
        d = co_await client.receive_from(into);
        CHECK(d.size() == 0);
    };
    run_within(10s, exchange(socket_address::ipv4_loopback(0)));
    if (has_ipv6())
        run_within(10s, exchange(socket_address::ipv6_loopback(0)));
    else
        skip("IPv6: this machine has none");
}

TEST_CASE("udp: a connected socket hears only its peer, and of nobody being there") {
    auto connected = []() -> task<> {
        auto server = bind_udp(socket_address::ipv4_loopback(0));
        auto stranger = bind_udp(socket_address::ipv4_loopback(0));
        auto client = connect_udp(server.local_address());
        CHECK(client.peer_address() == server.local_address());
        co_await stranger.send_to(as_bytes("noise"), client.local_address());
        co_await server.send_to(as_bytes("signal"), client.local_address());
        std::byte into[64];
        datagram d = co_await client.receive_from(into);
        CHECK(d.from() == server.local_address());
        auto dead = server.local_address();
        co_await server.close();
        co_await client.send(as_bytes("anyone?"));
        try {
            co_await client.receive_from(into);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::connection_refused);
            CHECK_THAT(e.what(), Contains(dead.to_string()));
        }
    };
    run_within(10s, connected());
}

TEST_CASE("udp: a datagram that is longer than the room for it is an error, not a short one") {
    auto cut = []() -> task<> {
        auto server = bind_udp(socket_address::ipv4_loopback(0));
        auto client = bind_udp(socket_address::ipv4_loopback(0));
        co_await client.send_to(as_bytes("too long"), server.local_address());
        co_await client.send_to(as_bytes("fits"), server.local_address());
        std::byte into[4];
        try {
            co_await server.receive_from(into);
            FAIL("no error");
        } catch (const limit_error& e) {
            CHECK(e.consumed() == 4);
        }
        datagram d = co_await server.receive_from(into);
        CHECK(d.size() == 4);
        try {
            std::string huge(70'000, 'x');
            co_await client.send_to(as_bytes(huge), server.local_address());
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::message_size);
            CHECK_THAT(e.what(), Contains("send to " + server.local_address().to_string()));
        }
    };
    run_within(10s, cut());
}

TEST_CASE("udp: a stopped receive loses no datagram") {
    auto stop = []() -> task<> {
        auto server = bind_udp(socket_address::ipv4_loopback(0));
        auto client = connect_udp(server.local_address());
        std::byte into[64];
        int received = 0;
        for (int i = 0; i < 200; ++i) {
            co_await client.send(as_bytes("x"));
            try {
                co_await with_timeout(std::chrono::microseconds(i % 20), server.receive_from(into));
                ++received;
            } catch (const timeout_error&) {
                continue;
            }
        }
        while (received < 200) {
            co_await server.receive_from(into);
            ++received;
        }
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, server.receive_from(into));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out); // not one more
    };
    run_within(10s, stop());
}

TEST_CASE("udp: multicast reaches the members of a group") {
    auto cast = []() -> task<> {
        auto group = socket_address::parse("239.255.77.77:0");
        auto member = bind_udp(socket_address::ipv4_any(0), {.reuse_address = true});
        member.join_group(group, 1); // the loopback interface
        auto sender = bind_udp(socket_address::ipv4_loopback(0));
        sender.set_hop_limit(1);
        ip_mreqn over{};
        over.imr_ifindex = 1;
        REQUIRE(::setsockopt(sender.fd(), IPPROTO_IP, IP_MULTICAST_IF, &over, sizeof over) == 0);
        auto to = group.with_port(member.local_address().port());
        co_await sender.send_to(as_bytes("all of you"), to);
        std::byte into[64];
        datagram d = co_await member.receive_from(into);
        CHECK(d.size() == 10);
        member.leave_group(group, 1);
        CHECK_THROWS_AS(member.leave_group(group, 1), std::system_error);
    };
    run_within(10s, cast());
}
