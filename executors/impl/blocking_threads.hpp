// SPDX-License-Identifier: MIT
// The extra threads of a pool, for functions that say that they block: one is started when none is
// idle, up to a limit, and ends when nothing came for a while. So what blocks keeps nobody from
// computing.
//
// Threads:      post, withdraw and the rest, from any; the nodes run on threads of their own.
// Cancellation: withdraw takes back what hasn't begun. What runs is asked at the end, through its
//               stop source.
// Errors:       std::system_error from post if there is no thread and none can be started.
// Cost:         a mutex and a wake-up a node. Source: none.
#pragma once
#include "pool_work_list.hpp"

#include <weft/runtime/time.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <stop_token>
#include <string>
#include <vector>

namespace weft::detail {

class blocking_threads {
public:
    struct limits {
        unsigned most;
        duration idle_time;
        std::size_t stack_size; // 0: the default
    };
    /// `name(n)` is what the n-th is called, `initialise()` whether it may run anything, `ended()`
    /// is called by the last one when no more come.
    blocking_threads(const limits& l, std::function<std::string(unsigned)> name,
                     std::function<bool()> initialise, std::function<void()> ended)
        : limits_(l), name_(std::move(name)), initialise_(std::move(initialise)),
          tell_end_(std::move(ended)) {}
    blocking_threads(const blocking_threads&) = delete;
    blocking_threads& operator=(const blocking_threads&) = delete;
    ~blocking_threads() = default;

    /// False: it is closed.
    [[nodiscard]] bool post(pool_work& c);
    /// True: withdrawn. Precondition: it was found in a queue.
    [[nodiscard]] bool withdraw(pool_work& c) noexcept;
    /// Gives the turn `gone` to what may be dropped.
    void drop_pending() noexcept;
    void fail_pending() noexcept;
    /// No more come.
    void close() noexcept;
    void ask_to_stop() noexcept;
    /// Closed, empty, and all threads have ended or are about to.
    [[nodiscard]] bool has_ended() const noexcept;
    /// Waits for the threads. Precondition: it is closed.
    void join() noexcept;

    [[nodiscard]] unsigned threads() const noexcept;
    [[nodiscard]] std::size_t queued() const noexcept;
    [[nodiscard]] std::uint64_t begun() const noexcept;

private:
    struct member {
        blocking_threads* of = nullptr;
        unsigned number = 0;
        pthread_t handle{};
        std::optional<std::stop_source> stop; // of the function that runs
    };
    static void* run_member(void* m) noexcept;
    void start_one();
    void serve(member& me) noexcept;
    void reap(std::list<member>& over) noexcept;

    const limits limits_;
    const std::function<std::string(unsigned)> name_;
    const std::function<bool()> initialise_;
    const std::function<void()> tell_end_;

    mutable std::mutex mutex_; // for what follows
    std::condition_variable wake_;
    std::condition_variable none_left_;
    pool_work_list queue_;
    std::list<member> members_;
    std::list<member> over_; // to be joined
    std::size_t queued_ = 0;
    unsigned idle_ = 0;
    unsigned started_ = 0;
    std::uint64_t begun_ = 0;
    bool closed_ = false;
};

} // namespace weft::detail
