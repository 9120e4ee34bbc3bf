// SPDX-License-Identifier: MIT
// A task as a process pool's supervision sees it: a node in the frame of whoever awaits it.
//
// Threads:      guarded by the pool's lock while the pool holds it.
// Cancellation: see impl/pool_machine.hpp. Errors: none. Cost: about 150 bytes in the frame.
//               Source: none.
#pragma once
#include <weft/executors/detail/worker_end.hpp>
#include <weft/runtime/time.hpp>

#include <cstdint>
#include <memory>

namespace weft::detail {

enum class task_outcome : std::uint8_t {
    none,
    finished,   // the worker has answered: a result or an error
    stopped,    // cancelled, and its worker killed
    timed_out,  // its deadline came before its turn, or its worker was killed for it
    lost,       // its worker died: see pid, end and ran_for
    terminated, // the pool was ended
    broken,     // the pool gave up
    no_worker,  // there is no worker, and none can be started: see error_number
};

/// Levels of urgency; 0 is the most urgent.
inline constexpr unsigned task_priorities = 3;

struct pool_task {
    // Set by the submitter.
    std::uint8_t priority = 1;
    unsigned retries = 0; // how often it may be run again after its worker was lost
    duration grace = duration::zero();
    std::uint64_t tag = 0; // the submitter's name for it
    time_point deadline = never;
    bool droppable = false;
    bool bulky = false; // too large for a slot of a worker's lane

    // Set by the pool.
    std::uint64_t id = 0;
    task_outcome outcome = task_outcome::none;
    bool cancel_asked = false;
    bool sent = false; // given to its worker, who may have begun
    bool late = false; // the deadline has come
    unsigned worker = 0;
    int pid = 0;
    std::shared_ptr<const worker_end> end; // null: there was no memory for it
    duration ran_for = duration::zero();
    int error_number = 0;
    time_point since = {}; // when it was queued, then when it began to run
    enum class place : std::uint8_t { nowhere, queue, worker, done } at = place::nowhere;
    pool_task* next = nullptr;
    pool_task* previous = nullptr;
    struct {
        bool in = false;
        pool_task* below = nullptr;  // the first of those that come later
        pool_task* after = nullptr;  // the next one below the same
        pool_task* before = nullptr; // the one before, or above
    } heap;
};

} // namespace weft::detail
