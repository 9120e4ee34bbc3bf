// SPDX-License-Identifier: MIT
// What reads bytes that strangers wrote, each as a function that any bytes may be thrown at. It
// returns if all is well, whatever they were, and throws std::logic_error if a rule was broken;
// what only a sanitizer sees is left to it.
//
// tools/fuzz searches for such bytes; corpus_test.cpp tries those that were found interesting.
#pragma once
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace weft::fuzz {

using bytes = std::span<const std::byte>;

void frame(bytes input);
void handshake(bytes input);
void codec(bytes input);
void fork_server(bytes input);
void pickle(bytes input);
void shareable_list(bytes input);

struct target {
    const char* name; // also of its directory in corpus/
    void (*run)(bytes);
};
inline constexpr target targets[] = {
    {"frame", frame},   {"handshake", handshake},           {"codec", codec},
    {"pickle", pickle}, {"shareable_list", shareable_list}, {"fork_server", fork_server}};

inline void must(bool rule, const char* what) {
    if (!rule)
        throw std::logic_error(what);
}

/// The input, taken from the front.
class source {
public:
    explicit source(bytes input) : left_(input) {}
    [[nodiscard]] bool empty() const { return left_.empty(); }
    /// 0 when there is nothing left.
    unsigned byte() {
        auto one = take(1);
        return one.empty() ? 0 : static_cast<unsigned>(one[0]);
    }
    /// At most so many.
    bytes take(std::size_t n) {
        bytes front = left_.first(n < left_.size() ? n : left_.size());
        left_ = left_.subspan(front.size());
        return front;
    }
    bytes rest() { return take(left_.size()); }

private:
    bytes left_;
};

} // namespace weft::fuzz
