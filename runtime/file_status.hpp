// SPDX-License-Identifier: MIT
// What the system knows of a file besides its contents.
//
//     bool changed_since(const weft::file_status& s, std::chrono::system_clock::time_point t) {
//         return s.type == weft::file_type::regular && s.modified > t;
//     }
//
// Threads:      a value like any other.
// Cancellation: none.
// Errors:       none.
// Cost:         none.
// Source:       statx(2).
#pragma once
#include <chrono>
#include <cstdint>

namespace weft {

enum class file_type : std::uint8_t {
    unknown,
    regular,
    directory,
    symlink,
    fifo,
    socket,
    character_device,
    block_device,
};

struct file_status {
    using time = std::chrono::sys_time<std::chrono::nanoseconds>;
    file_type type = file_type::unknown;
    std::uint16_t permissions = 0; // the lower twelve bits of the mode
    std::uint32_t links = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t size = 0;      // in bytes
    std::uint64_t allocated = 0; // in bytes on the disk
    std::uint64_t inode = 0;
    std::uint64_t device = 0;
    time accessed;
    time modified;
    time changed; // of the status
    time created; // zero where the file system doesn't know
};

} // namespace weft
