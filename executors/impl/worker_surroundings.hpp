// SPDX-License-Identifier: MIT
// What a worker is told of its surroundings, and how it enters them: first where it is and what it
// sees, then the pool's worker starts up, and when it is about to say that it is ready the gate
// falls: limits and the filter of system calls. So start-up needs nothing that tasks may not have.
//
// Threads:      the main thread of a worker; the filter is for all of them.
// Cancellation: none.
// Errors:       std::system_error and std::runtime_error, whose text the pool gets: see
//               worker_start.hpp.
// Cost:         a system call for each thing that is set. Source: none.
#pragma once
#include "shared_blocks.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace weft::detail {

/// Travels to the worker. Zeros and empty things are left as they are.
struct worker_surroundings {
    std::uint64_t memory = 0;
    std::uint64_t cpu_seconds = 0;
    std::uint64_t open_files = 0;
    std::string directory;
    std::vector<std::string> environment; // as in worker_options
    bool clean_environment = false;
    std::vector<std::uint32_t> cpus;
    std::vector<std::uint64_t> filter;
    std::uint64_t most_in_blocks = 0; // bytes of large results; 0: they go over the socket
    std::uint64_t kept_in_blocks = 0;
    bool stderr_came_along = false; // the descriptor before the letter is to be the standard error
};

/// Directory, environment and CPUs, of a process with one thread.
void enter_surroundings(const worker_surroundings& s);

/// What close_gate() does in this process, once.
void set_gate(const worker_surroundings& s, int letter) noexcept;
/// Called by the worker when it is started up, and nothing of the tasks has run.
void close_gate();
[[nodiscard]] bool gate_is_closed() noexcept;
/// What large results may take, of a worker whose gate is set.
[[nodiscard]] block_bounds block_bounds_here() noexcept;
/// Whether there is neither limit nor filter.
[[nodiscard]] bool gate_shuts_out_nothing() noexcept;

} // namespace weft::detail
