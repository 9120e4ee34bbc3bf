// SPDX-License-Identifier: MIT
// One ring: its memory, the features that were found, submitting and waiting. The only file besides
// kernel_ring.cpp and those of impl/ that knows liburing, of which only the helpers that touch
// memory are used.
//
// Threads:      one. Cancellation: by requests. Errors: the constructor throws; everything later
//               returns a negative errno.
#pragma once
#include <weft/runtime/kernel.hpp>

#include <cstdint>
#include <liburing.h>

namespace weft::detail {

class ring {
public:
    /// Throws unavailable_error if the kernel doesn't offer rings, std::system_error if it has none
    /// left.
    ring(const kernel& k, unsigned entries, kernel_feature allowed);
    ~ring();
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    /// In a child of a fork, which doesn't have the ring's memory: gives back the descriptor, and
    /// nothing else ever.
    void abandon() noexcept;
    [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }

    [[nodiscard]] kernel_feature features() const noexcept { return features_; }
    [[nodiscard]] bool has(kernel_feature f) const noexcept { return contains(features_, f); }

    /// A zeroed submission entry, or null if the queue is full.
    io_uring_sqe* get_sqe() noexcept;
    [[nodiscard]] unsigned pending_submissions() const noexcept;

    /// Submits what is pending and takes in what completed; waits for one completion until
    /// `deadline_ns` if asked to. 0 or a negative errno, of which -ETIME and -EINTR are nothing
    /// special.
    int enter(bool wait, std::int64_t deadline_ns, bool submit = true) noexcept;

    /// Whether entering would bring completions that wait inside of the kernel.
    [[nodiscard]] bool kernel_has_work() const noexcept;
    /// Calls f(cqe) for what has completed, at most `most`, and frees the entries. Gives how many
    /// there were.
    template <class F>
    unsigned reap(F&& f, unsigned most) noexcept {
        unsigned head = *ring_.cq.khead;
        unsigned tail = io_uring_smp_load_acquire(ring_.cq.ktail);
        unsigned n = 0;
        for (; head != tail && n < most; ++head, ++n)
            f(ring_.cq.cqes[head & ring_.cq.ring_mask]);
        if (n != 0)
            io_uring_smp_store_release(ring_.cq.khead, head);
        return n;
    }

    int register_call(unsigned opcode, void* arg, unsigned count) noexcept {
        return kernel_.register_ring(kernel_.state, ring_.ring_fd, opcode, arg, count);
    }

private:
    int raw_enter(unsigned submit, unsigned wait, unsigned flags, const void* arg,
                  std::size_t size) noexcept;

    const kernel& kernel_;
    ::io_uring ring_{};
    kernel_feature features_ = kernel_feature::none;
    int enter_fd_ = -1;
    unsigned enter_flags_ = 0;
    bool abandoned_ = false;
};

} // namespace weft::detail
