// SPDX-License-Identifier: MIT
#include <weft/ipc/archive.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>

using weft::ipc::archive_limits;
using weft::ipc::archive_reader;
using weft::ipc::archive_writer;
using weft::ipc::byte_buffer;
using weft::ipc::codec_error;

TEST_CASE("byte_buffer: keeps what it holds while it grows") {
    byte_buffer b;
    for (unsigned i = 0; i != 100'000; ++i)
        *b.extend(1) = static_cast<std::byte>(i % 251);
    REQUIRE(b.size() == 100'000);
    for (unsigned i = 0; i != 100'000; ++i)
        REQUIRE(b.data()[i] == static_cast<std::byte>(i % 251));

    byte_buffer other = std::move(b);
    CHECK(b.size() == 0); // NOLINT: that is what is tested
    CHECK(other.size() == 100'000);
    other.shrink(3);
    CHECK(other.size() == 3);
    CHECK(other.capacity() >= 100'000);
}

TEST_CASE("byte_buffer: a size that can't be is bad_alloc, and nothing changes") {
    byte_buffer b;
    static_cast<void>(b.extend(10));
    CHECK_THROWS_AS(b.extend(~std::size_t{0} - 4), std::bad_alloc);
    CHECK(b.size() == 10);
}

TEST_CASE("archive_writer: the headroom lies in front and counts for nothing") {
    archive_writer out(32);
    CHECK(out.size() == 0);
    out.write_value(std::uint8_t{1});
    out.align(8);
    CHECK(out.size() == 8);
    out.write_value(std::uint64_t{2});
    CHECK(out.bytes().size() == 16);
    out.rewind(1);
    CHECK(out.size() == 1);
    byte_buffer whole = out.take();
    REQUIRE(whole.size() == 33);
    auto is_zero = [](std::byte x) { return x == std::byte{0}; };
    CHECK(std::all_of(whole.data(), whole.data() + 32, is_zero));
}

TEST_CASE("archive_reader: gives what was written, and minds the end", "[P5]") {
    archive_writer out;
    out.write_value(3.5);
    out.write_value(std::uint8_t{7});
    out.align(4);
    out.write_value(std::uint32_t{9});

    archive_reader in(out.bytes());
    CHECK(in.read_value<double>() == 3.5);
    CHECK(in.read_value<std::uint8_t>() == 7);
    in.align(4);
    CHECK_THROWS_AS(in.finish(), codec_error);
    CHECK(in.read_value<std::uint32_t>() == 9);
    CHECK_NOTHROW(in.finish());
    CHECK_THROWS_AS(in.read(1), codec_error);
    CHECK_THROWS_AS(in.align(32), codec_error);
}

TEST_CASE("archive_reader: a count is believed only as far as the bytes that are left", "[P5]") {
    archive_writer out;
    out.write_count(5);
    out.write(std::array<std::byte, 10>());

    CHECK(archive_reader(out.bytes()).read_count(2, 2) == 5);
    CHECK_THROWS_AS(archive_reader(out.bytes()).read_count(3, 3), codec_error);

    archive_writer huge;
    huge.write_count(~std::size_t{0});
    CHECK_THROWS_AS(archive_reader(huge.bytes()).read_count(1, 1), codec_error);
    // Elements that take no bytes are bounded by what they take in memory.
    CHECK_THROWS_AS(archive_reader(huge.bytes()).read_count(0, 1), codec_error);
}

TEST_CASE("archive_reader: memory stays in proportion to the message", "[P5]") {
    archive_writer out;
    out.write(std::array<std::byte, 100>());
    const archive_limits limits{.depth = 3, .growth = 2, .allowance = 50};

    archive_reader in(out.bytes(), limits);
    in.charge(100, 2);
    in.charge(50, 1);
    CHECK_THROWS_AS(in.charge(1, 1), codec_error);
    CHECK_THROWS_AS(archive_reader(out.bytes(), limits).charge(~std::size_t{0} / 2, 4),
                    codec_error);
}

TEST_CASE("archive_reader: nesting ends at the limit and is given back", "[P5]") {
    archive_reader in({}, archive_limits{.depth = 2});
    {
        auto one = in.nest();
        auto two = in.nest();
        CHECK_THROWS_AS(in.nest(), codec_error);
    }
    auto again = in.nest();
    CHECK_NOTHROW(in.nest());
}
