// SPDX-License-Identifier: MIT
// Whether a text is UTF-8, and how much of one is whole.
//
// Threads:      any. Cancellation: none. Errors: none. Cost: one pass. Source: RFC 3629.
#pragma once
#include <cstddef>
#include <string_view>

namespace weft::ipc::detail {

/// How many bytes of the beginning are well-formed: no overlong forms, no surrogates.
[[nodiscard]] std::size_t well_formed_prefix(std::string_view text) noexcept;

[[nodiscard]] inline bool is_utf8(std::string_view text) noexcept {
    return well_formed_prefix(text) == text.size();
}

} // namespace weft::ipc::detail
