// SPDX-License-Identifier: MIT
#include <weft/executors/wait.hpp>

#include <weft/runtime/error.hpp>

#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <unordered_map>

namespace weft::detail {

namespace {

/// When a wait is over.
struct wait_goal {
    return_when policy = return_when::all_completed;
    std::size_t ended = 0; // so many at least, instead of a policy; 0: the policy
};

} // namespace

// Notes the order in which futures end. Each future that it listens to holds it, because it may be
// telling of its end while nobody waits any more. It has no handles of the futures, so that whoever
// gets one from as_completed may be the only one who has.
class future_watch {
public:
    explicit future_watch(const std::vector<future_hold>& futures) {
        std::unordered_map<const future_record*, std::size_t> seen;
        futures_.reserve(futures.size());
        first_.reserve(futures.size());
        for (std::size_t i = 0; i < futures.size(); ++i) {
            if (futures[i].get() == nullptr)
                throw std::invalid_argument("an empty future can't be waited for");
            futures_.emplace_back(*futures[i].get());
            auto [place, fresh] = seen.try_emplace(futures[i].get(), i);
            first_.push_back(place->second);
            count_ += fresh ? 1 : 0;
        }
        listeners_ = std::make_unique<listener[]>(futures_.size());
        ended_.reserve(count_); // noting an end must not need memory
    }
    future_watch(const future_watch&) = delete;
    future_watch& operator=(const future_watch&) = delete;

    // By then it must be in the hands of a reference.
    void begin() noexcept {
        for (std::size_t i = 0; i < futures_.size(); ++i) {
            listener& l = listeners_[i];
            if (first_[i] != i)
                continue;
            l.watch = this;
            references_.fetch_add(1, std::memory_order_relaxed);
            l.listens = futures_[i]->core.listen(l);
            if (!l.listens) {
                note(i, futures_[i]->ended() && futures_[i]->failed());
                references_.fetch_sub(1, std::memory_order_relaxed); // the caller has another one
            }
        }
    }
    /// Nobody waits any more.
    void leave() noexcept {
        for (std::size_t i = 0; i < futures_.size(); ++i) {
            listener& l = listeners_[i];
            if (l.listens && futures_[i]->core.stop_listening(l))
                release();
        }
        release();
    }

    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    /// The places of those that have ended.
    [[nodiscard]] std::vector<std::size_t> ended() const {
        std::vector<std::size_t> copy;
        copy.reserve(count_);
        short_hold held(lock_);
        copy = ended_; // there is room
        return copy;
    }
    /// That of one of them, in that order; nothing if so many haven't ended.
    [[nodiscard]] std::optional<std::size_t> ended(std::size_t n) const noexcept {
        short_hold held(lock_);
        return n < ended_.size() ? std::optional(ended_[n]) : std::nullopt;
    }
    [[nodiscard]] const std::vector<std::size_t>& first_places() const noexcept { return first_; }

    // What the waiting operation calls.
    [[nodiscard]] bool is_met(const wait_goal& g) const noexcept {
        short_hold held(lock_);
        return met(g);
    }
    bool enter(waiter& w, const wait_goal& g) noexcept {
        short_hold held(lock_);
        if (met(g))
            return !w.claim();
        goal_ = g;
        line_.push(w);
        return true;
    }
    bool leave(waiter& w) noexcept {
        short_hold held(lock_);
        return line_.remove_if_there(w);
    }

private:
    class record_ref {
    public:
        explicit record_ref(future_record& r) noexcept : it_(&r) { r.retain(); }
        record_ref(record_ref&& other) noexcept : it_(std::exchange(other.it_, nullptr)) {}
        record_ref& operator=(record_ref&&) = delete;
        ~record_ref() {
            if (it_ != nullptr)
                it_->release();
        }
        future_record* operator->() const noexcept { return it_; }

    private:
        future_record* it_;
    };
    struct listener : end_listener {
        listener() noexcept : end_listener(type_of_listener()) {}
        future_watch* watch = nullptr;
        bool listens = false;
    };
    static const end_listener_type& type_of_listener() noexcept {
        static constexpr end_listener_type type{told, nullptr};
        return type;
    }
    static void told(end_listener& l, bool failed) noexcept {
        auto& self = static_cast<listener&>(l);
        future_watch& w = *self.watch;
        w.note(static_cast<std::size_t>(&self - w.listeners_.get()), failed);
        w.release();
    }
    void note(std::size_t i, bool failed) noexcept {
        woken_list woken;
        {
            short_hold held(lock_);
            ended_.push_back(i);
            any_failed_ = any_failed_ || failed;
            if (met(goal_))
                woken.take_all(line_);
        }
        woken.wake();
    }
    [[nodiscard]] bool met(const wait_goal& g) const noexcept {
        if (ended_.size() == count_)
            return true;
        if (g.ended != 0)
            return ended_.size() >= g.ended;
        switch (g.policy) {
        case return_when::first_completed:
            return !ended_.empty();
        case return_when::first_exception:
            return any_failed_;
        case return_when::all_completed:
            break;
        }
        return false;
    }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete this;
    }

    std::vector<record_ref> futures_;
    std::vector<std::size_t> first_; // for each place, where its future stands first
    std::unique_ptr<listener[]> listeners_;
    std::size_t count_ = 0; // of different futures
    std::atomic<std::size_t> references_{1};
    mutable short_lock<> lock_; // for all that follows
    std::vector<std::size_t> ended_;
    bool any_failed_ = false;
    wait_list line_;
    wait_goal goal_; // of who waits
};

future_watch_ref::future_watch_ref(const std::vector<future_hold>& futures)
    : it_(new future_watch(futures)) {
    it_->begin();
}

future_watch_ref::~future_watch_ref() {
    if (it_ != nullptr)
        it_->leave();
}

namespace {

class watch_op : public line_op<watch_op> {
public:
    static constexpr const char* name = "futures";
    watch_op(future_watch& w, wait_goal g, const operation_type& t = line_kind<watch_op>) noexcept
        : line_op(t), of_(w), goal_(g) {}
    bool pass_now() noexcept { return of_.is_met(goal_); }
    bool line_up() noexcept { return of_.enter(*this, goal_); }
    bool leave() noexcept { return of_.leave(*this); }
    void await_resume() const noexcept {}
    [[nodiscard]] bool result(bool passed) const noexcept { return passed; }

private:
    future_watch& of_;
    wait_goal goal_;
};

task<wait_result> wait_for_goal(future_watch_ref w, return_when policy, time_point deadline) {
    timed_op<watch_op> met(wait_limit::at(deadline), *w, wait_goal{policy, 0});
    co_await std::move(met);
    std::vector<bool> has_ended(w->first_places().size());
    for (std::size_t i : w->ended())
        has_ended[i] = true;
    std::vector<std::size_t> done;
    std::vector<std::size_t> not_done;
    for (std::size_t i = 0; i < has_ended.size(); ++i) {
        if (w->first_places()[i] == i)
            (has_ended[i] ? done : not_done).push_back(i);
    }
    co_return wait_result(std::move(done), std::move(not_done));
}

} // namespace

task<wait_result> wait_for_futures(const std::vector<future_hold>& futures, return_when policy,
                                   time_point deadline) {
    switch (policy) {
    case return_when::first_completed:
    case return_when::first_exception:
    case return_when::all_completed:
        return wait_for_goal(future_watch_ref(futures), policy, deadline);
    }
    throw std::invalid_argument("there is no such policy of waiting");
}

async_generator<std::size_t> futures_as_completed(future_watch_ref w, time_point deadline) {
    for (std::size_t given = 0; given < w->count(); ++given) {
        if (!w->ended(given)) {
            timed_op<watch_op> next(wait_limit::at(deadline), *w,
                                    wait_goal{return_when::all_completed, given + 1});
            bool came = co_await std::move(next);
            if (!came)
                throw timeout_error(
                    fmt::format("{} (of {}) futures unfinished", w->count() - given, w->count()));
        }
        std::size_t place = *w->ended(given);
        co_yield place;
    }
}

} // namespace weft::detail
