// SPDX-License-Identifier: MIT
#include "buffer_ring.hpp"

#include "ring.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <liburing.h>
#include <sys/mman.h>

namespace weft::detail {

buffer_ring::buffer_ring(ring& r, std::uint32_t size, std::uint32_t count)
    : ring_(r), size_(size), count_(std::bit_ceil(std::clamp(count, 1u, 32768u))) {
    constexpr std::size_t page = 4096;
    entries_size_ = (count_ * sizeof(io_uring_buf) + page - 1) / page * page;
    mapped_ = entries_size_ + std::size_t{count_} * size_;
    void* m = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        throw_errno(errno, "mmap", "of lent buffers");
    ::madvise(m, mapped_, MADV_DONTFORK); // the kernel writes here in the parent's name
    entries_ = static_cast<io_uring_buf_ring*>(m);
    memory_ = static_cast<std::byte*>(m) + entries_size_;
    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<__u64>(entries_);
    reg.ring_entries = count_;
    reg.bgid = group;
    int error = ring_.register_call(IORING_REGISTER_PBUF_RING, &reg, 1);
    if (error < 0) {
        ::munmap(m, mapped_);
        throw_errno(-error, "io_uring_register", "of a buffer ring");
    }
    io_uring_buf_ring_init(entries_);
    for (std::uint32_t i = 0; i < count_; ++i)
        give_back(static_cast<std::uint16_t>(i));
}

buffer_ring::~buffer_ring() {
    io_uring_buf_reg reg{};
    reg.bgid = group;
    ring_.register_call(IORING_UNREGISTER_PBUF_RING, &reg, 1);
    ::munmap(entries_, mapped_);
}

void buffer_ring::give_back(std::uint16_t id) noexcept {
    ++available_;
    io_uring_buf_ring_add(entries_, data(id), size_, id, static_cast<int>(count_ - 1), 0);
    io_uring_buf_ring_advance(entries_, 1);
}

} // namespace weft::detail
