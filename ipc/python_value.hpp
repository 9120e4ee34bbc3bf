// SPDX-License-Identifier: MIT
// Plain values of Python, as its Connection.send and recv exchange them: None, bool, int, float,
// str, bytes, list, tuple, dict and set. They travel pickled; of that format only what builds such
// values is understood, and nothing that names or calls code.
//
//     weft::task<long> add(weft::ipc::connection& python) { // which does c.send(sum(c.recv()))
//         using value = weft::ipc::python_value;
//         std::vector<value> numbers{1, 2, 3};
//         co_await weft::ipc::send_python(python, value::list(std::move(numbers)));
//         value sum = co_await weft::ipc::receive_python(python);
//         co_return sum.as_int();
//     }
//
// Threads:      as a value's.
// Cancellation: as connection.hpp's.
// Errors:       codec_error for bytes that are no pickle of such a value (an int of more than 64
//               bits, values that contain themselves or are more than 100 deep, protocols other
//               than 2 to 5), for a text that isn't UTF-8, and for asking a value for what it
//               isn't.
// Cost:         16 bytes a value, and what a string or a vector takes; copies share strings.
//               Reading takes time and memory in proportion to the bytes that are there, also if
//               one part of them stands for many.
// Source:       the format is described in CPython's pickletools.py. Written is protocol 4.
#pragma once
#include <weft/ipc/archive.hpp>
#include <weft/ipc/connection.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::ipc {

class python_value {
public:
    enum class kind : std::uint8_t {
        none,
        boolean,
        integer,
        real,
        text,
        bytes,
        list,
        tuple,
        dict,
        set
    };
    using pair = std::pair<python_value, python_value>;

    /// None.
    python_value() noexcept = default;
    template <std::same_as<bool> B>
    python_value(B b) noexcept : kind_(kind::boolean) {
        is_.integer = b ? 1 : 0;
    }
    template <std::integral I>
        requires(!std::same_as<I, bool> && (std::signed_integral<I> || sizeof(I) < 8))
    python_value(I i) noexcept : kind_(kind::integer) {
        is_.integer = i;
    }
    python_value(double d) noexcept : kind_(kind::real) { is_.real = d; }
    /// UTF-8.
    python_value(std::string_view text);
    python_value(const std::string& text) : python_value(std::string_view(text)) {}
    python_value(const char* text) : python_value(std::string_view(text)) {}
    [[nodiscard]] static python_value bytes(std::span<const std::byte> b);
    [[nodiscard]] static python_value list(std::vector<python_value> items);
    [[nodiscard]] static python_value tuple(std::vector<python_value> items);
    /// Keys are what Python can hash: no lists, dicts and sets.
    [[nodiscard]] static python_value dict(std::vector<pair> items);
    [[nodiscard]] static python_value set(std::vector<python_value> items);

    python_value(const python_value& other);
    python_value(python_value&& other) noexcept
        : kind_(std::exchange(other.kind_, kind::none)), is_(other.is_) {}
    python_value& operator=(python_value other) noexcept {
        std::swap(kind_, other.kind_);
        std::swap(is_, other.is_);
        return *this;
    }
    ~python_value() {
        if (kind_ >= kind::text)
            forget();
    }

    [[nodiscard]] kind type() const noexcept { return kind_; }
    [[nodiscard]] bool is_none() const noexcept { return kind_ == kind::none; }
    [[nodiscard]] bool as_bool() const;
    [[nodiscard]] std::int64_t as_int() const;
    /// An int is one as well.
    [[nodiscard]] double as_real() const;
    [[nodiscard]] const std::string& as_text() const;
    [[nodiscard]] std::span<const std::byte> as_bytes() const;
    /// Of a list, a tuple or a set.
    [[nodiscard]] const std::vector<python_value>& items() const;
    /// Of a dict, in their order.
    [[nodiscard]] const std::vector<pair>& pairs() const;
    /// What a dict has for a key; null if nothing.
    [[nodiscard]] const python_value* find(const python_value& key) const;
    /// Whether it may be a key of a dict, or in a set.
    [[nodiscard]] bool hashable() const noexcept;

    /// The same kind and content; dicts and sets in the same order.
    friend bool operator==(const python_value& a, const python_value& b) noexcept;

private:
    using items_type = std::vector<python_value>;
    using pairs_type = std::vector<pair>;
    struct shared_text; // copies of a str or of bytes share it
    [[nodiscard]] static python_value of_text(kind k, std::string_view text);
    void forget() noexcept;
    [[noreturn]] void wrong_kind(kind wanted) const;
    void require(kind wanted) const {
        if (kind_ != wanted)
            wrong_kind(wanted);
    }

    kind kind_ = kind::none;
    union {
        std::int64_t integer;
        double real;
        shared_text* text;
        items_type* items; // null if there are none
        pairs_type* pairs; // as well
    } is_{};
};

/// As bytes that Python's pickle.loads reads.
[[nodiscard]] byte_buffer pickle(const python_value& v);
/// What Python's pickle.dumps wrote.
[[nodiscard]] python_value unpickle(std::span<const std::byte> message,
                                    const archive_limits& limits = archive_limits());

/// As Python's Connection.send. It is pickled at once.
[[nodiscard]] task<> send_python(connection& c, const python_value& v);
/// As Python's Connection.recv. After a codec_error the connection goes on.
[[nodiscard]] task<python_value> receive_python(connection& c);

} // namespace weft::ipc
