// SPDX-License-Identifier: MIT
// The outcome of something awaited, as a value: what it gave, what it threw, or that it was
// stopped.
//
//     weft::task<int> patient(weft::task<int> work) {
//         weft::result<int> r = co_await weft::as_result(std::move(work));
//         if (r.has_value())
//             co_return r.value();
//         co_return r.stopped() ? -1 : -2;         // r.error() holds what it threw
//     }
//
// Threads:      a value like any other.
// Cancellation: a stop becomes the state `stopped`. If it was the awaiting task that was asked to
//               stop, the request stays: the task ends at its next suspension.
// Errors:       value() rethrows the error, or throws cancelled_error if there is none because it
//               was stopped.
// Cost:         the value and a byte; no allocation.
// Source:       after std::expected and the three channels of std::execution.
#pragma once
#include <weft/runtime/error.hpp>

#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

namespace weft {

namespace detail {
struct unit {
    friend bool operator==(unit, unit) noexcept { return true; }
};
template <class T>
using unit_for = std::conditional_t<std::is_void_v<T>, unit, T>;
// A reference is kept as a pointer.
template <class T>
using stored_t = std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>, unit_for<T>>;
struct stopped_tag {};
} // namespace detail

template <class T = void>
class [[nodiscard]] result {
public:
    /// Not there yet: neither value nor error nor stopped.
    result() noexcept {}
    static result of_stop() noexcept { return result(std::in_place_index<3>); }
    static result of_error(std::exception_ptr e) noexcept {
        return result(std::in_place_index<2>, std::move(e));
    }
    template <class... Args>
    static result of_value(Args&&... args) {
        if constexpr (std::is_reference_v<T>)
            return result(std::in_place_index<1>, std::addressof(args)...);
        else
            return result(std::in_place_index<1>, std::forward<Args>(args)...);
    }

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 1; }
    [[nodiscard]] bool stopped() const noexcept { return state_.index() == 3; }
    explicit operator bool() const noexcept { return has_value(); }
    /// What it threw, or null.
    [[nodiscard]] std::exception_ptr error() const noexcept {
        const auto* e = std::get_if<2>(&state_);
        return e == nullptr ? std::exception_ptr() : *e;
    }

    /// The value; throws if there is none.
    decltype(auto) value() & {
        require();
        return access(std::get<1>(state_));
    }
    decltype(auto) value() const& {
        require();
        return access(std::get<1>(state_));
    }
    T value() && {
        require();
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*std::get<1>(state_));
        else if constexpr (!std::is_void_v<T>)
            return std::move(std::get<1>(state_));
    }

private:
    template <std::size_t I, class... Args>
    explicit result(std::in_place_index_t<I> which, Args&&... args)
        : state_(which, std::forward<Args>(args)...) {}

    template <class S>
    static decltype(auto) access(S& s) noexcept {
        if constexpr (std::is_void_v<T>)
            return static_cast<void>(s);
        else if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*s);
        else
            return static_cast<S&>(s);
    }
    void require() const {
        if (const auto* e = std::get_if<2>(&state_))
            std::rethrow_exception(*e);
        if (state_.index() != 1)
            throw cancelled_error();
    }

    std::variant<std::monostate, detail::stored_t<T>, std::exception_ptr, detail::stopped_tag>
        state_;
};

} // namespace weft
