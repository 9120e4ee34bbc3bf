// SPDX-License-Identifier: MIT
// A thread pool at work: its threads, which run what was posted, steal children of tasks from each
// other, and sleep when there is nothing; and its end.
//
// What is posted from outside waits in one queue, under a lock that is held for a few instructions.
// What a thread forks waits in its own deque, and what is posted to one of its strands in its
// mailbox. A thread that finds nothing looks around for about as long as it takes to be woken, and
// lies down (idle_workers.hpp says how none is forgotten). Threads are started when they are first
// needed.
//
// Threads:      public members from any; `leave` and `threads` as said in detail/pool_work.hpp.
// Cancellation: withdraw() takes back what hasn't had its turn; the destructor asks what runs.
// Errors:       post() as in detail/pool_work.hpp; std::invalid_argument for options that mean
//               nothing.
// Cost:         a post takes a lock; a system call only if a thread sleeps. Source: none.
#pragma once
#include "blocking_threads.hpp"
#include "idle_workers.hpp"
#include "pool_queue.hpp"
#include "starvation_watch.hpp"

#include <weft/executors/thread_pool.hpp>
#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/detail/timer_heap.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <stop_token>
#include <string>
#include <vector>

namespace weft::detail {

// What several threads write has lines of its own.
class thread_pool_state { // NOLINT(clang-analyzer-optin.performance.Padding)
    using idle = idle_workers<>;

public:
    thread_pool_state(const thread_pool_options& o, std::function<void()> initialiser);
    thread_pool_state(const thread_pool_state&) = delete;
    thread_pool_state& operator=(const thread_pool_state&) = delete;
    ~thread_pool_state();

    // --- Work ------------------------------------------------------------------------------------

    void post(pool_work& c);
    /// True: withdrawn.
    bool withdraw(pool_work& c) noexcept;
    void leave(pool_work& c) noexcept;
    // Strands look for stops before they wait for anything, and those that wait are here.
    void announce_stop() noexcept;

    // --- The end ---------------------------------------------------------------------------------

    [[nodiscard]] std::exception_ptr reason_of_end() const noexcept;
    /// What was accepted is run, and the threads end by themselves.
    void stop_accepting() noexcept { close(); }
    /// What may be dropped and hasn't had its turn has none any more.
    void drop_pending() noexcept;
    /// False: it has come already.
    bool shut_down(thread_pool_shutdown_op& op) noexcept;
    /// True: it won't be told.
    bool forget(thread_pool_shutdown_op& op) noexcept;
    /// Precondition: no thread is alive, or all are about to end.
    void join() noexcept;

    [[nodiscard]] std::vector<fork_runner*> threads();
    [[nodiscard]] unsigned size() const noexcept { return size_; }
    [[nodiscard]] thread_pool_statistics statistics() const;

private:
    static constexpr unsigned fewest_crowded = 16;

    struct worker : fork_runner, idle::bed {
        worker(thread_pool_state& p, unsigned n);

        static void post_to(runner& r, detail::work& w) noexcept;
        static void help_out(fork_runner& r) noexcept { static_cast<worker&>(r).pool.help(); }
        static void announce(fork_runner& r) noexcept {
            static_cast<worker&>(r).pool.announce_stop();
        }
        static bool wanted(fork_runner& r) noexcept {
            auto& self = static_cast<worker&>(r);
            // relaxed: whoever computes asks again
            self.turns_round = self.mail.load(std::memory_order_relaxed) != nullptr ||
                               self.has_stops_to_pass_on() || self.timer_is_due();
            return self.turns_round || self.has_ready();
        }
        [[nodiscard]] bool timer_is_due() const noexcept {
            return !times.empty() && times.next() <= now();
        }
        [[nodiscard]] bool has_mail() const noexcept {
            return mail.load(std::memory_order_seq_cst) != nullptr; // see idle_workers
        }
        void take_mail() noexcept;
        void fire_timers() noexcept;
        void run_ready() noexcept;

        thread_pool_state& pool;
        const unsigned number;
        const std::string name;
        timer_heap times;
        bool turns_round = false; // to mail, stops and timers, before what else is ready
        unsigned turns = 0;
        std::uint32_t random;
        unsigned crowded = 0; // how often it doesn't look around: see look_around()
        unsigned crowded_next = fewest_crowded;
        pthread_t thread{}; // guarded by mutex_, as the next
        bool joinable = false;
        bool lives = false;
        std::optional<std::stop_source> stop; // of the function that runs; guarded by lock_
        std::atomic<std::uint64_t> begun{0};
        std::atomic<bool> has_thread{false};
        // Written by others.
        alignas(64) std::atomic<detail::work*> mail{nullptr};
        std::atomic<std::uint32_t> posting{0};
    };

    using list = pool_work_list;
    using place = pool_work_list::place;

    bool push(pool_work& c) noexcept;
    pool_work* pull(worker& w) noexcept;
    // Has somebody come for what was just posted, if nobody is on the way. Gives the error if there
    // is no thread, and none can be started.
    int help() noexcept;
    // For who has roused it. Gives the error if there is no thread at all.
    int start(worker& w) noexcept;
    void serve(worker& w) noexcept;
    bool step(worker& w, bool& searching) noexcept;
    bool steal(worker& w, bool& searching) noexcept;
    void call(worker& w, pool_work& c) noexcept;
    // What was looked for is found.
    void found(bool& searching, const pool_work* what = nullptr) noexcept;
    // Who pushes into its deque doesn't fence. Whoever has lain down, or doesn't look for work any
    // more, does it for both before a last look: of the two, one sees the other. `but_for`: so many
    // haven't begun.
    void fence_for_pushes(unsigned but_for = 0) const noexcept;
    [[nodiscard]] bool has_work() const noexcept;
    [[nodiscard]] bool is_wanted(worker& w) const noexcept {
        return w.has_mail() || w.has_stops_to_pass_on() || has_work();
    }
    [[nodiscard]] bool look_around(worker& w) noexcept;
    void sleep(worker& w, bool searching) noexcept;

    [[nodiscard]] bool finished() noexcept;
    // Precondition: mutex_ is held.
    [[nodiscard]] bool has_ended() noexcept {
        return alive_ == 0 && finished() && blocking_.has_ended();
    }
    void tell_if_ended() noexcept;
    void wake_all() noexcept;
    void close() noexcept;
    // False: there is nothing for the thread to do any more.
    bool initialise(bool& searching) noexcept;
    bool run_initialiser() noexcept;
    void report_starvation(std::size_t waiting) const noexcept;
    [[nodiscard]] std::uint64_t begun() const noexcept {
        std::uint64_t n = 0;
        for (const auto& w : workers_)
            n += w->begun.load(std::memory_order_relaxed);
        return n;
    }
    static void* run_worker(void* w) noexcept;
    void break_down(std::string why) noexcept;
    void fail_queue() noexcept;
    // What waits fails, what runs is asked to stop.
    void end() noexcept;

    const unsigned size_;
    const std::size_t stack_size_;
    const std::vector<int> cpus_;
    const std::string name_;
    const std::function<void()> initialiser_;
    std::atomic<bool> breaking_{false}; // the first whose initialiser threw says why
    std::atomic<bool> broken_{false};   // it has said so
    std::string why_broken_;
    std::mutex joining_;
    mutable std::mutex mutex_; // for threads and their number
    unsigned alive_ = 0;
    thread_pool_shutdown_op* waiters_ = nullptr;

    std::vector<std::unique_ptr<worker>> workers_;
    std::atomic<unsigned> started_{0};      // all behind these never had a thread
    std::atomic<std::uint32_t> dormant_;    // those that have none
    std::atomic<std::uint32_t> news_{0};    // stops that were announced
    std::atomic<unsigned> initialising_{0}; // threads that are: a guess, in no order
    idle idle_;

    alignas(64) short_lock<> lock_;     // for the following
    pool_queue queue_;                  // what outsiders posted
    list inside_;                       // what stays until it leaves
    std::atomic<unsigned> may_fork_{0}; // how many these are
    std::atomic<std::size_t> queued_{0};
    bool closing_ = false;

    blocking_threads blocking_;

    starvation_watch watch_;
};

} // namespace weft::detail
