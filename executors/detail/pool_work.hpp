// SPDX-License-Identifier: MIT
// What a thread pool runs: a node that lives in whoever hands it in. For those who write executors.
//
//     struct note : weft::detail::pool_work {
//         note() noexcept : pool_work(take_turn) {}
//         static void take_turn(pool_work& w, weft::detail::pool_turn turn) noexcept {
//             bool lost = turn == weft::detail::pool_turn::gone;
//             fmt::print("{}\n", lost ? "the pool was destroyed before" : "on its thread");
//             static_cast<note&>(w).done.store(true);      // from here on the node may be freed
//         }
//         std::atomic<bool> done{false};
//     };
//
// Threads:      post and withdraw, from any. `run` is called on a thread of the pool, or with
//               `gone` on the one that destroys the pool: once for each posted node that wasn't
//               withdrawn.
// Cancellation: withdraw takes a node back that hasn't had its turn. Where `stop` is set, it is
//               asked when the pool is destroyed while the node runs.
// Errors:       post throws state_error after shutdown, std::system_error if there is no thread
//               and none can be started; then the node was not taken.
// Cost:         no allocation. Source: none.
#pragma once
#include <weft/executors/task_priority.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <stop_token>
#include <vector>

namespace weft::detail {

class thread_pool_state;
class fork_runner;

enum class pool_turn : int {
    run,  // on a thread of the pool
    gone, // the pool is being destroyed, or broken: it won't come to this any more
    stop, // the pool is being destroyed, and the node stays: see below
};

class pool_work {
public:
    using turn_function = void (*)(pool_work&, pool_turn) noexcept;

    explicit pool_work(turn_function f) noexcept : run_(f) {}
    pool_work(const pool_work&) = delete;
    pool_work& operator=(const pool_work&) = delete;

    /// Asked to stop if the pool is destroyed while this runs. Set before the node is posted, and
    /// stays until `run` is called; null: it isn't asked.
    std::stop_source* stop = nullptr;
    /// The pool doesn't end until leave() is called for this node, once it has had its turn. Until
    /// then it may get another one: `stop`, from the thread that destroys the pool, under a lock.
    bool stays = false;

    // Set before the node is posted:

    /// Whether drop_pending() takes it.
    bool droppable = false;
    /// Runs on one of the pool's extra threads. Not for nodes that stay.
    bool blocks = false;
    task_priority priority = task_priority::normal;

protected:
    ~pool_work() = default;

private:
    friend class pool_work_list;
    turn_function run_;
    // Written under the pool's lock. Who finds `nowhere` need not look at the pool, which may be
    // gone.
    enum class place : std::uint8_t { nowhere, queue, inside };
    std::atomic<place> at_{place::nowhere};
    pool_work* next_ = nullptr;
    pool_work* previous_ = nullptr;
};

/// Hands a node in. It gets its turn after those of its priority that came before.
void post(thread_pool_state& pool, pool_work& w);
/// What those are told whose turn is `gone`.
[[nodiscard]] std::exception_ptr reason_of_end(const thread_pool_state& pool) noexcept;
/// Takes a node back. False: it has had its turn, or has it now. Precondition: it was posted, and
/// is still there.
bool withdraw(thread_pool_state& pool, pool_work& w) noexcept;
/// Gives the nodes that may be dropped and haven't had their turn the turn `gone`.
void drop_pending(thread_pool_state& pool) noexcept;
/// For a node that stays, and is done.
void leave(thread_pool_state& pool, pool_work& w) noexcept;
/// A stop_point was set that strands of this pool are below of: they are told. See fork.hpp.
void announce_stop(thread_pool_state& pool) noexcept;
/// The threads that it has now. What is posted to one that ends is run by who destroys the pool.
[[nodiscard]] std::vector<fork_runner*> threads_of(thread_pool_state& pool);

} // namespace weft::detail
