// SPDX-License-Identifier: MIT
// What somebody else has written, as part of a message of ours: on one line, without control
// characters, and no longer than is of use.
//
// Threads: any. Cancellation: none. Errors: std::bad_alloc. Cost: a copy. Source: none.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace weft::ipc::detail {

/// The last `most` bytes of it. Ends of lines become " | ", other control characters are left out.
[[nodiscard]] inline std::string one_line(std::string_view text, std::size_t most = 1024) {
    std::string line;
    if (text.size() > most) {
        text.remove_prefix(text.size() - most);
        line = "...";
    }
    bool line_ends = false;
    for (char c : text) {
        if (c == '\n') {
            line_ends = !line.empty();
        } else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
            if (std::exchange(line_ends, false))
                line += " | ";
            line += c;
        }
    }
    return line;
}

} // namespace weft::ipc::detail
