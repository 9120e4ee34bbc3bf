// SPDX-License-Identifier: MIT
// The function of a process, as both ends see it: it may be a coroutine, and what it gives doesn't
// come back.
//
// Threads: none. Cancellation: none. Errors: as codec.hpp. Cost: an entry in the registry for each.
// Source: none.
#pragma once
#include <weft/ipc/passing.hpp>
#include <weft/ipc/registry.hpp>
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/task.hpp>

#include <tuple>
#include <utility>

namespace weft::ipc::detail {

// Tells the entry of a process apart from that of a pool's call to the same function.
template <class R, class... P>
struct process_signature {};

/// Runs it on a runtime of its own.
void run_whole(task<> t);

template <class T>
task<> without_result(task<T> t) {
    static_cast<void>(co_await std::move(t));
}

template <class Call>
struct process_target;

template <class F, bool TakesStop, class R, class... P>
struct process_target<call<F, TakesStop, signature<R, P...>>> {
    template <class... A>
    static void send_arguments(archive_writer& out, const A&... arguments) {
        call<F, TakesStop, signature<R, P...>>::send_arguments(out, arguments...);
    }

    static void run([[maybe_unused]] archive_reader& in, archive_writer&,
                    [[maybe_unused]] const std::stop_token& stop) {
        std::tuple<kept_t<P>...> arguments{ipc::decode<kept_t<P>>(in)...};
        in.finish();
        auto invoke = [&](kept_t<P>&... kept) -> decltype(auto) {
            if constexpr (TakesStop)
                return F{}(stop, hand_over<P>(kept)...);
            else
                return F{}(hand_over<P>(kept)...);
        };
        if constexpr (std::is_same_v<R, task<>>)
            run_whole(std::apply(invoke, arguments));
        else if constexpr (weft::detail::is_task<R>)
            run_whole(without_result(std::apply(invoke, arguments)));
        else
            static_cast<void>(std::apply(invoke, arguments));
    }

    static inline function_entry entry{typeid(F), typeid(process_signature<R, P...>), run,
                                       TakesStop};
};

template <class F, class... A>
using process_target_of = process_target<call_of<F, A...>>;

/// What was given away is gone here, too.
template <class A>
void let_go_of([[maybe_unused]] A&& argument) {
    if constexpr (!std::is_lvalue_reference_v<A> && std::is_move_constructible_v<A> &&
                  !std::is_trivially_destructible_v<A>)
        static_cast<void>(A(std::forward<A>(argument)));
}

} // namespace weft::ipc::detail
