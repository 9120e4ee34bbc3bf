// SPDX-License-Identifier: MIT
// What came from a worker: bytes that were copied, or bytes in a block of shared memory that the
// worker has lent and uses again when they are done with.
//
// Threads:      any, one at a time. Cancellation: none. Errors: none.
// Cost:         a counted pointer, and a store at the end. Source: see impl/shared_blocks.hpp.
#pragma once
#include <weft/ipc/archive.hpp>

#include <memory>
#include <span>
#include <utility>

namespace weft::detail {

class block_mapping;

/// A message in a block of the other process, until this is gone.
class block_lease {
public:
    block_lease() noexcept = default;
    block_lease(std::shared_ptr<const block_mapping> block,
                std::span<const std::byte> bytes) noexcept
        : block_(std::move(block)), bytes_(bytes) {}
    block_lease(block_lease&& other) noexcept = default;
    block_lease& operator=(block_lease&& other) noexcept {
        block_lease old(std::move(*this));
        block_ = std::move(other.block_);
        bytes_ = other.bytes_;
        return *this;
    }
    ~block_lease();
    [[nodiscard]] explicit operator bool() const noexcept { return block_ != nullptr; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    std::shared_ptr<const block_mapping> block_;
    std::span<const std::byte> bytes_;
};

class pool_message {
public:
    pool_message() noexcept = default;
    explicit pool_message(ipc::byte_buffer own) noexcept : own_(std::move(own)) {}
    explicit pool_message(block_lease lent) noexcept : lent_(std::move(lent)) {}
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return lent_ ? lent_.bytes() : own_.bytes();
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes().size(); }
    /// Of one that is copied.
    [[nodiscard]] ipc::byte_buffer& own() noexcept { return own_; }

private:
    ipc::byte_buffer own_;
    block_lease lent_;
};

} // namespace weft::detail
