// SPDX-License-Identifier: MIT
#include <weft/ipc/shareable_list.hpp>

#include "support/io.hpp"

#include <weft/ipc/error.hpp>
#include <weft/runtime/buffer.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace weft;
using ipc::shareable_list;
using ipc::shared_memory;
using item = shareable_list::item;
using std::int64_t;
using std::string;

item raw(std::string_view text) {
    auto b = as_bytes(text);
    return std::vector<std::byte>(b.begin(), b.end());
}

// The vector of the specification.
const std::vector<item> six{int64_t{1}, string("ab"), std::monostate(), true, raw("x"), 2.5};

shareable_list in_memory(const std::vector<item>& items) {
    return shareable_list(shared_memory::create_nameless(shareable_list::size_of(items)), items);
}

// The same memory a second time.
shared_memory again(const shareable_list& l) {
    return shared_memory::adopt(descriptor(::dup(l.memory().fd())));
}

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (std::byte b : bytes) {
        constexpr const char* digits = "0123456789abcdef";
        text += digits[static_cast<unsigned>(b) >> 4];
        text += digits[static_cast<unsigned>(b) & 15];
    }
    return text;
}

} // namespace

TEST_CASE("shareable_list: lies in memory as Python's does", "[SHL-05][SHL-06][SHL-07][SHL-08]") {
    shareable_list l = in_memory(six);
    CHECK(l.memory().size() == 166);
    CHECK(hex(l.memory().bytes()) ==
          "0600000000000000000000000000000008000000000000001000000000000000180000000000000020000000"
          "0000000028000000000000003000000000000000010000000000000061620000000000000000000000000000"
          "0000000000000001780000000000000000000000000004407100000000000000387300000000000078787878"
          "78783f7878787878787878"
          "3f38730000000000006400000000000000000103000200");
    CHECK(l.format() == "q8sxxxxxx?xxxxxxxx?8sd");
    // A text always has a null behind it when it is new.
    for (auto [size, place] : {std::pair(0u, 8u), std::pair(7u, 8u), std::pair(8u, 16u)}) {
        std::vector<item> one{string(size, 'x')};
        CHECK(shareable_list::size_of(one) == 8 * 3 + place + 9);
    }
    CHECK(shareable_list::size_of({}) == 16);
    CHECK(in_memory({}).size() == 0);
}

TEST_CASE("shareable_list: gives its items by place, from both ends", "[SHL-01][SHL-02]") {
    shareable_list l = in_memory(six);
    REQUIRE(l.size() == 6);
    for (std::size_t i = 0; i != 6; ++i) {
        CHECK((l.get(static_cast<std::ptrdiff_t>(i)) == six[i]));
        CHECK((l.get(static_cast<std::ptrdiff_t>(i) - 6) == six[i]));
    }
    CHECK((l.items() == six));
    CHECK_THROWS_AS(l.get(6), std::out_of_range);
    CHECK_THROWS_AS(l.get(-7), std::out_of_range);
    CHECK_THROWS_AS(l.set(6, 1.0), std::out_of_range);
    CHECK(l.index(string("ab")) == 1);
    CHECK(l.count(true) == 1);
    CHECK(l.count(false) == 0);
    CHECK_THROWS_AS(l.index(string("x")), lookup_error); // those are bytes
    l.set(0, 2.5);
    CHECK(l.count(2.5) == 2);
    CHECK(l.index(2.5) == 0);
}

TEST_CASE("shareable_list: any kind may take another's place, if it fits", "[SHL-03][SHL-07]") {
    shareable_list l = in_memory(six);
    shareable_list same(again(l));
    for (std::ptrdiff_t place = 0; place != 6; ++place)
        for (const item& value : {item(string("12345678")), item(int64_t{-5}), item(raw("1234567")),
                                  item(std::monostate()), item(0.25), item(false), item(string()),
                                  item(true), item(string("\xc3\xa9"))}) {
            l.set(place, value);
            CHECK((same.get(place) == value));
        }
    CHECK_THROWS_AS(l.set(1, string("123456789")), std::invalid_argument);
    CHECK_THROWS_AS(l.set(4, raw("123456789")), std::invalid_argument);
    CHECK_THROWS_AS(l.set(1, string("\xff")), ipc::codec_error);
    CHECK((l.get(1) == item(string("\xc3\xa9")))); // nothing was written
    // A scalar in a large place leaves its size.
    shareable_list large = in_memory({string(20, 'x')});
    large.set(0, int64_t{7});
    CHECK(large.format() == "q");
    large.set(0, string(24, 'y'));
    CHECK((large.get(0) == item(string(24, 'y'))));
    CHECK(large.format() == "24s");
}

TEST_CASE("shareable_list: text is measured in bytes; nulls at its end are lost", "[SHL-04]") {
    string accents;
    for (int i = 0; i < 7; ++i)
        accents += "\xc3\xa9"; // seven characters, fourteen bytes
    shareable_list l = in_memory({accents, raw(std::string_view("a\0b\0\0", 5)), string("a\0", 2)});
    CHECK((l.get(0) == item(accents)));
    CHECK((l.get(1) == raw(std::string_view("a\0b", 3))));
    CHECK((l.get(2) == item(string("a"))));
}

TEST_CASE("shareable_list: another process opens it by its name", "[SHL-01]") {
    shareable_list l = shareable_list::create(six);
    std::string name = l.memory().name();
    CHECK(name.starts_with("psm_"));
    shareable_list same = shareable_list::open(name);
    same.set(0, int64_t{42});
    CHECK((l.get(0) == item(int64_t{42})));
    std::vector<item> wrong{string("\xff")};
    CHECK_THROWS_AS(shareable_list::create(six, name), std::system_error);
    l.memory().unlink();
    // What can't be written leaves no name behind.
    CHECK_THROWS_AS(shareable_list::create(wrong, name), ipc::codec_error);
    CHECK_THROWS_AS(shareable_list::create(wrong), ipc::codec_error);
    CHECK_THROWS_AS(shareable_list(shared_memory::create_nameless(100), six),
                    std::invalid_argument);
}

TEST_CASE("shareable_list: what stands in the memory is believed only as far as it can be",
          "[SHL-05][P21]") {
    std::uint64_t seed = tests::seed();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    shareable_list model = in_memory(six);
    std::vector<std::byte> right(model.memory().bytes().begin(), model.memory().bytes().end());
    auto bytes = model.memory().bytes();
    auto with_word = [&](std::size_t place, int64_t value) {
        std::copy(right.begin(), right.end(), bytes.begin());
        std::memcpy(bytes.data() + 8 * place, &value, 8);
    };
    for (int64_t n :
         {int64_t{-1}, int64_t{7}, int64_t{1} << 60, std::numeric_limits<int64_t>::max()}) {
        with_word(0, n);
        CHECK_THROWS_AS(shareable_list(again(model)), ipc::codec_error);
    }
    for (std::size_t place = 1; place != 8; ++place)
        for (int64_t offset : {int64_t{-8}, int64_t{49}, int64_t{1} << 62}) {
            with_word(place, offset);
            CHECK_THROWS_AS(shareable_list(again(model)), ipc::codec_error);
        }
    // Formats and codes of all sorts: an item or an error, never more.
    int errors = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::copy(right.begin(), right.end(), bytes.begin());
        for (auto n = 1 + random() % 4; n != 0; --n)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        try {
            shareable_list l(again(model));
            for (std::size_t at = 0; at != l.size(); ++at)
                l.set(static_cast<std::ptrdiff_t>(at), l.get(static_cast<std::ptrdiff_t>(at)));
        } catch (const ipc::codec_error&) {
            ++errors;
        }
    }
    CHECK(errors > 0);
    CHECK(errors < 20'000);
    // A format that promises more than there is.
    std::copy(right.begin(), right.end(), bytes.begin());
    std::memcpy(bytes.data() + 8 * 8 + 48 + 8, "9s\0\0\0\0\0\0", 8);
    CHECK_THROWS_AS(shareable_list(again(model)).get(1), ipc::codec_error);
}
