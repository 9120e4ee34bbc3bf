// SPDX-License-Identifier: MIT
#include <weft/runtime/timeout.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <algorithm>
#include <utility>

namespace weft {

namespace {
constexpr detail::operation_type timeout_kind{detail::not_cancelled, "timeout"};
constinit thread_local time_point of_function = never;
} // namespace

time_point current_deadline() noexcept {
    time_point first = of_function;
    detail::runner* r = detail::runner::current();
    // Only a loop's tasks form a tree that stays as it is while one of them looks.
    if (r == nullptr || r->io() == nullptr)
        return first;
    for (const detail::strand* s = r->current_strand; s != nullptr; s = s->parent) {
        if ((s->flags & detail::strand::shielded) != 0 || s->parent == nullptr)
            break;
        const detail::operation* scope = s->parent->leaf;
        if (scope != nullptr && &scope->type() == &timeout_kind)
            first = std::min(first, static_cast<const timeout_scope*>(scope)->deadline_);
    }
    return first;
}

namespace detail {
deadline_scope::deadline_scope(time_point deadline) noexcept
    : outer_(std::exchange(of_function, deadline)) {}
deadline_scope::~deadline_scope() { of_function = outer_; }
} // namespace detail

timeout_scope::timeout_scope(time_point deadline) noexcept
    : scope_operation(timeout_kind), timer(fired), body_(*this), deadline_(deadline) {}

void timeout_scope::start() {
    try {
        arm();
    } catch (...) { // no memory for the timer: nothing was started
        owner().leaf = nullptr;
        throw;
    }
    active_ = true;
    body_.start_now(owner());
    if (expired_)
        body_.request_stop();
}

void timeout_scope::arm() {
    if (deadline_ == never)
        return;
    if (deadline_ <= io_loop().now())
        expired_ = true;
    else
        io_loop().add_timer(*this, deadline_);
}

void timeout_scope::reschedule(time_point when) {
    if (!active_ || expired_)
        throw state_error("a timeout can be moved only while its body runs and before it expired");
    if (active())
        io_loop().remove_timer(*this);
    time_point before = std::exchange(deadline_, when);
    try {
        arm();
    } catch (...) { // no memory for a first timer: there was none, and there is none
        deadline_ = before;
        throw;
    }
    if (expired_)
        body_.request_stop();
}

void timeout_scope::fired(detail::timer& t) noexcept {
    auto& self = static_cast<timeout_scope&>(t);
    self.expired_ = true;
    self.body_.request_stop();
}

bool timeout_scope::body::ended(continuation& c, detail::ending e) noexcept {
    timeout_scope& s = static_cast<body&>(c).scope;
    s.active_ = false;
    if (s.active())
        s.io_loop().remove_timer(s);
    s.stopped_ = e == detail::ending::stopped;
    s.body_.return_context(s.owner());
    // A stop that was not ours, or that came from outside as well, goes on outwards.
    if (s.stopped_ && (!s.expired_ || s.owner().stop_pending()))
        s.unwind_parent();
    else
        s.resume_parent();
    return false;
}

void timeout_scope::check() const {
    if (stopped_)
        throw timeout_error();
}

} // namespace weft
