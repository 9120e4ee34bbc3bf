// SPDX-License-Identifier: MIT
// Which functions take a std::stop_token in front of their arguments, and what they give. A
// function that can be called with and without one is called without.
//
// Threads: none. Cancellation: none. Errors: none. Cost: none. Source: std::jthread.
#pragma once
#include <stop_token>
#include <type_traits>

namespace weft::detail {

template <class F, class... A>
concept wants_stop_token =
    !std::is_invocable_v<F, A...> && std::is_invocable_v<F, std::stop_token, A...>;

template <class F, class... A>
concept callable_somehow = std::is_invocable_v<F, A...> || wants_stop_token<F, A...>;

template <class F, class... A>
struct thread_result : std::invoke_result<F, A...> {};
template <class F, class... A>
    requires wants_stop_token<F, A...>
struct thread_result<F, A...> : std::invoke_result<F, std::stop_token, A...> {};

/// Of a function and arguments that are kept, decayed, until the call.
template <class F, class... A>
using thread_result_t = typename thread_result<std::decay_t<F>, std::decay_t<A>...>::type;

} // namespace weft::detail
