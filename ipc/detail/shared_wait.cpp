// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/shared_wait.hpp>

#include <weft/runtime/loop.hpp>

#include <weft/runtime/detail/atomics.hpp>

#include <algorithm>

namespace weft::ipc::detail {

namespace {

// To sleep and to be woken takes both sides some microseconds. Two processes that work into each
// other's hands would do little else, so a thread whose last wait was that short looks out for
// about as long as it takes before it sleeps again; not while something else is ready there, and
// not for a while after it has looked out in vain a few times.
constexpr weft::duration short_wait = std::chrono::microseconds(50);
constexpr unsigned looks_before_sleep = 200;
constexpr unsigned vain_lookouts = 4;
constexpr unsigned waits_without_lookout = 256;

struct lookout_habit {
    bool soon = false;
    unsigned in_vain = 0;
    unsigned without = 0; // how many waits are left that don't look out
};
constinit thread_local lookout_habit habit;

bool looks_out() noexcept {
    if (!habit.soon)
        return false;
    if (habit.without == 0)
        return true;
    --habit.without;
    return false;
}

void looked_out(bool well) noexcept {
    habit.in_vain = well ? 0 : habit.in_vain + 1;
    if (habit.in_vain == vain_lookouts) {
        habit.in_vain = 0;
        habit.without = waits_without_lookout;
    }
}

} // namespace

bool shared_wait::must_look() noexcept {
    return armed_word().load(std::memory_order_relaxed) != armed_value();
}

bool shared_wait::try_now(sleeping_place& at) noexcept {
    bool over = advance(at);
    woken_ = suspicious_ = false;
    return over;
}

bool shared_wait::look_out(sleeping_place& at) noexcept {
    for (unsigned n = 0; n < looks_before_sleep; ++n) {
        if (at.word->load(std::memory_order_relaxed) != at.value && try_now(at))
            return true;
        weft::detail::std_atomics::pause(0);
    }
    return false;
}

void shared_wait::start_timer() {
    try {
        loop& l = io_loop();
        began_ = l.now();
        deadline_ = limit_.deadline(began_);
        l.add_timer(*this, std::min(deadline_, saturated_sum(began_, pause_)));
    } catch (...) { // the coroutine goes on with the exception
        owner().leaf = nullptr;
        throw;
    }
}

bool shared_wait::suspends() {
    // Whoever lines up by trying must not fail afterwards.
    if (lines_up_)
        start_timer();
    sleeping_place at;
    bool over = try_now(at);
    if (!over && !lines_up_ && looks_out() && !owner().run_by->has_ready()) {
        over = look_out(at);
        looked_out(over);
    }
    if (over) {
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
    habit.soon = l.now() - began_ < short_wait;
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
