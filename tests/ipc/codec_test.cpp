// SPDX-License-Identifier: MIT
#include <weft/ipc/codec.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <random>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace {

using namespace weft::ipc;

enum class color : std::uint8_t { red = 1, green = 7 };

struct point {
    double x, y;
    friend bool operator==(const point&, const point&) = default;
};
struct padded {
    char c;
    double d;
    friend bool operator==(const padded&, const padded&) = default;
};
struct flagged {
    bool b;
    char c;
    friend bool operator==(const flagged&, const flagged&) = default;
};
struct order {
    std::string item;
    std::vector<double> prices;
    std::optional<int> rebate;
    std::variant<std::monostate, int, std::string> extra;
    std::map<int, std::string> notes;
    std::array<std::string, 2> names;
    std::vector<bool> flags;
    std::vector<point> route;
    color paint;
    point where;
    friend bool operator==(const order&, const order&) = default;
};
struct sixteen {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o;
    std::string p;
    friend bool operator==(const sixteen&, const sixteen&) = default;
};
struct seventeen {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct tree {
    int value = 0;
    std::vector<tree> children;
    friend bool operator==(const tree&, const tree&) = default;
};
struct nothing {
    friend bool operator==(const nothing&, const nothing&) = default;
};

class user_id {
public:
    explicit user_id(long n) : number_(n) {}
    [[nodiscard]] long number() const { return number_; }
    friend bool operator==(const user_id&, const user_id&) = default;

private:
    long number_;
};

struct small_number { // an aggregate with a codec of its own
    int value;
    friend bool operator==(const small_number&, const small_number&) = default;
};

order some_order() {
    return {"tea",
            {1.5, 2.5},
            3,
            std::string("x"),
            {{1, "one"}, {2, ""}},
            {"a", "b"},
            {true, false, true},
            {{1, 2}, {3, 4}},
            color::green,
            {5, 6}};
}

tree deep_tree(unsigned depth) {
    tree t;
    for (unsigned i = 1; i < depth; ++i) {
        tree above;
        above.children.push_back(std::move(t));
        t = std::move(above);
    }
    return t;
}

template <class T>
T over_and_back(const T& value) {
    byte_buffer b = encode(value);
    return decode<T>(b.bytes());
}

} // namespace

template <>
struct weft::ipc::codec<user_id> {
    static void encode(archive_writer& out, const user_id& id) { ipc::encode(out, id.number()); }
    static user_id decode(archive_reader& in) { return user_id(ipc::decode<long>(in)); }
};
template <>
struct weft::ipc::codec<small_number> {
    static void encode(archive_writer& out, const small_number& n) {
        if (n.value > 9)
            throw codec_error("too large");
        ipc::encode(out, static_cast<char>(n.value));
    }
    static small_number decode(archive_reader& in) { return {ipc::decode<char>(in)}; }
};

// Members are counted right, and only what may be copied as it lies is.
static_assert(weft::detail::member_count<nothing> == 0);
static_assert(weft::detail::member_count<point> == 2);
static_assert(weft::detail::member_count<order> == 10);
static_assert(weft::detail::member_count<sixteen> == 16);
static_assert(weft::detail::member_count<seventeen> > weft::detail::most_members);
static_assert(detail::plain<int> && detail::plain<point> && detail::plain<std::array<point, 3>>);
static_assert(!detail::plain<bool> && !detail::plain<padded> && !detail::plain<flagged>);
static_assert(!detail::plain<std::string> && !detail::plain<small_number> && !detail::plain<int*>);
static_assert(!codable<int*> && !codable<std::exception>);

TEST_CASE("codec: values arrive as they were sent", "[G-12]") {
    CHECK(over_and_back(42) == 42);
    CHECK(over_and_back(true));
    CHECK(over_and_back(color::green) == color::green);
    CHECK(over_and_back(std::numeric_limits<long double>::denorm_min()) ==
          std::numeric_limits<long double>::denorm_min());
    CHECK(over_and_back(std::string("tea\0cup", 7)) == std::string("tea\0cup", 7));
    CHECK(over_and_back(std::u16string(u"tea")) == u"tea");
    CHECK(over_and_back(std::vector<std::string>{"a", "", "ccc"}).at(2) == "ccc");
    CHECK(over_and_back(std::deque<int>{1, 2, 3}) == std::deque<int>{1, 2, 3});
    CHECK(over_and_back(std::list<padded>{{'a', 1}}) == std::list<padded>{{'a', 1}});
    CHECK(over_and_back(std::vector<flagged>{{true, 'a'}}) == std::vector<flagged>{{true, 'a'}});
    CHECK(over_and_back(std::set<std::string>{"a", "b"}) == std::set<std::string>{"a", "b"});
    CHECK(over_and_back(std::unordered_set<int>{1, 2, 3}) == std::unordered_set<int>{1, 2, 3});
    CHECK(over_and_back(std::multimap<int, int>{{1, 2}, {1, 3}}) ==
          std::multimap<int, int>{{1, 2}, {1, 3}});
    using table = std::unordered_map<std::string, std::vector<int>>;
    CHECK(over_and_back(table{{"a", {1}}, {"b", {}}}) == table{{"a", {1}}, {"b", {}}});
    CHECK(over_and_back(std::tuple(1, std::string("x"), 'c')) ==
          std::tuple(1, std::string("x"), 'c'));
    CHECK(over_and_back(std::pair(1, 2.5)) == std::pair(1, 2.5));
    CHECK(over_and_back(std::optional<std::string>()) == std::nullopt);
    CHECK(over_and_back(std::complex<double>(1, 2)) == std::complex<double>(1, 2));
    CHECK(over_and_back(std::chrono::milliseconds(5)) == std::chrono::milliseconds(5));
    auto now = std::chrono::system_clock::now();
    CHECK(over_and_back(now) == now);
    CHECK(over_and_back(std::filesystem::path("/tmp/x y")) == "/tmp/x y");
    CHECK(over_and_back(std::array<int, 0>()).empty());
    CHECK(over_and_back(nothing()) == nothing());
    CHECK(over_and_back(std::vector<nothing>(9)).size() == 9);
}

TEST_CASE("codec: aggregates travel by their members, others by the codec of their own", "[G-12]") {
    CHECK(over_and_back(some_order()) == some_order());
    sixteen s{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, "last"};
    CHECK(over_and_back(s) == s);
    CHECK(over_and_back(std::vector<user_id>{user_id(1), user_id(2)}).at(1) == user_id(2));
    CHECK(over_and_back(small_number{3}) == small_number{3});
    CHECK_THROWS_AS(encode(std::vector<small_number>{{1}, {10}}), codec_error);
}

TEST_CASE("codec: plain elements travel as one block, aligned or not") {
    std::vector<double> values(10'000);
    for (std::size_t i = 0; i != values.size(); ++i)
        values[i] = static_cast<double>(i) / 3;
    byte_buffer b = encode(values);
    CHECK(b.size() == 8 + 8 * values.size());
    CHECK(decode<std::vector<double>>(b.bytes()) == values);

    // The same bytes at an odd address.
    std::vector<std::byte> moved(b.size() + 1);
    std::memcpy(moved.data() + 1, b.data(), b.size());
    CHECK(decode<std::vector<double>>(std::span(moved).subspan(1)) == values);

    // Behind something odd, they are put on a boundary.
    CHECK(over_and_back(std::pair('c', values)) == std::pair('c', values));
}

TEST_CASE("codec: a view is sent as what it shows") {
    archive_writer out;
    encode(out, std::string_view("tea"));
    CHECK(decode<std::string>(out.bytes()) == "tea");
    archive_writer numbers;
    const std::vector<int> three{1, 2, 3};
    encode(numbers, std::span<const int>(three));
    CHECK(decode<std::vector<int>>(numbers.bytes()) == three);
}

TEST_CASE("codec: values may lie 100 deep in each other and no deeper, on both sides", "[P5]") {
    // A tree takes two levels: the node and its vector.
    CHECK(over_and_back(deep_tree(50)) == deep_tree(50));
    CHECK_THROWS_AS(encode(deep_tree(51)), codec_error);

    byte_buffer b = encode(deep_tree(50));
    CHECK_THROWS_AS(decode<tree>(b.bytes(), archive_limits{.depth = 99}), codec_error);
}

TEST_CASE("codec: wrong bytes are errors") {
    auto bytes = [](auto... b) { return std::vector<std::byte>{static_cast<std::byte>(b)...}; };
    CHECK_THROWS_AS(decode<bool>(bytes(2)), codec_error);
    CHECK_THROWS_AS(decode<char>(bytes(1, 2)), codec_error); // one is left over
    CHECK_THROWS_AS(decode<int>(bytes(1, 2)), codec_error);
    CHECK_THROWS_AS(decode<std::optional<char>>(bytes(2, 0)), codec_error);
    CHECK_THROWS_AS((decode<std::variant<char, int>>(bytes(2, 0, 0, 0, 1, 1, 1, 1))), codec_error);
    // One key twice, so that fewer elements would arrive than were announced.
    CHECK_THROWS_AS(decode<std::set<char>>(bytes(2, 0, 0, 0, 0, 0, 0, 0, 5, 5)), codec_error);
    std::variant<int, std::deque<int>> broken = 1;
    // Too long: the old value is gone, and there is no new one.
    CHECK_THROWS_AS(broken.emplace<1>(~std::size_t{0}), std::length_error);
    REQUIRE(broken.valueless_by_exception());
    CHECK_THROWS_AS(encode(broken), codec_error);
}

TEST_CASE("codec: a message that claims much gets little", "[P5]") {
    archive_writer out;
    out.write_count(std::size_t{1} << 40);
    CHECK_THROWS_AS(decode<std::vector<nothing>>(out.bytes()), codec_error);
    CHECK_THROWS_AS(decode<std::string>(out.bytes()), codec_error);
    CHECK_THROWS_AS((decode<std::map<int, int>>(out.bytes())), codec_error);

    // Each element takes one byte in the message and 800 in memory.
    std::vector<std::optional<std::array<double, 99>>> sparse(1000);
    byte_buffer b = encode(sparse);
    CHECK_THROWS_AS(decode<decltype(sparse)>(b.bytes()), codec_error);
    CHECK(decode<decltype(sparse)>(b.bytes(), archive_limits{.growth = 1000}).size() == 1000);
}

TEST_CASE("codec: damaged messages give a value or codec_error, nothing else", "[P5]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const byte_buffer good = encode(std::vector<order>{some_order(), some_order()});
    int refused = 0;
    for (int round = 0; round != 5'000; ++round) {
        std::vector<std::byte> bad(good.bytes().begin(), good.bytes().end());
        if (random() % 4 == 0)
            bad.resize(random() % bad.size());
        for (unsigned n = random() % 4; n != 0 && !bad.empty(); --n)
            bad[random() % bad.size()] = static_cast<std::byte>(random());
        try {
            static_cast<void>(decode<std::vector<order>>(bad));
        } catch (const codec_error&) {
            ++refused;
        }
    }
    CHECK(refused > 500);
}

namespace {
// Its codec encodes what is gone afterwards.
class shout {
public:
    std::string text() const { return std::string(10'000, '!'); }
};
// Makes its elements when it is asked for them.
class counted_words {
public:
    using value_type = std::string;
    struct iterator {
        std::size_t at = 0;
        std::string operator*() const { return std::string(10'000, static_cast<char>('a' + at)); }
        iterator& operator++() {
            ++at;
            return *this;
        }
        friend bool operator==(const iterator&, const iterator&) = default;
    };
    void push_back(std::string) { ++size_; }
    std::size_t size() const { return size_; }
    iterator begin() const { return {0}; }
    iterator end() const { return {size_}; }

private:
    std::size_t size_ = 0;
};
struct large_plain {
    std::array<double, 1000> numbers;
};
std::vector<std::byte> all_of(const archive_writer& w) {
    std::vector<std::byte> all;
    for (auto piece : w.pieces())
        all.insert(all.end(), piece.begin(), piece.end());
    return all;
}
template <class T>
archive_writer gathered(const T& value) {
    archive_writer out(archive_writer::gather);
    encode<T>(out, value);
    return out;
}
template <class T>
bool lies_in(const archive_writer& w, const T* data) {
    for (auto piece : w.pieces())
        if (static_cast<const void*>(piece.data()) == data)
            return true;
    return false;
}
} // namespace

template <>
struct weft::ipc::codec<shout> {
    static void encode(archive_writer& out, const shout& s) {
        weft::ipc::encode<std::string>(out, s.text());
    }
    static shout decode(archive_reader& in) {
        static_cast<void>(weft::ipc::decode<std::string>(in));
        return {};
    }
};

TEST_CASE("codec: large blocks of a value needn't be copied on the way out") {
    struct parcel {
        std::string label;
        std::vector<double> content;
        std::map<int, std::string> notes;
        std::optional<large_plain> more;
    };
    parcel p{"fragile", std::vector<double>(5000, 1.5), {{1, std::string(6000, 'n')}}, {{}}};
    archive_writer w = gathered(p);
    CHECK(lies_in(w, p.content.data()));
    CHECK(lies_in(w, p.notes[1].data()));
    CHECK(lies_in(w, &*p.more));
    CHECK_FALSE(lies_in(w, p.label.data()));
    byte_buffer whole = encode(p);
    CHECK(w.size() == whole.size());
    CHECK(std::ranges::equal(all_of(w), whole.bytes()));

    // What isn't a part of the value is copied while it is there.
    CHECK(gathered(shout()).pieces().size() == 1);
    counted_words words;
    words.push_back("");
    words.push_back("");
    archive_writer made = gathered(words);
    CHECK(made.pieces().size() == 1);
    CHECK(std::ranges::equal(all_of(made), encode(words).bytes()));
    // So is what a view shows: its elements have another owner.
    CHECK(gathered(std::string_view(p.notes[1])).pieces().size() == 1);
}
