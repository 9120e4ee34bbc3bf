// SPDX-License-Identifier: MIT
// A strand of its own below an awaiting one, with the coroutine at its root: what scopes (timeouts,
// groups, when_all) are made of. And the operation that the parent waits on meanwhile.
//
// Threads:      the runner's. Cancellation: a stop reaches branches through the tree of strands.
// Errors:       none. Cost: no allocation. Source: none.
#pragma once
#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/task.hpp>

namespace weft::detail {

struct branch;
/// Starts a branch of a scope on a pool, below `above`, on whatever of its threads takes it. Its
/// end is told on the scope's own.
void start_anywhere(branch& b, strand& above) noexcept;

struct branch : strand, continuation {
    explicit branch(end_function f) noexcept : continuation(f) {}
    ~branch() {
        if (child)
            child.destroy();
    }

    /// Takes over a coroutine, which is to run below `above`.
    template <class T>
    void adopt(typename task<T>::handle_type root) noexcept {
        WEFT_ASSERT(root, "a task was run that has no coroutine, or was moved from");
        child = root;
        frame = root;
        promise = &root.promise();
        promise->returns_to = this;
        promise->in = this;
    }

    /// Puts the coroutine into the queue; a stop that comes before its turn means that it never
    /// runs.
    void start_later(strand& above) noexcept {
        enter_tree(above);
        flags |= unstarted;
        run_by->wake(*this);
    }

    /// The same for one that runs beside others: on a pool, on any of its threads.
    void start_beside(strand& above) noexcept {
        if (above.run_by->belongs_to_pool()) [[unlikely]]
            start_anywhere(*this, above);
        else
            start_later(above);
    }

    /// Runs the coroutine next, from within the await that suspends the parent. It shares the
    /// parent's context variables, if the parent takes them back at the end, and is the same to
    /// locks.
    void start_now(strand& above) noexcept {
        enter(above);
        run_now();
    }
    /// The two halves of start_now.
    void enter(strand& above) noexcept {
        enter_tree(above);
        flags |= static_cast<std::uint8_t>(above.flags & own_context);
        in_place = true;
    }
    void run_now() noexcept { run_by->transfer(*this, frame); }
    void return_context(strand& above) noexcept {
        if (context == above.context) [[likely]]
            return;
        std::swap(context, above.context);
        above.flags |= own_context; // only a set changes it
    }

    template <class T>
    [[nodiscard]] outcome<T>& result_of() const noexcept {
        return std::coroutine_handle<task_promise<T>>::from_address(child.address())
            .promise()
            .result;
    }
};

/// What a parent waits on while branches run. It is not cancelled itself: its branches are.
class scope_operation : public operation {
protected:
    explicit scope_operation(const operation_type& t) noexcept : operation(t) {}
    ~scope_operation() = default;

    /// From the end of a branch: the parent goes on, or is unwound as well.
    void resume_parent() noexcept { owner().run_by->transfer(owner(), owner().frame); }
    void unwind_parent() noexcept { owner().run_by->transfer_unwind(owner()); }
};

inline void not_cancelled(operation&) noexcept {}

} // namespace weft::detail
