// SPDX-License-Identifier: MIT
#include <weft/ipc/impl/frame.hpp>

#include <weft/runtime/buffer.hpp>
#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace {

using namespace weft;
using namespace weft::ipc;
using weft::ipc::detail::frame_header;
using weft::ipc::detail::frame_reader;

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (std::byte b : bytes) {
        constexpr const char* digits = "0123456789abcdef";
        text += digits[static_cast<unsigned>(b) >> 4];
        text += digits[static_cast<unsigned>(b) & 15];
    }
    return text;
}

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
    std::vector<std::byte> v;
    for (unsigned b : values)
        v.push_back(static_cast<std::byte>(b));
    return v;
}

// Gives the reader as much as it asks for, at most `piece` bytes at a time. Gives what is left.
std::span<const std::byte> feed(frame_reader& r, std::span<const std::byte> stream,
                                std::size_t piece) {
    while (!stream.empty() && !r.complete() && !r.bad()) {
        auto room = r.space();
        std::size_t n = std::min({piece, room.size(), stream.size()});
        std::copy_n(stream.begin(), n, room.begin());
        r.commit(n);
        stream = stream.subspan(n);
    }
    return stream;
}

} // namespace

TEST_CASE("frame: a length of up to 2^31-1 is four bytes, a longer one twelve",
          "[W-FRM-01][W-FRM-02]") {
    CHECK(hex(frame_header(0).bytes()) == "00000000");
    CHECK(hex(frame_header(5).bytes()) == "00000005");
    CHECK(hex(frame_header(0x7fffffff).bytes()) == "7fffffff");
    CHECK(hex(frame_header(0x80000000).bytes()) == "ffffffff0000000080000000");
    CHECK(hex(frame_header(0x123456789abcdef0).bytes()) == "ffffffff123456789abcdef0");
}

TEST_CASE("frame: messages come out as they went in, however the bytes arrive",
          "[W-FRM-01][W-FRM-02][MP-CONN-08]") {
    // The second has the long form, which any length may have.
    auto stream = bytes_of({0, 0, 0, 3, 'a', 'b', 'c', 255, 255, 255, 255, 0, 0, 0, 0,
                            0, 0, 0, 2, 'd', 'e', 0,   0,   0,   0,   0,   0, 0, 1, 'f'});
    for (std::size_t piece : {1u, 2u, 3u, 5u, 100u}) {
        CAPTURE(piece);
        frame_reader r;
        std::span<const std::byte> rest(stream);
        std::vector<std::string> got;
        while (!rest.empty()) {
            rest = feed(r, rest, piece);
            REQUIRE(r.complete());
            CHECK(r.space().empty()); // nothing of the next one is asked for
            byte_buffer m = r.take();
            got.emplace_back(as_text(m.bytes()));
            CHECK_FALSE(r.begun());
        }
        CHECK(got == std::vector<std::string>{"abc", "de", "", "f"});
    }
}

TEST_CASE("frame: what comes in one go with a message waits for its turn",
          "[W-FRM-01][MP-CONN-08]") {
    ipc::detail::bytes_ahead ahead;
    frame_reader r;
    auto stream = bytes_of({0, 0, 0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 9, 'b', 'c'});
    std::ranges::copy(stream, ahead.space().begin());
    ahead.commit(stream.size());
    for (std::string_view expected : {"a", ""}) {
        ahead.feed(r, 100);
        REQUIRE(r.complete());
        CHECK(as_text(r.take().bytes()) == expected);
        CHECK_FALSE(ahead.empty());
    }
    ahead.feed(r, 8); // one that is too long: its length, and nothing more
    CHECK(r.length() == 9u);
    CHECK(r.filled() == 0);
    CHECK_FALSE(ahead.empty());
    ahead.feed(r, 9);
    CHECK(r.filled() == 2);
    CHECK(ahead.empty());
}

TEST_CASE("frame: a negative length is no message", "[W-FRM-03]") {
    for (unsigned first : {0x80u, 0xfeu, 0xffu}) {
        frame_reader r;
        auto header = bytes_of({first, 0, 0, 0});
        feed(r, header, 4);
        CHECK(r.bad());
        CHECK_THROWS_AS(r.check(), protocol_error);
        CHECK_FALSE(r.complete());
    }
    frame_reader r;
    auto marker = bytes_of({255, 255, 255, 255});
    feed(r, marker, 4);
    CHECK_NOTHROW(r.check());
    CHECK(r.space().size() == 8);
}

TEST_CASE("frame: the length is known before any of the message, and reserves nothing",
          "[W-FRM-06][P5]") {
    frame_reader r;
    auto hostile = bytes_of({255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255});
    CHECK(feed(r, hostile, 100).empty());
    CHECK(r.length() == ~std::uint64_t{0});
    CHECK(r.filled() == 0);
    CHECK(r.space().size() == 64 * 1024);
    // It asks for more as more comes.
    r.commit(64 * 1024);
    CHECK(r.space().size() == 64 * 1024);
    r.commit(64 * 1024);
    CHECK(r.space().size() == 128 * 1024);
}
