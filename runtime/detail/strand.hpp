// SPDX-License-Identifier: MIT
// One line of execution: a root coroutine and those that it awaits directly, one inside the other.
// At most one of them is suspended at its innermost await, so a strand has one place to be resumed
// at, one operation that it waits for, one stop state and one set of context variables. Strands
// form the tree of tasks: whoever starts one is its parent.
//
// Threads:      a strand belongs to its runner; only `post` of the runner may be called from
//               elsewhere.
// Cancellation: `request_stop` marks a strand and all below it, and asks what they wait for to end.
//               It never runs a coroutine: who is stopped is unwound later, by the runner.
// Errors:       none. Cost: a stop visits the strands below once; everything else is O(1) without
//               allocation.
// Source:       none; the tree is walked without recursion, so its depth has no limit.
#pragma once
#include <weft/runtime/detail/work.hpp>

#include <coroutine>
#include <cstdint>
#include <source_location>

namespace weft::detail {

class runner;
class operation;
struct promise_base;
struct context_data;

void retain_context(context_data* c) noexcept;
void release_context(context_data* c) noexcept;

struct strand : work {
    enum flag : std::uint8_t {
        scheduled = 1,    // in a queue; what it waited for has ended
        unwinding = 2,    // to be unwound instead of resumed
        unstarted = 4,    // the root has not run yet: a stop means that it never will
        stopping = 8,     // a stop was asked of it or of a strand above
        shielded = 16,    // stops from above don't reach it
        own_context = 32, // `context` was made for it: see context_data.hpp
        cancelled = 64,   // `leaf` has been asked to end, which it is once at most
        joinable = 128,   // a started task: others may wait for its end
    };

    strand() noexcept = default;
    strand(const strand&) = delete;
    strand& operator=(const strand&) = delete;
    ~strand() {
        if (parent != nullptr)
            leave_tree();
        if (context != nullptr)
            release_context(context);
    }

    /// Makes it a child of `p`: same runner, same context variables; a stop that was asked of `p`
    /// holds for it too.
    void enter_tree(strand& p) noexcept {
        parent = &p;
        run_by = p.run_by;
        next_sibling = p.first_child;
        if (next_sibling != nullptr)
            next_sibling->previous_sibling = this;
        p.first_child = this;
        if ((flags & shielded) == 0)
            flags |= static_cast<std::uint8_t>(p.flags & stopping);
        if (context == nullptr && p.context != nullptr) {
            context = p.context;
            retain_context(context);
        }
    }

    void leave_tree() noexcept {
        if (previous_sibling != nullptr)
            previous_sibling->next_sibling = next_sibling;
        else
            parent->first_child = next_sibling;
        if (next_sibling != nullptr)
            next_sibling->previous_sibling = previous_sibling;
        parent = next_sibling = previous_sibling = nullptr;
    }

    [[nodiscard]] bool stop_pending() const noexcept { return (flags & stopping) != 0; }

    /// Asks for a stop; the first request reaches everything below that isn't shielded.
    void request_stop() noexcept;
    /// Takes one request back. When none is left and none holds from above, a stop that nobody
    /// noticed is forgotten.
    void withdraw_stop() noexcept;

    std::coroutine_handle<> frame;   // the innermost suspended coroutine
    promise_base* promise = nullptr; // its promise
    operation* leaf = nullptr;       // what it waits for; null while the strand runs
    runner* run_by = nullptr;
    strand* parent = nullptr;
    strand* first_child = nullptr;
    strand* next_sibling = nullptr;
    strand* previous_sibling = nullptr;
    context_data* context = nullptr;
    std::source_location awaiting_at; // where the innermost await stands
    std::source_location spawned_at;
    const char* name = nullptr;
    std::uint64_t identity = 0; // who it is to locks, once that was asked: see identity.hpp
    std::uint32_t stop_requests = 0;
    std::uint8_t flags = 0;
    bool in_place = false; // goes on in place of its parent, which waits for nothing else
    bool roams = false;    // a fork_strand: see fork.hpp
};

} // namespace weft::detail
