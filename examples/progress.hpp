// SPDX-License-Identifier: MIT
// Says on stderr how far something is: with a bar that moves if that is a terminal, else with a
// line for each tenth.
//
// Threads:      one at a time.
// Cancellation: none.
// Errors:       none; what can't be written isn't.
// Cost:         twenty writes a second at most.
// Source:       none.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

class progress {
public:
    /// `program` begins each line. An amount that is `in_bytes` is shown as MB.
    progress(std::string program, std::uint64_t total, bool in_bytes);
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;
    /// Takes the bar away.
    ~progress();

    void advance(std::uint64_t n);
    /// A line of text, above the bar.
    void say(std::string_view text);

private:
    [[nodiscard]] std::string amount(std::uint64_t n) const;
    void draw();
    void wipe();

    std::string program_;
    std::uint64_t total_;
    std::uint64_t done_ = 0;
    std::uint64_t tenths_ = 0; // that were told
    std::chrono::steady_clock::time_point begin_, drawn_;
    bool in_bytes_;
    bool terminal_;
    bool bar_is_there_ = false;
};
