// SPDX-License-Identifier: MIT
#include <weft/runtime/timeout.hpp>

#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <utility>

namespace weft {

namespace {
constexpr detail::operation_type timeout_kind{detail::not_cancelled, "timeout"};
constinit thread_local time_point of_function = never;
} // namespace

time_point current_deadline() noexcept {
    detail::runner* r = detail::runner::current();
    if (r == nullptr || r->current_strand == nullptr)
        return of_function;
    return std::min(of_function, detail::deadline_of(*r->current_strand));
}

time_point detail::deadline_of(const strand& below) noexcept {
    time_point first = never;
    for (const strand* s = &below; (s->flags & strand::shielded) == 0; s = s->parent) {
        if (s->parent == nullptr) {
            if (s->roams) // what is above is on another thread
                first = std::min(
                    first, time_point(duration(static_cast<const fork_strand*>(s)->deadline)));
            break;
        }
        const operation* scope = s->parent->leaf;
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
    if (deadline_ <= now())
        expired_ = true;
    else
        timers().add(*this, deadline_);
}

void timeout_scope::reschedule(time_point when) {
    if (!active_ || expired_)
        throw state_error("a timeout can be moved only while its body runs and before it expired");
    if (active())
        timers().remove(*this);
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
        s.timers().remove(s);
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
