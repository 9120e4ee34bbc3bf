// SPDX-License-Identifier: MIT
#include <weft/ipc/python_value.hpp>

#include "impl/utf8.hpp"

#include <weft/runtime/buffer.hpp>

#include <array>
#include <atomic>

namespace weft::ipc {

static_assert(sizeof(python_value) == 16);

namespace {

constexpr std::array<const char*, 10> kind_names{"None",  "a bool", "an int",  "a float", "a str",
                                                 "bytes", "a list", "a tuple", "a dict",  "a set"};

const char* name_of(python_value::kind k) { return kind_names.at(static_cast<std::size_t>(k)); }

void require_hashable(const python_value& key) {
    if (!key.hashable())
        throw codec_error(std::string(name_of(key.type())) + " can't be a key, nor in a set");
}

} // namespace

struct python_value::shared_text {
    explicit shared_text(std::string_view t) : text(t) {}
    std::atomic<std::uint32_t> users{1};
    std::string text;
};

python_value python_value::of_text(kind k, std::string_view text) {
    python_value v;
    v.is_.text = new shared_text(text);
    v.kind_ = k;
    return v;
}

python_value::python_value(std::string_view text) {
    if (!detail::is_utf8(text))
        throw codec_error("a text that isn't UTF-8 can't be a str");
    *this = of_text(kind::text, text);
}

python_value python_value::bytes(std::span<const std::byte> b) {
    return of_text(kind::bytes, weft::as_text(b));
}

python_value python_value::list(std::vector<python_value> items) {
    python_value v;
    v.is_.items = items.empty() ? nullptr : new items_type(std::move(items));
    v.kind_ = kind::list;
    return v;
}

python_value python_value::tuple(std::vector<python_value> items) {
    python_value v = list(std::move(items));
    v.kind_ = kind::tuple;
    return v;
}

python_value python_value::set(std::vector<python_value> items) {
    for (const python_value& i : items)
        require_hashable(i);
    python_value v = list(std::move(items));
    v.kind_ = kind::set;
    return v;
}

python_value python_value::dict(std::vector<pair> items) {
    for (const pair& p : items)
        require_hashable(p.first);
    python_value v;
    v.is_.pairs = items.empty() ? nullptr : new pairs_type(std::move(items));
    v.kind_ = kind::dict;
    return v;
}

python_value::python_value(const python_value& other) : is_(other.is_) {
    switch (other.kind_) {
    case kind::none:
    case kind::boolean:
    case kind::integer:
    case kind::real:
        break;
    case kind::text:
    case kind::bytes:
        is_.text->users.fetch_add(1, std::memory_order_relaxed);
        break;
    case kind::list:
    case kind::tuple:
    case kind::set:
        is_.items = is_.items == nullptr ? nullptr : new items_type(*is_.items);
        break;
    case kind::dict:
        is_.pairs = is_.pairs == nullptr ? nullptr : new pairs_type(*is_.pairs);
        break;
    }
    kind_ = other.kind_; // only now: there is nothing to free if a copy fails
}

void python_value::forget() noexcept {
    switch (kind_) {
    case kind::text:
    case kind::bytes:
        // acquire and release: the last one sees what the others did with it
        if (is_.text->users.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete is_.text;
        break;
    case kind::list:
    case kind::tuple:
    case kind::set:
        delete is_.items;
        break;
    case kind::dict:
        delete is_.pairs;
        break;
    default:
        break;
    }
}

void python_value::wrong_kind(kind wanted) const {
    throw codec_error(std::string("this is ") + name_of(kind_) + ", not " + name_of(wanted));
}

bool python_value::as_bool() const {
    require(kind::boolean);
    return is_.integer != 0;
}

std::int64_t python_value::as_int() const {
    require(kind::integer);
    return is_.integer;
}

double python_value::as_real() const {
    if (kind_ == kind::integer)
        return static_cast<double>(is_.integer);
    require(kind::real);
    return is_.real;
}

const std::string& python_value::as_text() const {
    require(kind::text);
    return is_.text->text;
}

std::span<const std::byte> python_value::as_bytes() const {
    require(kind::bytes);
    return weft::as_bytes(is_.text->text);
}

const std::vector<python_value>& python_value::items() const {
    if (kind_ != kind::tuple && kind_ != kind::set)
        require(kind::list);
    static const items_type none;
    return is_.items == nullptr ? none : *is_.items;
}

const std::vector<python_value::pair>& python_value::pairs() const {
    require(kind::dict);
    static const pairs_type none;
    return is_.pairs == nullptr ? none : *is_.pairs;
}

const python_value* python_value::find(const python_value& key) const {
    for (const pair& p : pairs())
        if (p.first == key)
            return &p.second;
    return nullptr;
}

bool python_value::hashable() const noexcept {
    switch (kind_) {
    case kind::list:
    case kind::dict:
    case kind::set:
        return false;
    case kind::tuple:
        for (const python_value& i : items())
            if (!i.hashable())
                return false;
        return true;
    default:
        return true;
    }
}

bool operator==(const python_value& a, const python_value& b) noexcept {
    using kind = python_value::kind;
    if (a.kind_ != b.kind_)
        return false;
    switch (a.kind_) {
    case kind::none:
        return true;
    case kind::boolean:
    case kind::integer:
        return a.is_.integer == b.is_.integer;
    case kind::real:
        return a.is_.real == b.is_.real;
    case kind::text:
    case kind::bytes:
        return a.is_.text->text == b.is_.text->text;
    case kind::list:
    case kind::tuple:
    case kind::set:
        return a.items() == b.items();
    case kind::dict:
        return a.pairs() == b.pairs();
    }
    return false;
}

namespace {

task<python_value> receive_unpickled(task<byte_buffer> receiving) {
    byte_buffer message = co_await std::move(receiving);
    co_return unpickle(message.bytes());
}

} // namespace

task<> send_python(connection& c, const python_value& v) {
    return detail::send_encoded(c.state(), pickle(v));
}

task<python_value> receive_python(connection& c) { return receive_unpickled(c.receive_bytes()); }

} // namespace weft::ipc
