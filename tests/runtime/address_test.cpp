// SPDX-License-Identifier: MIT
#include <weft/runtime/address.hpp>

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>

using weft::address_family;
using weft::socket_address;

TEST_CASE("address: the text of an address reads as the same address") {
    for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:8080",
                             "[::]:0", "[2001:db8::17]:443", "[fe80::1%1]:22", "unix:/run/x.socket",
                             "unix:relative", "unix:@abstract"}) {
        CAPTURE(text);
        auto a = socket_address::parse(text);
        CHECK(a.to_string() == text);
        CHECK(socket_address::parse(a.to_string()) == a);
    }
}

TEST_CASE("address: parts") {
    auto a = socket_address::parse("[2001:db8::17]:443");
    CHECK(a.family() == address_family::ipv6);
    CHECK(a.host() == "2001:db8::17");
    CHECK(a.port() == 443);
    CHECK(a.with_port(80).to_string() == "[2001:db8::17]:80");
    auto u = socket_address::unix_abstract("name");
    CHECK(u.family() == address_family::unix_domain);
    CHECK(u.host() == "@name");
    CHECK(u.port() == 0);
    CHECK(u.with_port(80) == u);
    CHECK(socket_address().empty());
    CHECK(socket_address().family() == address_family::none);
}

TEST_CASE("address: what is no address is refused") {
    for (const char* text :
         {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1x",
          "::1:80", "[::1]", "[::1:80", "[127.0.0.1]:80", "localhost:80", "256.0.0.1:80",
          "[fe80::1%]:80", "[fe80::1%nowhere]:80", "unix:", ":80", " 127.0.0.1:80"}) {
        CAPTURE(text);
        CHECK_FALSE(socket_address::try_parse(text));
        CHECK_THROWS_AS(socket_address::parse(text), std::invalid_argument);
    }
    CHECK_THROWS_AS(socket_address::unix_path(std::string(108, 'x')), std::invalid_argument);
    CHECK_THROWS_AS(socket_address::unix_path(std::string("a\0b", 3)), std::invalid_argument);
    CHECK(socket_address::unix_path(std::string(107, 'x')).host() == std::string(107, 'x'));
    CHECK(socket_address::unix_abstract(std::string("a\0b", 3)).host() == std::string("@a\0b", 4));
}

TEST_CASE("address: knows what stays on this machine") {
    CHECK(socket_address::parse("127.3.2.1:1").is_loopback());
    CHECK(socket_address::ipv6_loopback(1).is_loopback());
    CHECK(socket_address::parse("[::ffff:127.0.0.1]:1").is_loopback());
    CHECK_FALSE(socket_address::ipv4_any(1).is_loopback());
    CHECK_FALSE(socket_address::parse("[::ffff:10.0.0.1]:1").is_loopback());
    CHECK_FALSE(socket_address::unix_path("/x").is_loopback());
}

TEST_CASE("address: what the kernel gives for an unbound unix socket has no name") {
    sockaddr_un u{};
    u.sun_family = AF_UNIX;
    auto a = socket_address::from_native(reinterpret_cast<sockaddr*>(&u), sizeof(sa_family_t));
    CHECK(a.family() == address_family::unix_domain);
    CHECK(a.host().empty());
    CHECK(a.to_string() == "unix:");
}
