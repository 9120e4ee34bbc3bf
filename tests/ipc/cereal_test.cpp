// SPDX-License-Identifier: MIT
#include <weft/ipc/cereal.hpp>

#include <catch2/catch.hpp>
#include <cereal/types/base_class.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

namespace {

using namespace weft::ipc;

// Written for cereal, each in another of its forms; none knows of weft.
class named {
public:
    named() = default;
    explicit named(std::string n) : name_(std::move(n)) {}
    template <class Archive>
    void serialize(Archive& archive) {
        archive(cereal::make_nvp("name", name_));
    }
    friend bool operator==(const named&, const named&) = default;

private:
    std::string name_;
};
class numbered : public named {
public:
    numbered(std::string n, std::vector<double> v, bool even)
        : named(std::move(n)), values_(std::move(v)), even_(even) {}
    friend bool operator==(const numbered&, const numbered&) = default;

private:
    friend class cereal::access; // for all that follows, its default constructor too
    numbered() = default;
    template <class Archive>
    void save(Archive& archive) const {
        archive(cereal::base_class<named>(this), values_, even_);
    }
    template <class Archive>
    void load(Archive& archive) {
        archive(cereal::base_class<named>(this), values_, even_);
    }
    std::vector<double> values_;
    bool even_ = false;
};
class versioned {
public:
    versioned() = default;
    explicit versioned(int n) : number(n) {}
    template <class Archive>
    void serialize(Archive& archive, std::uint32_t version) {
        archive(number);
        seen = version;
    }
    int number = 0;
    std::uint32_t seen = 0;
};
class minimal {
public:
    minimal() = default;
    explicit minimal(long n) : n_(n) {}
    template <class Archive>
    long save_minimal(const Archive&) const {
        return n_;
    }
    template <class Archive>
    void load_minimal(const Archive&, const long& n) {
        n_ = n;
    }
    friend bool operator==(const minimal&, const minimal&) = default;

private:
    long n_ = 0;
};
class chain_link {
public:
    chain_link() = default;
    template <class Archive>
    void serialize(Archive& archive) {
        archive(next);
    }
    std::unique_ptr<chain_link> next;
};
struct cached { // an aggregate
    int n = 0;
    int* cache = nullptr;
};
template <class Archive>
void serialize(Archive& archive, cached& c) {
    archive(c.n);
}
// What weft carries by its members may hold what cereal carries.
struct letter {
    named from;
    std::vector<numbered> enclosed;
    std::optional<minimal> stamp;
};

chain_link chain(unsigned length) {
    chain_link first;
    for (unsigned i = 0; i != length; ++i) {
        auto next = std::make_unique<chain_link>(std::move(first));
        first.next = std::move(next);
    }
    return first;
}
unsigned length_of(const chain_link& first) {
    unsigned n = 0;
    for (const chain_link* l = first.next.get(); l != nullptr; l = l->next.get())
        ++n;
    return n;
}

template <class T>
T over_and_back(const T& value) {
    return decode<T>(encode(value).bytes());
}

// The message of a vector of `named` that claims `count` of them.
byte_buffer claims(std::uint64_t count) {
    archive_writer out;
    out.write_value(count);
    out.write_value(std::uint64_t{0});
    return out.take();
}

} // namespace

CEREAL_CLASS_VERSION(versioned, 7)
// It inherits a serialize besides.
CEREAL_SPECIALIZE_FOR_ALL_ARCHIVES(numbered, cereal::specialization::member_load_save)
template <>
struct weft::ipc::codec<cached> : weft::ipc::cereal_codec<cached> {};

TEST_CASE("cereal: types written for it travel, in all of its forms") {
    CHECK(over_and_back(named("Ada")) == named("Ada"));
    numbered n("Grace", {1.5, -2, 1e300}, true);
    CHECK(over_and_back(n) == n);
    versioned v = over_and_back(versioned(-5));
    CHECK(v.number == -5);
    CHECK(v.seen == 7);
    CHECK(over_and_back(minimal(1L << 40)) == minimal(1L << 40));
    int far_away = 0;
    cached c = over_and_back(cached{3, &far_away});
    CHECK(c.n == 3);
    CHECK(c.cache == nullptr);

    letter sent{named("x"), {n, n}, minimal(4)};
    letter got = over_and_back(sent);
    CHECK(got.from == sent.from);
    CHECK(got.enclosed == sent.enclosed);
    CHECK(got.stamp == sent.stamp);
}

TEST_CASE("cereal: what two pointers share they share over there too") {
    auto one = std::make_shared<named>("one");
    std::vector<std::shared_ptr<named>> both{one, one, nullptr};
    // A vector is weft's: each of its elements is a value of its own.
    auto apart = over_and_back(both);
    CHECK(*apart[0] == *one);
    CHECK(apart[0] != apart[1]);
    CHECK(apart[2] == nullptr);
    // In a pair of pointers that cereal writes, it is one.
    class holds {
    public:
        std::vector<std::shared_ptr<named>> all;
        void serialize(cereal_writer& archive) { archive(all); }
        void serialize(cereal_reader& archive) { archive(all); }
        holds() = default;
    };
    holds h;
    h.all = both;
    holds together = over_and_back(h);
    CHECK(*together.all[0] == *one);
    CHECK(together.all[0] == together.all[1]);
    CHECK(together.all[2] == nullptr);
}

TEST_CASE("cereal: bytes that hold no such value are a codec_error and cost no memory", "[P5]") {
    byte_buffer good = encode(numbered("Grace", {1, 2, 3}, false));
    for (std::size_t n = 0; n != good.size(); ++n) {
        CAPTURE(n);
        CHECK_THROWS_AS(decode<numbered>(good.bytes().first(n)), codec_error);
    }
    archive_writer longer;
    longer.write(good.bytes());
    longer.write_value('x');
    CHECK_THROWS_AS(decode<numbered>(longer.bytes()), codec_error);
    good.bytes().back() = std::byte{2}; // the truth value
    CHECK_THROWS_AS(decode<numbered>(good.bytes()), codec_error);

    class many {
    public:
        many() = default;
        std::vector<named> all;
        void serialize(cereal_writer& archive) { archive(all); }
        void serialize(cereal_reader& archive) { archive(all); }
    };
    CHECK(decode<many>(claims(1).bytes()).all.size() == 1); // with an empty name
    CHECK_THROWS_AS(decode<many>(claims(9).bytes()), codec_error);
    CHECK_THROWS_AS(decode<many>(claims(std::uint64_t{1} << 60).bytes()), codec_error);
    CHECK_THROWS_AS(decode<many>(claims(~std::uint64_t{0}).bytes()), codec_error);
}

TEST_CASE("cereal: values lie as deep in each other as with weft's own codecs", "[P5]") {
    // A pointer and what it points to are two; the first link is one.
    CHECK(length_of(over_and_back(chain(49))) == 49);
    CHECK_THROWS_AS(encode(chain(50)), codec_error);
    // A message that lies deeper than could be sent: each link says "not null".
    std::vector<std::byte> deep(100'000, std::byte{1});
    CHECK_THROWS_AS(decode<chain_link>(deep), codec_error);
}
