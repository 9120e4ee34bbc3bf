// SPDX-License-Identifier: MIT
// A process pool at work: carries out what the machine decides, on the loop where the pool was
// made, and lets calls from any thread in.
//
// It lives in a detached task of that loop. When the loop ends, that task is stopped, which ends
// the pool: everything fails, the workers are killed, and the task ends when they are gone.
//
// Threads:      submit, cancel, shutdown, terminate, statistics from any; the rest on the loop's.
// Cancellation: see above, and pool_machine.hpp.
// Errors:       none. Cost: a lock that is nearly always free. Source: none.
#pragma once
#include "oom_watch.hpp"
#include "pool_frame.hpp"
#include "pool_machine.hpp"
#include "worker_channel.hpp"
#include "worker_start.hpp"
#include "worker_voice.hpp"

#include <weft/executors/process_pool.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/task.hpp>
#include <weft/sync/event.hpp>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace weft::detail {

/// A question to all workers that run something: what their tasks do.
class pool_question {
public:
    explicit pool_question(std::uint64_t number) noexcept : id(number) {}
    const std::uint64_t id;
    event answered; // by all
    /// Fills in what has been told.
    void put_into(process_pool_statistics& s);

private:
    friend class pool_hub;
    std::mutex mutex_;
    std::size_t left_ = 0;
    std::vector<std::pair<int, std::string>> told_; // by pid
};

class pool_hub : public std::enable_shared_from_this<pool_hub> {
public:
    /// `initialiser`: the call that each worker begins with, behind room for a header; or nothing.
    pool_hub(loop& l, const process_pool_options& options, ipc::byte_buffer initialiser = {});
    pool_hub(const pool_hub&) = delete;
    pool_hub& operator=(const pool_hub&) = delete;
    ~pool_hub();

    /// Starts the task that the pool lives in, on the calling thread's loop.
    static void start(std::shared_ptr<pool_hub> hub);

    // --- From any thread -------------------------------------------------------------------------

    [[nodiscard]] pool_machine::answer submit(pool_request& call) noexcept;
    /// True: withdrawn. False: it leaves the pool later.
    [[nodiscard]] bool cancel(pool_request& call) noexcept;
    /// So many items of a running sequence were taken.
    void grant(pool_request& call, std::uint32_t items) noexcept;
    /// False: the pool has ended already. True: the operation will be told.
    [[nodiscard]] bool shut_down(pool_shutdown_op& op) noexcept;
    /// True: it won't be told.
    [[nodiscard]] bool forget(pool_shutdown_op& op) noexcept;
    /// Takes no more, and ends when the rest is done.
    void close() noexcept;
    /// Futures that are pending are cancelled.
    void drop_pending() noexcept;
    void terminate(duration grace = duration::zero()) noexcept;
    [[nodiscard]] unsigned size() const noexcept { return machine_.workers(); }
    [[nodiscard]] process_pool_statistics statistics() const;
    /// Asks those that work now.
    [[nodiscard]] std::shared_ptr<pool_question> ask();
    /// Whether it takes no more.
    [[nodiscard]] bool ends() const noexcept;
    /// Throws what tasks of a broken pool get.
    [[noreturn]] void throw_broken() const;
    /// For large arguments.
    [[nodiscard]] shared_blocks& blocks() noexcept { return blocks_; }
    [[nodiscard]] duration stop_grace() const noexcept { return options_.stop_grace; }

    // --- From the channels -----------------------------------------------------------------------

    [[nodiscard]] const worker_plan& plan() const noexcept { return plan_; }
    /// The process is there, or can't be made: the current exception says why.
    void worker_started(unsigned i, int pid) noexcept;
    void worker_not_started(unsigned i) noexcept;
    void worker_ready(unsigned i) noexcept;
    void worker_answered(unsigned i, frame f) noexcept;
    void worker_gave(unsigned i, frame f) noexcept;
    /// It couldn't take this task, and hasn't begun.
    void worker_wants_again(unsigned i, std::uint64_t task) noexcept;
    void worker_told(unsigned i, told_tasks what);
    void worker_misbehaved(unsigned i) noexcept;
    void worker_died(unsigned i, worker_end end, bool begun) noexcept;
    [[nodiscard]] std::unique_lock<std::mutex> hold() const { return std::unique_lock(mutex_); }
    /// Looks into the lanes, and goes on looking as long as that makes sense.
    void look_soon() noexcept;
    /// The same for a channel that has waited.
    void was_woken() noexcept;

private:
    class life_op;
    class lease;
    static task<> live(lease held);
    struct pump_work : work {
        explicit pump_work(pool_hub& h) noexcept;
        pool_hub& hub;
    };
    struct look_work : work {
        explicit look_work(pool_hub& h) noexcept;
        pool_hub& hub;
    };
    struct deadline_timer : timer {
        explicit deadline_timer(pool_hub& h) noexcept;
        pool_hub& hub;
    };
    struct trim_timer : timer {
        explicit trim_timer(pool_hub& h) noexcept;
        pool_hub& hub;
    };

    [[nodiscard]] bool on_loop() const noexcept { return runner::current() == &loop_; }
    void worker_prepared(unsigned i, const frame& f) noexcept;
    void schedule_pump() noexcept; // under the lock
    void pump() noexcept;
    void perform(const pool_machine::action& a) noexcept;
    void leave(pool_task& t) noexcept;
    void send_task(const pool_machine::action& a) noexcept;
    void recall(unsigned worker) noexcept;
    void look() noexcept;
    [[nodiscard]] bool look_out() noexcept;
    [[nodiscard]] bool sleep_until_rung() noexcept;
    void send_credit(const pool_machine::action& a) noexcept;
    void send_question(const std::shared_ptr<pool_question>& q);
    void arm_timer() noexcept;
    void trim_later() noexcept;
    void end_if_closed() noexcept;
    void begin_life(life_op& op) noexcept;
    void loop_ends() noexcept;

    loop& loop_;                         // there until ended_
    const process_pool_options options_; // without what they point to
    const worker_plan plan_;
    const ipc::byte_buffer initialiser_;
    shared_blocks blocks_;
    std::vector<std::unique_ptr<worker_channel>> channels_;
    pump_work pump_;
    look_work look_;
    std::shared_ptr<pool_hub> kept_by_look_; // while that is scheduled
    lane_lookout lookout_;
    unsigned looks_in_vain_ = 0;
    time_point gives_way_since_ = never; // if it looks for longer than that
    time_point asleep_since_ = never;
    deadline_timer timer_;
    time_point armed_for_ = never;
    trim_timer trim_;
    life_op* life_ = nullptr;

    oom_watch oom_;
    bool begins_oom_watch_ = false;

    mutable std::mutex mutex_; // for what follows
    pool_machine machine_;
    pool_shutdown_op* waiters_ = nullptr;
    std::shared_ptr<pool_hub> kept_by_pump_; // while a pump is scheduled
    bool ended_ = false;
    std::uint64_t questions_asked_ = 0;
    std::vector<std::weak_ptr<pool_question>> questions_; // that aren't answered
};

} // namespace weft::detail
