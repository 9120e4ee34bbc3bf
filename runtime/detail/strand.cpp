// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/strand.hpp>

#include <weft/runtime/detail/operation.hpp>

namespace weft::detail {

namespace {

// The strand after `s` in a walk of the tree below `root` that visits parents first.
strand* after(strand& s, const strand& root, bool into_children) noexcept {
    if (into_children && s.first_child != nullptr)
        return s.first_child;
    for (strand* at = &s; at != &root; at = at->parent) {
        WEFT_ASSERT(at != nullptr, "a walk of the task tree left it at the top");
        if (at->next_sibling != nullptr)
            return at->next_sibling;
    }
    return nullptr;
}

} // namespace

void strand::request_stop() noexcept {
    ++stop_requests;
    if (stop_pending())
        return;
    for (strand* s = this; s != nullptr;) {
        // Below a strand that is stopping already everything that a stop can reach is stopping too.
        bool reached = s == this || (s->flags & (shielded | stopping)) == 0;
        if (reached) {
            s->flags |= stopping;
            if (s->leaf != nullptr && (s->flags & (scheduled | cancelled)) == 0) {
                s->flags |= cancelled;
                s->leaf->type().cancel(*s->leaf);
            }
        }
        s = after(*s, *this, reached);
    }
}

void strand::withdraw_stop() noexcept {
    if (stop_requests == 0)
        return;
    --stop_requests;
    for (strand* s = this; s != nullptr;) {
        bool from_above =
            s->parent != nullptr && (s->flags & shielded) == 0 && s->parent->stop_pending();
        bool still = s->stop_requests != 0 || from_above;
        if (!still)
            s->flags &= static_cast<std::uint8_t>(~stopping);
        s = after(*s, *this, !still);
    }
}

void runner::unwind(strand& s) noexcept {
    s.flags &= static_cast<std::uint8_t>(~strand::unwinding);
    std::coroutine_handle<> frame = s.frame;
    promise_base* promise = s.promise;
    while (true) {
        // The innermost first, as an exception would: its destructors may still use what the outer
        // frames hold.
        continuation* c = promise->returns_to;
        c->child = nullptr;
        frame.destroy();
        if (c->on_end != nullptr && !c->on_end(*c, ending::stopped))
            return;
        auto* outer = static_cast<frame_continuation*>(c);
        frame = outer->frame;
        promise = outer->promise;
    }
}

} // namespace weft::detail
