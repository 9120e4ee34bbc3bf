// SPDX-License-Identifier: MIT
// What a started worker does, by name. The parts of weft that start workers register their roles
// before main.
//
// Threads:      start_worker for a role of kind `worker` on a thread that outlives the worker: the
//               kernel kills it when that thread ends.
// Cancellation: none. Errors: state_error, std::system_error. Cost: see child.hpp. Source: none.
#pragma once
#include <weft/ipc/detail/child.hpp>

#include <span>

namespace weft::ipc::detail {

/// What a role leaves to worker_entry.
enum class role_kind : int {
    worker,  // ignores SIGINT, and is killed with the thread that started it
    helper,  // ignores SIGINT, and sees to its own end
    guard,   // as a helper, with SIGINT and SIGTERM blocked from its first moment
    process, // sees to its own end, and gets any number of descriptors beyond those it says
};

class worker_role {
public:
    /// Runs the worker and gives its exit status. The descriptors are those that start_worker was
    /// given; `parent` is a pidfd of the process that started it.
    using function = int (*)(int parent, std::span<const int> descriptors);

    /// `name` must be a literal. Only for objects of static lifetime.
    worker_role(const char* name, std::size_t descriptors, function run,
                role_kind kind = role_kind::worker) noexcept;
    worker_role(const worker_role&) = delete;
    worker_role& operator=(const worker_role&) = delete;

    [[nodiscard]] static const worker_role* find(const char* name) noexcept;

    const char* const name;
    const std::size_t descriptors;
    const function run;
    const role_kind kind;

private:
    const worker_role* next_;
};

/// Throws state_error unless main called worker_entry; `what` names who asks.
void require_worker_entry(const char* what);

/// What a worker may be started with besides its descriptors.
struct worker_extras {
    /// The program's file, if it is to be the same at another place.
    const char* path = nullptr;
    /// Instead of this process's: "NAME=value" each, and a final null.
    const char* const* environment = nullptr;
    /// Where its standard error goes; -1: where ours does.
    int standard_error = -1;
};

/// Starts this program as a worker.
[[nodiscard]] child start_worker(const worker_role& role, std::span<const int> descriptors,
                                 const worker_extras& extras = {});

/// What to tell a user whose worker never came up.
inline constexpr const char* missing_line =
    "does main() begin with `if (auto status = weft::ipc::worker_entry(argc, argv)) return "
    "*status;`?";

} // namespace weft::ipc::detail
