// SPDX-License-Identifier: MIT
#include <weft/executors/scheduler.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/when_any.hpp>

#include <compare>
#include <map>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

namespace weft::detail {

struct scheduler_core::state {
    struct place {
        std::int64_t when;
        int priority;
        std::uint64_t id; // in the order of entry
        friend auto operator<=>(const place&, const place&) = default;
    };
    struct action {
        std::int64_t every;
        std::unique_ptr<scheduled_action> what;
    };
    using list = std::map<place, action>;

    mutable std::mutex mutex; // for all that follows
    list actions;
    std::unordered_map<std::uint64_t, place> places; // of those in the list, and of what runs
    std::uint64_t last_id = 0;
    bool running = false; // somebody is in run or run_pending
};

// One action while it runs, on all ways out.
class scheduler_core::turn {
public:
    turn(scheduler_core& s, state::list::node_type taken) noexcept
        : of_(s), taken_(std::move(taken)) {}
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn() {
        state& s = *of_.state_;
        const std::uint64_t id = taken_.key().id;
        const std::int64_t every = taken_.mapped().every;
        const std::int64_t now = every > 0 ? of_.now_ns() : 0;
        state::list::node_type gone; // is destroyed without the lock
        std::lock_guard lock(s.mutex);
        auto at = s.places.find(id);
        if (at == s.places.end() || every == 0) { // it was cancelled meanwhile, or doesn't repeat
            if (at != s.places.end())
                s.places.erase(at);
            gone = std::move(taken_);
            return;
        }
        time_point next = saturated_sum(time_point(duration(taken_.key().when)), duration(every));
        const std::int64_t behind = now - next.time_since_epoch().count();
        if (behind >= 0)
            next = saturated_sum(next, duration((behind / every + 1) * every));
        taken_.key().when = next.time_since_epoch().count();
        at->second = taken_.key();
        s.actions.insert(std::move(taken_));
    }
    task<> call() { return taken_.mapped().what->call(); }

private:
    scheduler_core& of_;
    state::list::node_type taken_;
};

namespace {

// Lets one task in at a time.
class in_turn {
public:
    in_turn(std::mutex& m, bool& running) : mutex_(m), running_(running) {
        std::lock_guard lock(mutex_);
        if (running_)
            throw state_error("another task runs this scheduler");
        running_ = true;
    }
    in_turn(const in_turn&) = delete;
    in_turn& operator=(const in_turn&) = delete;
    ~in_turn() {
        std::lock_guard lock(mutex_);
        running_ = false;
    }

private:
    std::mutex& mutex_;
    bool& running_;
};

} // namespace

scheduler_core::scheduler_core() : state_(std::make_unique<state>()) {}

scheduler_core::~scheduler_core() = default;

std::uint64_t scheduler_core::enter(std::int64_t when, int priority, std::int64_t every,
                                    std::unique_ptr<scheduled_action> a) {
    if (every < 0)
        throw std::invalid_argument("an action that repeats needs some time in between");
    bool is_first;
    std::uint64_t id;
    {
        std::lock_guard lock(state_->mutex);
        id = state_->last_id + 1;
        state::place p{when, priority, id};
        auto [at, fresh] = state_->actions.try_emplace(p, state::action{every, std::move(a)});
        try {
            state_->places.emplace(id, p);
        } catch (...) {
            state_->actions.erase(at);
            throw;
        }
        state_->last_id = id;
        is_first = at == state_->actions.begin();
    }
    if (is_first)
        changed_.set();
    return id;
}

bool scheduler_core::cancel(std::uint64_t id) noexcept {
    state::list::node_type gone; // is destroyed without the lock
    {
        std::lock_guard lock(state_->mutex);
        auto at = state_->places.find(id);
        if (at == state_->places.end())
            return false;
        gone = state_->actions.extract(at->second);
        state_->places.erase(at);
    }
    changed_.set();
    return true;
}

void scheduler_core::clear() noexcept {
    state::list gone;
    {
        std::lock_guard lock(state_->mutex);
        gone.swap(state_->actions);
        state_->places.clear();
    }
    changed_.set();
}

bool scheduler_core::empty() const noexcept {
    std::lock_guard lock(state_->mutex);
    return state_->actions.empty();
}

std::vector<scheduler_core::pending> scheduler_core::queue() const {
    std::vector<pending> all;
    std::lock_guard lock(state_->mutex);
    all.reserve(state_->actions.size());
    for (const auto& [p, a] : state_->actions)
        all.push_back({p.when, p.priority, p.id, a.every});
    return all;
}

task<std::optional<std::int64_t>> scheduler_core::run_due() {
    while (true) {
        changed_.clear(); // before the look: what is entered after it sets it
        const std::int64_t now = now_ns();
        state::list::node_type due;
        {
            std::lock_guard lock(state_->mutex);
            auto first = state_->actions.begin();
            if (first == state_->actions.end())
                co_return std::nullopt;
            if (first->first.when > now)
                co_return first->first.when - now;
            if (first->second.every == 0)
                state_->places.erase(first->first.id); // too late to cancel it
            due = state_->actions.extract(first);
        }
        {
            turn t(*this, std::move(due));
            auto call = t.call();
            co_await std::move(call);
        }
        co_await yield();
    }
}

task<std::optional<std::int64_t>> scheduler_core::run_pending() {
    in_turn mine(state_->mutex, state_->running);
    co_return co_await run_due();
}

task<> scheduler_core::run() {
    in_turn mine(state_->mutex, state_->running);
    while (true) {
        std::optional<std::int64_t> left = co_await run_due();
        if (!left)
            co_return;
        co_await delay_ns(*left);
    }
}

task<> scheduler_core::delay_ns(std::int64_t d) { co_await changed_.wait_for(duration(d)); }

task<> delay_or_change(task<> delay, event& changed) {
    auto first = when_any(std::move(delay), weft::as_task(changed.wait()));
    static_cast<void>(co_await std::move(first));
}

} // namespace weft::detail
