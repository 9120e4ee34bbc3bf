// SPDX-License-Identifier: MIT
// Names to addresses.
//
//     weft::task<> show(std::string name) {
//         for (const weft::socket_address& a : co_await weft::resolve(name, 80))
//             fmt::print("{}\n", a.to_string());
//     }
//
// Threads:      resumes on the task's loop; the system's resolver runs on one of a few helper
//               threads.
// Cancellation: at once. A look-up that has begun goes on by itself, and its answer is thrown away.
// Errors:       std::system_error of resolve_category, naming host and port, also if there is no
//               such name.
// Cost:         none but the result for the text of an IP address; otherwise as the system's
//               resolver.
// Source:       getaddrinfo(3); asyncio's loop.getaddrinfo.
#pragma once
#include <weft/runtime/address.hpp>
#include <weft/runtime/task.hpp>

#include <system_error>
#include <vector>

namespace weft {

struct resolve_options {
    /// none: both.
    address_family family = address_family::none;
};

/// In the order in which they should be tried; never empty.
[[nodiscard]] task<std::vector<socket_address>> resolve(std::string host, std::uint16_t port,
                                                        resolve_options options = {});

/// The errors of getaddrinfo (EAI_NONAME ...).
[[nodiscard]] const std::error_category& resolve_category() noexcept;

} // namespace weft
