// SPDX-License-Identifier: MIT
// Runs several awaitables at once and waits for the first to end; the others are stopped and
// awaited.
//
//     weft::task<int> either(weft::task<int> a, weft::task<int> b) {
//         auto first = co_await weft::when_any(std::move(a), std::move(b));
//         co_return first.index() == 0 ? first.value<0>() : first.value<1>();
//     }
//
// Threads:      the task's loop.
// Cancellation: a stop reaches all of them, and is waited for.
// Errors:       an error counts as an end: value<I>() of the winner throws it.
//               std::invalid_argument for an empty vector.
// Cost:         as when_all.
// Source:       asyncio.wait with FIRST_COMPLETED. A loser that got a value in the race has it in
//               results(): whoever races for items, locks or connections looks there, so that
//               nothing is lost.
#pragma once
#include <weft/runtime/detail/join.hpp>

#include <stdexcept>

namespace weft {

/// What when_any gives for a fixed number of awaitables.
template <class... Ts>
class [[nodiscard]] first_of {
public:
    first_of(std::size_t index, std::tuple<result<Ts>...> results) noexcept
        : index_(index), results_(std::move(results)) {}
    /// Who ended first.
    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    /// The value of the I-th. Throws its error, or cancelled_error if it was stopped.
    template <std::size_t I>
    decltype(auto) value() {
        return std::move(std::get<I>(results_)).value();
    }
    /// All outcomes.
    [[nodiscard]] std::tuple<result<Ts>...>& results() noexcept { return results_; }

private:
    std::size_t index_;
    std::tuple<result<Ts>...> results_;
};

/// What when_any gives for a vector of tasks.
template <class T>
class [[nodiscard]] first_of_many {
public:
    first_of_many(std::size_t index, std::vector<result<T>> results) noexcept
        : index_(index), results_(std::move(results)) {}
    [[nodiscard]] std::size_t index() const noexcept { return index_; }
    /// The winner's value. Throws its error.
    T value() { return std::move(results_[index_]).value(); }
    [[nodiscard]] std::vector<result<T>>& results() noexcept { return results_; }

private:
    std::size_t index_;
    std::vector<result<T>> results_;
};

namespace detail {

template <class... Ts>
class [[nodiscard]] when_any_op : public join_tuple<join_policy::any, Ts...> {
public:
    explicit when_any_op(task<Ts>... t) noexcept
        : join_tuple<join_policy::any, Ts...>(when_any_kind, std::move(t)...) {}
    first_of<Ts...> await_resume() { return collect(std::index_sequence_for<Ts...>()); }

private:
    template <std::size_t... I>
    first_of<Ts...> collect(std::index_sequence<I...>) {
        return first_of<Ts...>(this->first(), std::tuple<result<Ts>...>(
                                                  this->members_of_[I].template settle<Ts>()...));
    }
};

template <class T>
class [[nodiscard]] when_any_vector_op : public join_vector<join_policy::any, T> {
public:
    explicit when_any_vector_op(std::vector<task<T>> t)
        : join_vector<join_policy::any, T>(when_any_kind, t) {}
    first_of_many<T> await_resume() {
        std::vector<result<T>> results;
        results.reserve(this->members_of_.size());
        for (auto& m : this->members_of_)
            results.push_back(m.template settle<T>());
        return first_of_many<T>(this->first(), std::move(results));
    }
};

} // namespace detail

template <awaitable... As>
    requires(sizeof...(As) > 0)
[[nodiscard]] auto when_any(As... as) {
    using op = detail::when_any_op<task_result_t<As>...>;
    return detail::deferred<op, task<task_result_t<As>>...>(weft::as_task(std::move(as))...);
}
template <class T>
[[nodiscard]] auto when_any(std::vector<task<T>> tasks) {
    if (tasks.empty())
        throw std::invalid_argument("when_any of nothing would wait for ever");
    return detail::deferred<detail::when_any_vector_op<T>, std::vector<task<T>>>(std::move(tasks));
}

} // namespace weft
