// SPDX-License-Identifier: MIT
// The buffers that a loop lends to the kernel, which takes one when data is there. One ring of equal buffers a loop.
//
// Threads:      the loop's. Errors: the constructor throws std::system_error. Cost: giving back is two stores.
// Source:       io_uring_register_buf_ring(3).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

struct io_uring_buf_ring;

namespace weft::detail {

class ring;

class buffer_ring {
public:
    static constexpr std::uint16_t group = 1;

    buffer_ring(ring& r, std::uint32_t size, std::uint32_t count);
    ~buffer_ring();
    buffer_ring(const buffer_ring&) = delete;
    buffer_ring& operator=(const buffer_ring&) = delete;

    [[nodiscard]] std::byte* data(std::uint16_t id) const noexcept { return memory_ + std::size_t{id} * size_; }
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    /// How many the kernel has, or will have taken when what completed is read.
    [[nodiscard]] std::uint32_t available() const noexcept { return available_; }
    void taken() noexcept { --available_; }
    void give_back(std::uint16_t id) noexcept;

private:
    ring& ring_;
    std::uint32_t size_;
    std::uint32_t count_; // a power of two
    std::uint32_t available_ = 0;
    std::size_t mapped_ = 0;
    std::size_t entries_size_ = 0;
    io_uring_buf_ring* entries_ = nullptr;
    std::byte* memory_ = nullptr;
};

} // namespace weft::detail
