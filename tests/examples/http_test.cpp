// SPDX-License-Identifier: MIT
#include "http.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <random>

using http::phase;

namespace {

/// What a peer's bytes came to: "GET /a [body]" for each request, then the phase or the status of
/// the failure.
std::string outcome(std::string_view bytes, std::size_t piece = std::string_view::npos,
                    const http::limits& l = {}) {
    http::request_parser parser(l);
    std::string seen;
    while (!bytes.empty() && parser.where() != phase::failed) {
        std::size_t used = parser.feed(bytes.substr(0, piece));
        if (parser.where() == phase::complete) {
            const http::request& r = parser.current();
            seen += fmt::format("{} {} [{}]{}; ", r.method, r.target, r.body,
                                r.keep_alive ? "" : " last");
            parser.next();
        } else if (parser.where() != phase::failed) {
            REQUIRE(
                used ==
                std::min(piece, bytes.size())); // what it doesn't use must belong to a next request
        }
        bytes.remove_prefix(used);
    }
    switch (parser.where()) {
    case phase::idle:
        return seen + "idle";
    case phase::head:
        return seen + "head";
    case phase::body:
        return seen + "body";
    case phase::complete:
        return seen + "complete";
    case phase::failed:
        return seen + std::to_string(parser.failure());
    }
    return "unknown phase";
}

std::string get(std::string_view target, std::string_view more = "") {
    return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", target, more);
}

} // namespace

TEST_CASE("http: requests come out alike, however their bytes were cut") {
    std::string bytes = "\r\n\r\n" + get("/") + get("/tile/3/1/2.png?x=1", "Accept: */*\r\n") +
                        "POST /kill HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n" +
                        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3;note=x\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: dropped\r\n\r\n" +
                        "GET /old HTTP/1.0\r\n\r\n" + get("/bye", "Connection: close\r\n");
    std::string expected =
        "GET / []; GET /tile/3/1/2.png?x=1 []; POST /kill [hello]; POST /c [abcde]; "
        "GET /old [] last; GET /bye [] last; idle";
    CHECK(outcome(bytes) == expected);
    for (std::size_t piece = 1; piece < 200; ++piece) {
        CAPTURE(piece);
        REQUIRE(outcome(bytes, piece) == expected);
    }
}

TEST_CASE("http: what isn't HTTP is answered with the status that says why") {
    CHECK(outcome("\x16\x03\x01\x02garbage") == "400");
    CHECK(outcome("GET\r\n\r\n") == "400");
    CHECK(outcome("GET / HTTP/1.1\r\n\r\n") == "400");                       // no Host
    CHECK(outcome("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == "400"); // which one?
    CHECK(outcome("GET / HTTP/1.1\r\nHost: a\r\nbad name: x\r\n\r\n") == "400");
    CHECK(outcome("GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n") == "400");
    CHECK(outcome("GET / HTTP/2.0\r\nHost: a\r\n\r\n") == "505");
    CHECK(outcome("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n") == "405");
    CHECK(outcome(get("/", "Expect: a miracle\r\n")) == "417");
}

TEST_CASE("http: a body whose length is in doubt is refused") {
    std::string post = "POST / HTTP/1.1\r\nHost: a\r\n";
    CHECK(outcome(post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd") == "400");
    CHECK(outcome(post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
          "400");
    CHECK(outcome(post + "Transfer-Encoding: gzip\r\n\r\n") == "400");
    CHECK(outcome(post + "Content-Length: -1\r\n\r\n") == "400");
    CHECK(outcome(post + "Content-Length: 99999999999999999999\r\n\r\n") == "400");
    CHECK(outcome(post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n") == "400");
}

TEST_CASE("http: each limit has its answer, and one less than it passes") {
    http::limits l;
    std::string fields;
    for (std::size_t i = 1; i < l.fields; ++i) // one is Host
        fields += "a: b\r\n";
    CHECK(outcome(get("/", fields)) == "GET / []; idle");
    CHECK(outcome(get("/", fields + "a: b\r\n")) == "431");

    CHECK(outcome(get("/" + std::string(l.target - 1, 'a'))).starts_with("GET /aaa"));
    CHECK(outcome(get("/" + std::string(l.target, 'a'))) == "414");
    CHECK(outcome(get("/", "x: " + std::string(l.head - 1 - 4 - 9 - 1, 'y') + "\r\n")) ==
          "GET / []; idle");
    CHECK(outcome(get("/", "x: " + std::string(l.head - 1 - 4 - 9, 'y') + "\r\n")) == "431");
    CHECK(outcome(get("/", "x:" + std::string(200'000, ' ') + "\r\n")) == "431");

    auto post = [](std::size_t n) {
        return fmt::format("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", n);
    };
    CHECK(outcome(post(l.body) + std::string(l.body, 'b')).ends_with("bbb]; idle"));
    CHECK(outcome(post(l.body + 1)) == "413"); // before a byte of it is read

    std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    std::string one_byte = "1\r\nb\r\n";
    std::string many;
    for (std::size_t i = 0; i < l.body; ++i)
        many += one_byte;
    CHECK(outcome(chunked + many + "0\r\n\r\n").ends_with("bbb]; idle"));
    CHECK(outcome(chunked + many + one_byte) == "413");
    std::string trailers;
    for (int i = 0; i < 1000; ++i)
        trailers += "trailer: " + std::string(50, 't') + "\r\n";
    CHECK(outcome(chunked + "0\r\n" + trailers + "\r\n") == "431");
}

TEST_CASE("http: framing without content is a flood with an end") {
    std::string bytes = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 200; ++i)
        bytes += "1;" + std::string(10'000, 'x') + "\r\nb\r\n";
    CHECK(outcome(bytes, 16 * 1024) == "413");
}

TEST_CASE("http: a peer that waits for 100 Continue is known until its body comes") {
    http::request_parser parser;
    parser.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
    CHECK(parser.where() == phase::body);
    CHECK(parser.expects_continue());
    parser.feed("x");
    CHECK_FALSE(parser.expects_continue());
    parser.feed("y");
    CHECK(parser.where() == phase::complete);
    CHECK(parser.current().body == "xy");
    parser.next();
    parser.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    CHECK_FALSE(parser.expects_continue());
}

TEST_CASE("http: an offer of another protocol is passed over") {
    CHECK(outcome(get("/", "Connection: Upgrade\r\nUpgrade: h2c\r\n") + get("/2")) ==
          "GET / []; GET /2 []; idle");
    std::string post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
                       "x\r\nContent-Length: 2\r\n\r\nhi";
    CHECK(outcome(post + get("/2")) == "POST / [hi]; GET /2 []; idle");
}

TEST_CASE("http: names are found in any case, targets are split") {
    http::request_parser parser;
    parser.feed("GET http://x/a/b?c=d&e HTTP/1.1\r\nhOsT: y\r\nfoo:\r\n folded\r\n\r\n");
    REQUIRE(parser.where() == phase::complete);
    const http::request& r = parser.current();
    CHECK(r.path() == "/a/b");
    CHECK(r.query() == "c=d&e");
    REQUIRE(r.find("Host") != nullptr);
    CHECK(*r.find("HOST") == "y");
    CHECK(r.find("Hos") == nullptr);
}

TEST_CASE("http: no bytes crash it or make it grow beyond its limits") {
    auto seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::string good = get("/a", "A: b\r\nExpect: 100-continue\r\n") +
                       "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                       "chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" +
                       "POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    http::limits small{.target = 8, .head = 64, .fields = 3, .body = 8};
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = good;
        for (auto changes = random() % 4; changes > 0; --changes)
            bytes[random() % bytes.size()] = static_cast<char>(random());
        if (random() % 4 == 0)
            bytes.erase(random() % bytes.size(), random() % 16);
        std::size_t piece = 1 + random() % 40;
        CAPTURE(round, bytes, piece);
        REQUIRE(outcome(bytes, piece) == outcome(bytes));
        outcome(bytes, piece, small);
    }
}

TEST_CASE("http: a head has what its framing needs") {
    std::string text = http::head({.status = 404, .body = "no"}, http::framing::length, true);
    CHECK(text.starts_with("HTTP/1.1 404 Not Found\r\nDate: "));
    CHECK(text.find("\r\nContent-Length: 2\r\n") != text.npos);
    CHECK(text.find("Connection") == text.npos);
    CHECK(text.ends_with("\r\n\r\n"));

    text = http::head({.type = "a/b", .fields = "X: y\r\n"}, http::framing::chunked, false);
    CHECK(text.find("\r\nTransfer-Encoding: chunked\r\n") != text.npos);
    CHECK(text.find("\r\nContent-Type: a/b\r\n") != text.npos);
    CHECK(text.find("\r\nConnection: close\r\n") != text.npos);
    CHECK(text.ends_with("\r\nX: y\r\n\r\n"));
    CHECK(text.find("Content-Length") == text.npos);
}
