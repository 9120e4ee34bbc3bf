// SPDX-License-Identifier: MIT
// Counts words: of a part of a large file, or of many small files at a time.
//
// A word is what letters and digits make, of any script; capitals of ASCII count as small letters.
// What isn't text is counted all the same.
//
// Threads:      as a value's.
// Cancellation: none.
// Errors:       files that can't be read are named in the result.
// Cost:         about ten nanoseconds a letter; memory for the part, and for its different words.
// Source:       none.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace words {

/// The bytes [begin, end) of a file. A word belongs to the part in which it begins.
struct part {
    std::string file;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

/// Words as they travel: two blocks of memory, and not a string for each.
struct word_counts {
    std::string words; // each followed by a newline
    std::vector<std::uint64_t> counts;
};

struct unread {
    std::string file;
    std::string why;
};
struct counted {
    word_counts words;
    std::vector<unread> failed;
};

/// What workers are asked for.
counted count(const std::vector<part>& parts);

class table {
public:
    void add(const word_counts& t);
    void add(std::string_view word, std::uint64_t times);
    [[nodiscard]] word_counts all() const;
    /// The most frequent ones; those that are as frequent in alphabetical order.
    [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> top(std::size_t n) const;
    /// How many words there are, and how many different ones.
    [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
    [[nodiscard]] std::size_t size() const noexcept { return counts_.size(); }
    friend bool operator==(const table& a, const table& b) { return a.counts_ == b.counts_; }

private:
    struct hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    std::unordered_map<std::string, std::uint64_t, hash, std::equal_to<>> counts_;
    std::uint64_t total_ = 0;
};

} // namespace words
