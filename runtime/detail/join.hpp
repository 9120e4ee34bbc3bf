// SPDX-License-Identifier: MIT
// Several branches below one awaiting task, which goes on when all have ended: the common part of
// when_all, when_all_settled and when_any.
//
// Threads:      the runner's. Cancellation: a stop reaches the branches through the tree; the scope
//               waits for all.
// Errors:       none. Cost: no allocation besides the array of branches for a run-time number of
//               them. Source: none.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/deferred.hpp>
#include <weft/runtime/result.hpp>
#include <weft/runtime/unhandled.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <tuple>
#include <vector>

namespace weft::detail {

enum class join_policy : std::uint8_t {
    all,     // the first error stops the others
    settled, // nothing stops the others
    any,     // the first end with a value or an error stops the others
};

class join_scope : public scope_operation {
public:
    static constexpr std::size_t none = ~std::size_t{0};

    struct member : branch {
        member() noexcept : branch(nullptr) {}

        template <class T>
        void set(join_scope& s, std::size_t i, task<T> t) noexcept {
            scope = &s;
            index = i;
            on_end = ended<T>;
            adopt<T>(t.release());
        }
        template <class T>
        static bool ended(continuation& c, ending e) noexcept {
            auto& self = static_cast<member&>(c);
            bool failed = e == ending::finished && self.result_of<T>().failed();
            self.scope->member_ended(self, e, failed);
            return false;
        }
        /// An error that didn't leave the scope: the parent was unwound, or another error left.
        template <class T>
        void report_what_is_left() noexcept {
            if (!child || !result_of<T>().failed())
                return;
            if (std::exception_ptr e = result_of<T>().take_error())
                report_unhandled(scope->type().name, scope->awaited_at(), std::move(e));
        }
        /// The outcome as a value; takes it out of the frame.
        template <class T>
        result<T> settle() {
            if (!child)
                return result<T>::of_stop();
            auto& from = result_of<T>();
            if (from.failed())
                return result<T>::of_error(from.take_error());
            if constexpr (std::is_void_v<T>)
                return result<T>::of_value();
            else
                return result<T>::of_value(from.take());
        }

        join_scope* scope = nullptr;
        std::size_t index = 0;
    };

    /// The first to fail (policy all) or to end other than by a stop (policy any); `none` if there
    /// was none.
    [[nodiscard]] std::size_t first() const noexcept { return first_; }
    [[nodiscard]] std::source_location awaited_at() const noexcept { return owner().awaiting_at; }

protected:
    join_scope(const operation_type& t, join_policy p) noexcept : scope_operation(t), policy_(p) {}
    ~join_scope() = default;

    void start(member* members, std::size_t n) noexcept;

private:
    void member_ended(member& m, ending e, bool failed) noexcept;

    member* members_ = nullptr;
    std::size_t count_ = 0;
    std::size_t left_ = 0;
    std::size_t first_ = none;
    join_policy policy_;
    bool any_stopped_ = false;
};

extern const operation_type when_all_kind, when_all_settled_kind, when_any_kind;

// A fixed number of tasks of different types.
template <join_policy Policy, class... Ts>
class join_tuple : public join_scope {
public:
    join_tuple(const operation_type& kind, task<Ts>... tasks) noexcept : join_scope(kind, Policy) {
        std::size_t i = 0;
        ((members_of_[i].template set<Ts>(*this, i, std::move(tasks)), ++i), ...);
    }
    ~join_tuple() {
        std::size_t i = 0;
        (members_of_[i++].template report_what_is_left<Ts>(), ...);
    }
    [[nodiscard]] bool await_ready() const noexcept { return sizeof...(Ts) == 0; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start(members_of_.data(), sizeof...(Ts));
        return true;
    }

protected:
    std::array<member, sizeof...(Ts)> members_of_;
};

// A run-time number of tasks of one type.
template <join_policy Policy, class T>
class join_vector : public join_scope {
public:
    /// Takes them out of the span.
    join_vector(const operation_type& kind, std::span<task<T>> tasks)
        : join_scope(kind, Policy), members_of_(tasks.size()) {
        for (std::size_t i = 0; i < tasks.size(); ++i)
            members_of_[i].template set<T>(*this, i, std::move(tasks[i]));
    }
    ~join_vector() {
        for (member& m : members_of_)
            m.template report_what_is_left<T>();
    }
    [[nodiscard]] bool await_ready() const noexcept { return members_of_.empty(); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start(members_of_.data(), members_of_.size());
        return true;
    }

protected:
    std::vector<member> members_of_;
};

} // namespace weft::detail
