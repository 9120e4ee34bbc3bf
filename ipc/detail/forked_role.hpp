// SPDX-License-Identifier: MIT
// Workers by the other start methods: a role that a process takes which the fork server makes, or
// which is a fork of this one. The role's function finds what it would find in a program started
// anew; only its descriptors have other numbers.
//
// Threads:      any; for a fork, the only one of the process.
// Cancellation: a request to the fork server that was sent is waited for.
// Errors:       as ipc/process.hpp's. Cost: see start_context.hpp.
// Source:       none.
#pragma once
#include <weft/ipc/detail/worker_role.hpp>
#include <weft/runtime/task.hpp>

#include <memory>
#include <vector>

namespace weft::ipc::detail {

class process_record;

/// A process that is to take a role, before its start. The descriptors are given away.
class forked_role {
public:
    forked_role(const worker_role& role, std::string_view name, bool by_server,
                std::vector<descriptor> descriptors);

    /// Through the fork server, on a loop.
    [[nodiscard]] task<child> start_elsewhere() const;
    /// Forks this process. Doesn't return in the child. state_error if there are several threads.
    [[nodiscard]] child start_here() const;

private:
    std::shared_ptr<process_record> record_;
};

/// The fork server of this process; 0 if there is none.
[[nodiscard]] int fork_server_pid();
/// Ends it. The next request starts another one.
void end_fork_server() noexcept;

} // namespace weft::ipc::detail
