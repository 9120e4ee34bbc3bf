// SPDX-License-Identifier: MIT
#include <weft/runtime/task_trace.hpp>

#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/fork.hpp>

#include <utility>

namespace weft {

namespace detail {

std::atomic<bool> tasks_are_traced{false};

namespace {

std::atomic<task_trace_hook> trace_hook{nullptr};

void tell(task_event::kind what, const strand& s) noexcept {
    task_trace_hook hook = trace_hook.load(std::memory_order_acquire); // pairs with its setting
    if (hook == nullptr)
        return;
    task_event e{};
    e.what = what;
    e.task = reinterpret_cast<std::uintptr_t>(&s);
    e.name = s.name == nullptr ? "" : s.name;
    e.started_at = s.spawned_at;
    e.waits_for = "";
    if (what == task_event::suspend) {
        e.at = s.awaiting_at;
        if (s.leaf != nullptr)
            e.waits_for = s.leaf->type().name;
        else if ((s.flags & strand::scheduled) == 0)
            e.waits_for = "when_all"; // those that others took
    }
    hook(e);
}

// Notices the end of the task that a thread runs. What is no fork_strand is a branch, whose end is
// told to its continuation, and may be the last of it: so that tells us first.
class turn {
public:
    explicit turn(strand& s) noexcept : of_(&s), outer_(std::exchange(current, this)) {
        if (!s.roams) {
            auto& b = static_cast<branch&>(s);
            on_end_ = std::exchange(b.on_end, ends);
        }
    }
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn() {
        current = outer_;
        if (on_end_ != nullptr && !ended_)
            static_cast<branch&>(*of_).on_end = on_end_;
    }
    [[nodiscard]] bool ended() const noexcept { return ended_; }

    static void note_end(strand& s) noexcept {
        if (current == nullptr)
            return;
        current->ended_ = true;
        tell(task_event::end, s);
    }

private:
    static bool ends(continuation& c, ending how) noexcept {
        auto& b = static_cast<branch&>(c);
        b.on_end = current->on_end_;
        note_end(b);
        return b.on_end(b, how);
    }
    static constinit thread_local turn* current;

    strand* of_;
    turn* outer_;
    continuation::end_function on_end_ = nullptr;
    bool ended_ = false;
};
constinit thread_local turn* turn::current = nullptr;

} // namespace

void trace_end(strand& s) noexcept { turn::note_end(s); }

void runner::run_traced(work& w) noexcept {
    if (w.run != nullptr) {
        current_strand = nullptr;
        w.run(w);
        drain_traced(nullptr);
        return;
    }
    auto& s = static_cast<strand&>(w);
    tell((s.flags & strand::unstarted) != 0 ? task_event::start : task_event::resume, s);
    bool ended = false;
    {
        turn t(s);
        resume(s);
        ended = t.ended();
    }
    drain_traced(ended ? nullptr : &s);
}

// `on`: whom this thread ran until now, if that hasn't ended. Who hands over to another one waits
// for something; a child of it starts then, and all others go on.
void runner::drain_traced(strand* on) noexcept {
    while (next_frame || next_unwind != nullptr) {
        WEFT_ASSERT(current_strand != nullptr, "a coroutine goes on that belongs to no strand");
        strand& s = *current_strand;
        if (&s != on) {
            if (on != nullptr)
                tell(task_event::suspend, *on);
            tell(on != nullptr && s.parent == on ? task_event::start : task_event::resume, s);
            on = &s;
        }
        turn t(s);
        if (next_frame)
            std::exchange(next_frame, nullptr).resume();
        else
            unwind(*std::exchange(next_unwind, nullptr));
        if (t.ended())
            on = nullptr;
    }
    if (on != nullptr)
        tell(task_event::suspend, *on);
}

} // namespace detail

task_trace_hook set_task_trace_hook(task_trace_hook hook) noexcept {
    task_trace_hook before = detail::trace_hook.exchange(hook, std::memory_order_acq_rel);
    detail::tasks_are_traced.store(hook != nullptr, std::memory_order_relaxed); // a hint
    return before;
}

} // namespace weft
