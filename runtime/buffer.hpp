// SPDX-License-Identifier: MIT
// Bytes: views of them, and buffers that the loop lends.
//
//     weft::task<std::size_t> count_bytes(weft::tcp_stream s) {
//         std::size_t n = 0;
//         while (weft::lent_buffer data = co_await s.receive())    // lent when something comes
//             n += data.size();                                    // and given back here
//         co_return n;
//     }
//
// Threads:      a lent buffer may be read and dropped on any thread, but not after the end of its
//               loop.
// Cancellation: none here; see receive() of the streams.
// Errors:       none.
// Cost:         lending is an index; giving back is two stores, from another thread a post.
// Source:       io_uring's provided buffers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace weft {

namespace detail {
class buffer_ring;
void give_back(buffer_ring& owner, std::uint16_t id) noexcept;
} // namespace detail

/// The bytes of a text.
[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
/// Bytes as a text.
[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// One piece of a gathered write. Laid out as the kernel's iovec.
struct const_buffer {
    const_buffer() noexcept = default;
    const_buffer(const std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
    const_buffer(std::span<const std::byte> bytes) noexcept
        : data_(bytes.data()), size_(bytes.size()) {}
    const_buffer(std::string_view text) noexcept : const_buffer(as_bytes(text)) {}

    [[nodiscard]] const std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

private:
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Received bytes in memory that the loop lends. Empty at the end of a stream. Goes back when it is
/// destroyed.
class lent_buffer {
public:
    lent_buffer() noexcept = default;
    /// Takes over buffer `id` of `owner`, which has `size` bytes at `data`.
    lent_buffer(detail::buffer_ring& owner, std::uint16_t id, const std::byte* data,
                std::size_t size) noexcept
        : owner_(&owner), data_(data), size_(static_cast<std::uint32_t>(size)), id_(id) {}
    lent_buffer(lent_buffer&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), data_(other.data_),
          size_(std::exchange(other.size_, 0)), id_(other.id_) {}
    lent_buffer& operator=(lent_buffer&& other) noexcept {
        if (this != &other) {
            reset();
            owner_ = std::exchange(other.owner_, nullptr);
            data_ = other.data_;
            size_ = std::exchange(other.size_, 0);
            id_ = other.id_;
        }
        return *this;
    }
    ~lent_buffer() {
        if (owner_ != nullptr)
            detail::give_back(*owner_, id_);
    }

    [[nodiscard]] std::span<const std::byte> data() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::string_view text() const noexcept { return as_text(data()); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// Whether there are bytes.
    explicit operator bool() const noexcept { return size_ != 0; }
    operator std::span<const std::byte>() const noexcept { return data(); }

    /// Leaves the first `n` bytes out of the view.
    void remove_prefix(std::size_t n) noexcept {
        data_ += n;
        size_ -= static_cast<std::uint32_t>(n);
    }
    /// Gives it back now.
    void reset() noexcept {
        size_ = 0;
        if (auto* owner = std::exchange(owner_, nullptr))
            detail::give_back(*owner, id_);
    }

private:
    detail::buffer_ring* owner_ = nullptr;
    const std::byte* data_ = nullptr;
    std::uint32_t size_ = 0;
    std::uint16_t id_ = 0;
};

} // namespace weft
