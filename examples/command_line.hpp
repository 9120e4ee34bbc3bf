// SPDX-License-Identifier: MIT
// What the programs here need for their command lines beside getopt.
//
// Threads:      any. Cancellation, cost: none. Errors: a return value. Source: none.
#pragma once
#include <charconv>
#include <string_view>

/// False if the text isn't a number from 1 to `most`, and nothing else.
[[nodiscard]] inline bool read_number(std::string_view text, unsigned& n, unsigned most) {
    auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    return error == std::errc() && stop == text.data() + text.size() && n != 0 && n <= most;
}
