// SPDX-License-Identifier: MIT
// when_all for a coroutine whose children other threads may steal, and the choice between that and
// the one for a loop, which is made when it is awaited.
//
// Threads:      those of a pool. Cancellation: see fork.hpp. Errors: as when_all's.
// Cost:         see fork.hpp; an array for a run-time number of children. Source: none.
#pragma once
#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/result.hpp>

#include <array>
#include <exception>
#include <memory>
#include <tuple>
#include <vector>

namespace weft::detail {

class fork_all_scope : public fork_scope {
protected:
    using fork_scope::fork_scope;
    ~fork_all_scope() = default;

    template <class T>
    void adopt(fork_child& c, task<T> t) noexcept {
        auto h = t.release();
        c.child = h;
        c.root = &h.promise();
        c.scope = this;
    }
    template <class T>
    [[nodiscard]] static outcome<T>& result_of(const fork_child& c) noexcept {
        return static_cast<task_promise<T>*>(c.root)->result;
    }
    template <class T>
    static bool ended(continuation& c, ending e) noexcept {
        auto& self = static_cast<fork_child&>(c);
        child_ended(self, e, e == ending::finished && result_of<T>(self).failed());
        return false;
    }
    template <class T>
    static unit_for<T> value_of(const fork_child& c) {
        if constexpr (std::is_void_v<T>)
            return unit();
        else
            return result_of<T>(c).take();
    }
    /// Destroys a child's frame. An error that didn't leave the scope is reported.
    template <class T>
    void dispose(fork_child& c) noexcept {
        if (!c.child)
            return;
        if (result_of<T>(c).failed()) [[unlikely]]
            report(result_of<T>(c).take_error());
        c.child.destroy();
    }

private:
    void report(std::exception_ptr e) noexcept;
};

template <class... Ts>
class [[nodiscard]] fork_all_op : public fork_all_scope {
public:
    explicit fork_all_op(task<Ts>... tasks) noexcept : fork_all_scope(sizeof...(Ts), ends, false) {
        children_ = members_.data();
        std::size_t i = 0;
        (adopt<Ts>(members_[i++], std::move(tasks)), ...);
    }
    ~fork_all_op() {
        std::size_t i = 0;
        (dispose<Ts>(members_[i++]), ...);
    }
    [[nodiscard]] bool await_ready() const noexcept { return sizeof...(Ts) == 0; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h, std::source_location where) {
        return !begin(h, where) || run([this](std::uint32_t i) noexcept {
            static_cast<void>(this); // an empty pack has no use for it
            std::size_t at = 0;
            return ((at++ == i && result_of<Ts>(members_[i]).failed()) || ...);
        });
    }
    std::tuple<unit_for<Ts>...> await_resume() {
        if (first() != none) [[unlikely]] {
            std::exception_ptr e;
            std::size_t i = 0;
            ((i == first() ? void(e = result_of<Ts>(members_[i]).take_error()) : void(), ++i), ...);
            std::rethrow_exception(std::move(e));
        }
        return values(std::index_sequence_for<Ts...>());
    }

private:
    static constexpr end_function ends[] = {ended<Ts>..., nullptr};

    template <std::size_t... I>
    std::tuple<unit_for<Ts>...> values(std::index_sequence<I...>) {
        return std::tuple<unit_for<Ts>...>(value_of<Ts>(members_[I])...);
    }

    std::array<fork_child, sizeof...(Ts)> members_;
};

template <class T>
class [[nodiscard]] fork_all_vector_op : public fork_all_scope {
public:
    explicit fork_all_vector_op(std::vector<task<T>> tasks)
        : fork_all_vector_op(tasks, std::make_unique<fork_child[]>(tasks.size())) {}
    ~fork_all_vector_op() {
        for (std::size_t i = 0; i < size_; ++i)
            dispose<T>(members_[i]);
    }
    [[nodiscard]] bool await_ready() const noexcept { return size_ == 0; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h, std::source_location where) {
        return !begin(h, where) ||
               run([this](std::uint32_t i) noexcept { return result_of<T>(members_[i]).failed(); });
    }
    auto await_resume() {
        if (first() != none) [[unlikely]]
            std::rethrow_exception(result_of<T>(members_[first()]).take_error());
        if constexpr (!std::is_void_v<T>) {
            std::vector<T> values;
            values.reserve(size_);
            for (std::size_t i = 0; i < size_; ++i)
                values.push_back(result_of<T>(members_[i]).take());
            return values;
        }
    }

private:
    static constexpr end_function ends[] = {ended<T>};

    fork_all_vector_op(std::vector<task<T>>& tasks, std::unique_ptr<fork_child[]> members)
        : fork_all_scope(static_cast<std::uint32_t>(tasks.size()), ends, true),
          members_(std::move(members)), size_(tasks.size()) {
        children_ = members_.get();
        for (std::size_t i = 0; i < size_; ++i)
            adopt<T>(members_[i], std::move(tasks[i]));
    }

    std::unique_ptr<fork_child[]> members_;
    std::size_t size_;
};

/// One of two operations that are made of the same: `Fork` if the coroutine that awaits it runs on
/// a pool, and may share its children, else `Join`.
template <class Join, class Fork>
class [[nodiscard]] join_or_fork {
public:
    template <class... Args>
    explicit join_or_fork(Args&&... args) : forks_(can_fork()) {
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
    bool await_suspend(std::coroutine_handle<P> h,
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
