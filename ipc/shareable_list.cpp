// SPDX-License-Identifier: MIT
#include <weft/ipc/shareable_list.hpp>

#include "impl/utf8.hpp"

#include <weft/ipc/error.hpp>
#include <weft/runtime/buffer.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <stdexcept>

// The layout, in the byte order of the machine: the count N; N+1 offsets, from 0 to the end of the
// data; the data, each item in a place of whole words; N formats of 8 bytes; N codes of one byte.

namespace weft::ipc {

namespace {

using item = shareable_list::item;

constexpr std::size_t word = 8;
enum code : std::uint8_t { as_it_is = 0, text = 1, bytes = 2, nothing = 3 };

constexpr std::string_view int_format = "q";
constexpr std::string_view float_format = "d";
constexpr std::string_view bool_format = "xxxxxxx?";
constexpr std::string_view none_format = "xxxxxx?x";

// The bytes of a str or of bytes; null for others.
std::optional<std::string_view> text_of(const item& i) noexcept {
    if (auto* s = std::get_if<std::string>(&i))
        return *s;
    if (auto* b = std::get_if<std::vector<std::byte>>(&i))
        return as_text(*b);
    return std::nullopt;
}

std::size_t place_size(const item& i) noexcept {
    auto t = text_of(i);
    return t ? word * (t->size() / word + 1) : word;
}

code code_of(const item& i) noexcept {
    if (std::holds_alternative<std::string>(i))
        return code::text;
    if (std::holds_alternative<std::vector<std::byte>>(i))
        return code::bytes;
    return std::holds_alternative<std::monostate>(i) ? code::nothing : code::as_it_is;
}

std::string_view scalar_format(const item& i) noexcept {
    if (std::holds_alternative<bool>(i))
        return bool_format;
    if (std::holds_alternative<std::int64_t>(i))
        return int_format;
    return std::holds_alternative<double>(i) ? float_format : none_format;
}

std::size_t index_size(std::size_t n) noexcept { return word * (n + 2); }

[[noreturn]] void no_list(const char* why) {
    throw codec_error(std::string("this memory holds no shareable list: ") + why);
}

std::int64_t read_word(std::span<const std::byte> from, std::size_t i) noexcept {
    std::int64_t w = 0;
    std::memcpy(&w, from.data() + i * word, word);
    return w;
}

} // namespace

// Where an item and what describes it are.
struct shareable_list::slot {
    std::span<std::byte> data;
    std::byte* format;
    std::byte* code;

    [[nodiscard]] std::string read_format() const {
        std::string f(reinterpret_cast<const char*>(format), word);
        f.resize(f.find_last_not_of('\0') + 1);
        return f;
    }
    void write(std::string_view new_format, enum code c) const noexcept {
        std::memset(format, 0, word);
        std::memcpy(format, new_format.data(), std::min(new_format.size(), word));
        *code = static_cast<std::byte>(c);
    }
    // How long a text is said to be; null if there is none.
    [[nodiscard]] static std::optional<std::size_t> text_length(std::string_view f) noexcept {
        std::size_t n = 0;
        if (!f.ends_with('s'))
            return std::nullopt;
        auto [end, error] = std::from_chars(f.data(), f.data() + f.size(), n);
        if (error != std::errc() || end != f.data() + f.size() - 1)
            return std::nullopt;
        return n;
    }
    void store(const item& value, bool fresh) const;
};

void shareable_list::slot::store(const item& value, bool fresh) const {
    if (auto t = text_of(value)) {
        if (t->size() > data.size())
            throw std::invalid_argument(
                fmt::format("{} bytes don't fit into a place of {}", t->size(), data.size()));
        if (std::holds_alternative<std::string>(value) && !detail::is_utf8(*t))
            throw codec_error("a text that isn't UTF-8 can't be a str");
        // A place that holds a text keeps the format that it has.
        std::string f = read_format();
        std::size_t length = data.size();
        if (auto had = fresh ? std::nullopt : text_length(f);
            had && *had >= t->size() && *had <= data.size())
            length = *had;
        write(fmt::format("{}s", length), code_of(value));
        std::ranges::copy(std::as_bytes(std::span(*t)), data.begin()); // may be nothing at all
        std::ranges::fill(data.subspan(t->size(), length - t->size()), std::byte{});
        return;
    }
    std::byte raw[word] = {};
    if (auto* i = std::get_if<std::int64_t>(&value))
        std::memcpy(raw, i, word);
    else if (auto* d = std::get_if<double>(&value))
        std::memcpy(raw, d, word);
    else if (auto* b = std::get_if<bool>(&value))
        raw[7] = static_cast<std::byte>(*b);
    write(scalar_format(value), code_of(value));
    std::memcpy(data.data(), raw, word);
}

std::size_t shareable_list::size_of(std::span<const item> items) noexcept {
    std::size_t data = 0;
    for (const item& i : items)
        data += place_size(i);
    return index_size(items.size()) + data + (word + 1) * items.size();
}

shareable_list shareable_list::create(std::span<const item> items) {
    shared_memory m = shared_memory::create(size_of(items));
    std::string name = m.name();
    try {
        return shareable_list(std::move(m), items);
    } catch (...) { // an item that can't be one
        shared_memory::open(name).unlink();
        throw;
    }
}

shareable_list shareable_list::create(std::span<const item> items, std::string_view name) {
    shared_memory m = shared_memory::create(size_of(items), name);
    try {
        return shareable_list(std::move(m), items);
    } catch (...) {
        shared_memory::open(name).unlink();
        throw;
    }
}

shareable_list shareable_list::open(std::string_view name) {
    return shareable_list(shared_memory::open(name));
}

shareable_list::shareable_list(shared_memory m, std::span<const item> items)
    : memory_(std::move(m)) {
    if (memory_.size() < size_of(items))
        throw std::invalid_argument("the shared memory is too small for the list");
    offsets_.reserve(items.size() + 1);
    offsets_.push_back(0);
    for (const item& i : items)
        offsets_.push_back(offsets_.back() + place_size(i));
    auto* words = memory_.bytes().data();
    auto n = static_cast<std::int64_t>(items.size());
    std::memcpy(words, &n, word);
    for (std::size_t i = 0; i != offsets_.size(); ++i) {
        auto offset = static_cast<std::int64_t>(offsets_[i]);
        std::memcpy(words + (i + 1) * word, &offset, word);
    }
    for (std::size_t i = 0; i != items.size(); ++i)
        at(static_cast<std::ptrdiff_t>(i)).store(items[i], true);
}

shareable_list::shareable_list(shared_memory m) : memory_(std::move(m)) {
    std::span<const std::byte> all = memory_.bytes();
    if (all.size() < index_size(0))
        no_list("it is too small");
    std::int64_t n = read_word(all, 0);
    // Each item has an offset, a format and a code at least.
    if (n < 0 || static_cast<std::uint64_t>(n) > (all.size() - index_size(0)) / (word + word + 1))
        no_list("it says that it has more items than there is room for");
    auto count = static_cast<std::size_t>(n);
    std::size_t room = all.size() - index_size(count) - (word + 1) * count;
    offsets_.reserve(count + 1);
    for (std::size_t i = 0; i <= count; ++i) {
        std::int64_t offset = read_word(all, i + 1);
        bool first = i == 0;
        if (offset < 0 || static_cast<std::uint64_t>(offset) > room || (first && offset != 0) ||
            (!first && static_cast<std::size_t>(offset) < offsets_.back() + word))
            no_list("its places overlap, or lie outside of it");
        offsets_.push_back(static_cast<std::size_t>(offset));
    }
}

shareable_list::slot shareable_list::at(std::ptrdiff_t place) const {
    auto n = static_cast<std::ptrdiff_t>(size());
    if (place < 0)
        place += n;
    if (place < 0 || place >= n)
        throw std::out_of_range("a shareable list has no such place");
    auto i = static_cast<std::size_t>(place);
    std::span<std::byte> all = memory_.bytes();
    if (all.empty())
        throw state_error("the memory of the list is closed");
    std::size_t data = index_size(size());
    std::size_t formats = data + offsets_.back();
    std::size_t codes = formats + word * size();
    return {all.subspan(data + offsets_[i], offsets_[i + 1] - offsets_[i]),
            all.data() + formats + word * i, all.data() + codes + i};
}

shareable_list::item shareable_list::get(std::ptrdiff_t place) const {
    slot s = at(place);
    std::string f = s.read_format();
    auto c = static_cast<code>(*s.code);
    if (f == int_format && c == code::as_it_is) {
        return read_word(s.data, 0);
    } else if (f == float_format && c == code::as_it_is) {
        double d = 0;
        std::memcpy(&d, s.data.data(), word);
        return d;
    } else if (f == bool_format && c == code::as_it_is) {
        return s.data[7] != std::byte{};
    } else if (f == none_format && c == code::nothing) {
        return std::monostate();
    }
    auto length = slot::text_length(f);
    if (!length || *length > s.data.size() || (c != code::text && c != code::bytes))
        no_list("an item is of no known kind");
    std::string t(as_text(s.data.first(*length)));
    t.resize(t.find_last_not_of('\0') + 1);
    if (c == code::bytes) {
        auto raw = as_bytes(t);
        return std::vector<std::byte>(raw.begin(), raw.end());
    }
    if (!detail::is_utf8(t))
        no_list("a str isn't UTF-8");
    return t;
}

void shareable_list::set(std::ptrdiff_t place, const item& value) { at(place).store(value, false); }

std::vector<shareable_list::item> shareable_list::items() const {
    std::vector<item> all;
    all.reserve(size());
    for (std::size_t i = 0; i != size(); ++i)
        all.push_back(get(static_cast<std::ptrdiff_t>(i)));
    return all;
}

std::size_t shareable_list::count(const item& value) const {
    std::vector<item> all = items();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), value));
}

std::size_t shareable_list::index(const item& value) const {
    for (std::size_t i = 0; i != size(); ++i)
        if (get(static_cast<std::ptrdiff_t>(i)) == value)
            return i;
    throw lookup_error("the shareable list has no such item");
}

std::string shareable_list::format() const {
    std::string all;
    for (std::size_t i = 0; i != size(); ++i)
        all += at(static_cast<std::ptrdiff_t>(i)).read_format();
    return all;
}

} // namespace weft::ipc
