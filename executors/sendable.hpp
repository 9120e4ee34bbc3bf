// SPDX-License-Identifier: MIT
// What may cross to an isolate, asked at compile time: values that can be written and read again,
// down to their elements and members, and what is shared on purpose.
//
//     struct order { std::string item; std::vector<double> prices; };
//     struct chain { order* first; };
//
//     static_assert(weft::sendable<std::map<std::string, order>>);     // a copy arrives
//     static_assert(weft::sendable<weft::isolate_queue<order>>);       // is shared
//     static_assert(!weft::sendable<std::vector<chain>>);              // has a pointer inside
//     static_assert(!weft::sendable<weft::descriptor>);    // goes to a new ipc::process only
//
// A type with a codec of its own counts as what its codec says that it is.
//
// Threads:      any.
// Cancellation: none.
// Errors:       none; a type with more than 16 members and no codec of its own doesn't compile.
// Cost:         compile time only.
// Source:       NotShareableError of Python's concurrent.interpreters, before the program runs.
#pragma once
#include <weft/ipc/codec.hpp>

#include <concepts>
#include <type_traits>

namespace weft {

class descriptor;
class stream_socket;
namespace ipc {
class connection;
class shared_memory;
template <class T>
class queue;
template <class T>
class simple_queue;
} // namespace ipc

namespace detail {

// They have codecs, but can be given only to a process that is being made (ipc/passing.hpp).
template <class T>
inline constexpr bool passed_at_creation_only =
    std::is_same_v<T, descriptor> || std::is_same_v<T, ipc::connection> ||
    std::is_same_v<T, ipc::shared_memory> || std::derived_from<T, stream_socket>;
template <class T>
inline constexpr bool passed_at_creation_only<ipc::queue<T>> = true;
template <class T>
inline constexpr bool passed_at_creation_only<ipc::simple_queue<T>> = true;

template <class T>
concept written_and_read =
    requires(ipc::archive_writer& out, ipc::archive_reader& in, const T& value) {
        ipc::codec<T>::encode(out, value);
        { ipc::codec<T>::decode(in) } -> std::same_as<T>;
    };

template <class T, class... Around>
consteval bool is_sendable();

template <class T>
struct parts_of {
    template <class... Around>
    static consteval bool sendable() {
        return true;
    }
};
template <template <class...> class Whole, class... P>
    requires std::same_as<Whole<P...>, std::tuple<P...>> ||
             std::same_as<Whole<P...>, std::variant<P...>>
struct parts_of<Whole<P...>> {
    template <class... Around>
    static consteval bool sendable() {
        return (is_sendable<std::remove_cvref_t<P>, Around...>() && ...);
    }
};
template <class A, class B>
struct parts_of<std::pair<A, B>> : parts_of<std::tuple<A, B>> {};
template <class T>
struct parts_of<std::optional<T>> : parts_of<std::tuple<T>> {};
template <class T, std::size_t N>
struct parts_of<std::array<T, N>> : parts_of<std::tuple<T>> {};
template <ipc::detail::sequence T>
struct parts_of<T> : parts_of<std::tuple<typename T::value_type>> {};
template <ipc::detail::keyed T>
struct parts_of<T> : parts_of<std::tuple<typename T::key_type>> {};
template <ipc::detail::map_like T>
struct parts_of<T> : parts_of<std::tuple<typename T::key_type, typename T::mapped_type>> {};

// Around: what contains T. A type that contains itself is as good as its other parts.
template <class T, class... Around>
consteval bool is_sendable() {
    if constexpr ((std::is_same_v<T, Around> || ...))
        return true;
    else if constexpr (passed_at_creation_only<T> || !written_and_read<T>)
        return false;
    else if constexpr (requires { requires ipc::codec<T>::by_members; })
        return parts_of<members_of<T>>::template sendable<T, Around...>();
    else
        return parts_of<T>::template sendable<T, Around...>();
}

} // namespace detail

/// A value that an isolate's functions can take and give.
template <class T>
concept sendable = detail::is_sendable<std::remove_cv_t<T>>();

} // namespace weft
