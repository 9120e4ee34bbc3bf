// SPDX-License-Identifier: MIT
// How a pool's workers come into being: by which start method, in which surroundings, and what they
// say if they can't start. That is written at the end of the letter in which a worker reads what is
// meant for it: memory that both ends have, without a name.
//
// Threads:      the loop's. A worker is killed when that thread ends, but for those of a fork
//               server: with the thread that started the server, if that was the main thread, and
//               else by a thread of their own.
// Cancellation: see worker_start::elsewhere.
// Errors:       std::invalid_argument for options that make no sense; std::system_error,
//               state_error if a worker can't be started.
// Cost:         besides the start itself a letter (two descriptors for a moment, one for its life).
// Source:       none.
#pragma once
#include "worker_surroundings.hpp"

#include <weft/executors/process_pool.hpp>
#include <weft/ipc/detail/child.hpp>
#include <weft/ipc/detail/forked_role.hpp>
#include <weft/runtime/descriptor.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace weft::detail {

/// What all workers of a pool have in common, with copies of what the options point to.
class worker_plan {
public:
    explicit worker_plan(const process_pool_options& o);

    [[nodiscard]] ipc::start_method method() const noexcept { return method_; }
    [[nodiscard]] worker_errors errors() const noexcept { return errors_; }
    /// For large arguments, in the pool's process.
    [[nodiscard]] const block_bounds& blocks() const noexcept { return blocks_; }
    /// Whether they may be somebody else's: what one has is read once, and not shown to others.
    [[nodiscard]] bool suspects_workers() const noexcept { return !common_.filter.empty(); }
    /// Whether workers keep a block mapped when they have read what was in it.
    [[nodiscard]] bool workers_keep_blocks() const noexcept { return common_.memory == 0; }
    /// Of the worker in this place.
    [[nodiscard]] worker_surroundings surroundings(unsigned index) const;
    /// "NAME=value" each: what a new program is started with, if not with that of this process.
    [[nodiscard]] std::optional<std::vector<std::string>> whole_environment() const;

private:
    ipc::start_method method_; // never `standard`
    worker_errors errors_;
    block_bounds blocks_;
    worker_surroundings common_;
    std::vector<std::vector<std::uint32_t>> cpu_lists_;
};

/// One start. Then kept for what the worker leaves behind in its letter.
class worker_start {
public:
    worker_start() noexcept = default;
    /// `descriptors` are the worker's ends of its channels, `standard_error` what it writes to, or
    /// none.
    worker_start(const worker_plan& plan, unsigned index, std::vector<descriptor> descriptors,
                 descriptor standard_error);

    /// Starts it now, unless that is the fork server's business.
    [[nodiscard]] ipc::detail::child here();
    /// What to await for a worker of the fork server's. The descriptors are given away.
    [[nodiscard]] ipc::detail::forked_role elsewhere();

    /// Why it couldn't start, when it has ended; empty if it could.
    [[nodiscard]] std::string failure() const;

private:
    [[nodiscard]] ipc::detail::forked_role forked(bool by_server);

    const worker_plan* plan_ = nullptr;
    descriptor letter_;
    std::size_t letter_size_ = 0;
    std::vector<descriptor> given_; // until it is started
    descriptor standard_error_;
};

} // namespace weft::detail
