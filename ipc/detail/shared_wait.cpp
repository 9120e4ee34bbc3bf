// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/shared_wait.hpp>

#include <weft/runtime/loop.hpp>

#include <algorithm>

namespace weft::ipc::detail {

namespace {

constinit thread_local lookout habit_of_thread;

} // namespace

lookout& shared_wait::habit() noexcept { return habit_of_thread; }

bool shared_wait::must_look() noexcept {
    return armed_word().load(std::memory_order_relaxed) != armed_value();
}

bool shared_wait::try_now(sleeping_place& at) noexcept {
    bool over = advance(at);
    woken_ = suspicious_ = false;
    return over;
}

void shared_wait::start_timer() {
    try {
        loop& l = io_loop();
        const time_point now = l.now();
        since_ = now;
        deadline_ = limit_.deadline(now);
        l.add_timer(*this, std::min(deadline_, saturated_sum(now, pause_)));
    } catch (...) { // the coroutine goes on with the exception
        owner().leaf = nullptr;
        throw;
    }
}

bool shared_wait::suspends() {
    // Whoever lines up by trying must not fail afterwards.
    if (lines_up_)
        start_timer();
    else if (const loop* l = owner().run_by->io(); l != nullptr && !l->has_news())
        habit().look([this] { return may_pass(); }, [l] { return l->has_news(); });
    sleeping_place at;
    if (try_now(at)) {
        if (active())
            io_loop().remove_timer(*this);
        if (others_first()) {
            complete();
            return true;
        }
        owner().leaf = nullptr; // it didn't come to waiting
        return false;
    }
    if (!lines_up_)
        start_timer();
    sleep(at);
    return true;
}

void shared_wait::sleep(const sleeping_place& at) noexcept {
    armed_ = true;
    try {
        arm(*at.word, at.value);
    } catch (...) { // no memory, or no way to wait for a word: then the timer does it
        armed_ = false;
    }
}

void shared_wait::go_on() noexcept {
    sleeping_place at;
    if (late_ && !leaves_)
        suspicious_ = true;
    if (try_now(at)) {
        finish();
        return;
    }
    if (late_ && !leaves_) {
        leaving how = leave(true, false);
        leaves_ = true;
        timed_out_ = how != leaving::not_now;
        if (how == leaving::at_once || try_now(at)) {
            finish();
            return;
        }
    }
    sleep(at);
}

void shared_wait::finish() noexcept {
    loop& l = io_loop();
    l.remove_timer(*this);
    // The first look for the dead comes later than soon: then it needs no clock to know.
    if (slept_ && pause_ == first_look_after)
        habit().note_slept(l.now() - since_);
    if (stopped_)
        stopped();
    else
        complete();
}

void shared_wait::ended(futex_operation& op, std::int32_t result) noexcept {
    auto& self = static_cast<shared_wait&>(op);
    self.armed_ = false;
    if (self.stopping_ && !self.leaves_) {
        leaving how = self.leave(false, result == 0);
        self.leaves_ = true;
        self.stopped_ = how != leaving::not_now;
        if (how == leaving::at_once) {
            self.finish();
            return;
        }
    } else {
        self.slept_ = true;
        self.woken_ = result == 0;
        if (result < 0 && result != -EAGAIN && result != -EINTR && result != -ECANCELED)
            return; // this kernel doesn't wait for words: the timer does
    }
    self.go_on();
}

void shared_wait::fired(weft::detail::timer& t) noexcept {
    auto& self = static_cast<shared_wait&>(t);
    loop& l = self.io_loop();
    const time_point now = l.now();
    self.late_ = self.late_ || self.deadline_ <= now;
    self.pause_ = std::min(self.pause_ * 2, look_again_after);
    time_point next = saturated_sum(now, self.pause_);
    if (!self.late_)
        next = std::min(next, self.deadline_);
    l.add_timer(self, next); // in the place that it has just left: takes no memory
    if (!self.armed_) {
        self.slept_ = self.suspicious_ = true;
        self.go_on();
    } else if ((self.late_ && !self.leaves_) || self.must_look()) {
        self.suspicious_ = true;
        self.disarm();
    }
}

void shared_wait::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<shared_wait&>(op);
    self.stopping_ = true;
    if (self.armed_)
        self.disarm();
    else
        ended(self, -ECANCELED);
}

} // namespace weft::ipc::detail
