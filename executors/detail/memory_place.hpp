// SPDX-License-Identifier: MIT
// Where shared memory without a name can be found: in the process that has it. So it can be told in
// a message, and opened by whoever reads that, while that process is there and hasn't closed it.
//
// Threads:      any.
// Cancellation: none.
// Errors:       isolate_error if it isn't there any more; std::system_error if it can't be opened.
// Cost:         to tell: a system call. To open: three, and a mapping.
// Source:       proc(5), /proc/pid/fd; it needs no rights beyond those of a program's own
//               processes.
#pragma once
#include <weft/ipc/shared_memory.hpp>

#include <cstdint>

namespace weft::detail {

struct memory_place {
    std::int32_t pid = 0;
    std::int32_t fd = -1;
    // The number may be another file's by now.
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
};

[[nodiscard]] memory_place place_of(const ipc::shared_memory& m);
[[nodiscard]] ipc::shared_memory memory_at(const memory_place& place);

} // namespace weft::detail
