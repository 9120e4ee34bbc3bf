// SPDX-License-Identifier: MIT
#include "utf8.hpp"

namespace weft::ipc::detail {

namespace {

// How many bytes the character at the beginning has; 0 if it is none.
std::size_t first_character(std::string_view text) noexcept {
    auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    auto continues = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
    unsigned first = byte(0);
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return continues(1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        bool overlong = first == 0xe0 && byte(1) < 0xa0;
        bool surrogate = first == 0xed && byte(1) > 0x9f;
        return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        bool overlong = first == 0xf0 && byte(1) < 0x90;
        bool beyond = first == 0xf4 && byte(1) > 0x8f;
        return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

} // namespace

std::size_t well_formed_prefix(std::string_view text) noexcept {
    std::size_t at = 0;
    while (at < text.size()) {
        std::size_t n = first_character(text.substr(at));
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

} // namespace weft::ipc::detail
