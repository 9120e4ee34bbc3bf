// SPDX-License-Identifier: MIT
// Runs several awaitables at once, on this loop, and waits for all of them.
//
//     weft::task<int> sum(weft::task<int> a, weft::task<int> b) {
//         auto [x, y] = co_await weft::when_all(std::move(a), std::move(b));
//         co_return x + y;
//     }
//
// Threads:      the task's loop; for more cores see `on` and the executors. On a thread pool
//               (executors/on_pool.hpp) other threads take part: see there.
// Cancellation: a stop reaches all of them, and is waited for. What ended with a value in the race
//               is given, if all did.
// Errors:       when_all: the first error stops the others, is kept until they have ended, and is
//               thrown; further ones go to the unhandled-error hook. when_all_settled: nothing is
//               thrown, each has its result.
// Cost:         a fixed number of awaitables: no allocation besides their frames. A vector or a
//               span: one array on a loop, none on a thread pool; and one for the values.
// Source:       asyncio.gather, but structured: nothing goes on in the background.
#pragma once
#include <weft/runtime/detail/fork_all.hpp>
#include <weft/runtime/detail/join.hpp>

#include <span>

namespace weft {

namespace detail {

template <class... Ts>
class [[nodiscard]] when_all_op : public join_tuple<join_policy::all, Ts...> {
public:
    explicit when_all_op(task<Ts>... t) noexcept
        : join_tuple<join_policy::all, Ts...>(when_all_kind, std::move(t)...) {}
    std::tuple<unit_for<Ts>...> await_resume() {
        if (this->first() != join_scope::none)
            std::rethrow_exception(error_of(std::index_sequence_for<Ts...>()));
        return values(std::index_sequence_for<Ts...>());
    }

private:
    template <std::size_t... I>
    std::exception_ptr error_of(std::index_sequence<I...>) {
        std::exception_ptr e;
        ((I == this->first() ? void(e = this->members_of_[I].template result_of<Ts>().take_error())
                             : void()),
         ...);
        return e;
    }
    template <std::size_t I, class T>
    unit_for<T> value() {
        if constexpr (std::is_void_v<T>)
            return unit();
        else
            return this->members_of_[I].template result_of<T>().take();
    }
    template <std::size_t... I>
    std::tuple<unit_for<Ts>...> values(std::index_sequence<I...>) {
        return std::tuple<unit_for<Ts>...>(value<I, Ts>()...);
    }
};

template <class T>
class [[nodiscard]] when_all_vector_op : public join_vector<join_policy::all, T> {
public:
    explicit when_all_vector_op(std::vector<task<T>> t)
        : join_vector<join_policy::all, T>(when_all_kind, t) {}
    explicit when_all_vector_op(std::span<task<T>> t)
        : join_vector<join_policy::all, T>(when_all_kind, t) {}
    auto await_resume() {
        if (this->first() != join_scope::none)
            std::rethrow_exception(
                this->members_of_[this->first()].template result_of<T>().take_error());
        if constexpr (!std::is_void_v<T>) {
            std::vector<T> values;
            values.reserve(this->members_of_.size());
            for (auto& m : this->members_of_)
                values.push_back(m.template result_of<T>().take());
            return values;
        }
    }
};

template <class... Ts>
class [[nodiscard]] when_all_settled_op : public join_tuple<join_policy::settled, Ts...> {
public:
    explicit when_all_settled_op(task<Ts>... t) noexcept
        : join_tuple<join_policy::settled, Ts...>(when_all_settled_kind, std::move(t)...) {}
    std::tuple<result<Ts>...> await_resume() { return results(std::index_sequence_for<Ts...>()); }

private:
    template <std::size_t... I>
    std::tuple<result<Ts>...> results(std::index_sequence<I...>) {
        return std::tuple<result<Ts>...>(this->members_of_[I].template settle<Ts>()...);
    }
};

template <class T>
class [[nodiscard]] when_all_settled_vector_op : public join_vector<join_policy::settled, T> {
public:
    explicit when_all_settled_vector_op(std::vector<task<T>> t)
        : join_vector<join_policy::settled, T>(when_all_settled_kind, t) {}
    std::vector<result<T>> await_resume() {
        std::vector<result<T>> results;
        results.reserve(this->members_of_.size());
        for (auto& m : this->members_of_)
            results.push_back(m.template settle<T>());
        return results;
    }
};

} // namespace detail

/// Gives a tuple of the values, in the order of the arguments; `void` becomes an empty struct.
template <awaitable... As>
[[nodiscard]] auto when_all(As... as) {
    using op = detail::join_or_fork<detail::when_all_op<task_result_t<As>...>,
                                    detail::fork_all_op<task_result_t<As>...>>;
    return detail::deferred<op, task<task_result_t<As>>...>(weft::as_task(std::move(as))...);
}
/// Gives a vector of the values in order; nothing for tasks without one.
template <class T>
[[nodiscard]] auto when_all(std::vector<task<T>> tasks) {
    using tasks_type = std::vector<task<T>>;
    using op = detail::join_or_fork<detail::when_all_vector_op<T>,
                                    detail::fork_all_range_op<T, tasks_type>>;
    return detail::deferred<op, tasks_type>(std::move(tasks));
}
/// The same for tasks that are kept elsewhere, in an array of the caller for instance. They are
/// awaited there, and are empty afterwards.
template <class T, std::size_t N>
[[nodiscard]] auto when_all(std::span<task<T>, N> tasks) {
    using tasks_type = std::span<task<T>>;
    using op = detail::join_or_fork<detail::when_all_vector_op<T>,
                                    detail::fork_all_range_op<T, tasks_type>>;
    return detail::deferred<op, tasks_type>(tasks);
}

/// Gives a tuple of results.
template <awaitable... As>
[[nodiscard]] auto when_all_settled(As... as) {
    using op = detail::when_all_settled_op<task_result_t<As>...>;
    return detail::deferred<op, task<task_result_t<As>>...>(weft::as_task(std::move(as))...);
}
template <class T>
[[nodiscard]] auto when_all_settled(std::vector<task<T>> tasks) {
    return detail::deferred<detail::when_all_settled_vector_op<T>, std::vector<task<T>>>(
        std::move(tasks));
}

} // namespace weft
