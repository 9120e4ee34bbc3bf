// SPDX-License-Identifier: MIT
#include "words.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace words {

namespace {

class reader {
public:
    explicit reader(const std::string& name)
        : name_(name), fd_(open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        if (fd_ < 0)
            fail();
    }
    reader(const reader&) = delete;
    reader& operator=(const reader&) = delete;
    ~reader() { close(fd_); }

    /// Fewer bytes at the end of the file.
    [[nodiscard]] std::string read(std::uint64_t begin, std::uint64_t end) const {
        std::string bytes(end - begin, '\0');
        std::size_t n = 0;
        while (n != bytes.size()) {
            auto got =
                pread(fd_, bytes.data() + n, bytes.size() - n, static_cast<off_t>(begin + n));
            if (got == 0)
                break;
            if (got > 0)
                n += static_cast<std::size_t>(got);
            else if (errno != EINTR)
                fail();
        }
        bytes.resize(n);
        return bytes;
    }

private:
    [[noreturn]] void fail() const {
        throw std::system_error(errno, std::generic_category(), name_);
    }
    const std::string& name_;
    int fd_;
};

// 0 separates words; 1 may begin a character that does; others are the byte to take.
constexpr std::array<unsigned char, 256> kinds = [] {
    std::array<unsigned char, 256> k{};
    for (unsigned c = 0; c != 256; ++c) {
        if (c >= 'A' && c <= 'Z')
            k[c] = static_cast<unsigned char>(c - 'A' + 'a');
        else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80)
            k[c] = static_cast<unsigned char>(c);
    }
    k[0xC2] = k[0xE2] = k[0xE3] = 1;
    return k;
}();

unsigned char byte_at(std::string_view text, std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
}

// Of how many bytes the character is that separates words, in UTF-8; 0 if it is one of a word:
// U+0080 to U+00BF, U+2000 to U+206F (dashes, quotation marks), U+3000 to U+303F.
std::size_t separator_at(std::string_view text, std::size_t i) {
    const unsigned second = byte_at(text, i + 1);
    switch (byte_at(text, i)) {
    case 0xC2:
        return 2;
    case 0xE2:
        return second == 0x80 || (second == 0x81 && byte_at(text, i + 2) < 0xB0) ? 3 : 0;
    case 0xE3:
        return second == 0x80 ? 3 : 0;
    default:
        return 0;
    }
}

// Where the words begin that begin at `at` or later. Neighbouring parts of a file find the same
// place, because it lies behind a byte that is a separator whatever stands before it.
std::uint64_t border(const reader& file, std::uint64_t at) {
    if (at == 0)
        return 0;
    constexpr std::uint64_t step = 4096;
    constexpr std::uint64_t farthest = 1 << 20; // something without end isn't a word
    for (std::uint64_t from = at - 1; from < at + farthest; from += step) {
        const std::string bytes = file.read(from, from + step);
        auto found = std::find_if(bytes.begin(), bytes.end(),
                                  [](char c) { return kinds[static_cast<unsigned char>(c)] == 0; });
        if (found != bytes.end())
            return from + static_cast<std::uint64_t>(found - bytes.begin()) + 1;
        if (bytes.size() < step)
            return std::max(at, from + bytes.size());
    }
    return at + farthest;
}

void count_in(std::string& text, table& t) {
    std::size_t begin = 0; // of the word; it ends at i
    std::size_t i = 0;
    auto end_word = [&] {
        if (i != begin)
            t.add(std::string_view(text).substr(begin, i - begin), 1);
    };
    while (i < text.size()) {
        const unsigned char kind = kinds[static_cast<unsigned char>(text[i])];
        std::size_t separator = kind == 0;
        if (kind == 1)
            separator = separator_at(text, i);
        if (separator != 0) {
            end_word();
            begin = i += separator;
            continue;
        }
        if (kind != 1)
            text[i] = static_cast<char>(kind);
        ++i;
    }
    i = std::min(i, text.size());
    begin = std::min(begin, i);
    end_word();
}

} // namespace

counted count(const std::vector<part>& parts) {
    table t;
    counted c;
    for (const part& p : parts) {
        try {
            reader file(p.file);
            const std::uint64_t begin = border(file, p.begin);
            const std::uint64_t end = border(file, p.end);
            if (begin < end) {
                std::string text = file.read(begin, end);
                count_in(text, t);
            }
        } catch (const std::system_error& e) {
            c.failed.push_back({p.file, e.what()});
        }
    }
    c.words = t.all();
    return c;
}

void table::add(const word_counts& t) {
    std::string_view rest = t.words;
    for (std::uint64_t n : t.counts) {
        const std::size_t length = rest.find('\n');
        add(rest.substr(0, length), n);
        rest.remove_prefix(length + 1);
    }
}

void table::add(std::string_view word, std::uint64_t times) {
    auto at = counts_.find(word);
    if (at == counts_.end())
        at = counts_.emplace(word, 0).first;
    at->second += times;
    total_ += times;
}

word_counts table::all() const {
    word_counts t;
    t.counts.reserve(counts_.size());
    for (const auto& [word, n] : counts_) {
        t.words.append(word).push_back('\n');
        t.counts.push_back(n);
    }
    return t;
}

std::vector<std::pair<std::string, std::uint64_t>> table::top(std::size_t n) const {
    std::vector<std::pair<std::string, std::uint64_t>> first(std::min(n, counts_.size()));
    std::partial_sort_copy(counts_.begin(), counts_.end(), first.begin(), first.end(),
                           [](const auto& a, const auto& b) {
                               return a.second != b.second ? a.second > b.second
                                                           : a.first < b.first;
                           });
    return first;
}

} // namespace words
