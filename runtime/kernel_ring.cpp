// SPDX-License-Identifier: MIT
// The table of the real kernel.
#include <weft/runtime/kernel.hpp>

#include <atomic>
#include <cerrno>
#include <ctime>
#include <liburing.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft {
namespace {

// The kernel gives the addresses of one thread's ring to the next thread that makes one. Neither
// call goes through the C library, so that the thread sanitizer would take the two for one object.
std::atomic<unsigned> addresses_given_back{0};

int setup(void*, unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
    int fd =
        static_cast<int>(::syscall(SYS_io_uring_setup, entries, params)); // close-on-exec by itself
    if (fd < 0)
        return -errno;
    int error = ::io_uring_queue_mmap(fd, params, ring);
    if (error < 0) {
        ::close(fd);
        return error;
    }
    // acquire: pairs with the release in teardown()
    [[maybe_unused]] auto n = addresses_given_back.load(std::memory_order_acquire);
    ring->features = params->features; // io_uring_queue_mmap of liburing 2.3 leaves it out
    ring->flags = params->flags;
    // A child of a plain fork must not see the rings: it would submit requests in the name of its
    // parent.
    ::io_uring_ring_dontfork(ring);
    return 0;
}

void teardown(void*, ::io_uring* ring) {
    // release: pairs with the acquire in setup(); a fetch_add, so that all earlier ones do, too
    addresses_given_back.fetch_add(1, std::memory_order_release);
    ::io_uring_queue_exit(ring);
}

int enter(void*, int fd, unsigned to_submit, unsigned wait_for, unsigned flags, const void* arg,
          std::size_t arg_size) {
    long n = ::syscall(SYS_io_uring_enter, fd, to_submit, wait_for, flags, arg, arg_size);
    return n < 0 ? -errno : static_cast<int>(n);
}

int register_ring(void*, int fd, unsigned opcode, void* arg, unsigned count) {
    long n = ::syscall(SYS_io_uring_register, fd, opcode, arg, count);
    return n < 0 ? -errno : static_cast<int>(n);
}

std::int64_t now(void*) {
    timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

int make_wake_fd(void*) {
    int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void wake(void*, int fd) {
    // Nobody reads the counter: the ring polls for its edges. It can't overflow in the lifetime of
    // a machine.
    std::uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(fd, &one, sizeof one);
}

void close_fd(void*, int fd) { ::close(fd); }

void park(void*, std::uint32_t* word, std::uint32_t expected, std::int64_t deadline_ns) {
    constexpr std::int64_t second = 1'000'000'000;
    timespec t{deadline_ns / second, deadline_ns % second};
    bool forever = deadline_ns == INT64_MAX;
    // FUTEX_WAIT_BITSET takes an absolute time of the monotonic clock.
    ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, forever ? nullptr : &t, nullptr,
              FUTEX_BITSET_MATCH_ANY);
}

void unpark(void*, std::uint32_t* word) {
    ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

int random_bytes(void*, void* bytes, std::size_t count) {
    ssize_t n = ::getrandom(bytes, count, 0);
    return n < 0 ? -errno : static_cast<int>(n);
}

constexpr kernel table{
    .name = "io_uring",
    .state = nullptr,
    .setup = setup,
    .teardown = teardown,
    .enter = enter,
    .register_ring = register_ring,
    .now = now,
    .make_wake_fd = make_wake_fd,
    .wake = wake,
    .close = close_fd,
    .park = park,
    .unpark = unpark,
    .random = random_bytes,
};

} // namespace

const kernel& real_kernel() noexcept { return table; }

} // namespace weft
