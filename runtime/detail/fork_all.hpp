// SPDX-License-Identifier: MIT
// when_all for a coroutine whose children other threads may steal, and the choice between that and
// the one for a loop, which is made when it is awaited.
//
// Threads:      those of a pool. Cancellation: see fork.hpp. Errors: as when_all's.
// Cost:         see fork.hpp. Source: none.
#pragma once
#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/result.hpp>

#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <tuple>
#include <vector>

namespace weft::detail {

class fork_all_scope : public fork_scope {
protected:
    using fork_scope::fork_scope;
    ~fork_all_scope() = default;

    template <class T>
    [[nodiscard]] static outcome<T>& result_of(promise_base& root) noexcept {
        static_assert(alignof(task_promise<T>) <= alignof(std::max_align_t), "see frame_of()");
        return static_cast<task_promise<T>&>(root).result;
    }
    /// Precondition: it has one.
    template <class T>
    static unit_for<T> value_of(promise_base& root) {
        if constexpr (std::is_void_v<T>)
            return unit();
        else
            return static_cast<T&&>(result_of<T>(root).value());
    }
    /// An error that didn't leave the scope.
    template <class T>
    void report_what_is_left(promise_base& root) noexcept {
        if (result_of<T>(root).failed())
            report(result_of<T>(root).take_error());
    }
    template <class T>
    void dispose(promise_base* root) noexcept {
        if (root == nullptr)
            return;
        report_what_is_left<T>(*root);
        frame_of(*root).destroy();
    }

private:
    void report(std::exception_ptr e) noexcept;
};

template <class... Ts>
class [[nodiscard]] fork_all_op : public fork_all_scope {
public:
    explicit fork_all_op(task<Ts>... tasks) noexcept
        : fork_all_scope(sizeof...(Ts), type), roots_{&tasks.release().promise()...} {}
    ~fork_all_op() {
        if (special()) [[unlikely]] {
            std::size_t i = 0;
            (dispose<Ts>(roots_[i++]), ...);
        } else {
            for (promise_base* root : roots_)
                frame_of(*root).destroy();
        }
    }
    [[nodiscard]] bool await_ready() const noexcept { return sizeof...(Ts) == 0; }
    template <weft_promise P>
    [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<P> h,
                                              std::source_location where) {
        return !begin(h, where, sizeof...(Ts)) || run(*this, sizeof...(Ts));
    }
    std::tuple<unit_for<Ts>...> await_resume() {
        if (first() != none) [[unlikely]]
            std::rethrow_exception(first_error());
        return values(std::index_sequence_for<Ts...>());
    }

private:
    friend fork_scope;

    static const fork_type type;

    [[nodiscard]] promise_base& root(std::uint32_t i) const noexcept { return *roots_[i]; }
    [[nodiscard]] bool failed(std::uint32_t i) const noexcept {
        std::uint32_t at = 0;
        return ((at++ == i && result_of<Ts>(*roots_[i]).failed()) || ...);
    }
    std::exception_ptr first_error() noexcept {
        std::exception_ptr e;
        std::uint32_t i = 0;
        ((i == first() ? void(e = result_of<Ts>(*roots_[i]).take_error()) : void(), ++i), ...);
        return e;
    }
    template <std::size_t... I>
    std::tuple<unit_for<Ts>...> values(std::index_sequence<I...>) {
        return std::tuple<unit_for<Ts>...>(value_of<Ts>(*roots_[I])...);
    }

    std::array<promise_base*, sizeof...(Ts)> roots_; // null: the frame is gone
};

template <class... Ts>
const fork_type fork_all_op<Ts...>::type{
    [](const fork_scope& s, std::uint32_t i) noexcept {
        return static_cast<const fork_all_op&>(s).failed(i);
    },
    [](fork_scope& s, std::uint32_t i) noexcept {
        static_cast<fork_all_op&>(s).roots_[i] = nullptr;
    },
};

/// Of a run-time number: `Tasks` owns them (a vector), or is a view of them (a span).
template <class T, class Tasks>
class [[nodiscard]] fork_all_range_op : public fork_all_scope {
public:
    explicit fork_all_range_op(Tasks tasks) noexcept
        : fork_all_scope(static_cast<std::uint32_t>(tasks.size()), type), tasks_(std::move(tasks)) {
    }
    ~fork_all_range_op() {
        if (special()) [[unlikely]]
            report_what_is_left();
        for (task<T>& t : tasks_)
            t.reset();
    }
    [[nodiscard]] bool await_ready() const noexcept { return tasks_.empty(); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h, std::source_location where) {
        auto n = static_cast<std::uint32_t>(tasks_.size());
        return !begin(h, where, n) || run(*this, n);
    }
    auto await_resume() {
        if (first() != none) [[unlikely]]
            std::rethrow_exception(result_of<T>(root(first())).take_error());
        if constexpr (!std::is_void_v<T>) {
            std::vector<T> values;
            values.reserve(tasks_.size());
            for (task<T>& t : tasks_)
                values.push_back(value_of<T>(t.frame().promise()));
            return values;
        }
    }

private:
    friend fork_scope;

    static const fork_type type;

    [[nodiscard]] promise_base& root(std::uint32_t i) const noexcept {
        return tasks_[i].frame().promise();
    }
    [[nodiscard]] bool failed(std::uint32_t i) const noexcept {
        return result_of<T>(root(i)).failed();
    }
    void report_what_is_left() noexcept {
        for (task<T>& t : tasks_)
            if (t)
                fork_all_scope::report_what_is_left<T>(t.frame().promise());
    }

    Tasks tasks_; // empty: the frame is gone
};

template <class T, class Tasks>
const fork_type fork_all_range_op<T, Tasks>::type{
    [](const fork_scope& s, std::uint32_t i) noexcept {
        return static_cast<const fork_all_range_op&>(s).failed(i);
    },
    [](fork_scope& s, std::uint32_t i) noexcept {
        static_cast<void>(static_cast<fork_all_range_op&>(s).tasks_[i].release());
    },
};

/// One of two operations that are made of the same: `Fork` if the coroutine that awaits it runs on
/// a pool, and may share its children, else `Join`.
template <class Join, class Fork>
class [[nodiscard]] join_or_fork {
public:
    template <class... Args>
    [[gnu::always_inline]] explicit join_or_fork(Args&&... args) : forks_(can_fork()) {
        if (forks_)
            std::construct_at(&fork_, std::forward<Args>(args)...);
        else
            std::construct_at(&join_, std::forward<Args>(args)...);
    }
    join_or_fork(const join_or_fork&) = delete;
    join_or_fork& operator=(const join_or_fork&) = delete;
    ~join_or_fork() {
        if (forks_)
            fork_.~Fork();
        else
            join_.~Join();
    }
    [[nodiscard]] bool await_ready() const noexcept {
        return forks_ ? fork_.await_ready() : join_.await_ready();
    }
    template <weft_promise P>
    [[gnu::always_inline]] bool
    await_suspend(std::coroutine_handle<P> h,
                  std::source_location where = std::source_location::current()) {
        return forks_ ? fork_.await_suspend(h, where) : join_.await_suspend(h, where);
    }
    decltype(auto) await_resume() { return forks_ ? fork_.await_resume() : join_.await_resume(); }

private:
    bool forks_;
    union {
        Join join_;
        Fork fork_;
    };
};

} // namespace weft::detail
