// SPDX-License-Identifier: MIT
// How many CPUs there are, and how many this process may keep busy.
//
//     weft::process_pool_options two_thirds() {
//         return {.workers = std::max(1u, weft::usable_cpus() * 2 / 3)};
//     }
//
// Threads:      any.
// Cancellation: none.
// Errors:       none: what can't be read doesn't limit.
// Cost:         a system call and a few small files; the answer isn't kept, because affinity and
//               quota may change.
// Source:       Python's os.cpu_count and process_cpu_count; the quota is cgroup v2's cpu.max, or
//               v1's cfs quota.
#pragma once
#include <string>

namespace weft {

/// The CPUs of the machine that are switched on, whoever may use them. At least 1.
[[nodiscard]] unsigned cpu_count() noexcept;

/// The CPUs of the affinity mask, but no more than the control groups' quota pays for (rounded up).
/// At least 1.
[[nodiscard]] unsigned usable_cpus() noexcept;

namespace detail {
/// The whole CPUs that a line of cpu.max ("max 100000", "150000 100000") allows; 0 if it sets no
/// limit.
[[nodiscard]] unsigned cpus_of_quota(const std::string& line) noexcept;
} // namespace detail

} // namespace weft
