// SPDX-License-Identifier: MIT
// What a function that other processes may be asked to call takes and gives, and how its arguments
// travel.
//
// Threads: none. Cancellation: a first parameter of std::stop_token doesn't travel; the caller's
// stop comes through it.
// Errors: unfit functions are refused at compile time. Cost: compile time only. Source: none.
#pragma once
#include <weft/ipc/codec.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace weft {

/// A function as a value of its own type: what it is stands in the type, so nothing but the type
/// has to travel.
template <auto F>
struct function_constant {
    template <class... A>
        requires std::is_invocable_v<decltype(F), A...>
    constexpr decltype(auto) operator()(A&&... arguments) const
        noexcept(std::is_nothrow_invocable_v<decltype(F), A...>) {
        return std::invoke(F, std::forward<A>(arguments)...);
    }
};

/// `weft::fn<&f>` names the function f to a process pool.
template <auto F>
inline constexpr function_constant<F> fn{};

} // namespace weft

namespace weft::ipc::detail {

template <class R, class... P>
struct signature {};

// Without the stop token.
template <class R, class... P>
signature<R, P...> without_token(signature<R, std::stop_token, P...>);
template <class R, class... P>
signature<R, P...> without_token(signature<R, const std::stop_token&, P...>);
template <class R, class... P>
signature<R, P...> without_token(signature<R, P...>, ...);

template <class F>
struct signature_of {}; // overloaded or a template: nothing to read

template <class R, class... P>
struct signature_of<R (*)(P...)> {
    using type = signature<R, P...>;
};
template <class R, class... P>
struct signature_of<R (*)(P...) noexcept> : signature_of<R (*)(P...)> {};
template <class R, class C, class... P>
struct signature_of<R (C::*)(P...) const> {
    using type = signature<R, P...>; // of a call operator, whose object doesn't count
};
template <class R, class C, class... P>
struct signature_of<R (C::*)(P...) const noexcept> : signature_of<R (C::*)(P...) const> {};
template <class R, class C, class... P>
struct signature_of<R (C::*)(P...)> : signature_of<R (C::*)(P...) const> {};
template <class R, class C, class... P>
struct signature_of<R (C::*)(P...) noexcept> : signature_of<R (C::*)(P...) const> {};
template <class F>
    requires requires { &F::operator(); }
struct signature_of<F> : signature_of<decltype(&F::operator())> {};

// weft::fn<&f>, and of a member function with the object as the first parameter.
template <auto F>
    requires(!std::is_member_pointer_v<decltype(F)>)
struct signature_of<function_constant<F>> : signature_of<std::decay_t<decltype(F)>> {};
template <class R, class C, class... P, R (C::*F)(P...) const>
struct signature_of<function_constant<F>> {
    using type = signature<R, const C&, P...>;
};
template <class R, class C, class... P, R (C::*F)(P...) const noexcept>
struct signature_of<function_constant<F>> {
    using type = signature<R, const C&, P...>;
};

template <class F>
concept has_signature = requires { typename signature_of<F>::type; };

template <class F>
concept stateless = std::is_empty_v<F> && std::is_default_constructible_v<F>;

// Elements that stay in the message, if they lie there as they must, or were copied from it.
template <class View, class Owner>
class kept_view {
public:
    using element = typename Owner::value_type;
    explicit kept_view(archive_reader& in) {
        const std::size_t n = in.read_count(sizeof(element), 0);
        in.align(alignof(element));
        const auto bytes = in.read(n * sizeof(element));
        const auto* first = reinterpret_cast<const element*>(bytes.data());
        if (reinterpret_cast<std::uintptr_t>(first) % alignof(element) == 0) {
            there_ = View(first, n);
            return;
        }
        copy_.resize(n);
        std::memcpy(copy_.data(), bytes.data(), bytes.size());
        is_copied_ = true;
    }
    [[nodiscard]] View view() const noexcept { return is_copied_ ? View(copy_) : there_; }

private:
    View there_;
    Owner copy_;
    bool is_copied_ = false;
};
template <class T>
struct owner_of_kept {
    using type = T;
};
template <class View, class Owner>
struct owner_of_kept<kept_view<View, Owner>> {
    using type = Owner;
};
template <class T>
inline constexpr bool is_kept_view = !std::is_same_v<T, typename owner_of_kept<T>::type>;

// A pointer to characters is sent as a view. A view of plain elements shows those in the message,
// and any other one arrives in a container that owns them.
template <class P>
struct travel {
    using sent = P;
    using kept = P;
};
template <>
struct travel<const char*> {
    using sent = std::string_view;
    using kept = std::string;
};
template <class C, class Traits>
struct travel<std::basic_string_view<C, Traits>> {
    using sent = std::basic_string_view<C, Traits>;
    using kept = kept_view<sent, std::basic_string<C, Traits>>;
};
template <class T>
struct travel<std::span<const T>> {
    using sent = std::span<const T>;
    using kept = std::conditional_t<plain<T>, kept_view<sent, std::vector<T>>, std::vector<T>>;
};
template <class P>
using sent_t = typename travel<std::remove_cvref_t<P>>::sent;
template <class P>
using kept_t = typename travel<std::remove_cvref_t<P>>::kept;
/// What could own an argument that travels as a view.
template <class P>
using owned_t = typename owner_of_kept<kept_t<P>>::type;

// The kept argument in the form in which parameter P wants it.
template <class P>
decltype(auto) hand_over(kept_t<P>& kept) {
    if constexpr (std::is_same_v<std::remove_cvref_t<P>, const char*>)
        return kept.c_str();
    else if constexpr (is_kept_view<kept_t<P>>)
        return kept.view();
    else if constexpr (std::is_lvalue_reference_v<P>)
        return static_cast<const kept_t<P>&>(kept);
    else
        return std::move(kept);
}

template <class T>
T decode_kept(archive_reader& in) {
    if constexpr (is_kept_view<T>)
        return T(in);
    else
        return ipc::decode<T>(in);
}

[[noreturn]] void throw_null_argument();

template <class P, class A>
void send_argument(archive_writer& out, const A& argument) {
    static_assert(!std::is_lvalue_reference_v<P> || std::is_const_v<std::remove_reference_t<P>>,
                  "what the function does to a non-const reference would be lost in the other "
                  "process: return it");
    // What only an explicit conversion makes (5 into a vector of five) is more likely a mistake,
    // unless it is the string of a view.
    constexpr bool fits = std::is_same_v<A, sent_t<P>> ||
                          std::is_convertible_v<const A&, sent_t<P>> ||
                          (std::is_convertible_v<const A&, std::string_view> &&
                           std::is_constructible_v<sent_t<P>, const A&>);
    static_assert(fits, "an argument can't be converted to the type of its parameter");
    if constexpr (std::is_pointer_v<A> && !std::is_pointer_v<sent_t<P>>) {
        if (argument == nullptr)
            throw_null_argument();
    }
    if constexpr (std::is_same_v<A, sent_t<P>>)
        ipc::encode<sent_t<P>>(out, argument);
    else if constexpr (fits)
        ipc::encode<sent_t<P>>(out, static_cast<sent_t<P>>(argument));
}

} // namespace weft::ipc::detail
