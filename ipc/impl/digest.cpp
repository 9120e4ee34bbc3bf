// SPDX-License-Identifier: MIT
#include "digest.hpp"

#include <weft/runtime/error.hpp>

#include <limits>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string>

namespace weft::ipc::detail {

namespace {

constexpr std::array<std::string_view, 5> names{"md5", "sha256", "sha384", "sha3_256", "sha3_384"};

const EVP_MD* algorithm(digest d) noexcept {
    switch (d) {
    case digest::md5:
        return EVP_md5();
    case digest::sha256:
        return EVP_sha256();
    case digest::sha384:
        return EVP_sha384();
    case digest::sha3_256:
        return EVP_sha3_256();
    case digest::sha3_384:
        return EVP_sha3_384();
    }
    return nullptr;
}

} // namespace

std::string_view name_of(digest d) noexcept { return names.at(static_cast<std::size_t>(d)); }

std::optional<digest> digest_of(std::string_view name) noexcept {
    for (std::size_t i = 0; i != names.size(); ++i)
        if (names.at(i) == name)
            return static_cast<digest>(i);
    return std::nullopt;
}

bool mac::equals(std::span<const std::byte> other) const noexcept {
    return other.size() == size_ && CRYPTO_memcmp(value_.data(), other.data(), size_) == 0;
}

mac hmac(digest d, const secret_bytes& key, std::span<const std::byte> message) {
    mac m;
    unsigned size = 0;
    // libcrypto takes null for "the key of last time".
    const std::byte none{};
    const std::byte* first = key.size() == 0 ? &none : key.bytes().data();
    if (key.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
        HMAC(algorithm(d), first, static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(message.data()), message.size(),
             reinterpret_cast<unsigned char*>(m.value_.data()), &size) == nullptr)
        throw unavailable_error("libcrypto doesn't compute a keyed " + std::string(name_of(d)));
    m.size_ = size;
    return m;
}

} // namespace weft::ipc::detail
