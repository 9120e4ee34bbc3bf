// SPDX-License-Identifier: MIT
#include "buffer_ring.hpp"

#include "ring.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/buffer.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <liburing.h>
#include <new>
#include <sys/mman.h>

namespace weft::detail {

buffer_ring::buffer_ring(loop& l, ring& r, std::uint32_t size, std::uint32_t count)
    : home_(l), ring_(r), size_((std::clamp(size, 64u, 1u << 30) + 63) / 64 * 64),
      count_(std::bit_ceil(std::clamp(count, 1u, 32768u))) {
    constexpr std::size_t page = 4096;
    static_assert(sizeof(io_uring_buf) >= sizeof(std::uint16_t));
    std::size_t entries_size = (count_ * sizeof(io_uring_buf) + page - 1) / page * page;
    mapped_ = entries_size + std::size_t{count_} * size_;
    void* m = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        throw_errno(errno, "mmap", "of lent buffers");
    ::madvise(m, mapped_, MADV_DONTFORK); // the kernel writes here in the parent's name
    memory_ = static_cast<std::byte*>(m) + entries_size;
    entries_ = static_cast<io_uring_buf_ring*>(m);
    free_ = static_cast<std::uint16_t*>(m);
    if (ring_.has(kernel_feature::buffer_ring)) {
        io_uring_buf_reg reg{};
        reg.ring_addr = reinterpret_cast<__u64>(m);
        reg.ring_entries = count_;
        reg.bgid = group;
        // A refusal means that this kernel has none, never that there is nothing to receive with.
        registered_ = ring_.register_call(IORING_REGISTER_PBUF_RING, &reg, 1) >= 0;
    }
    if (registered_)
        io_uring_buf_ring_init(entries_);
    for (std::uint32_t i = 0; i < count_; ++i)
        put(static_cast<std::uint16_t>(i));
}

buffer_ring::~buffer_ring() {
    if (ring_.abandoned()) // so is the memory
        return;
    WEFT_ASSERT(available_ == count_, "a lent buffer outlived its loop");
    if (registered_) {
        io_uring_buf_reg reg{};
        reg.bgid = group;
        ring_.register_call(IORING_UNREGISTER_PBUF_RING, &reg, 1);
    }
    ::munmap(entries_, mapped_);
}

void buffer_ring::put(std::uint16_t id) noexcept {
    if (registered_) {
        io_uring_buf_ring_add(entries_, data(id), size_, id, static_cast<int>(count_ - 1), 0);
        io_uring_buf_ring_advance(entries_, 1);
    } else {
        free_[available_] = id;
    }
    ++available_;
}

std::uint16_t buffer_ring::take() noexcept {
    --available_;
    return free_[available_];
}

void buffer_ring::give_back(std::uint16_t id) noexcept {
    put(id);
    let_in();
}

void buffer_ring::let_in() noexcept {
    while (first_ != nullptr && available_ > trying_) {
        buffer_waiter& w = *first_;
        leave(w);
        w.trying = true;
        ++trying_;
        w.ready(w);
    }
}

void buffer_ring::tried(buffer_waiter& w) noexcept {
    if (!w.trying)
        return;
    w.trying = false;
    --trying_;
    let_in();
}

void buffer_ring::wait(buffer_waiter& w) noexcept {
    bool in_front = w.trying; // it was first in line, and somebody else was faster
    w.in_line = true;
    w.previous = in_front ? nullptr : last_;
    w.next = in_front ? first_ : nullptr;
    (w.previous != nullptr ? w.previous->next : first_) = &w;
    (w.next != nullptr ? w.next->previous : last_) = &w;
    tried(w);
}

void buffer_ring::leave(buffer_waiter& w) noexcept {
    (w.previous != nullptr ? w.previous->next : first_) = w.next;
    (w.next != nullptr ? w.next->previous : last_) = w.previous;
    w.in_line = false;
}

namespace {
// A buffer on its way home from another thread. It lies in the buffer itself, which nobody reads
// any more.
struct returning : work {
    returning(buffer_ring& o, std::uint16_t i) noexcept : work(arrived), owner(o), id(i) {}
    static void arrived(work& w) noexcept {
        auto& self = static_cast<returning&>(w);
        self.owner.give_back(self.id);
    }
    buffer_ring& owner;
    std::uint16_t id;
};
static_assert(sizeof(returning) <= 64);
} // namespace

void give_back(buffer_ring& owner, std::uint16_t id) noexcept {
    loop& home = owner.home();
    if (this_loop_or_null() == &home) {
        owner.give_back(id);
        return;
    }
    home.post(*static_cast<work*>(::new (static_cast<void*>(owner.data(id))) returning(owner, id)));
}

} // namespace weft::detail
