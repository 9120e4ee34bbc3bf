// SPDX-License-Identifier: MIT
#include "pool_machine.hpp"

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/runtime/assert.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::detail {

namespace {

constexpr duration first_back_off = std::chrono::milliseconds(5);
constexpr duration longest_back_off = std::chrono::seconds(1);
// What a worker holds ahead is about so much work: what it takes to hear from us, several times.
constexpr duration work_ahead = std::chrono::microseconds(200);
// Of shorter ones we can't hand out so many that two processors are better used by two workers than
// by one and us.
constexpr duration short_task = std::chrono::microseconds(10);

// What passes when others give something back; all else stays as it is.
bool is_shortage(int error_number) noexcept {
    switch (error_number) {
    case EAGAIN: // the limit of processes
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ETXTBSY: // somebody has the program's file open for writing
        return true;
    default:
        return false;
    }
}

using action_bits = std::uint16_t;
constexpr action_bits bit_of(pool_machine::action_kind k) noexcept {
    return static_cast<action_bits>(1u << static_cast<unsigned>(k));
}
static_assert(bit_of(pool_machine::action_kind::kill) != 0);

} // namespace

void pool_machine::task_list::push_back(pool_task& t) noexcept {
    t.next = nullptr;
    t.previous = last;
    (last == nullptr ? first : last->next) = &t;
    last = &t;
}

void pool_machine::task_list::push_front(pool_task& t) noexcept {
    t.previous = nullptr;
    t.next = first;
    (first == nullptr ? last : first->previous) = &t;
    first = &t;
}

void pool_machine::task_list::remove(pool_task& t) noexcept {
    (t.previous == nullptr ? first : t.previous->next) = t.next;
    (t.next == nullptr ? last : t.next->previous) = t.previous;
    t.next = t.previous = nullptr;
}

pool_machine::pool_machine(const limits& l) : limits_(l), workers_(l.workers) {
    WEFT_ASSERT(l.workers != 0 && l.deaths != 0, "a pool of nobody");
    limits_.least_workers = std::min(l.least_workers, l.workers);
    idle_.reserve(l.workers);
    deaths_.reserve(l.deaths + 1);
}

// --- Events --------------------------------------------------------------------------------------

void pool_machine::start(time_point now) noexcept {
    started_ = true;
    grow(now);
}

pool_machine::answer pool_machine::submit(pool_task& t, time_point now) noexcept {
    WEFT_ASSERT(t.at == pool_task::place::nowhere, "a task was submitted twice");
    WEFT_ASSERT(t.priority < task_priorities, "a task of no priority");
    if (broken_)
        return answer::broken;
    if (phase_ != phase::open)
        return answer::closed;
    if (queued_ >= limits_.pending)
        return answer::full;
    t.id = next_id_++;
    if (t.deadline <= now) {
        t.late = true;
        complete(t, task_outcome::timed_out);
        return answer::accepted;
    }
    if (t.deadline != never)
        deadlines_.add(t);
    t.at = pool_task::place::queue;
    t.since = now;
    if (ahead_ != 0)
        recall_less_urgent(t.priority);
    queue_[t.priority].push_back(t);
    ++queued_;
    dispatch(now);
    if (queued_ != 0 && idle_.empty())
        grow(now);
    check_shortage(now);
    return answer::accepted;
}

bool pool_machine::cancel(pool_task& t, time_point now) noexcept {
    t.cancel_asked = true;
    deadlines_.remove(t);
    if (t.at == pool_task::place::queue) {
        queue_[t.priority].remove(t);
        --queued_;
        t.at = pool_task::place::done;
        return true;
    }
    if (t.at != pool_task::place::worker)
        return false; // its outcome is on the way
    slot& s = workers_[t.worker];
    if (s.state != worker_state::running)
        return false;
    if (!t.sent) { // given to a worker, but not sent yet
        let_go(s, t);
        t.at = pool_task::place::done;
        if (s.holds == 0) {
            s.actions = 0;
            become_free(t.worker, now);
        }
        dispatch(now); // there is room, or those who wait for this worker wait in vain
        return true;
    }
    if (&t == s.held.first)
        stop_first(t.worker, now);
    else
        recall(t.worker);
    dispatch_rest(now);
    return false;
}

void pool_machine::expire(pool_task& t, time_point now) noexcept {
    deadlines_.remove(t);
    t.late = true;
    if (t.at == pool_task::place::queue) {
        queue_[t.priority].remove(t);
        --queued_;
        complete(t, task_outcome::timed_out);
        return;
    }
    slot& s = workers_[t.worker];
    if (s.state != worker_state::running)
        return; // its worker is being killed
    if (!t.sent) {
        let_go(s, t);
        complete(t, task_outcome::timed_out);
        if (s.holds == 0) {
            s.actions = 0;
            become_free(t.worker, now);
        }
    } else if (&t == s.held.first) {
        stop_first(t.worker, now);
    } else {
        recall(t.worker);
    }
}

bool pool_machine::take_back(pool_task& t, time_point now) noexcept {
    slot& s = workers_[t.worker];
    if (s.state != worker_state::running)
        return false; // it is being killed, and its task with it
    deadlines_.remove(t);
    let_go(s, t);
    t.at = pool_task::place::done;
    if (s.holds == 0) {
        s.actions = 0; // perhaps it was already to be stopped
        become_free(t.worker, now);
    }
    dispatch(now);
    return true;
}

void pool_machine::taken_back(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    WEFT_ASSERT(s.holds > 1 && s.held.last->sent, "a task was taken back that nobody had");
    pool_task& t = *s.held.last;
    let_go(s, t);
    give_back(t);
    static_cast<void>(now);
}

void pool_machine::recalled(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    // If one more has been begun, the first one was answered, and its answer is on the way.
    if (s.state == worker_state::running && s.to_be_killed && s.holds == 1) {
        s.to_be_killed = false;
        kill(i, kill_reason::cancelled, now);
    }
    dispatch(now);
    if (queued_ != 0)
        grow(now);
    if (phase_ != phase::open && queued_ == 0)
        send_idle_home(now);
}

void pool_machine::drop_pending(time_point now) noexcept {
    dropping_ = true;
    for (unsigned i = 0; i != workers(); ++i)
        recall(i);
    for (task_list& level : queue_) {
        for (pool_task* t = level.first; t != nullptr;) {
            pool_task* next = t->next;
            if (t->droppable) {
                level.remove(*t);
                --queued_;
                complete(*t, task_outcome::stopped);
            }
            t = next;
        }
    }
    dispatch_rest(now);
    if (phase_ != phase::open && queued_ == 0)
        send_idle_home(now);
}

void pool_machine::spawned(unsigned i, int pid, time_point now) noexcept {
    slot& s = workers_[i];
    WEFT_ASSERT(s.state == worker_state::starting && s.pid == 0,
                "a worker was spawned that wasn't asked for");
    s.pid = pid;
    s.back_off = duration::zero();
    s.deadline = saturated_sum(now, limits_.start_deadline);
    shortage_since_ = never;
    if (!std::exchange(s.first, false))
        ++respawned_;
    if (!needs_workers())
        kill(i, kill_reason::ended, now);
}

void pool_machine::spawn_failed(unsigned i, int error_number, time_point now,
                                std::string why) noexcept {
    slot& s = workers_[i];
    WEFT_ASSERT(s.state == worker_state::starting && s.pid == 0,
                "a worker failed to spawn that wasn't asked for");
    enter(s, worker_state::absent, now);
    vacancies_ = true;
    if (!is_shortage(error_number)) {
        if (!broken_) {
            spawn_error_ = error_number;
            spawn_failure_ = std::move(why);
        }
        give_up(break_reason::cannot_spawn, now);
        return;
    }
    if (shortage_since_ == never)
        shortage_since_ = now;
    shortage_error_ = error_number;
    s.back_off = s.back_off == duration::zero() ? first_back_off
                                                : std::min(2 * s.back_off, longest_back_off);
    if (needs_workers())
        s.spawn_at = saturated_sum(now, s.back_off);
    check_shortage(now);
}

void pool_machine::ready(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    if (s.state == worker_state::dying)
        return;
    if (s.state != worker_state::starting) {
        misbehaved(i, now);
        return;
    }
    ever_ready_ = true;
    s.was_ready = true;
    failed_starts_ = 0;
    s.deadline = never;
    become_free(i, now);
}

void pool_machine::preparing(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    if (s.state != worker_state::starting || std::exchange(s.has_spoken, true))
        misbehaved(i, now);
    else
        s.deadline = saturated_sum(now, limits_.start_deadline);
}

void pool_machine::preparation_failed(unsigned i, std::string error, time_point now) noexcept {
    if (workers_[i].state != worker_state::starting || broken_)
        return;
    preparation_error_ = std::move(error);
    give_up(break_reason::preparation, now);
}

bool pool_machine::grant(const pool_task& t) noexcept {
    if (t.at != pool_task::place::worker || workers_[t.worker].state != worker_state::running ||
        workers_[t.worker].held.first != &t || !t.sent)
        return false;
    act(t.worker, action_kind::send_credit);
    return true;
}

void pool_machine::finished(unsigned i, bool with_error, time_point now) noexcept {
    slot& s = workers_[i];
    if (s.held.first == nullptr || !s.held.first->sent) {
        misbehaved(i, now);
        return;
    }
    pool_task& t = *s.held.first;
    let_go(s, t);
    note_time(now - t.since);
    ++s.tasks_done;
    deaths_.clear();
    if (with_error)
        ++failed_;
    else
        ++done_;
    s.actions &= static_cast<action_bits>(
        ~(bit_of(action_kind::send_stop) | bit_of(action_kind::send_credit)));
    s.to_be_killed = false;
    complete(t, task_outcome::finished);
    if (s.state != worker_state::running)
        return; // it is being killed; the result was faster
    s.deadline = never;
    if (pool_task* next = s.held.first; next != nullptr) {
        next->since = now;
        s.recall_at = s.holds > 1 ? saturated_sum(now, patience()) : never;
        if (next->sent && (next->cancel_asked || next->late))
            stop_first(i, now);
        else if (next->sent && asked_)
            act(i, action_kind::send_stop);
        look_ahead(i, now);
        dispatch(now); // it may not be one of those who suffice any more
    } else if (limits_.tasks_per_worker != 0 && s.tasks_done >= limits_.tasks_per_worker) {
        go_home(i, now);
        dispatch(now);
    } else {
        become_free(i, now);
    }
}

void pool_machine::misbehaved(unsigned i, time_point now) noexcept {
    if (workers_[i].state != worker_state::leaving) // whose channel closes when it goes
        kill(i, kill_reason::nonsense, now);
}

void pool_machine::died(unsigned i, std::shared_ptr<const worker_end> end, time_point now,
                        bool begun) noexcept {
    slot& s = workers_[i];
    WEFT_ASSERT(s.pid != 0, "a worker died that wasn't there");
    const worker_state before = s.state;
    const kill_reason why = s.reason;
    const int pid = s.pid;
    if (before == worker_state::idle)
        idle_remove(i);
    pool_task* t = s.held.first;
    if (t != nullptr) {
        begun = begun && t->sent;
        while (s.held.last != t) {
            pool_task& ahead = *s.held.last;
            let_go(s, ahead);
            give_back(ahead);
        }
        let_go(s, *t);
    }
    s.to_be_killed = false;
    s.pid = 0;
    s.tasks_done = 0;
    const bool was_ready = std::exchange(s.was_ready, false);
    const bool had_spoken = std::exchange(s.has_spoken, false);
    s.reason = kill_reason::none;
    s.deadline = never;
    s.actions = 0;
    enter(s, worker_state::absent, now);
    vacancies_ = true;

    // A death that we brought about, or that comes while nothing is expected of the worker any
    // more, says nothing.
    const bool expected = why == kill_reason::ended || why == kill_reason::cancelled ||
                          why == kill_reason::late_quit || before == worker_state::leaving;
    const bool too_much = !expected && limits_.death_breaks && phase_ != phase::ending;
    if (too_much)
        last_end_ = end;

    if (t != nullptr) {
        t->pid = pid;
        t->end = end;
        t->ran_for = now - t->since;
        if (!begun) {
            give_back(*t);
        } else if (too_much) {
            complete(*t, t->cancel_asked ? task_outcome::stopped : task_outcome::broken);
        } else if (why == kill_reason::ended ||
                   (why == kill_reason::cancelled && (t->cancel_asked || t->late || asked_))) {
            complete(*t, t->cancel_asked                            ? task_outcome::stopped
                         : why == kill_reason::cancelled && t->late ? task_outcome::timed_out
                         : broken_                                  ? task_outcome::broken
                                                                    : task_outcome::terminated);
        } else if (t->retries != 0 && !t->cancel_asked && !t->late && phase_ != phase::ending &&
                   !asked_) {
            --t->retries;
            t->sent = false;
            t->at = pool_task::place::queue;
            queue_[t->priority].push_front(*t);
            ++queued_;
        } else {
            complete(*t, task_outcome::lost);
        }
    }
    if (too_much)
        give_up(end && !end->failure.empty() ? break_reason::cannot_start : break_reason::one_death,
                now);
    else if (!expected)
        count_death(std::move(end), !was_ready, had_spoken, why == kill_reason::late_start, now);
    dispatch(now);
    grow(now);
}

void pool_machine::shut_down(time_point ask_at, time_point kill_at, time_point now) noexcept {
    ask_at_ = std::min(ask_at_, ask_at);
    kill_at_ = std::min(kill_at_, kill_at);
    if (phase_ == phase::open) {
        phase_ = phase::closing;
        dispatch(now);
        WEFT_ASSERT(idle_.empty() || queued_ == 0, "a task waits although a worker is idle");
        if (queued_ == 0)
            send_idle_home(now);
    }
    advance(now);
}

// There is nothing to be done any more, for those who have nothing to do, and those who come.
void pool_machine::send_idle_home(time_point now) noexcept {
    for (unsigned i = 0; i != workers(); ++i)
        forget_start(i, now);
    while (!idle_.empty())
        become_free(idle_.back(), now);
}

void pool_machine::terminate(time_point now, duration grace) noexcept {
    phase_ = phase::ending;
    ask_at_ = kill_at_ = never;
    fail_queue(broken_ ? task_outcome::broken : task_outcome::terminated);
    for (unsigned i = 0; i != workers(); ++i) {
        forget_start(i, now);
        slot& s = workers_[i];
        if (s.pid == 0)
            continue;
        const bool lives = s.state != worker_state::dying;
        kill(i, kill_reason::ended, now);
        if (lives && grace > duration::zero()) {
            s.actions = bit_of(action_kind::send_term);
            s.deadline = saturated_sum(now, grace);
        }
    }
}

void pool_machine::advance(time_point now) noexcept {
    if (now >= kill_at_)
        terminate(now);
    else if (now >= ask_at_)
        ask_everybody(now);
    while (deadlines_.next() <= now)
        expire(deadlines_.first(), now);
    for (unsigned i = 0; i != workers(); ++i) {
        slot& s = workers_[i];
        if (s.state == worker_state::absent && now >= s.spawn_at) {
            s.spawn_at = never;
            vacancies_ = true;
            grow(now);
        } else if (now >= s.recall_at && s.state == worker_state::running) {
            s.recall_at = saturated_sum(now, unhurried);
            recall(i);
        }
        if (now >= s.deadline) {
            switch (s.state) {
            case worker_state::starting:
                kill(i, kill_reason::late_start, now);
                break;
            case worker_state::running:
                kill_for_first(i, now);
                break;
            case worker_state::leaving:
                kill(i, kill_reason::late_quit, now);
                break;
            case worker_state::idle:
                s.deadline = never;
                if (phase_ == phase::open && staff() > limits_.least_workers) {
                    idle_remove(i);
                    go_home(i, now);
                }
                break;
            case worker_state::dying:
                s.deadline = never;
                act(i, action_kind::kill);
                break;
            case worker_state::absent:
                s.deadline = never;
                break;
            }
        }
    }
    dispatch_rest(now);
    check_shortage(now);
}

// --- Actions -------------------------------------------------------------------------------------

std::optional<pool_machine::action> pool_machine::next() noexcept {
    if (completed_.first != nullptr) {
        pool_task* t = completed_.first;
        completed_.remove(*t);
        return action{action_kind::complete, 0, t};
    }
    for (unsigned i = 0; i != workers(); ++i) {
        slot& s = workers_[i];
        if (s.actions == 0)
            continue;
        auto what = static_cast<action_kind>(std::countr_zero(s.actions));
        pool_task* t = s.held.first;
        if (what == action_kind::send_task) {
            t = std::exchange(s.unsent, s.unsent->next);
            t->sent = true;
        }
        if (what != action_kind::send_task || s.unsent == nullptr)
            s.actions &= static_cast<action_bits>(s.actions - 1u);
        return action{what, i, t};
    }
    return std::nullopt;
}

time_point pool_machine::next_deadline() const noexcept {
    time_point earliest = std::min({ask_at_, kill_at_, deadlines_.next()});
    for (const slot& s : workers_)
        earliest = std::min({earliest, s.deadline, s.recall_at,
                             s.state == worker_state::absent ? s.spawn_at : never});
    if (shortage_since_ != never && queued_ != 0 && nobody_lives())
        earliest = std::min(earliest, saturated_sum(shortage_since_, limits_.start_deadline));
    return earliest;
}

bool pool_machine::closed() const noexcept {
    if (phase_ == phase::open || queued_ != 0 || completed_.first != nullptr)
        return false;
    return std::all_of(workers_.begin(), workers_.end(), [](const slot& s) {
        return s.state == worker_state::absent && s.actions == 0;
    });
}

pool_machine::worker_view pool_machine::worker(unsigned i) const noexcept {
    const slot& s = workers_[i];
    const pool_task* t = s.held.first;
    return {s.state, s.pid, s.tasks_done, t == nullptr ? s.since : t->since,
            t == nullptr ? 0 : t->tag};
}

// --- Inside --------------------------------------------------------------------------------------

void pool_machine::act(unsigned i, action_kind k) noexcept { workers_[i].actions |= bit_of(k); }

void pool_machine::enter(slot& s, worker_state st, time_point now) noexcept {
    s.state = st;
    s.since = now;
}

pool_machine::task_list& pool_machine::most_urgent() noexcept {
    return *std::ranges::find_if(queue_, [](const task_list& l) { return l.first != nullptr; });
}

void pool_machine::dispatch(time_point now) noexcept {
    while (queued_ != 0 && !idle_.empty()) {
        pool_task& t = *most_urgent().first;
        if (others_suffice(t, now)) {
            for (slot& s : workers_) { // who was given more when nobody was idle
                if (s.state == worker_state::running && s.holds > 1 &&
                    now - s.held.first->since < patience())
                    s.recall_at = std::min(s.recall_at, s.held.first->since + patience());
            }
            break;
        }
        unsigned i = idle_.back();
        idle_.pop_back();
        no_room_ahead_ = false;
        workers_[i].deadline = never;
        enter(workers_[i], worker_state::running, now);
        give(i, t, now);
    }
    if (queued_ != 0 && limits_.look_ahead != 0 && !no_room_ahead_)
        look_ahead(now);
}

// For those who waited for somebody who doesn't come to them any more. Not if tasks are about to be
// taken back from workers, for they were there before: recalled() follows.
void pool_machine::dispatch_rest(time_point now) noexcept {
    if (std::ranges::none_of(
            workers_, [](const slot& s) { return (s.actions & bit_of(action_kind::recall)) != 0; }))
        dispatch(now);
}

// Whether those who run do it no later than with one more. If not now, because they hold as much as
// they may, then when the next answer comes, or at recall_at.
bool pool_machine::others_suffice(const pool_task& t, time_point now) const noexcept {
    if (limits_.look_ahead == 0 || typical_ > short_task || phase_ != phase::open)
        return false;
    unsigned run = 0;
    bool any = false;
    for (const slot& s : workers_) {
        run += s.state == worker_state::running ? 1 : 0;
        any = any || may_look_ahead(s, t, ~0u, now);
    }
    return any && run + 1 >= limits_.processors;
}

void pool_machine::give(unsigned i, pool_task& t, time_point now) noexcept {
    slot& s = workers_[i];
    queue_[t.priority].remove(t);
    --queued_;
    t.at = pool_task::place::worker;
    t.worker = i;
    t.since = now;
    t.sent = false;
    s.held.push_back(t);
    if (s.unsent == nullptr)
        s.unsent = &t;
    if (++s.holds > 1) {
        ++ahead_;
        if (s.holds == 2)
            s.recall_at = saturated_sum(s.held.first->since, patience());
    }
    act(i, action_kind::send_task);
}

// Out of its worker's hands, and into nobody's.
void pool_machine::let_go(slot& s, pool_task& t) noexcept {
    if (s.unsent == &t)
        s.unsent = t.next;
    s.held.remove(t);
    if (--s.holds != 0)
        --ahead_;
    if (s.holds < 2)
        s.recall_at = never;
    if (s.unsent == nullptr)
        s.actions &= static_cast<action_bits>(~bit_of(action_kind::send_task));
    no_room_ahead_ = false;
}

// A task that a worker had and didn't begin waits as before.
void pool_machine::give_back(pool_task& t) noexcept {
    t.sent = false;
    if (t.cancel_asked || (dropping_ && t.droppable)) {
        complete(t, task_outcome::stopped);
    } else if (t.late) {
        complete(t, task_outcome::timed_out);
    } else if (phase_ == phase::ending || asked_) {
        complete(t, broken_ ? task_outcome::broken : task_outcome::terminated);
    } else {
        t.at = pool_task::place::queue;
        queue_[t.priority].push_front(t);
        ++queued_;
    }
}

// --- Looking ahead -------------------------------------------------------------------------------

void pool_machine::note_time(duration d) noexcept {
    typical_ += (std::clamp(d, duration::zero(), slowest) - typical_) / 4;
}

// How many tasks a worker may hold beyond the one that it runs.
unsigned pool_machine::ahead_now() const noexcept {
    if (typical_ >= unhurried)
        return 0;
    auto n = work_ahead / std::max(typical_, duration(1));
    return static_cast<unsigned>(std::clamp<std::int64_t>(n, 1, limits_.look_ahead));
}

bool pool_machine::may_look_ahead(const slot& s, const pool_task& t, unsigned ahead,
                                  time_point now) const noexcept {
    if (s.state != worker_state::running || s.holds > ahead || asked_ || s.to_be_killed ||
        (s.actions & bit_of(action_kind::recall)) != 0)
        return false;
    const pool_task& first = *s.held.first;
    return !first.cancel_asked && !first.bulky && !t.bulky && now - first.since < patience() &&
           (s.holds == 1 || s.held.last->priority <= t.priority) &&
           (limits_.tasks_per_worker == 0 || s.tasks_done + s.holds < limits_.tasks_per_worker);
}

// To whoever holds least.
void pool_machine::look_ahead(time_point now) noexcept {
    const unsigned ahead = ahead_now();
    while (queued_ != 0 && ahead != 0) {
        pool_task& t = *most_urgent().first;
        unsigned best = workers();
        for (unsigned i = 0; i != workers(); ++i) {
            if (may_look_ahead(workers_[i], t, ahead, now) &&
                (best == workers() || workers_[i].holds < workers_[best].holds))
                best = i;
        }
        if (best == workers()) {
            no_room_ahead_ = true;
            return;
        }
        give(best, t, now);
    }
}

void pool_machine::look_ahead(unsigned i, time_point now) noexcept {
    if (limits_.look_ahead == 0 || queued_ == 0)
        return;
    const unsigned ahead = ahead_now();
    while (queued_ != 0 && ahead != 0) {
        pool_task& t = *most_urgent().first;
        if (!may_look_ahead(workers_[i], t, ahead, now))
            break;
        give(i, t, now);
    }
    no_room_ahead_ = queued_ != 0; // of the others nothing new is known
}

// What it was to be sent, and what it hasn't begun.
void pool_machine::recall(unsigned i) noexcept {
    slot& s = workers_[i];
    if (s.holds < 2)
        return;
    while (s.held.last != s.held.first && !s.held.last->sent) {
        pool_task& t = *s.held.last;
        let_go(s, t);
        give_back(t);
    }
    if (s.holds > 1 && s.state == worker_state::running)
        act(i, action_kind::recall);
}

void pool_machine::recall_less_urgent(std::uint8_t priority) noexcept {
    for (unsigned i = 0; i != workers(); ++i) {
        const slot& s = workers_[i];
        if (s.holds > 1 && s.held.last->priority > priority)
            recall(i);
    }
}

// The task that it runs is to be stopped.
void pool_machine::stop_first(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    const pool_task& t = *s.held.first;
    if (t.grace <= duration::zero()) {
        kill_for_first(i, now);
        return;
    }
    act(i, action_kind::send_stop);
    s.deadline = std::min(s.deadline, saturated_sum(now, t.grace));
    recall(i);
}

// The worker's end is only for the task that it runs: those behind it are taken away before. If it
// has begun one of them meanwhile, the first is done, and nothing is left to be stopped.
void pool_machine::kill_for_first(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    recall(i);
    if (s.holds == 1 || std::exchange(s.to_be_killed, true))
        kill(i, kill_reason::cancelled, now);
    else
        s.deadline = saturated_sum(now, unhurried * 10);
}

// Ready, or ready again: takes the next task, waits for one, or goes home.
void pool_machine::become_free(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    if (s.state == worker_state::idle)
        idle_remove(i);
    enter(s, worker_state::idle, now);
    no_room_ahead_ = false;
    if (needs_workers()) {
        s.deadline = saturated_sum(now, limits_.idle_time);
        idle_.push_back(i);
        dispatch(now);
        return;
    }
    go_home(i, now);
}

void pool_machine::go_home(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    enter(s, worker_state::leaving, now);
    s.deadline = saturated_sum(now, limits_.stop_grace);
    act(i, action_kind::send_quit);
}

// Those who work, wait for work, or are on their way to it.
unsigned pool_machine::staff() const noexcept {
    return static_cast<unsigned>(std::ranges::count_if(workers_, [](const slot& s) {
        return s.state == worker_state::starting || s.state == worker_state::idle ||
               s.state == worker_state::running ||
               (s.state == worker_state::absent && s.spawn_at != never);
    }));
}

// Starts as many as the pool should have, and as the tasks that wait need.
void pool_machine::grow(time_point now) noexcept {
    if (!vacancies_ || !started_ || !needs_workers())
        return;
    std::size_t coming = 0;
    unsigned there = 0;
    for (const slot& s : workers_) {
        bool comes = s.state == worker_state::starting ||
                     (s.state == worker_state::absent && s.spawn_at != never);
        coming += comes ? 1 : 0;
        there += comes || s.state == worker_state::idle || s.state == worker_state::running ? 1 : 0;
    }
    const unsigned least = phase_ == phase::open ? limits_.least_workers : 0;
    bool all_seen = true;
    for (unsigned i = 0; i != workers(); ++i) {
        slot& s = workers_[i];
        // One that is on its way out is a vacancy too, of which died() will tell.
        if (s.state != worker_state::absent || s.spawn_at != never)
            continue;
        all_seen = there < least || coming < queued_;
        if (!all_seen)
            break;
        want(i, now);
        ++there;
        ++coming;
    }
    vacancies_ = !all_seen;
}

void pool_machine::want(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    s.spawn_at = never;
    enter(s, worker_state::starting, now);
    s.deadline = never; // counts from when it has been spawned
    act(i, action_kind::spawn);
}

// A worker that is still on its way up isn't needed any more. It holds nothing.
void pool_machine::forget_start(unsigned i, time_point now) noexcept {
    slot& s = workers_[i];
    s.spawn_at = never;
    vacancies_ = true;
    if (s.state != worker_state::starting)
        return;
    if (s.pid != 0) {
        kill(i, kill_reason::ended, now);
    } else if ((s.actions & bit_of(action_kind::spawn)) !=
               0) { // asked for, and not carried out yet
        s.actions = 0;
        enter(s, worker_state::absent, now);
    }
}

void pool_machine::kill(unsigned i, kill_reason why, time_point now) noexcept {
    slot& s = workers_[i];
    if (s.state == worker_state::dying) {
        if (why == kill_reason::ended) // outweighs the reason that it is already being killed for
            s.reason = why;
        if (std::exchange(s.deadline, never) != never) // its grace is cut short
            act(i, action_kind::kill);
        return;
    }
    if (s.state == worker_state::idle)
        idle_remove(i);
    s.reason = why;
    s.deadline = s.recall_at = never;
    s.actions = 0;
    enter(s, worker_state::dying, now);
    act(i, action_kind::kill);
}

void pool_machine::complete(pool_task& t, task_outcome o) noexcept {
    deadlines_.remove(t);
    t.outcome = o;
    t.at = pool_task::place::done;
    if (o != task_outcome::finished && o != task_outcome::stopped)
        ++failed_;
    completed_.push_back(t);
}

void pool_machine::fail_queue(task_outcome o, int error_number) noexcept {
    for (task_list& level : queue_) {
        while (level.first != nullptr) {
            pool_task& t = *level.first;
            level.remove(t);
            --queued_;
            t.error_number = error_number;
            complete(t, o);
        }
    }
}

void pool_machine::give_up(break_reason why, time_point now) noexcept {
    if (broken_)
        return;
    broken_ = true;
    break_reason_ = why;
    terminate(now);
}

void pool_machine::count_death(std::shared_ptr<const worker_end> end, bool was_starting,
                               bool had_spoken, bool late, time_point now) noexcept {
    if (phase_ == phase::ending)
        return;
    if (broken_)
        return;
    last_end_ = std::move(end);
    // It has said why it can't, and so will all others.
    if (last_end_ && !last_end_->failure.empty()) {
        give_up(break_reason::cannot_start, now);
        return;
    }
    if (was_starting) {
        ++failed_starts_;
        // The very first one came back or said nothing: so will all others.
        if (!ever_ready_ && !had_spoken && (late || (last_end_ && last_end_->status.exited()))) {
            give_up(late ? break_reason::first_silent : break_reason::first_ended, now);
            return;
        }
        if (failed_starts_ >= limits_.deaths) {
            give_up(break_reason::starts_fail, now);
            return;
        }
    }
    std::erase_if(
        deaths_, [&](time_point then) { return saturated_sum(then, limits_.deaths_within) < now; });
    deaths_.push_back(now); // there is room: it was reserved, and at the limit this is the last one
    if (deaths_.size() >= limits_.deaths)
        give_up(break_reason::deaths, now);
}

std::string pool_machine::reason() const {
    const std::string how = last_end_ ? last_end_->text() : ipc::exit_status().text();
    switch (break_reason_) {
    case break_reason::cannot_spawn:
        return "no worker can be started: " +
               (spawn_failure_.empty() ? std::string(std::strerror(spawn_error_)) : spawn_failure_);
    case break_reason::cannot_start:
        return "a worker couldn't start: " + last_end_->failure;
    case break_reason::first_ended:
        return "the first worker " + how + " before it could work: " + ipc::detail::missing_line;
    case break_reason::first_silent:
        return std::string("the first worker didn't answer within the start deadline: ") +
               ipc::detail::missing_line;
    case break_reason::starts_fail:
        return std::to_string(failed_starts_) + " workers in a row didn't come up; the last one " +
               how;
    case break_reason::deaths:
        return std::to_string(deaths_.size()) +
               " workers died without a finished task between them; the last one " + how;
    case break_reason::one_death:
        return "a worker was lost: " + how;
    case break_reason::preparation:
        return "the initialiser failed: " + preparation_error_;
    case break_reason::none:
        break;
    }
    return "it isn't";
}

// Nobody works and nobody can be started: those who wait learn it in time.
bool pool_machine::nobody_lives() const noexcept {
    return std::ranges::all_of(workers_, [](const slot& s) { return s.pid == 0; });
}

// As long as one worker lives, tasks wait for it.
void pool_machine::check_shortage(time_point now) noexcept {
    if (shortage_since_ != never && queued_ != 0 && nobody_lives() &&
        now >= saturated_sum(shortage_since_, limits_.start_deadline))
        fail_queue(task_outcome::no_worker, shortage_error_);
}

void pool_machine::ask_everybody(time_point now) noexcept {
    ask_at_ = never;
    asked_ = true;
    fail_queue(broken_ ? task_outcome::broken : task_outcome::terminated);
    for (unsigned i = 0; i != workers(); ++i) {
        forget_start(i, now);
        recall(i);
        if (workers_[i].state == worker_state::running)
            act(i, action_kind::send_stop); // the kill comes at kill_at_
    }
}

void pool_machine::idle_remove(unsigned i) noexcept { std::erase(idle_, i); }

} // namespace weft::detail
