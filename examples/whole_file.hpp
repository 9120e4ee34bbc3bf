// SPDX-License-Identifier: MIT
// Writes a file of which, under its name, there is all or nothing, whenever its process is killed.
//
//     write_whole_file("out/page.html", std::as_bytes(std::span(page)));
//
// Threads:      any; two that write the same name at once spoil it.
// Cancellation: none.
// Errors:       std::system_error.
// Cost:         one copy to the kernel, and a rename. It isn't waited for until it is on the disk.
// Source:       none.
#pragma once
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>

inline void write_whole_file(const std::string& name, std::span<const std::byte> bytes) {
    const std::string unfinished = name + ".part";
    std::ofstream f(unfinished, std::ios::binary);
    f.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
    f.close();
    if (!f)
        throw std::system_error(errno, std::generic_category(), "write " + unfinished);
    std::filesystem::rename(unfinished, name);
}
