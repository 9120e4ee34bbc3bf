// SPDX-License-Identifier: MIT
// Bytes that nobody else is to see, such as the key that two processes share.
//
//     weft::ipc::secret_bytes key_of_this_run() { return weft::ipc::secret_bytes::random(); }
//     weft::ipc::secret_bytes agreed_key() { return weft::ipc::secret_bytes("from a safe place"); }
//
// They lie in pages of their own, which core dumps leave out and a forked child finds wiped, and
// are wiped when they end. They can't be copied by accident, sent or printed.
//
// Threads:      as a value's.
// Cancellation: none.
// Errors:       std::system_error if there is no memory for the pages; std::bad_alloc never.
// Cost:         two system calls and a page.
// Source:       madvise(2), getrandom(2).
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace weft::ipc {

class secret_bytes {
public:
    /// No bytes; as a key that is one like any other.
    secret_bytes() noexcept = default;
    /// Copies them. Wiping the original is the caller's.
    explicit secret_bytes(std::span<const std::byte> bytes);
    explicit secret_bytes(std::string_view text);
    /// From the kernel's source of randomness.
    [[nodiscard]] static secret_bytes random(std::size_t n = 32);

    secret_bytes(secret_bytes&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    secret_bytes& operator=(secret_bytes&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~secret_bytes();

    /// The same bytes a second time.
    [[nodiscard]] secret_bytes clone() const { return secret_bytes(bytes()); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    explicit secret_bytes(std::size_t n);

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace weft::ipc
