// SPDX-License-Identifier: MIT
// The members of an aggregate, as a tuple of references: how many there are is found out by trying
// how many initialisers it takes, and structured bindings give them out.
//
// Threads: none. Cancellation: none. Errors: none. Cost: compile time only.
// Source: the counting trick is that of Boost.PFR; up to 16 members, none of them a C array or a
// bit-field.
#pragma once
#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weft::detail {

template <class Whole>
struct any_member {
    template <class Member>
        requires(!std::is_same_v<std::remove_cvref_t<Member>, Whole>)
    operator Member() const noexcept { // never called, only asked whether it would fit
        std::terminate();
    }
};

template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
    return requires { T{(static_cast<void>(I), any_member<T>{})...}; };
}

inline constexpr std::size_t most_members = 16;

/// How many members the aggregate T has; most_members + 1 stands for any larger number.
template <class T, std::size_t N = most_members + 1>
constexpr std::size_t count_members() {
    if constexpr (N == 0)
        return 0;
    else if constexpr (takes<T>(std::make_index_sequence<N>()))
        return N;
    else
        return count_members<T, N - 1>();
}

template <class T>
inline constexpr std::size_t member_count = count_members<std::remove_cv_t<T>>();

template <class T>
constexpr auto tie_members([[maybe_unused]] T& v) noexcept {
    constexpr std::size_t n = member_count<T>;
    static_assert(n <= most_members, "more than 16 members: give the type a codec of its own");
    if constexpr (n == 0) {
        return std::tie();
    } else if constexpr (n == 1) {
        auto& [a] = v;
        return std::tie(a);
    } else if constexpr (n == 2) {
        auto& [a, b] = v;
        return std::tie(a, b);
    } else if constexpr (n == 3) {
        auto& [a, b, c] = v;
        return std::tie(a, b, c);
    } else if constexpr (n == 4) {
        auto& [a, b, c, d] = v;
        return std::tie(a, b, c, d);
    } else if constexpr (n == 5) {
        auto& [a, b, c, d, e] = v;
        return std::tie(a, b, c, d, e);
    } else if constexpr (n == 6) {
        auto& [a, b, c, d, e, f] = v;
        return std::tie(a, b, c, d, e, f);
    } else if constexpr (n == 7) {
        auto& [a, b, c, d, e, f, g] = v;
        return std::tie(a, b, c, d, e, f, g);
    } else if constexpr (n == 8) {
        auto& [a, b, c, d, e, f, g, h] = v;
        return std::tie(a, b, c, d, e, f, g, h);
    } else if constexpr (n == 9) {
        auto& [a, b, c, d, e, f, g, h, i] = v;
        return std::tie(a, b, c, d, e, f, g, h, i);
    } else if constexpr (n == 10) {
        auto& [a, b, c, d, e, f, g, h, i, j] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j);
    } else if constexpr (n == 11) {
        auto& [a, b, c, d, e, f, g, h, i, j, k] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j, k);
    } else if constexpr (n == 12) {
        auto& [a, b, c, d, e, f, g, h, i, j, k, l] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
    } else if constexpr (n == 13) {
        auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
    } else if constexpr (n == 14) {
        auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, o);
    } else if constexpr (n == 15) {
        auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p);
    } else {
        auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q] = v;
        return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q);
    }
}

/// std::tuple<A&, B&, ...> of the members of T.
template <class T>
using members_of = decltype(tie_members(std::declval<T&>()));

} // namespace weft::detail
