// SPDX-License-Identifier: MIT
// How a process pool decides: which worker gets which task, what a death means, when to ask, to
// kill, to start anew and to give up. No I/O, no clock, no allocation after construction: events
// come in with the time at which they happened, and next() hands out what is to be done about them.
//
// A worker's slot goes round: absent -> starting -> idle <-> running -> (leaving | dying) -> absent
// -> ... A task is queued, then running, then done; a task that may be retried goes back to the
// head of the queue.
//
// When nobody is idle and tasks take much less time than a millisecond, a worker is given the next
// ones before it has answered, so that it doesn't wait for us in between. It takes them one at a
// time; until it does, they can be taken back. That happens when the one before takes long, when
// something more urgent comes, when it is to be stopped, and when the worker dies: they go back to
// the head of the queue, as if nobody had had them.
//
// Where the workers that run and whoever submits have all processors, and tasks are so short that
// most of the work is to hand them out, nobody else is woken: one more would take the time of the
// others. Tasks wait for those who run, and for a fraction of a millisecond if one takes long.
//
// Threads:      one at a time.
// Cancellation: cancel() withdraws a queued task at once; a running one is asked, and its worker
//               killed after the grace. So is one whose deadline comes.
// Errors:       none; misuse is asserted.
// Cost:         O(1) a task, O(workers) for timers and actions.
// Source:       none; it keeps what tests call P8 to P11 and P16.
#pragma once
#include "deadline_heap.hpp"

#include <weft/executors/detail/pool_task.hpp>
#include <weft/runtime/time.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::detail {

class pool_machine {
public:
    struct limits {
        unsigned workers = 1;
        /// So many are there without work too; the others come when a task waits, and go when they
        /// had nothing to do for `idle_time`.
        unsigned least_workers = ~0u;
        duration idle_time = duration::max();
        /// A worker goes home after so many tasks, and another comes in its place. 0: never.
        std::uint64_t tasks_per_worker = 0;
        /// One death breaks the pool.
        bool death_breaks = false;
        std::size_t pending = 1;
        duration start_deadline = std::chrono::seconds(10);
        duration stop_grace = std::chrono::seconds(5);
        unsigned deaths = 5; // without a finished task between them
        duration deaths_within = std::chrono::seconds(10);
        /// So many tasks may be with a worker beyond the one that it runs.
        unsigned look_ahead = 0;
        /// So many processors are there for the workers and whoever submits.
        unsigned processors = ~0u;
    };

    enum class worker_state : std::uint8_t { absent, starting, idle, running, leaving, dying };

    struct worker_view {
        worker_state state;
        int pid;
        std::uint64_t tasks_done;
        time_point since;  // when it entered the state; for running: when the task began
        std::uint64_t tag; // of the task that it holds
    };

    enum class action_kind : std::uint8_t {
        complete, // task: tell its owner; the machine has forgotten it
        spawn,    // worker: then spawned() or spawn_failed()
        send_task,
        recall, // worker: what it hasn't begun; taken_back() from the last on, then recalled()
        send_stop,
        send_quit,
        send_term, // worker: SIGTERM
        kill,      // worker: by SIGKILL; then died()
        send_credit,
    };
    struct action {
        action_kind what;
        unsigned worker;
        pool_task* task;
    };

    enum class answer : std::uint8_t { accepted, full, closed, broken };

    explicit pool_machine(const limits& l);

    // --- What happens ----------------------------------------------------------------------------

    void start(time_point now) noexcept;
    [[nodiscard]] answer submit(pool_task& t, time_point now) noexcept;
    /// True: it was waiting, is withdrawn, and nothing more happens to it.
    [[nodiscard]] bool cancel(pool_task& t, time_point now) noexcept;

    /// Nobody wants the task that a worker was to be sent, and it wasn't. True: the machine has
    /// forgotten it. False: it is still to be completed.
    [[nodiscard]] bool take_back(pool_task& t, time_point now) noexcept;
    /// The last one that the worker was sent: it hasn't begun, and won't.
    void taken_back(unsigned worker, time_point now) noexcept;
    /// What it hasn't begun was taken back, and what it has answered is known.
    void recalled(unsigned worker, time_point now) noexcept;
    /// Tasks that wait and may be dropped count as stopped.
    void drop_pending(time_point now) noexcept;

    void spawned(unsigned worker, int pid, time_point now) noexcept;
    /// `why`: in words, where the number doesn't say it.
    void spawn_failed(unsigned worker, int error_number, time_point now,
                      std::string why = {}) noexcept;
    /// It has spoken, and prepares itself; that may take as long again.
    void preparing(unsigned worker, time_point now) noexcept;
    void ready(unsigned worker, time_point now) noexcept;
    /// It can't prepare itself, and neither could another one.
    void preparation_failed(unsigned worker, std::string error, time_point now) noexcept;
    /// There is something to tell the worker of a running task. False: it isn't running.
    [[nodiscard]] bool grant(const pool_task& t) noexcept;
    /// The running task has been answered.
    void finished(unsigned worker, bool with_error, time_point now) noexcept;
    /// The worker talks nonsense, or has closed its channel.
    void misbehaved(unsigned worker, time_point now) noexcept;
    /// The worker has ended, and nothing of what it sent is on the way any more. Null: nothing is
    /// known of how. Whether it had begun the first task that it held.
    void died(unsigned worker, std::shared_ptr<const worker_end> end, time_point now,
              bool begun = true) noexcept;

    /// No new tasks; accepted ones are done. At `ask_at` those still queued fail and those still
    /// running are asked to stop; at `kill_at` the workers are killed.
    void shut_down(time_point ask_at, time_point kill_at, time_point now) noexcept;
    /// Everything fails, everybody is killed; by SIGTERM first, if they have a grace.
    void terminate(time_point now, duration grace = duration::zero()) noexcept;

    /// Time has passed.
    void advance(time_point now) noexcept;

    // --- What is to be done ----------------------------------------------------------------------

    [[nodiscard]] std::optional<action> next() noexcept;
    /// When to call advance().
    [[nodiscard]] time_point next_deadline() const noexcept;
    /// Nothing is left: no worker, no task, no action.
    [[nodiscard]] bool closed() const noexcept;

    // --- What is known ---------------------------------------------------------------------------

    [[nodiscard]] worker_view worker(unsigned i) const noexcept;
    /// What it is running, or null.
    [[nodiscard]] pool_task* task_of(unsigned i) const noexcept { return workers_[i].held.first; }
    /// The one that it was sent last, if that isn't the one that it is running.
    [[nodiscard]] pool_task* last_ahead_of(unsigned i) const noexcept {
        const slot& s = workers_[i];
        pool_task* last = s.held.last;
        return last == s.held.first || !last->sent ? nullptr : last;
    }
    /// Whether it is to be killed, or was, for another reason than that its channel has ended,
    /// which may be the first that is seen of its death.
    [[nodiscard]] bool is_being_killed(unsigned i) const noexcept {
        return workers_[i].state == worker_state::dying &&
               workers_[i].reason != kill_reason::nonsense;
    }
    [[nodiscard]] unsigned workers() const noexcept {
        return static_cast<unsigned>(workers_.size());
    }
    /// Those that wait, some of them with a worker.
    [[nodiscard]] std::size_t queued() const noexcept { return queued_ + ahead_; }
    [[nodiscard]] std::uint64_t done() const noexcept { return done_; }
    [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }
    [[nodiscard]] std::uint64_t respawned() const noexcept { return respawned_; }
    /// It takes no more.
    [[nodiscard]] bool ends() const noexcept { return phase_ != phase::open; }
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    /// Why it is broken, for people.
    [[nodiscard]] std::string reason() const;

private:
    static constexpr duration unhurried = std::chrono::milliseconds(1);
    static constexpr duration slowest = 16 * unhurried; // all that is slower is the same
    enum class phase : std::uint8_t { open, closing, ending };
    enum class break_reason : std::uint8_t {
        none,
        cannot_spawn,
        cannot_start,
        first_ended,
        first_silent,
        starts_fail,
        deaths,
        one_death,
        preparation
    };
    enum class kill_reason : std::uint8_t {
        none,
        cancelled,
        late_start,
        late_quit,
        nonsense,
        ended
    };

    struct task_list {
        pool_task* first = nullptr;
        pool_task* last = nullptr;
        void push_back(pool_task& t) noexcept;
        void push_front(pool_task& t) noexcept;
        void remove(pool_task& t) noexcept;
    };
    struct slot {
        worker_state state = worker_state::absent;
        kill_reason reason = kill_reason::none;
        bool first = true;       // never been spawned: not counted as respawned
        bool has_spoken = false; // since it was spawned
        bool was_ready = false;
        std::uint16_t actions = 0; // bits by action_kind
        int pid = 0;
        std::uint64_t tasks_done = 0;
        task_list held;              // the first is running, or about to
        unsigned holds = 0;          // so many
        pool_task* unsent = nullptr; // of those, the first that wasn't handed out
        bool to_be_killed = false;   // when what it hasn't begun was taken back
        time_point since = {};
        time_point deadline = never;  // of the start, the grace, or the quitting
        time_point recall_at = never; // the first takes so long that the others don't wait for it
        time_point spawn_at = never;  // when an absent one is to be spawned
        duration back_off = {};
    };

    void act(unsigned i, action_kind k) noexcept;
    void enter(slot& s, worker_state st, time_point now) noexcept;
    void dispatch(time_point now) noexcept;
    void dispatch_rest(time_point now) noexcept;
    [[nodiscard]] bool others_suffice(const pool_task& t, time_point now) const noexcept;
    [[nodiscard]] task_list& most_urgent() noexcept;
    void give(unsigned i, pool_task& t, time_point now) noexcept;
    [[nodiscard]] unsigned ahead_now() const noexcept;
    /// How long tasks wait behind the first that their worker holds, which has come to something
    /// longer then.
    [[nodiscard]] duration patience() const noexcept {
        return idle_.empty() ? unhurried : unhurried / 5;
    }
    [[nodiscard]] bool may_look_ahead(const slot& s, const pool_task& t, unsigned ahead,
                                      time_point now) const noexcept;
    void look_ahead(time_point now) noexcept;
    void look_ahead(unsigned i, time_point now) noexcept;
    void let_go(slot& s, pool_task& t) noexcept;
    void give_back(pool_task& t) noexcept;
    void recall(unsigned i) noexcept;
    void recall_less_urgent(std::uint8_t priority) noexcept;
    void stop_first(unsigned i, time_point now) noexcept;
    void kill_for_first(unsigned i, time_point now) noexcept;
    void note_time(duration d) noexcept;
    void become_free(unsigned i, time_point now) noexcept;
    void want(unsigned i, time_point now) noexcept;
    void grow(time_point now) noexcept;
    void go_home(unsigned i, time_point now) noexcept;
    void send_idle_home(time_point now) noexcept;
    [[nodiscard]] unsigned staff() const noexcept;
    void forget_start(unsigned i, time_point now) noexcept;
    [[nodiscard]] bool needs_workers() const noexcept {
        return phase_ == phase::open || (phase_ == phase::closing && queued_ != 0);
    }
    void kill(unsigned i, kill_reason why, time_point now) noexcept;
    void expire(pool_task& t, time_point now) noexcept;
    void complete(pool_task& t, task_outcome o) noexcept;
    void fail_queue(task_outcome o, int error_number = 0) noexcept;
    void give_up(break_reason why, time_point now) noexcept;
    void count_death(std::shared_ptr<const worker_end> end, bool was_starting, bool had_spoken,
                     bool late, time_point now) noexcept;
    [[nodiscard]] bool nobody_lives() const noexcept;
    void check_shortage(time_point now) noexcept;
    void ask_everybody(time_point now) noexcept;
    void idle_remove(unsigned i) noexcept;

    limits limits_;
    std::vector<slot> workers_;
    std::vector<unsigned> idle_; // the one on top worked last
    std::vector<time_point> deaths_;
    std::array<task_list, task_priorities> queue_; // the most urgent first
    task_list completed_;                          // to be told
    deadline_heap deadlines_;                      // of tasks that aren't completed
    std::size_t queued_ = 0;
    std::size_t ahead_ = 0;      // with workers that run another one
    duration typical_ = slowest; // how long a task takes
    std::uint64_t next_id_ = 1;
    std::uint64_t done_ = 0, failed_ = 0, respawned_ = 0;
    unsigned failed_starts_ = 0; // in a row
    time_point shortage_since_ = never;
    int shortage_error_ = 0;
    time_point ask_at_ = never, kill_at_ = never;
    phase phase_ = phase::open;
    bool started_ = false;
    bool dropping_ = false;      // nobody waits for what may be dropped
    bool no_room_ahead_ = false; // nobody may be given a further task, so far as is known
    bool vacancies_ = true;      // false: nobody is absent, so far as is known
    bool ever_ready_ = false;
    bool asked_ = false; // shutting down, and ask_at_ has passed
    bool broken_ = false;
    break_reason break_reason_ = break_reason::none;
    std::shared_ptr<const worker_end> last_end_; // of the worker whose death was too much
    int spawn_error_ = 0;
    std::string spawn_failure_;
    std::string preparation_error_;
};

} // namespace weft::detail
