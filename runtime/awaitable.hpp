// SPDX-License-Identifier: MIT
// What can be awaited in a task, as concepts, and the form in which combinators take it.
//
//     template <weft::awaitable A>
//     weft::task<weft::await_result_t<A>> traced(A what) {
//         fmt::print("waiting\n");
//         co_return co_await std::move(what);
//     }
//
// Threads:      none. Cancellation: as the awaited thing's. Errors: as the awaited thing's.
// Cost:         as_task of a task is free; of anything else it is one frame.
// Source:       the awaitable traits of the C++ working papers.
#pragma once
#include <weft/runtime/task.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace weft {

namespace detail {

template <class A>
concept awaiter = requires(A& a) {
    { a.await_ready() } -> std::convertible_to<bool>;
    a.await_suspend(std::coroutine_handle<task_promise<void>>());
    a.await_resume();
};
template <class A>
concept member_awaitable = requires(A&& a) {
    { std::forward<A>(a).operator co_await() } -> awaiter;
};

template <class A>
struct awaiter_of {
    using type = A;
};
template <member_awaitable A>
struct awaiter_of<A> {
    using type = decltype(std::declval<A>().operator co_await());
};

template <class A>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

} // namespace detail

/// Can stand behind co_await in a task.
template <class A>
concept awaitable = detail::awaiter<std::remove_reference_t<A>> || detail::member_awaitable<A>;

/// What co_await gives.
template <awaitable A>
using await_result_t =
    decltype(std::declval<typename detail::awaiter_of<A>::type&>().await_resume());

/// As a task, which takes the awaitable into its frame. A task comes back as it is.
template <class T>
task<T> as_task(task<T> t) noexcept {
    return t;
}
template <awaitable A>
    requires(!detail::is_task<std::remove_cvref_t<A>>)
task<await_result_t<A>> as_task(A a) {
    co_return co_await std::move(a);
}

/// The result of as_task on an awaitable of this type.
template <class A>
using task_result_t = typename decltype(weft::as_task(std::declval<A>()))::value_type;

} // namespace weft
