// SPDX-License-Identifier: MIT
// The helper that forks: a process with one thread, which is asked over a socket pair. What it
// forks are children of *its* parent (CLONE_PARENT), so that their end is known there whatever
// becomes of it.
//
// Threads:      any.
// Cancellation: a request that was sent is waited for.
// Errors:       std::system_error; state_error if the server can't fork.
// Cost:         a request is two packets and the fork. Source: multiprocessing.forkserver.
#pragma once
#include "process_record.hpp"

#include <weft/ipc/detail/child.hpp>
#include <weft/runtime/descriptor.hpp>

#include <mutex>
#include <vector>

namespace weft::ipc::detail {

class fork_server {
public:
    /// The one of this process. A fork leaves the server to the parent.
    static fork_server& instance();

    /// What it calls first, once it is started.
    void set_preload(std::vector<const function_entry*> functions);
    /// Asks for a process; starts the server if there is none. Gives the end of a socket on which
    /// the reply comes, or the end of the stream if the server dies before it has forked.
    [[nodiscard]] descriptor request(const process_record& r);
    /// It hasn't answered for long: ends it, so that the reply or its absence is certain.
    void give_up() noexcept;
    /// Reaps it if it has died.
    void look() noexcept;
    /// Ends it. The next request starts another one.
    void stop() noexcept;
    /// 0 if there is none.
    [[nodiscard]] int pid();
    /// Waits for its end and reaps it, unless somebody does so already. On a loop.
    void be_watched();

private:
    class watch;
    static task<> wait_for_end(std::unique_ptr<watch> w);
    void leave_to_parent() noexcept;
    void start();

    std::mutex mutex_; // for what follows
    int owner_ = 0;
    child child_;
    descriptor control_;
    bool thread_lasts_ = false;
    bool watched_ = false;
    std::vector<const function_entry*> preload_;
};

class worker_role;
/// Its descriptor: the end of the socket pair from which it reads.
[[nodiscard]] const worker_role& fork_server_role() noexcept;

/// Where the C library keeps the id of this thread. Kernels without CONFIG_CHECKPOINT_RESTORE
/// don't say; or if they aren't asked, it is looked for in the thread's record, and is null if more
/// than one number there, or none, is the id.
[[nodiscard]] int* place_of_thread_id(bool asks_kernel) noexcept;

/// Starts a process through the server.
task<child> fork_elsewhere(std::shared_ptr<process_record> r);

} // namespace weft::ipc::detail
