// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/held_word.hpp>

#include <weft/ipc/lock_error.hpp>

#include <memory>
#include <string>
#include <system_error>

namespace weft::ipc::detail {

using weft::detail::everybody;
using weft::detail::futex_sleepers;
using weft::detail::futex_wake;

taking held_word::take_from_the_dead() noexcept {
    const std::uint64_t s = state_.state();
    if (!word::held_in(s) || !is_gone(word::mark_in(s)) ||
        !state_.take_from(word::mark_in(s), this_process()))
        return taking::not_free;
    return taking::taken_from_the_dead;
}

taking held_word::take_after_all() noexcept {
    taking t = take_from_the_dead();
    // Kept for those who have slept, but there is nobody: they were killed.
    if (t == taking::not_free && word::holder_in(state_.state()) == word::reserved &&
        futex_sleepers(futex()) == 0)
        t = state_.try_take(this_process(), true, true);
    if (t == taking::taken)
        restore(1);
    return t;
}

void held_word::release() noexcept {
    who_.store(0, std::memory_order_relaxed);
    auto given = state_.give_back();
    if (given.wake_all)
        futex_wake(futex(), everybody);
    else if (given.wake_one)
        futex_wake(futex(), 1);
}

bool held_word::give_back() noexcept {
    if (!word::held_in(state_.state()))
        return false;
    if (again_ == relock::passes && depth() > 1)
        depth_.store(depth() - 1, std::memory_order_relaxed);
    else
        release();
    return true;
}

void held_word::unlock() {
    if (again_ == relock::passes && !noted_here())
        throw state_error("a recursive mutex is unlocked by one that hasn't locked it");
    if (!give_back())
        throw state_error("a mutex is unlocked that isn't locked");
}

void held_word::mark_consistent() {
    if (!noted_here())
        throw state_error("a lock is called consistent by one that hasn't locked it");
    state_.mark_consistent();
}

std::size_t held_word::waiting() const noexcept {
    return static_cast<std::size_t>(futex_sleepers(futex()));
}

bool lock_attempt::advance(held_word& l, sleeping_place& at, bool slept, bool woken,
                           bool suspicious) noexcept {
    while (true) {
        how = l.state_.try_take(this_process(), slept, overtaken_);
        if (how == taking::not_free && suspicious)
            how = l.take_from_the_dead();
        if (how != taking::not_free)
            return true;
        if (!slept && held_word::word::holder_in(l.state_.state()) == held_word::word::reserved &&
            futex_sleepers(l.futex()) == 0) {
            slept = true; // those for whom it is kept were killed
            overtaken_ = true;
            continue;
        }
        overtaken_ = overtaken_ || woken;
        if (auto value = l.state_.line_up(slept, overtaken_)) {
            at = {&l.futex(), *value};
            return false;
        }
    }
}

bool lock_attempt::must_look(held_word& l, std::uint32_t armed_value) noexcept {
    const std::uint64_t s = l.state_.state();
    // Kept for those who have slept: whoever was woken for it may have been killed, and who sleeps
    // here without having been woken has slept, too.
    return static_cast<std::uint32_t>(s) != armed_value || held_word::word::free_for(s, true) ||
           (held_word::word::held_in(s) && is_gone(held_word::word::mark_in(s)));
}

void lock_attempt::leave(held_word& l, bool used_wake_up) noexcept {
    bool wakes = overtaken_ && l.state_.leave();
    if (wakes || used_wake_up)
        futex_wake(l.futex(), 1);
}

void check_taken(taking how, void* lock, void (*give_back)(void*) noexcept) {
    switch (how) {
    case taking::taken_from_the_dead:
        throw owner_dead(lock, give_back);
    case taking::lost:
        throw not_recoverable();
    case taking::taken:
    case taking::not_free:
        break;
    }
}

void throw_lock_is_own(const char* what, const std::source_location& where) {
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            std::string(what) + " is waited for by " +
                                weft::detail::describe_caller() + ", which has it (" +
                                where.file_name() + ":" + std::to_string(where.line()) + ")");
}

bool lock_wait::advance(sleeping_place& at) noexcept {
    return tried_.advance(*at_, at, slept(), woken(), suspicious());
}

bool lock_wait::must_look() noexcept { return lock_attempt::must_look(*at_, armed_value()); }

shared_wait::leaving lock_wait::leave(bool by_deadline, bool used_wake_up) noexcept {
    tried_.leave(*at_, used_wake_up && !by_deadline);
    return leaving::at_once;
}

} // namespace weft::ipc::detail
