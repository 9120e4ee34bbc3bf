// SPDX-License-Identifier: MIT
// Whether the kernel killed a process because memory ran out: the counter of this process's control
// group, which workers are in as well, has gone up. It says how many were killed, not which; so
// each is put down to one worker that was killed by SIGKILL and not by us.
//
// Threads:      one at a time.
// Cancellation: none. Errors: none: without a counter nobody was killed so.
// Cost:         a small file read at the start of a worker, and at an unexpected SIGKILL.
// Source:       cgroup v2's memory.events, v1's memory.oom_control, and the system's /proc/vmstat.
#pragma once
#include <cstdint>
#include <string>

namespace weft::detail {

/// The file in which the counter of this process stands; empty if there is none.
[[nodiscard]] std::string oom_counter_file();
/// For tests: another one, for pools that are made from now on. Empty: no other.
void set_oom_counter_file(std::string file);

class oom_watch {
public:
    /// Of this process's counter, which is looked for when the first worker has been started.
    oom_watch();
    explicit oom_watch(std::string file);

    /// A worker starts: kills before that are none of those to come.
    void begin() noexcept;
    [[nodiscard]] bool has_begun() const noexcept { return begun_; }
    /// A worker was killed by SIGKILL. Gives whether that was for lack of memory.
    [[nodiscard]] bool explains_kill() noexcept;

private:
    [[nodiscard]] std::uint64_t count() const noexcept;

    std::string file_;
    std::uint64_t seen_ = 0;
    bool begun_ = false;
};

} // namespace weft::detail
