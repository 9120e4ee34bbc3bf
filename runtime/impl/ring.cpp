// SPDX-License-Identifier: MIT
#include "ring.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/syscall.h>

namespace weft::detail {

namespace {

// Newer than liburing 2.3's headers; the kernel's interface is fixed.
constexpr unsigned setup_no_sqarray = 1u << 16;    // 6.6
constexpr unsigned enter_abs_timer = 1u << 5;      // 6.12
constexpr unsigned enter_no_iowait = 1u << 7;      // 6.15
constexpr unsigned feature_min_timeout = 1u << 15; // came with the absolute timeout, 6.12
constexpr unsigned feature_no_iowait = 1u << 17;

[[noreturn]] void refuse(int error, unsigned entries) {
    switch (error) {
    case ENOSYS: // no rings in this kernel, or a seccomp filter that says so
        throw unavailable_error(
            "io_uring is not available: the kernel or a seccomp filter refuses it (ENOSYS)");
    case EPERM: // kernel.io_uring_disabled, or the seccomp profile of a container
        throw unavailable_error(
            "io_uring is not permitted (EPERM): look at the sysctl kernel.io_uring_disabled and at "
            "the container's seccomp profile");
    case EINVAL: // not even the oldest set of flags is known
        throw unavailable_error(
            "io_uring lacks what weft needs (EINVAL): Linux 6.1 or newer is the baseline");
    case ENOMEM: // from 6.14 rings count against RLIMIT_MEMLOCK
        throw_errno(
            error, "io_uring_setup",
            fmt::format(
                "with {} entries: out of memory, or over the limit of locked memory (ulimit -l)",
                entries));
    default:
        throw_errno(error, "io_uring_setup", fmt::format("with {} entries", entries));
    }
}

} // namespace

ring::ring(const kernel& k, unsigned entries, kernel_feature allowed) : kernel_(k) {
    constexpr unsigned base = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
    constexpr unsigned single =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    constexpr unsigned coop = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    // Newest first; a kernel that doesn't know a flag says EINVAL.
    constexpr unsigned most_entries = 1u << 15; // the kernel cuts more down to it
    unsigned first = contains(allowed, kernel_feature::defer_taskrun) ? base | single : base | coop;
    unsigned newest =
        contains(allowed, kernel_feature::no_sq_array) ? first | setup_no_sqarray : first;
    const unsigned tries[] = {newest, first, base | coop, base};
    int error = -EINVAL;
    io_uring_params params{};
    for (unsigned flags : tries) {
        params = {};
        params.flags = flags;
        params.cq_entries = std::min(entries, most_entries) * 4;
        error = k.setup(k.state, entries, &ring_, &params);
        if (error != -EINVAL)
            break;
    }
    if (error < 0)
        refuse(-error, entries);

    if ((params.flags & IORING_SETUP_DEFER_TASKRUN) != 0)
        features_ = features_ | kernel_feature::defer_taskrun;
    if ((params.flags & setup_no_sqarray) != 0) {
        features_ = features_ | kernel_feature::no_sq_array;
    } else {
        for (unsigned i = 0; i < ring_.sq.ring_entries; ++i)
            ring_.sq.array[i] = i;
    }
    // Both multishot forms and buffer rings are in the baseline; a fake kernel or a mask may take
    // them away.
    kernel_feature offered = kernel_feature::multishot_accept | kernel_feature::multishot_receive |
                             kernel_feature::buffer_ring;
    if ((params.features & feature_min_timeout) != 0)
        offered = offered | kernel_feature::absolute_timeout;
    if ((params.features & feature_no_iowait) != 0)
        offered = offered | kernel_feature::no_iowait;
    features_ = features_ | (offered & allowed);

    enter_fd_ = ring_.ring_fd;
    enter_flags_ = IORING_ENTER_EXT_ARG;
    if (has(kernel_feature::absolute_timeout))
        enter_flags_ |= enter_abs_timer;
    if (has(kernel_feature::no_iowait))
        enter_flags_ |= enter_no_iowait;
    if (contains(allowed, kernel_feature::registered_ring)) {
        io_uring_rsrc_update update{};
        update.offset = ~0u; // any free slot
        update.data = static_cast<__u64>(ring_.ring_fd);
        if (register_call(IORING_REGISTER_RING_FDS, &update, 1) == 1) {
            enter_fd_ = static_cast<int>(update.offset);
            enter_flags_ |= IORING_ENTER_REGISTERED_RING;
            features_ = features_ | kernel_feature::registered_ring;
        }
    }
}

void ring::abandon() noexcept {
    kernel_.close(kernel_.state, ring_.ring_fd);
    abandoned_ = true;
}

ring::~ring() {
    if (abandoned_)
        return;
    if (has(kernel_feature::registered_ring)) {
        io_uring_rsrc_update update{};
        update.offset = static_cast<__u32>(enter_fd_);
        register_call(IORING_UNREGISTER_RING_FDS, &update, 1);
    }
    kernel_.teardown(kernel_.state, &ring_);
}

io_uring_sqe* ring::get_sqe() noexcept {
    unsigned head = io_uring_smp_load_acquire(ring_.sq.khead);
    if (ring_.sq.sqe_tail - head >= ring_.sq.ring_entries)
        return nullptr;
    io_uring_sqe* sqe = &ring_.sq.sqes[ring_.sq.sqe_tail & ring_.sq.ring_mask];
    ++ring_.sq.sqe_tail;
    return sqe;
}

unsigned ring::pending_submissions() const noexcept {
    return ring_.sq.sqe_tail - io_uring_smp_load_acquire(ring_.sq.khead);
}

bool ring::kernel_has_work() const noexcept {
    return (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !=
           0;
}

int ring::raw_enter(unsigned submit, unsigned wait, unsigned flags, const void* arg,
                    std::size_t size) noexcept {
    return kernel_.enter(kernel_.state, enter_fd_, submit, wait, flags, arg, size);
}

int ring::enter(bool wait, std::int64_t deadline_ns, bool submit) noexcept {
    io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
    unsigned count = submit ? pending_submissions() : 0;
    unsigned flags = IORING_ENTER_GETEVENTS | enter_flags_;
    if (!wait)
        return raw_enter(count, 0,
                         flags & ~(IORING_ENTER_EXT_ARG | enter_abs_timer | enter_no_iowait),
                         nullptr, 0);
    io_uring_getevents_arg arg{};
    __kernel_timespec until{};
    if (deadline_ns != INT64_MAX) {
        constexpr std::int64_t second = 1'000'000'000;
        std::int64_t left = deadline_ns;
        if (!has(kernel_feature::absolute_timeout)) {
            left -= kernel_.now(kernel_.state);
            left = left < 0 ? 0 : left;
        }
        until.tv_sec = left / second;
        until.tv_nsec = left % second;
        arg.ts = reinterpret_cast<__u64>(&until);
    }
    return raw_enter(count, 1, flags, &arg, sizeof arg);
}

} // namespace weft::detail
