// SPDX-License-Identifier: MIT
#include <weft/ipc/python_value.hpp>

#include "support/io.hpp"

#include <weft/runtime/buffer.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace weft;
using ipc::codec_error;
using ipc::python_value;
using value = ipc::python_value;
using kind = value::kind;

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (std::byte b : bytes) {
        constexpr const char* digits = "0123456789abcdef";
        text += digits[static_cast<unsigned>(b) >> 4];
        text += digits[static_cast<unsigned>(b) & 15];
    }
    return text;
}

std::string pickled(const value& v) {
    ipc::byte_buffer b = ipc::pickle(v);
    return std::string(as_text(b.bytes()));
}

value read(std::string_view bytes) { return ipc::unpickle(as_bytes(bytes)); }

// Protocol 4, with the end.
value built_by(const std::string& opcodes) { return read("\x80\x04" + opcodes + "."); }

bool refused(const std::string& opcodes) {
    try {
        built_by(opcodes);
        return false;
    } catch (const codec_error&) {
        return true;
    }
}

std::vector<value> examples() {
    std::vector<value> all{value(),
                           true,
                           false,
                           0,
                           255,
                           256,
                           65535,
                           65536,
                           -1,
                           std::numeric_limits<std::int32_t>::min(),
                           std::numeric_limits<std::int64_t>::min(),
                           std::numeric_limits<std::int64_t>::max(),
                           -0.5,
                           std::numeric_limits<double>::infinity(),
                           "",
                           "text",
                           std::string(300, 'x'),
                           value::bytes({}),
                           value::bytes(as_bytes("\xff\x01"))};
    std::vector<value> some(all.begin(), all.begin() + 6);
    for (auto end = some.begin(); end != some.end(); ++end)
        all.push_back(value::tuple(std::vector<value>(some.begin(), end)));
    all.push_back(value::list({}));
    all.push_back(value::list(all));
    all.push_back(value::set({}));
    all.push_back(value::set(some));
    all.push_back(value::dict({}));
    all.push_back(value::dict({{value("a"), value::list(some)}, {value(7), value()}}));
    return all;
}

} // namespace

TEST_CASE("python_value: everything comes back as what it was", "[MP-CONN-02]") {
    std::vector<value> all = examples();
    for (std::size_t i = 0; i != all.size(); ++i) {
        CAPTURE(i);
        value back = read(pickled(all[i]));
        CHECK(back.type() == all[i].type());
        CHECK((back == all[i]));
        for (std::size_t j = 0; j != i; ++j)
            CHECK_FALSE(all[i] == all[j]);
    }
    value whole = value::tuple(all);
    value copy = whole;
    CHECK((copy == whole));
    CHECK((read(pickled(copy)) == whole));
}

TEST_CASE("python_value: is written as protocol 4, and asked for what it is", "[MP-CONN-01]") {
    CHECK(hex(ipc::pickle(value()).bytes()) == "80044e2e");
    CHECK(hex(ipc::pickle(value::list({1, "a"})).bytes()) == "80045d284b018c0161652e");
    CHECK(hex(ipc::pickle(value::tuple({1.5, true})).bytes()) == "8004473ff800000000000088862e");
    value v = value::dict({{value("n"), 3}, {value("r"), 0.5}});
    CHECK(v.find("n")->as_int() == 3);
    CHECK(v.find("n")->as_real() == 3.0);
    CHECK(v.find("r")->as_real() == 0.5);
    CHECK(v.find("x") == nullptr);
    CHECK_THROWS_AS(v.find("r")->as_int(), codec_error);
    CHECK_THROWS_AS(v.items(), codec_error);
    CHECK_THROWS_AS(value(1).as_bool(), codec_error);
    CHECK_THROWS_AS(value("x").as_bytes(), codec_error);
    CHECK_THROWS_AS(value("\xff"), codec_error);
    CHECK_THROWS_AS(value("\xed\xa0\x80"), codec_error); // half of a pair
    CHECK_THROWS_AS(value::set({value::list({})}), codec_error);
    CHECK_THROWS_AS(value::dict({{value::tuple({value::set({})}), 1}}), codec_error);
    value deep;
    for (int i = 0; i < 100; ++i)
        deep = value::list({deep});
    CHECK((read(pickled(deep)) == deep));
    deep = value::list({deep});
    CHECK_THROWS_AS(ipc::pickle(deep), codec_error);
}

TEST_CASE("python_value: what was built before can be referred to", "[MP-CONN-02]") {
    // x = [1]; [x, x]; the list is remembered before it is filled.
    CHECK((built_by("]\x94(]\x94K\x01" + std::string("ah\001e")) ==
           value::list({value::list({1}), value::list({1})})));
    // A text under a number of its own, of which some are left out.
    CHECK((built_by("]q\x03(\x8c\x01xq\x07h\007e") == value::list({"x", "x"})));
}

TEST_CASE("python_value: nothing that names or calls code, nor anything else, is understood",
          "[MP-CONN-02]") {
    CHECK_FALSE(refused("N"));
    // All opcodes of pickletools but those that build plain values.
    for (char op : std::string("012IFLSTUVPQRRbcdgiolp\x81\x82\x83\x84\x91\x92\x93\x96\x97\x98"))
        for (const char* rest : {"", "N", "os\nsystem\n", "\x01", "NNN", "(N"}) {
            CAPTURE(op, rest);
            CHECK(refused(std::string("N") + op + rest));
            CHECK(refused(op + std::string(rest)));
            CHECK(refused("\x8c\x02os\x8c\x06system" + std::string(1, op) + rest));
        }
    std::vector<std::string> wrong{"",
                                   "NN",
                                   "(N",
                                   "K",
                                   "]a",
                                   "Na",
                                   "]e",
                                   "NK\001a",
                                   "}(K\x01u",
                                   "}K\x01s",
                                   "\x85",
                                   "N\x86",
                                   "t",
                                   "(]a",
                                   "](]a",
                                   "\x94",
                                   "h\x05",
                                   "Nh\x01",
                                   "q\x01",
                                   "]](1e",
                                   "}(]Nu",
                                   "\x8f(]\x90",
                                   "(\x85",
                                   "N(\x94",
                                   "\x8c\005ab",
                                   "C\005ab",
                                   "\x8c\x01\xff",
                                   "\x8a\011123456789",
                                   "X\xff\xff\xff\xff",
                                   "\x95\xff\xff\xff\xff\xff\xff\xff\xffN",
                                   "\x8b\xff\xff\xff\xffN"};
    for (const std::string& w : wrong) {
        CAPTURE(hex(as_bytes(w)));
        CHECK(refused(w));
    }
    CHECK_THROWS_AS(read(""), codec_error);
    CHECK_THROWS_AS(read("N."), codec_error);
    CHECK_THROWS_AS(read("\x80\x01N."), codec_error);
    CHECK_THROWS_AS(read("\x80\x06N."), codec_error);
    CHECK_THROWS_AS(read("\x80\x04N"), codec_error);
    CHECK_THROWS_AS(read("\x80\x04N.N"), codec_error);
}

TEST_CASE("python_value: ints have 64 bits, however they are written", "[MP-CONN-02]") {
    auto number = [](const std::string& bytes) {
        return built_by("\x8a" + std::string(1, static_cast<char>(bytes.size())) + bytes).as_int();
    };
    CHECK(number("") == 0);
    CHECK(number("\x7f") == 127);
    CHECK(number("\x80") == -128);
    CHECK(number(std::string("\x80\0", 2)) == 128);
    CHECK(number(std::string(7, '\xff') + "\x7f") == std::numeric_limits<std::int64_t>::max());
    CHECK(number(std::string(7, '\0') + "\x80") == std::numeric_limits<std::int64_t>::min());
    CHECK(number(std::string("\x05") + std::string(20, '\0')) == 5);
    CHECK(number(std::string(20, '\xff')) == -1);
    CHECK(refused(std::string("\x8a\x09") + std::string(8, '\xff') + std::string(1, '\0')));
    CHECK(refused(std::string("\x8a\x09") + std::string(8, '\0') + std::string(1, '\xff')));
    CHECK(refused(std::string("\x8a\x09") + std::string(8, '\0') + std::string(1, '\x01')));
}

TEST_CASE("python_value: a few bytes can't stand for much", "[P5]") {
    // Each list holds the one before twice: 2^60 ones.
    std::string laughs = "]\x94K\001a";
    for (char i = 0; i < 60; ++i)
        laughs += std::string("](h") + i + "h" + i + "e\x94";
    CHECK(refused(laughs));
    // One that holds itself, alone or many times.
    CHECK(refused(std::string("]\x94h\0"
                              "a",
                              5)));
    std::string itself = "]\x94(";
    for (int i = 0; i < 100'000; ++i)
        itself += std::string("h\0", 2);
    CHECK(refused(itself + "e"));
    // A long text that is used again and again.
    std::string text =
        "](\x8d" + std::string("\0\0\x10\0\0\0\0\0", 8) + std::string(1 << 20, 'x') + "\x94";
    for (int i = 0; i < 100'000; ++i)
        text += std::string("h\0", 2);
    CHECK(refused(text + "e"));
    CHECK(refused(std::string(200, ']') + std::string(199, 'a')));
    CHECK(refused("N" + std::string(200, '\x85')));
    CHECK(refused(std::string("Nr\xff\xff\xff\xff")));
    // But what Python writes for many small things is all right.
    CHECK(built_by("](" + std::string(1'000'000, 'N') + "e").items().size() == 1'000'000);
    CHECK(refused("](" + std::string(1'000'000, ')') + "e") == false);
}

TEST_CASE("python_value: bytes at random are refused or are a value, and nothing else happens") {
    std::uint64_t seed = tests::seed();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::string model = pickled(value::tuple(examples()));
    int values = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string changed = model.substr(0, 2);
        std::size_t from = random() % model.size();
        changed += model.substr(from, random() % 100);
        for (auto n = random() % 4; n != 0; --n)
            changed[2 + random() % (changed.size() - 1)] = static_cast<char>(random());
        changed += '.';
        try {
            value v = read(changed);
            CHECK((read(pickled(v)).type() == v.type()));
            ++values;
        } catch (const codec_error&) { // as it should be
        }
    }
    CHECK(values > 0);
}

TEST_CASE("python_value: goes over a connection; what isn't one costs its message",
          "[MP-CONN-01][MP-CONN-02]") {
    auto test = []() -> task<> {
        auto both = ipc::make_connection_pair();
        auto& [a, b] = both;
        {
            value v = value::list({1, 2});
            auto sending = ipc::send_python(a, v);
            v = value();
            co_await std::move(sending);
        }
        value got = co_await ipc::receive_python(b);
        CHECK(got.items().size() == 2);
        co_await a.send_bytes(as_bytes("\x80\004cos\nsystem\n."));
        bool wrong = false;
        try {
            value v = co_await ipc::receive_python(b);
        } catch (const codec_error&) {
            wrong = true;
        }
        CHECK(wrong);
        co_await ipc::send_python(a, "next");
        value next = co_await ipc::receive_python(b);
        CHECK(next.as_text() == "next");
    };
    tests::run_within(std::chrono::seconds(10), test());
}
