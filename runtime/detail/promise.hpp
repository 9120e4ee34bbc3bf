// SPDX-License-Identifier: MIT
// What all coroutines of weft have in common: whom they return to, and the strand that they are
// part of.
//
// Threads:      as the strand's. Cancellation: see runner::unwind. Errors: none. Source: none.
// Cost:         two pointers in each frame; the end of a coroutine is one indirect branch.
#pragma once
#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/runner.hpp>

#include <bit>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <source_location>

namespace weft::detail {

enum class ending : std::uint8_t { finished, stopped };

/// Where a coroutine goes when it ends. Lives in whoever owns the coroutine's frame.
struct continuation {
    /// Called when the coroutine has ended: its frame is suspended at its end (finished) or
    /// destroyed (stopped). When stopped, the answer tells whether the awaiting frame, which must
    /// be there, is to be unwound as well.
    using end_function = bool (*)(continuation&, ending) noexcept;

    continuation() noexcept = default;
    explicit continuation(end_function f) noexcept : on_end(f) {}

    end_function on_end = nullptr; // null: it is a frame_continuation and its frame goes on
    std::coroutine_handle<> child; // the frame that is owned; null once it has been unwound
};

/// The continuation of a coroutine that another one awaits directly.
struct frame_continuation : continuation {
    using continuation::continuation;

    std::coroutine_handle<>
        frame; // null while the child runs on the stack of the awaiting coroutine
    promise_base* promise = nullptr; // of the awaiting coroutine
    std::source_location awaiting_at;
};

struct promise_base {
    struct final_awaiter {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> h) const noexcept {
            promise_base& p = h.promise();
            continuation* c = p.returns_to;
            if (c->on_end == nullptr) [[likely]] {
                // Null: it was started inline, and the starter looks at done().
                if (auto frame = static_cast<frame_continuation*>(c)->frame)
                    p.in->run_by->next_frame = frame;
            } else {
                c->on_end(*c, ending::finished);
            }
        }
        void await_resume() const noexcept {}
    };

    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] final_awaiter final_suspend() const noexcept { return {}; }

    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* block, std::size_t size) noexcept {
        release_frame(block, size);
    }

    continuation* returns_to = nullptr;
    strand* in = nullptr;

    // Before it begins it is in no strand, and whoever starts it may keep a number there.
    void set_number(std::uint32_t n) noexcept { in = std::bit_cast<strand*>(std::uintptr_t{n}); }
    [[nodiscard]] std::uint32_t number() const noexcept {
        return static_cast<std::uint32_t>(std::bit_cast<std::uintptr_t>(in));
    }
};

/// The frame of a coroutine by its promise. Compilers put a promise behind two pointers, whatever
/// it is derived from, if it isn't over-aligned; no promise of weft is.
[[nodiscard]] inline std::coroutine_handle<> frame_of(promise_base& p) noexcept {
    return std::coroutine_handle<promise_base>::from_promise(p);
}

template <class P>
concept weft_promise = std::derived_from<P, promise_base>;

/// Starts a coroutine that `h` awaits, in the same strand: inline, or by the trampoline when the
/// stack is deep. Returns whether `h` stays suspended.
template <weft_promise P>
bool start_inline(std::coroutine_handle<> child, promise_base& child_promise, frame_continuation& c,
                  std::coroutine_handle<P> h, std::source_location where) noexcept {
    WEFT_ASSERT(child, "a task was awaited that has no coroutine, or was moved from");
    promise_base& p = h.promise();
    strand* s = p.in;
    runner* r = s->run_by;
    c.child = child;
    c.promise = &p;
    c.awaiting_at = where;
    child_promise.returns_to = &c;
    child_promise.in = s;
    if (r->depth >= runner::max_depth) [[unlikely]] {
        c.frame = h;
        r->next_frame = child;
        return true;
    }
    ++r->depth;
    child.resume();
    --r->depth;
    if (child.done())
        return false;
    c.frame = h;
    return true;
}

} // namespace weft::detail
