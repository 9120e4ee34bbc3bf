// SPDX-License-Identifier: MIT
// What is known of the end of a worker.
//
// Threads: one. Cancellation: none. Errors: none. Cost: an allocation for each death. Source: none.
#pragma once
#include <weft/ipc/exit_status.hpp>

#include <string>

namespace weft::detail {

struct worker_end {
    ipc::exit_status status;
    /// The kernel killed it because memory ran out.
    bool out_of_memory = false;
    /// The last that it wrote to its standard error.
    std::string last_words;
    /// Why it couldn't start, in its own words; empty if it could.
    std::string failure;

    /// For a sentence: how it ended, and the last line that it wrote.
    [[nodiscard]] std::string text() const;
};

} // namespace weft::detail
