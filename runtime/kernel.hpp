// SPDX-License-Identifier: MIT
// The seam between the runtime and the kernel: the few system calls that a loop makes, as a table.
// Loops fill and read ring memory in the same way whoever is behind the table, so a test can put a
// kernel of its own there.
//
//     weft::runtime_options on(const weft::kernel& fake) {
//         return {.kernel = &fake};
//     }
//
// Threads:      a table is read by any loop; its functions get called on the loop's thread, wake on
//               any.
// Cancellation: none.
// Errors:       functions return a negative errno, as io_uring itself does.
// Cost:         one indirect call for each turn of a loop that enters the kernel.
// Source:       the seam at the system calls follows TigerBeetle's simulator and design decision
//               D5.
#pragma once
#include <cstddef>
#include <cstdint>

struct io_uring;        // liburing's, for those who implement a kernel
struct io_uring_params; // the kernel's own

namespace weft {

/// Features beyond the baseline (Linux 6.1), as bits. What the running kernel lacks is left out by
/// probing; tests and cautious programs mask more.
enum class kernel_feature : std::uint32_t {
    none = 0,
    defer_taskrun = 1u << 0,     // completions run when the loop asks for them
    multishot_accept = 1u << 1,  // one request for many connections
    multishot_receive = 1u << 2, // one request for many reads into lent buffers
    buffer_ring = 1u << 3,       // buffers that the kernel takes when data is there
    absolute_timeout = 1u << 4,  // the wait ends at a point in time, 6.12
    no_iowait = 1u << 5,         // a parked loop doesn't count as waiting for a disk, 6.15
    registered_ring = 1u << 6,   // enter without looking up the ring's descriptor
    no_sq_array = 1u << 7,       // one indirection less a submission, 6.6
    silent_write = 1u << 8,      // writing to a broken pipe makes no signal, 6.18; known once tried
    all = 0xffffffffu,
};
constexpr kernel_feature operator|(kernel_feature a, kernel_feature b) noexcept {
    return static_cast<kernel_feature>(static_cast<std::uint32_t>(a) |
                                       static_cast<std::uint32_t>(b));
}
constexpr kernel_feature operator&(kernel_feature a, kernel_feature b) noexcept {
    return static_cast<kernel_feature>(static_cast<std::uint32_t>(a) &
                                       static_cast<std::uint32_t>(b));
}
constexpr kernel_feature operator~(kernel_feature a) noexcept {
    return static_cast<kernel_feature>(~static_cast<std::uint32_t>(a));
}
constexpr bool contains(kernel_feature set, kernel_feature f) noexcept { return (set & f) == f; }

/// The system calls of a loop. `state` is handed to each of them.
struct kernel {
    const char* name;
    void* state;
    /// Makes a ring and fills `ring` with its memory, as liburing's io_uring_queue_mmap does. 0 or
    /// a negative errno.
    int (*setup)(void* state, unsigned entries, ::io_uring* ring, ::io_uring_params* params);
    void (*teardown)(void* state, ::io_uring* ring);
    /// io_uring_enter with a getevents_arg (or null). How many were submitted, or a negative errno.
    int (*enter)(void* state, int ring_fd, unsigned to_submit, unsigned wait_for, unsigned flags,
                 const void* arg, std::size_t arg_size);
    int (*register_ring)(void* state, int ring_fd, unsigned opcode, void* arg, unsigned count);
    /// The monotonic clock, in nanoseconds.
    std::int64_t (*now)(void* state);
    /// A descriptor that `wake` makes readable. Polled through the ring. Negative errno on failure.
    int (*make_wake_fd)(void* state);
    void (*wake)(void* state, int wake_fd);
    void (*close)(void* state, int fd);
    /// Waits while `*word` is `expected`, until `deadline_ns` at most. For loops that have nothing
    /// in their ring, or no ring yet.
    void (*park)(void* state, std::uint32_t* word, std::uint32_t expected,
                 std::int64_t deadline_ns);
    void (*unpark)(void* state, std::uint32_t* word);
    int (*random)(void* state, void* bytes, std::size_t count);
    /// park() that also ends when somebody wakes `shared`, a word that processes share, and doesn't
    /// begin if that isn't `shared_expected`. 1: it was woken there; 0: anything else; or a
    /// negative errno. Null: there is no such thing, and a loop waits for such a word in its ring.
    int (*park_with)(void* state, std::uint32_t* word, std::uint32_t expected,
                     const std::uint32_t* shared, std::uint32_t shared_expected,
                     std::int64_t deadline_ns) = nullptr;
};

/// The kernel that this program runs on.
[[nodiscard]] const kernel& real_kernel() noexcept;

} // namespace weft
