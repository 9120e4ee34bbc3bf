// SPDX-License-Identifier: MIT
// The buffers that a loop lends to the kernel, which takes one when data is there. One ring of
// equal buffers a loop, and the line of those for whom none was left. Where the kernel has no
// buffer rings, the same memory is handed out by us, to a socket that is known to have data.
//
// Threads:      the loop's, but for give_back of buffer.hpp. Errors: the constructor throws
//               std::system_error.
// Cost:         giving back is two stores.
// Source:       io_uring_register_buf_ring(3).
#pragma once
#include <weft/runtime/detail/buffer_waiter.hpp>

#include <cstddef>
#include <cstdint>

struct io_uring_buf_ring;

namespace weft {
class loop;
}

namespace weft::detail {

class ring;

class buffer_ring {
public:
    static constexpr std::uint16_t group = 1;

    buffer_ring(loop& l, ring& r, std::uint32_t size, std::uint32_t count);
    ~buffer_ring();
    buffer_ring(const buffer_ring&) = delete;
    buffer_ring& operator=(const buffer_ring&) = delete;

    [[nodiscard]] std::byte* data(std::uint16_t id) const noexcept {
        return memory_ + std::size_t{id} * size_;
    }
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] loop& home() const noexcept { return home_; }
    /// Whether the kernel takes buffers by itself.
    [[nodiscard]] bool by_kernel() const noexcept { return registered_; }

    /// How many the kernel has, or will have taken when what completed is read.
    [[nodiscard]] std::uint32_t available() const noexcept { return available_; }
    void taken() noexcept { --available_; }
    /// Without a kernel that takes them. Precondition: available() is not 0.
    std::uint16_t take() noexcept;
    /// Puts a buffer back. As many of those in line as there are buffers may try.
    void give_back(std::uint16_t id) noexcept;

    /// Puts a waiter to the end of the line, or, if it tried in vain, back to the front. Everybody
    /// in line has something to receive: who is let in and takes no buffer would keep the others
    /// from it.
    void wait(buffer_waiter& w) noexcept;
    void leave(buffer_waiter& w) noexcept;
    [[nodiscard]] bool has_line() const noexcept { return first_ != nullptr; }
    /// A waiter has tried, with whatever success. What it took has been counted before.
    void tried(buffer_waiter& w) noexcept;

private:
    void put(std::uint16_t id) noexcept;
    void let_in() noexcept;

    loop& home_;
    ring& ring_;
    std::uint32_t size_;
    std::uint32_t count_; // a power of two
    std::uint32_t available_ = 0;
    std::uint32_t trying_ = 0; // how many were let in and haven't tried yet
    bool registered_ = false;
    std::size_t mapped_ = 0;
    io_uring_buf_ring* entries_ = nullptr;
    std::uint16_t* free_ = nullptr; // those at home, without a kernel that takes them
    std::byte* memory_ = nullptr;
    buffer_waiter* first_ = nullptr;
    buffer_waiter* last_ = nullptr;
};

} // namespace weft::detail
