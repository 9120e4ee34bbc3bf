// SPDX-License-Identifier: MIT
// Keyed digests (HMAC), those that Python's handshake knows.
//
// Threads:      any. Cancellation: none.
// Errors:       unavailable_error if this system's libcrypto refuses one.
// Cost:         some microseconds. Source: RFC 2104; OpenSSL's libcrypto computes.
#pragma once
#include <weft/ipc/secret_bytes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace weft::ipc::detail {

enum class digest : std::uint8_t { md5, sha256, sha384, sha3_256, sha3_384 };

/// As it stands in braces: "sha256".
[[nodiscard]] std::string_view name_of(digest d) noexcept;
[[nodiscard]] std::optional<digest> digest_of(std::string_view name) noexcept;

/// The result of a keyed digest.
class mac {
public:
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::span(value_).first(size_);
    }
    /// Whether they are the same; takes as long if they aren't.
    [[nodiscard]] bool equals(std::span<const std::byte> other) const noexcept;

private:
    friend mac hmac(digest d, const secret_bytes& key, std::span<const std::byte> message);
    std::array<std::byte, 48> value_{};
    std::size_t size_ = 0;
};

[[nodiscard]] mac hmac(digest d, const secret_bytes& key, std::span<const std::byte> message);

} // namespace weft::ipc::detail
