// SPDX-License-Identifier: MIT
// A list of system calls, as a program for the kernel's filter.
//
// Threads:      install, from any: all threads of the process get it.
// Cancellation: none.
// Errors:       std::invalid_argument for calls that aren't known, and for a filter without which a
//               worker couldn't be asked anything; std::system_error if the kernel has no filters.
// Cost:         two instructions for each call of the list.
// Source:       seccomp(2), linux/filter.h.
#pragma once
#include <weft/executors/worker_options.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace weft::detail {

/// The number of a system call on this machine; none if it isn't known here.
[[nodiscard]] std::optional<std::uint32_t> system_call_number(std::string_view name) noexcept;

/// The instructions, eight bytes each; none if the filter is off.
[[nodiscard]] std::vector<std::uint64_t> filter_program(const system_call_filter& f);

/// Whether what such a program makes of it is that the call is made.
[[nodiscard]] bool lets_through(const std::vector<std::uint64_t>& program,
                                std::string_view name) noexcept;

/// From now on, for all threads that there are and will be, and for what they start.
void install_filter(const std::vector<std::uint64_t>& program);

} // namespace weft::detail
