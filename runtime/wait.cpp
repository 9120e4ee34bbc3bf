// SPDX-License-Identifier: MIT
#include <weft/runtime/wait.hpp>

#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/error.hpp>

#include <fmt/format.h>
#include <memory>
#include <stdexcept>

namespace weft::detail {

namespace {

// Waits until told to go on, or until a deadline.
class change_op : public operation, private timer {
public:
    explicit change_op(time_point deadline) noexcept
        : operation(kind), timer(expired), deadline_(deadline) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    void await_resume() const noexcept {}

    /// Precondition: it is being waited for.
    void tell() noexcept {
        if (active())
            timers().remove(*this);
        waiting_ = false;
        complete();
    }
    [[nodiscard]] bool is_waiting() const noexcept { return waiting_; }
    [[nodiscard]] const strand* who_waits() const noexcept { return waiting_ ? &owner() : nullptr; }

private:
    void start() {
        if (deadline_ != never) {
            try {
                timers().add(*this, deadline_);
            } catch (...) { // no memory for the timer
                owner().leaf = nullptr;
                throw;
            }
        }
        waiting_ = true;
    }
    static void expired(timer& t) noexcept {
        auto& self = static_cast<change_op&>(t);
        self.waiting_ = false;
        self.complete();
    }
    static void cancel_wait(operation& op) noexcept {
        auto& self = static_cast<change_op&>(op);
        if (self.active())
            self.timers().remove(self);
        self.waiting_ = false;
        self.stopped();
    }
    static constexpr operation_type kind{cancel_wait, "wait"};

    time_point deadline_;
    bool waiting_ = false;
};

// Listens to tasks and notes the order in which they end.
class watch {
public:
    explicit watch(const std::vector<spawned*>& records)
        : listeners_(std::make_unique<listener[]>(records.size())), count_(records.size()) {
        ended_.reserve(count_); // noting an end must not need memory
        for (std::size_t i = 0; i < count_; ++i) {
            listener& l = listeners_[i];
            l.owner = this;
            if (records[i]->done) {
                note(i, records[i]->failed);
            } else {
                l.at = records[i];
                l.at->listeners.push(l);
            }
        }
    }
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;
    ~watch() {
        for (std::size_t i = 0; i < count_; ++i) {
            if (listeners_[i].at != nullptr)
                listeners_[i].at->listeners.remove(listeners_[i]);
        }
    }

    /// The places of those that have ended, in that order.
    [[nodiscard]] const std::vector<std::size_t>& ended() const noexcept { return ended_; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] bool all_ended() const noexcept { return ended_.size() == count_; }
    [[nodiscard]] bool any_failed() const noexcept { return any_failed_; }

    /// Told when another one has ended.
    change_op* waiting = nullptr;

private:
    struct listener : end_listener {
        listener() noexcept : end_listener(listens()) {}
        watch* owner = nullptr;
        spawned* at = nullptr; // while it is in its list
    };
    static const end_listener_type& listens() noexcept {
        static constexpr end_listener_type type{task_ended, who_waits};
        return type;
    }
    static const strand* who_waits(const end_listener& l) noexcept {
        const watch& w = *static_cast<const listener&>(l).owner;
        return w.waiting == nullptr ? nullptr : w.waiting->who_waits();
    }
    static void task_ended(end_listener& l, bool failed) noexcept {
        auto& self = static_cast<listener&>(l);
        watch& w = *self.owner;
        self.at = nullptr;
        w.note(static_cast<std::size_t>(&self - w.listeners_.get()), failed);
        if (w.waiting != nullptr && w.waiting->is_waiting())
            w.waiting->tell();
    }
    void note(std::size_t i, bool failed) noexcept {
        ended_.push_back(i);
        any_failed_ = any_failed_ || failed;
    }

    std::unique_ptr<listener[]> listeners_;
    std::size_t count_;
    std::vector<std::size_t> ended_;
    bool any_failed_ = false;
};

bool is_met(const watch& w, return_when policy) noexcept {
    if (w.all_ended())
        return true;
    switch (policy) {
    case return_when::first_completed:
        return !w.ended().empty();
    case return_when::first_exception:
        return w.any_failed();
    case return_when::all_completed:
        break;
    }
    return false;
}

task<wait_result> wait_until_met(std::vector<spawned*> records, return_when policy,
                                 time_point deadline) {
    watch w(records);
    while (!is_met(w, policy) && now() < deadline) {
        change_op change(deadline);
        w.waiting = &change;
        co_await change;
        w.waiting = nullptr;
    }
    std::vector<bool> has_ended(w.size());
    for (std::size_t i : w.ended())
        has_ended[i] = true;
    std::vector<std::size_t> done;
    std::vector<std::size_t> not_done;
    for (std::size_t i = 0; i < w.size(); ++i)
        (has_ended[i] ? done : not_done).push_back(i);
    co_return wait_result(std::move(done), std::move(not_done));
}

async_generator<std::size_t> in_order(std::unique_ptr<watch> w, time_point deadline) {
    for (std::size_t given = 0; given < w->size();) {
        if (given < w->ended().size()) {
            co_yield w->ended()[given];
            ++given;
            continue;
        }
        if (now() >= deadline)
            throw timeout_error(
                fmt::format("{} (of {}) tasks unfinished", w->size() - given, w->size()));
        change_op change(deadline);
        w->waiting = &change;
        co_await change;
        w->waiting = nullptr;
    }
}

void require_tasks(const std::vector<spawned*>& records) {
    for (const spawned* r : records) {
        if (r == nullptr)
            throw std::invalid_argument("a handle without a task can't be waited for");
    }
}

} // namespace

task<wait_result> wait_for_records(std::vector<spawned*> records, return_when policy,
                                   time_point deadline) {
    if (records.empty())
        throw std::invalid_argument("a wait for no task at all");
    require_tasks(records);
    return wait_until_met(std::move(records), policy, deadline);
}

async_generator<std::size_t> records_as_completed(std::vector<spawned*> records,
                                                  time_point deadline) {
    require_tasks(records);
    return in_order(std::make_unique<watch>(records), deadline);
}

} // namespace weft::detail
