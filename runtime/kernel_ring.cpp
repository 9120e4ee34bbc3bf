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
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace weft {
namespace {

// The kernel gives the addresses of one thread's ring to the next thread that makes one. Neither
// call goes through the C library, so that the thread sanitizer would take the two for one object.
std::atomic<unsigned> addresses_given_back{0};

bool has_one_thread() noexcept {
#if __has_include(<sys/single_threaded.h>)
    return __libc_single_threaded != 0;
#else
    return false;
#endif
}

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

// Whoever posts to the loop has a word of its own, for at `shared` it might wake somebody else. In
// a process of one thread nobody posts while that sleeps, and one word takes half a microsecond
// less.
int park_with(void*, std::uint32_t* word, std::uint32_t expected, const std::uint32_t* shared,
              std::uint32_t shared_expected, std::int64_t deadline_ns) {
    constexpr std::int64_t second = 1'000'000'000;
    timespec t{deadline_ns / second, deadline_ns % second};
    const timespec* until = deadline_ns == INT64_MAX ? nullptr : &t;
    long n = 0;
    if (has_one_thread()) {
        n = ::syscall(SYS_futex, shared, FUTEX_WAIT_BITSET, shared_expected, until, nullptr,
                      FUTEX_BITSET_MATCH_ANY);
        n = n == 0 ? 1 : n;
    } else {
        futex_waitv both[2]{};
        both[0].val = expected;
        both[0].uaddr = reinterpret_cast<std::uintptr_t>(word);
        both[0].flags = FUTEX_32 | FUTEX_PRIVATE_FLAG;
        both[1].val = shared_expected;
        both[1].uaddr = reinterpret_cast<std::uintptr_t>(shared);
        both[1].flags = FUTEX_32;
        n = ::syscall(SYS_futex_waitv, both, 2, 0, until, CLOCK_MONOTONIC);
    }
    if (n >= 0)
        return static_cast<int>(n); // the last of those that were woken
    switch (errno) {
    case EAGAIN:    // one of them is another
    case ETIMEDOUT: // the next timer is due
    case EINTR:     // a signal handler ran
        return 0;
    default: // ENOSYS, EPERM: a filter of system calls; ENOMEM; EFAULT: a word that isn't there
        return -errno;
    }
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
    .park_with = park_with,
};

} // namespace

const kernel& real_kernel() noexcept { return table; }

} // namespace weft
