// SPDX-License-Identifier: MIT
#include <weft/ipc/handshake.hpp>
#include <weft/ipc/impl/handshake_machine.hpp>

#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;
namespace parts = weft::ipc::detail;
using parts::digest;
using machine = parts::handshake_machine;
using half = machine::half;
using step = machine::step;

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (std::byte b : bytes)
        text += fmt::format("{:02x}", static_cast<unsigned>(b));
    return text;
}

// The bytes 00, 01, 02 ...
std::string counting(std::size_t n) {
    std::string s(n, '\0');
    std::iota(s.begin(), s.end(), '\0');
    return s;
}

const std::array<std::byte, machine::nonce_size> nonce{};

machine listens(const secret_bytes& key, bool md5 = false) {
    return {handshake_role::listener, half::deliver, half::answer, key, md5, nonce};
}
machine calls(const secret_bytes& key, bool md5 = false) {
    return {handshake_role::client, half::answer, half::deliver, key, md5, nonce};
}
machine only(half h, const secret_bytes& key, bool md5 = false) {
    return {handshake_role::client, h, half::none, key, md5, nonce};
}

// Lets two machines talk until neither has anything to say. Gives what was sent.
std::vector<std::string> talk(machine& a, machine& b) {
    std::vector<std::string> said;
    for (bool moved = true; moved;) {
        moved = false;
        for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
            if (from->next() != step::send || to->next() != step::receive)
                continue;
            said.emplace_back(as_text(from->message()));
            from->sent();
            to->received(as_bytes(said.back()));
            moved = true;
        }
    }
    return said;
}

// Gives the answer to a challenge, or why there is none.
std::string answer_to(std::string_view challenge, const secret_bytes& key, bool md5 = false) {
    machine m = only(half::answer, key, md5);
    REQUIRE(m.next() == step::receive);
    m.received(as_bytes(challenge));
    return m.next() == step::send ? std::string(as_text(m.message())) : m.reason();
}

// The verdict on an answer that `make` makes of the challenge.
template <class F>
std::string verdict_on(F make, const secret_bytes& key, bool md5 = false) {
    machine m = only(half::deliver, key, md5);
    REQUIRE(m.next() == step::send);
    std::string challenge(as_text(m.message()));
    m.sent();
    m.received(as_bytes(make(challenge.substr(11))));
    REQUIRE(m.next() == step::send);
    std::string verdict(as_text(m.message()));
    m.sent();
    CHECK(m.next() == (verdict == "#WELCOME#" ? step::done : step::failed));
    return verdict;
}

std::string mac_of(digest d, const secret_bytes& key, std::string_view m) {
    parts::mac value = parts::hmac(d, key, as_bytes(m));
    return std::string(as_text(value.bytes()));
}

} // namespace

TEST_CASE("handshake: digests are those of the published vectors", "[W-AUTH-04][W-AUTH-15]") {
    secret_bytes abc("abc");
    std::string m = "{sha256}" + counting(0x28);
    CHECK(hex(parts::hmac(digest::sha256, abc, as_bytes(m)).bytes()) ==
          "ee2b4cd766c1e0f5eb564525d250361f729d00e3948c83c5651d1cefdb97de31");
    CHECK(hex(parts::hmac(digest::md5, abc, as_bytes(m)).bytes()) ==
          "3e4faf2fc53f133cd76571e5d3fb9fd5");
    CHECK(hex(parts::hmac(digest::md5, abc, as_bytes(counting(0x14))).bytes()) ==
          "1b373176a84c1b044d9ba09795b53791");
    // RFC 4231, test case 2, and the same with SHA-3.
    secret_bytes jefe("Jefe");
    auto rfc = as_bytes("what do ya want for nothing?");
    CHECK(hex(parts::hmac(digest::sha256, jefe, rfc).bytes()) ==
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    CHECK(hex(parts::hmac(digest::sha384, jefe, rfc).bytes()) ==
          "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
          "8e2240ca5e69e2c78b3239ecfab21649");
    CHECK(hex(parts::hmac(digest::sha3_256, jefe, rfc).bytes()) ==
          "c7d4072e788877ae3596bbb0da73b887c9171f93095b294ae857fbe2645e1ba5");
    CHECK(hex(parts::hmac(digest::sha3_384, jefe, rfc).bytes()) ==
          "f1101f8cbf9766fd6764d2ed61903f21ca9b18f57cf3e1a23ca13508a93243ce"
          "48c045dc007f26a21b3f5e0e9df4c20a");
    // No key is a key as well.
    CHECK(hex(parts::hmac(digest::sha256, secret_bytes(), {}).bytes()) ==
          "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST_CASE("handshake: six messages, each as Python writes it",
          "[W-AUTH-01][W-AUTH-02][W-AUTH-03][W-AUTH-05][W-AUTH-13]") {
    for (std::string_view text : {"abc", ""}) {
        secret_bytes key(text);
        machine l = listens(key);
        machine c = calls(key);
        auto said = talk(l, c);
        CHECK(l.next() == step::done);
        CHECK(c.next() == step::done);
        REQUIRE(said.size() == 6);
        for (std::size_t i : {0u, 3u}) {
            CHECK(said[i].size() == 59);
            CHECK(said[i].substr(0, 19) == "#CHALLENGE#{sha256}");
            CHECK(said[i + 1] == "{sha256}" + mac_of(digest::sha256, key, said[i].substr(11)));
            CHECK(said[i + 1].size() == 40);
            CHECK(said[i + 2] == "#WELCOME#");
        }
        CHECK(said[0] != said[3]); // though the random bytes are the same: the roles aren't
    }
}

TEST_CASE("handshake: another key fails, and whoever asked says so", "[W-AUTH-12]") {
    secret_bytes key("abc");
    secret_bytes other("abd");
    machine l = listens(key);
    machine c = calls(other);
    auto said = talk(l, c);
    CHECK(said.size() == 3);
    CHECK(said.back() == "#FAILURE#");
    CHECK(l.next() == step::failed);
    CHECK(c.next() == step::failed);
    CHECK(std::string(l.reason()) == "the peer doesn't know the key");
    CHECK(std::string(c.reason()) == "the peer doesn't accept the key");
    // Anything but the one word is a no.
    for (std::string_view verdict : {"", "#WELCOME", "#WELCOME#x", "#welcome#"}) {
        machine m = only(half::answer, key);
        m.received(as_bytes("#CHALLENGE#{sha256}" + counting(40)));
        m.sent();
        m.received(as_bytes(verdict));
        CHECK(m.next() == step::failed);
    }
}

TEST_CASE("handshake: an answer comes in the digest of the question",
          "[W-AUTH-06][W-AUTH-08][W-AUTH-09]") {
    secret_bytes key("abc");
    constexpr std::array<std::pair<digest, std::size_t>, 5> sizes{{{digest::md5, 21},
                                                                   {digest::sha256, 40},
                                                                   {digest::sha384, 56},
                                                                   {digest::sha3_256, 42},
                                                                   {digest::sha3_384, 58}}};
    for (auto [d, size] : sizes) {
        std::string prefix = "{" + std::string(parts::name_of(d)) + "}";
        CAPTURE(prefix);
        std::string m = prefix + counting(40);
        std::string answer = answer_to("#CHALLENGE#" + m, key, true);
        CHECK(answer == prefix + mac_of(d, key, m));
        CHECK(answer.size() == size);
    }
    // The form of Python up to 3.11.
    CHECK(answer_to("#CHALLENGE#" + counting(20), key, true) ==
          mac_of(digest::md5, key, counting(20)));
}

TEST_CASE("handshake: what is no challenge gets no answer", "[W-AUTH-08][W-AUTH-11]") {
    secret_bytes key("abc");
    for (bool md5 : {false, true}) {
        CAPTURE(md5);
        CHECK(answer_to("", key, md5) == "the peer sent something else than a challenge");
        CHECK(answer_to("#CHALLENGE" + counting(40), key, md5) ==
              "the peer sent something else than a challenge");
        for (const std::string& m :
             {std::string(), std::string("{sha256}"), counting(16), counting(19), counting(21),
              "{sha1}" + counting(40), "{SHA256}" + counting(40), "{sha256" + counting(40),
              "{}" + counting(40), " {sha256}" + counting(40),
              "{sha256" + std::string(10, ' ') + "}" + counting(40)}) {
            CAPTURE(m);
            CHECK(answer_to("#CHALLENGE#" + m, key, md5) ==
                  "the peer sent a challenge that is too short or names no digest");
        }
    }
}

TEST_CASE("handshake: an answer must be strong enough, and right",
          "[W-AUTH-07][W-AUTH-08][W-AUTH-10][W-AUTH-11]") {
    secret_bytes key("abc");
    auto named = [&](digest d) {
        return [&key, d](const std::string& m) {
            return "{" + std::string(parts::name_of(d)) + "}" + mac_of(d, key, m);
        };
    };
    auto bare = [&](const std::string& m) { return mac_of(digest::md5, key, m); };
    for (bool md5 : {false, true}) {
        CAPTURE(md5);
        for (digest d : {digest::sha256, digest::sha384, digest::sha3_256, digest::sha3_384})
            CHECK(verdict_on(named(d), key, md5) == "#WELCOME#");
        std::string with_md5 = md5 ? "#WELCOME#" : "#FAILURE#";
        CHECK(verdict_on(named(digest::md5), key, md5) == with_md5);
        CHECK(verdict_on(bare, key, md5) == with_md5);

        auto right = named(digest::sha256);
        for (std::size_t i : {0u, 1u, 7u, 8u, 39u}) { // any byte counts
            auto changed = [&](const std::string& m) {
                std::string s = right(m);
                s[i] = static_cast<char>(s[i] ^ 1);
                return s;
            };
            CHECK(verdict_on(changed, key, md5) == "#FAILURE#");
        }
        auto shorter = [&](const std::string& m) { return right(m).substr(0, 39); };
        auto longer = [&](const std::string& m) { return right(m) + "x"; };
        auto empty = [](const std::string&) { return std::string(); };
        auto other_name = [&](const std::string& m) {
            return "{sha3_256}" + mac_of(digest::sha256, key, m);
        };
        CHECK(verdict_on(shorter, key, md5) == "#FAILURE#");
        CHECK(verdict_on(longer, key, md5) == "#FAILURE#");
        CHECK(verdict_on(empty, key, md5) == "#FAILURE#");
        CHECK(verdict_on(other_name, key, md5) == "#FAILURE#");
    }
    // One that was asked for MD5 only by somebody else doesn't give it.
    CHECK(answer_to("#CHALLENGE#" + counting(20), key) ==
          "the peer asks for MD5, which isn't allowed here");
    CHECK(answer_to("#CHALLENGE#{md5}" + counting(40), key) ==
          "the peer asks for MD5, which isn't allowed here");
}

TEST_CASE("handshake: nobody answers a challenge of its own side") {
    // Somebody without the key connects to a listener twice, and lets it answer itself.
    secret_bytes key("abc");
    machine first = listens(key);
    std::string challenge(as_text(first.message()));
    machine second(handshake_role::listener, half::answer, half::none, key, true, nonce);
    second.received(as_bytes(challenge));
    CHECK(second.next() == step::failed);
    CHECK(std::string(second.reason()) == "the peer sent back a challenge of this side");
    // In another digest's name it is still the same.
    machine third(handshake_role::listener, half::answer, half::none, key, true, nonce);
    third.received(as_bytes("#CHALLENGE#{sha384}" + challenge.substr(19)));
    CHECK(third.next() == step::failed);
    // The other side does.
    CHECK(answer_to(challenge, key).starts_with("{sha256}"));
}

TEST_CASE("handshake: over a connection, whole or by halves; what fails is closed",
          "[MP-LSN-06][W-AUTH-11][W-AUTH-12][W-AUTH-14]") {
    auto outcome = [](task<> t) -> task<std::string> {
        try {
            co_await std::move(t);
            co_return "passed";
        } catch (const authentication_error& e) {
            co_return e.what();
        } catch (const timeout_error&) {
            co_return "timeout_error";
        } catch (const limit_error&) {
            co_return "limit_error";
        } catch (const eof_error&) {
            co_return "eof_error";
        }
    };
    auto both = [&](task<> a, task<> b, std::string& of_a, std::string& of_b) -> task<> {
        auto run = [&](task<> t, std::string& into) -> task<> {
            into = co_await outcome(std::move(t));
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(run(std::move(a), of_a));
            g.spawn(run(std::move(b), of_b));
            co_return;
        });
    };
    auto test = [&]() -> task<> {
        secret_bytes key("abc");
        secret_bytes other("abd");
        std::string x;
        std::string y;
        auto ends = make_connection_pair();
        auto& [l, c] = ends;
        co_await both(authenticate(l, key, handshake_role::listener),
                      authenticate(c, key, handshake_role::client), x, y);
        CHECK(x + "," + y == "passed,passed");
        co_await both(deliver_challenge(l, key, handshake_role::listener),
                      answer_challenge(c, key, handshake_role::client), x, y);
        CHECK(x + "," + y == "passed,passed");
        // The connection is as it was before.
        co_await c.send_bytes(as_bytes("after"));
        byte_buffer after = co_await l.receive_bytes();
        CHECK(as_text(after.bytes()) == "after");

        co_await both(authenticate(l, key, handshake_role::listener),
                      authenticate(c, other, handshake_role::client), x, y);
        CHECK(x == "the peer doesn't know the key");
        CHECK(y == "the peer doesn't accept the key");
        CHECK_FALSE(l.is_open());
        CHECK_FALSE(c.is_open());

        // A peer that says too much, nothing, or goodbye.
        ends = make_connection_pair();
        std::string large(257, 'x');
        co_await ends.second.send_bytes(as_bytes(large));
        x = co_await outcome(authenticate(ends.first, key, handshake_role::client));
        CHECK(x == "limit_error");
        CHECK_FALSE(ends.first.is_open());

        ends = make_connection_pair();
        handshake_options hasty;
        hasty.time_limit = 1ms;
        x = co_await outcome(authenticate(ends.first, key, handshake_role::client, hasty));
        CHECK(x == "timeout_error");
        CHECK_FALSE(ends.first.is_open());

        ends = make_connection_pair();
        ends.second.close();
        x = co_await outcome(authenticate(ends.first, key, handshake_role::client));
        CHECK(x == "eof_error");

        // Who is stopped in it doesn't leave half a handshake behind.
        ends = make_connection_pair();
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(authenticate(ends.first, key, handshake_role::client));
            co_await yield();
            waits.cancel();
        });
        CHECK_FALSE(ends.first.is_open());
    };
    run_within(10s, test());
}
