// SPDX-License-Identifier: MIT
// How values travel to another process of the same program, and come back.
//
//     struct order { std::string item; std::vector<double> prices; std::optional<int> rebate; };
//
//     order over_and_back(const order& o) {
//         weft::ipc::byte_buffer message = weft::ipc::encode(o);
//         return weft::ipc::decode<order>(message.bytes());
//     }
//
// Ready to travel: numbers, enums, strings, containers, arrays, optional, variant, pair, tuple,
// complex, durations and time points, paths, error codes, exceptions (error_registry.hpp), and
// aggregates of these with up to 16 members. Any other type gets a codec of its own:
//
//     class user_id {
//     public:
//         explicit user_id(long n) : number_(n) {}
//         long number() const { return number_; }
//     private:
//         long number_;
//     };
//
//     template <>
//     struct weft::ipc::codec<user_id> {
//         static void encode(archive_writer& out, const user_id& id) {
//             weft::ipc::encode(out, id.number());
//         }
//         static user_id decode(archive_reader& in) {
//             return user_id(weft::ipc::decode<long>(in));
//         }
//     };
//
// Threads:      any; there is no state.
// Cancellation: none.
// Errors:       codec_error for bytes that hold no such value or are left over, and for what can't
//               be sent, such as a variant without value or values more than 100 deep; whatever a
//               codec of the user throws.
// Cost:         one pass each way; elements without padding, pointers and rules of their own are
//               copied as one block, or sent from where they lie.
// Source:       the form of the customisation point is std::formatter's.
#pragma once
#include <weft/ipc/archive.hpp>
#include <weft/ipc/detail/members.hpp>

#include <array>
#include <chrono>
#include <complex>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace weft::ipc {

/// How a T travels. Specialise it for types of your own: encode(archive_writer&, const T&), T
/// decode(archive_reader&).
/// Optional: `static constexpr std::size_t least_size`, the fewest bytes that a T takes.
template <class T>
struct codec;

/// A type that has a codec; whether its elements and members have one shows when they are used.
template <class T>
concept codable = requires { sizeof(codec<T>); };

/// A codec says that it encodes nothing but parts of the value by `static constexpr bool by_parts =
/// true`; then large blocks of these needn't be copied on the way out.
template <class T>
void encode(archive_writer& out, const T& value) {
    static_assert(!std::is_pointer_v<T>,
                  "a pointer means nothing in another process: send what it points to");
    static_assert(codable<T>, "this type can't travel: specialise weft::ipc::codec for it");
    if constexpr (requires { requires codec<T>::by_parts; }) {
        codec<T>::encode(out, value);
    } else {
        // What it encodes may be gone when it returns.
        archive_writer::copying all(out);
        codec<T>::encode(out, value);
    }
}

template <class T>
[[nodiscard]] T decode(archive_reader& in) {
    static_assert(!std::is_pointer_v<T>,
                  "a pointer means nothing in another process: send what it points to");
    static_assert(codable<T>, "this type can't travel: specialise weft::ipc::codec for it");
    return codec<T>::decode(in);
}

/// A whole message that holds `value`.
template <class T>
[[nodiscard]] byte_buffer encode(const T& value) {
    archive_writer out;
    ipc::encode<T>(out, value);
    return out.take();
}

/// The value of a whole message.
template <class T>
[[nodiscard]] T decode(std::span<const std::byte> message,
                       const archive_limits& limits = archive_limits()) {
    archive_reader in(message, limits);
    T value = ipc::decode<T>(in);
    in.finish();
    return value;
}

// -------------------------------------------------------------------------------------------------

template <class T>
constexpr std::size_t least_size_of() {
    if constexpr (requires { codec<T>::least_size; })
        return codec<T>::least_size;
    else
        return 0;
}

namespace detail {

template <class T>
concept aggregate = std::is_aggregate_v<T> && std::is_class_v<T> && !std::is_union_v<T>;

template <class T>
constexpr bool is_plain();

template <class Members>
struct plain_members;
template <class... M>
struct plain_members<std::tuple<M&...>> {
    static constexpr bool all_plain = (is_plain<std::remove_cv_t<M>>() && ...);
    static constexpr std::size_t size = (std::size_t{0} + ... + sizeof(M));
};

template <class T>
inline constexpr bool is_std_array = false;
template <class T, std::size_t N>
inline constexpr bool is_std_array<std::array<T, N>> = true;

template <class T>
inline constexpr bool is_complex = false;
template <class T>
inline constexpr bool is_complex<std::complex<T>> = true;

// Whether every object representation is a value, and the value is all that there is: no padding,
// no bool (which has 254 wrong representations), no pointer. Such values are copied as they lie in
// memory.
template <class T>
constexpr bool is_plain() {
    if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, long double>)
        return false;
    else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>)
        return requires {
            requires codec<T>::by_value;
        }; // false for an enum with a codec of its own
    else if constexpr (is_complex<T>)
        return is_plain<typename T::value_type>();
    else if constexpr (is_std_array<T>) {
        if constexpr (std::tuple_size_v<T> == 0)
            return false;
        else
            return is_plain<typename T::value_type>();
    } else if constexpr (aggregate<T> && std::is_trivially_copyable_v<T> && !std::is_empty_v<T>) {
        if constexpr (requires { requires codec<T>::by_members; }) {
            using members = plain_members<weft::detail::members_of<T>>;
            return members::all_plain && members::size == sizeof(T);
        } else {
            return false; // it has a codec of its own
        }
    } else {
        return false;
    }
}

template <class T>
concept plain = is_plain<T>();

template <class T>
concept sequence = requires(T& c, typename T::value_type v) {
    c.push_back(std::move(v));
    c.size();
    c.begin();
} && std::default_initializable<T>;

// What lies in one block and can be made from a range of pointers: vector, basic_string.
template <class T>
concept contiguous_sequence = sequence<T> && requires(T& c, const typename T::value_type* p) {
    { c.data() } -> std::same_as<typename T::value_type*>;
    c.resize(std::size_t{});
    T(p, p);
};

template <class T>
concept keyed = requires(T& c, const typename T::value_type& v) {
    typename T::key_type;
    c.size();
    c.begin();
    c.insert(v);
} && std::default_initializable<T>;

// Not one that makes an element when it is asked for it.
template <class T>
inline constexpr bool holds_elements =
    std::is_lvalue_reference_v<decltype(*std::declval<const T&>().begin())>;

template <class T>
concept map_like = keyed<T> && requires { typename T::mapped_type; };

// std::filesystem::path, without its header.
template <class T>
concept path_like = requires(const T& p) {
    typename T::string_type;
    { p.native() } -> std::same_as<const typename T::string_type&>;
    p.root_directory();
    T(typename T::string_type());
};

[[noreturn]] void bad_value(const char* what);

} // namespace detail

template <class T>
    requires(
        (std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, long double>) ||
        std::is_enum_v<T>)
struct codec<T> {
    static constexpr bool by_value = true;
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = sizeof(T);
    static void encode(archive_writer& out, T value) { out.write_value(value); }
    static T decode(archive_reader& in) { return in.read_value<T>(); }
};

template <>
struct codec<bool> {
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = 1;
    static void encode(archive_writer& out, bool value) {
        out.write_value(static_cast<std::uint8_t>(value));
    }
    static bool decode(archive_reader& in) {
        auto byte = in.read_value<std::uint8_t>();
        if (byte > 1)
            detail::bad_value("a truth value other than 0 and 1");
        return byte != 0;
    }
};

template <>
struct codec<long double> {
    // On x86 only ten of the sixteen bytes mean something; the others aren't sent.
    static constexpr std::size_t used =
        std::numeric_limits<long double>::digits == 64 ? 10 : sizeof(long double);
    static constexpr std::size_t least_size = used;
    static void encode(archive_writer& out, long double value) {
        std::byte raw[sizeof value];
        std::memcpy(raw, &value, sizeof value);
        out.write({raw, used});
    }
    static long double decode(archive_reader& in) {
        long double value = 0;
        std::memcpy(&value, in.read(used).data(), used);
        return value;
    }
};

template <class F>
    requires std::is_floating_point_v<F>
struct codec<std::complex<F>> {
    static constexpr std::size_t least_size = 2 * codec<F>::least_size;
    static void encode(archive_writer& out, const std::complex<F>& value) {
        ipc::encode<F>(out, value.real());
        ipc::encode<F>(out, value.imag());
    }
    static std::complex<F> decode(archive_reader& in) {
        F real = ipc::decode<F>(in);
        return {real, ipc::decode<F>(in)};
    }
};

template <class Rep, class Period>
struct codec<std::chrono::duration<Rep, Period>> {
    using type = std::chrono::duration<Rep, Period>;
    static constexpr std::size_t least_size = least_size_of<Rep>();
    static void encode(archive_writer& out, type value) { ipc::encode<Rep>(out, value.count()); }
    static type decode(archive_reader& in) { return type(ipc::decode<Rep>(in)); }
};

/// The steady clock is the machine's, so its time points mean the same in every process.
template <class Clock, class Duration>
struct codec<std::chrono::time_point<Clock, Duration>> {
    using type = std::chrono::time_point<Clock, Duration>;
    static constexpr std::size_t least_size = least_size_of<Duration>();
    static void encode(archive_writer& out, type value) {
        ipc::encode<Duration>(out, value.time_since_epoch());
    }
    static type decode(archive_reader& in) { return type(ipc::decode<Duration>(in)); }
};

/// Views can be sent, and arrive as the string or vector of the same elements.
template <class C, class Traits>
struct codec<std::basic_string_view<C, Traits>> {
    static constexpr std::size_t least_size = 8;
    static void encode(archive_writer& out, std::basic_string_view<C, Traits> value) {
        out.write_count(value.size());
        out.align(alignof(C));
        out.write(std::as_bytes(std::span(value.data(), value.size())));
    }
};
template <class T>
struct codec<std::span<const T>> {
    static constexpr std::size_t least_size = 8;
    static void encode(archive_writer& out, std::span<const T> value) {
        out.write_count(value.size());
        if constexpr (detail::plain<T>) {
            out.align(alignof(T));
            out.write(std::as_bytes(value));
        } else {
            nesting deeper = out.nest();
            for (const T& element : value)
                ipc::encode<T>(out, element);
        }
    }
};

/// Elements that lie in one block, as a sequence of them.
template <class T>
    requires detail::plain<T>
void encode_block(archive_writer& out, std::span<const T> elements) {
    out.write_count(elements.size());
    out.align(alignof(T));
    out.write_block(std::as_bytes(elements));
}

template <detail::sequence T>
struct codec<T> {
    using element = typename T::value_type;
    static constexpr bool by_parts = detail::holds_elements<T>;
    static constexpr std::size_t least_size = 8;

    static void encode(archive_writer& out, const T& value) {
        if constexpr (one_block()) {
            encode_block<element>(out, {value.data(), value.size()});
        } else {
            out.write_count(value.size());
            nesting deeper = out.nest();
            for (const auto& e : value)
                ipc::encode<element>(out, e);
        }
    }
    static T decode(archive_reader& in) {
        std::size_t n = in.read_count(least_size_of<element>(), sizeof(element));
        if constexpr (one_block()) {
            in.align(alignof(element));
            auto bytes = in.read(n * sizeof(element));
            if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(element) == 0) {
                auto* first = reinterpret_cast<const element*>(bytes.data());
                return T(first, first + n); // doesn't clear the memory first, as resize() does
            }
            T value;
            value.resize(n);
            if (n != 0)
                std::memcpy(value.data(), bytes.data(), bytes.size());
            return value;
        } else {
            nesting deeper = in.nest();
            T value;
            if constexpr (requires { value.reserve(n); })
                value.reserve(n);
            for (std::size_t i = 0; i != n; ++i)
                value.push_back(ipc::decode<element>(in));
            return value;
        }
    }

private:
    // A function, so that nothing is asked about the element while a type that contains itself is
    // being defined.
    static constexpr bool one_block() {
        return detail::contiguous_sequence<T> && detail::plain<element>;
    }
};

template <detail::keyed T>
struct codec<T> {
    static constexpr bool by_parts = detail::holds_elements<T>;
    static constexpr std::size_t least_size = 8;

    static void encode(archive_writer& out, const T& value) {
        out.write_count(value.size());
        nesting deeper = out.nest();
        for (const auto& e : value) {
            if constexpr (detail::map_like<T>) {
                ipc::encode<typename T::key_type>(out, e.first);
                ipc::encode<typename T::mapped_type>(out, e.second);
            } else {
                ipc::encode<typename T::key_type>(out, e);
            }
        }
    }
    static T decode(archive_reader& in) {
        std::size_t least = least_size_of<typename T::key_type>();
        if constexpr (detail::map_like<T>)
            least += least_size_of<typename T::mapped_type>();
        std::size_t n = in.read_count(least, sizeof(typename T::value_type));
        nesting deeper = in.nest();
        T value;
        for (std::size_t i = 0; i != n; ++i) {
            auto key = ipc::decode<typename T::key_type>(in);
            // At the end, where an ordered container takes what comes in its own order without
            // searching.
            if constexpr (detail::map_like<T>)
                value.emplace_hint(value.end(), std::move(key),
                                   ipc::decode<typename T::mapped_type>(in));
            else
                value.emplace_hint(value.end(), std::move(key));
        }
        if (value.size() != n)
            detail::bad_value("the same key twice");
        return value;
    }
};

template <class T, std::size_t N>
struct codec<std::array<T, N>> {
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = N * least_size_of<T>();

    static void encode(archive_writer& out, const std::array<T, N>& value) {
        if constexpr (detail::plain<T>) {
            out.write_block(std::as_bytes(std::span(value)));
        } else {
            nesting deeper = out.nest();
            for (const T& e : value)
                ipc::encode<T>(out, e);
        }
    }
    static std::array<T, N> decode(archive_reader& in) {
        if constexpr (detail::plain<std::array<T, N>>) {
            return in.read_value<std::array<T, N>>();
        } else {
            nesting deeper = in.nest();
            return make(in, std::make_index_sequence<N>());
        }
    }

private:
    template <std::size_t... I>
    static std::array<T, N> make([[maybe_unused]] archive_reader& in, std::index_sequence<I...>) {
        return {{(static_cast<void>(I), ipc::decode<T>(in))...}}; // braces: from left to right
    }
};

template <class T>
struct codec<std::optional<T>> {
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = 1;
    static void encode(archive_writer& out, const std::optional<T>& value) {
        ipc::encode<bool>(out, value.has_value());
        nesting deeper = out.nest();
        if (value)
            ipc::encode<T>(out, *value);
    }
    static std::optional<T> decode(archive_reader& in) {
        if (!ipc::decode<bool>(in))
            return std::nullopt;
        nesting deeper = in.nest();
        return std::optional<T>(ipc::decode<T>(in));
    }
};

template <>
struct codec<std::monostate> {
    static constexpr std::size_t least_size = 0;
    static void encode(archive_writer&, std::monostate) noexcept {}
    static std::monostate decode(archive_reader&) noexcept { return {}; }
};

template <class... T>
struct codec<std::variant<T...>> {
    using type = std::variant<T...>;
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = 4;

    static void encode(archive_writer& out, const type& value) {
        if (value.valueless_by_exception())
            detail::bad_value("a variant without value");
        out.write_value(static_cast<std::uint32_t>(value.index()));
        nesting deeper = out.nest();
        std::visit([&out]<class A>(const A& alternative) { ipc::encode<A>(out, alternative); },
                   value);
    }
    static type decode(archive_reader& in) {
        auto index = in.read_value<std::uint32_t>();
        if (index >= sizeof...(T))
            detail::bad_value("an alternative that the variant hasn't got");
        nesting deeper = in.nest();
        return alternatives(std::index_sequence_for<T...>())[index](in);
    }

private:
    template <std::size_t I>
    static type alternative(archive_reader& in) {
        return type(std::in_place_index<I>, ipc::decode<std::variant_alternative_t<I, type>>(in));
    }
    template <std::size_t... I>
    static constexpr std::array<type (*)(archive_reader&), sizeof...(T)>
    alternatives(std::index_sequence<I...>) {
        return {{alternative<I>...}};
    }
};

template <class A, class B>
struct codec<std::pair<A, B>> {
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = least_size_of<A>() + least_size_of<B>();
    static void encode(archive_writer& out, const std::pair<A, B>& value) {
        ipc::encode<A>(out, value.first);
        ipc::encode<B>(out, value.second);
    }
    static std::pair<A, B> decode(archive_reader& in) {
        return std::pair<A, B>{ipc::decode<A>(in), ipc::decode<B>(in)};
    }
};

template <class... T>
struct codec<std::tuple<T...>> {
    static constexpr bool by_parts = true;
    static constexpr std::size_t least_size = (std::size_t{0} + ... + least_size_of<T>());
    static void encode([[maybe_unused]] archive_writer& out, const std::tuple<T...>& value) {
        std::apply([&out](const T&... element) { (ipc::encode<T>(out, element), ...); }, value);
    }
    static std::tuple<T...> decode([[maybe_unused]] archive_reader& in) {
        return std::tuple<T...>{ipc::decode<T>(in)...};
    }
};

template <detail::path_like T>
struct codec<T> {
    static constexpr std::size_t least_size = 8;
    static void encode(archive_writer& out, const T& value) {
        ipc::encode<typename T::string_type>(out, value.native());
    }
    static T decode(archive_reader& in) { return T(ipc::decode<typename T::string_type>(in)); }
};

/// By value and the name of the category (error_registry.hpp).
template <>
struct codec<std::error_code> {
    static constexpr std::size_t least_size = 12;
    static void encode(archive_writer& out, const std::error_code& e);
    [[nodiscard]] static std::error_code decode(archive_reader& in);
};

/// Aggregates, member by member.
template <detail::aggregate T>
struct codec<T> {
    static constexpr bool by_members = true;
    static constexpr bool by_parts = true;

    static void encode(archive_writer& out, const T& value) {
        if constexpr (detail::plain<T> && sizeof(T) >= archive_writer::least_block) {
            out.write_block(std::as_bytes(std::span(&value, 1)));
        } else if constexpr (detail::plain<T>) {
            out.write_value(value);
        } else {
            nesting deeper = out.nest();
            std::apply([&out](const auto&... member) { (ipc::encode(out, member), ...); },
                       weft::detail::tie_members(value));
        }
    }
    static T decode(archive_reader& in) {
        if constexpr (detail::plain<T>) {
            return in.read_value<T>();
        } else {
            nesting deeper = in.nest();
            return make(in,
                        std::make_index_sequence<std::tuple_size_v<weft::detail::members_of<T>>>());
        }
    }

private:
    template <std::size_t... I>
    static T make([[maybe_unused]] archive_reader& in, std::index_sequence<I...>) {
        using members = weft::detail::members_of<T>;
        return T{ipc::decode<std::remove_cvref_t<std::tuple_element_t<I, members>>>(in)...};
    }
};

} // namespace weft::ipc
