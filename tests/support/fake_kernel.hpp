// SPDX-License-Identifier: MIT
// A kernel of a test's own behind the seam of runtime/kernel.hpp. Its rings are ordinary memory,
// its clock stands until somebody waits, and the test decides what it takes, what completes, in
// which order and with which result.
//
//     weft::task<> first_in_last_out(weft::tests::fake_kernel& k, int a, int b) {
//         std::byte bytes[2];
//         auto x = weft::spawn(weft::as_task(weft::detail::recv_op(a, bytes)));
//         auto y = weft::spawn(weft::as_task(weft::detail::recv_op(b, bytes)));
//         co_await k.until_held(2);                      // the loop has submitted both
//         k.complete(k.held_on(b), 1);
//         co_await y.join();
//         k.complete(k.held_on(a), 2);
//         co_await x.join();
//     }
//     ...
//     weft::run(first_in_last_out(k, 10, 11), {.kernel = &k.table()});
//
// Requests stay with the kernel until the test completes them, but for these: a cancel ends its
// target with ECANCELED, unless `on_cancel` does something else; closing closes; the poll of a
// loop's wake-up descriptor answers to wake-ups. Descriptors in requests are only numbers.
//
// A loop that waits while nothing has completed asks `when_idle` for something; then its time
// passes at once, if it waits for a time; then it really waits, for a wake-up by another thread.
// If none comes, the program ends and says what the kernel holds.
//
// One ring at a time: a loop for each kernel.
//
// Threads:      what it is may be said before the ring is made; held(), complete() and the like
//               from any thread, but not while the loop can change what they look for.
// Cancellation: none. Errors: std::logic_error if the test asks for what isn't there.
// Cost:         a mutex for each call. Source: the seam follows TigerBeetle's simulator.
#pragma once
#include <weft/runtime/detail/io_operation.hpp>
#include <weft/runtime/kernel.hpp>
#include <weft/runtime/task.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

struct io_uring_buf_ring; // the kernel's

namespace weft::tests {

class fake_kernel {
public:
    /// A request that was taken, by its number: they count from 1 in the order of submission.
    struct request {
        std::uint64_t number = 0;
        detail::request sqe;
    };

    fake_kernel();
    fake_kernel(const fake_kernel&) = delete;
    fake_kernel& operator=(const fake_kernel&) = delete;
    ~fake_kernel();

    [[nodiscard]] const weft::kernel& table() const noexcept { return table_; }

    // --- What it is: to be said before the ring is made ------------------------------------------

    int setup_error = 0;                 // an errno for every attempt to make a ring
    int wake_fd_error = 0;               // the same for the wake-up descriptor
    unsigned setup_flags = ~0u;          // those it knows; others are EINVAL
    unsigned ring_features = ~0u;        // what a ring's params say
    bool registers_rings = true;         // IORING_REGISTER_RING_FDS
    bool registers_buffers = true;       // IORING_REGISTER_PBUF_RING
    unsigned completion_entries = 0;     // other than what was asked for
    std::vector<unsigned> setups_tried;  // the flags of each attempt
    std::vector<unsigned> registrations; // the opcodes

    // --- How it behaves --------------------------------------------------------------------------

    /// The next so many enters that submit something find no memory for it: EAGAIN, or another.
    void take_nothing(unsigned enters, int error = EAGAIN);
    /// Each enter takes no more than this, and doesn't wait if that wasn't all.
    void take_at_most(unsigned requests);
    /// The next so many enters give an error at once, whatever they ask for. Completions that
    /// there are become visible all the same.
    void fail_enters(int error, unsigned enters = 1);
    /// The next so many waits end with an error (EINTR) where they would have begun.
    void fail_waits(int error, unsigned waits = 1);
    /// Waits don't end by themselves any more, however many wake-ups there are.
    void sleep_deeply(bool deeply);
    /// Whether the clock jumps to the end of a wait in which nothing happens. It does.
    void pass_time(bool by_itself);
    void advance(std::chrono::nanoseconds d);
    /// A wake-up that nobody has sent.
    void wake_for_nothing();

    /// Called on the loop's thread when it waits and there is nothing. False: nothing to be done.
    std::function<bool()> when_idle;
    /// Called for each request that was taken and isn't done by the kernel itself.
    std::function<void(const request&)> on_request;
    /// Called for each target of a cancel. True: taken care of: completed, or left running.
    std::function<bool(const request&)> on_cancel;

    // --- What it holds, and what becomes of it ---------------------------------------------------

    /// Requests that were taken and haven't ended, the oldest first; the poll for wake-ups not.
    [[nodiscard]] std::vector<request> held() const;
    /// The oldest that works on this descriptor. Throws std::logic_error if there is none.
    [[nodiscard]] request held_on(int fd) const;
    [[nodiscard]] bool holds(const request& r) const;
    /// A task that lets the loop turn until so many are held.
    [[nodiscard]] task<> until_held(std::size_t count) const;

    /// A completion. With `more` the request goes on, unless the queue overflows, which ends it.
    /// Gives whether it goes on. Throws std::logic_error if the request isn't held.
    bool complete(const request& r, std::int32_t result, bool more = false);
    /// Received bytes: into the request's own memory, or into a provided buffer. With none left it
    /// ends with ENOBUFS instead. Gives whether the bytes were taken.
    bool receive(const request& r, std::string_view bytes, bool more = false);
    /// How many provided buffers are there to be taken.
    [[nodiscard]] std::size_t buffers_left() const;

    // --- What happened ---------------------------------------------------------------------------

    struct counts {
        unsigned enters = 0;     // all of them
        unsigned waits = 0;      // sleeps, in the ring or not
        unsigned wakes = 0;      // wake-ups of the ring
        unsigned unparks = 0;    // wake-ups of a loop that doesn't sleep in its ring
        unsigned taken = 0;      // requests
        unsigned overflows = 0;  // completions for which there was no room
        unsigned skipped = 0;    // successes that nobody wanted to hear of
        unsigned wake_polls = 0; // polls of the wake-up descriptor
        unsigned left_over = 0;  // held when the ring went away
        unsigned mistakes = 0;   // calls that the real kernel would refuse
        unsigned wake_fds = 0;   // open now
        unsigned abandoned = 0;  // rings whose descriptor was closed, and that is all
        unsigned rings = 0;      // made
        unsigned rings_open = 0; // of these
    };
    [[nodiscard]] counts count() const;
    /// Whether the loop sleeps now.
    [[nodiscard]] bool waiting() const;
    [[nodiscard]] std::int64_t now_ns() const;
    /// Up to when the loop has waited last, in nanoseconds; nothing if it was for ever.
    [[nodiscard]] std::optional<std::int64_t> waited_until() const;

private:
    struct ring_memory;
    struct behind; // the functions of the table
    struct completion {
        std::uint64_t user_data;
        std::int32_t result;
        std::uint32_t flags;
    };
    struct buffer {
        std::uint64_t address;
        std::uint32_t size;
        std::uint16_t id;
    };

    std::vector<request>::iterator find_locked(std::uint64_t number);
    bool complete_locked(std::uint64_t number, std::int32_t result, std::uint32_t flags);
    void finish_locked(const detail::request& sqe, std::int32_t result, std::uint32_t flags);
    void post_locked(const completion& c);
    [[nodiscard]] bool fits_locked() const;
    void place_locked(const completion& c);
    void flush_locked();
    void answer_wake_locked();
    std::optional<buffer> take_buffer_locked();
    void take(const detail::request& sqe, std::unique_lock<std::mutex>& lock);
    void cancel(const request& by, std::unique_lock<std::mutex>& lock);
    int wait(unsigned flags, const void* arg, std::unique_lock<std::mutex>& lock);
    int sleep(std::int64_t deadline, std::unique_lock<std::mutex>& lock,
              const std::function<bool()>& over);
    [[noreturn]] void stuck_locked() const;

    int setup(unsigned entries, ::io_uring* ring, ::io_uring_params* params);
    void teardown(::io_uring* ring);
    int enter(int fd, unsigned to_submit, unsigned wait_for, unsigned flags, const void* arg,
              std::size_t arg_size);
    int register_ring(unsigned opcode, void* arg, unsigned count);
    void park(std::uint32_t* word, std::uint32_t expected, std::int64_t deadline);

    weft::kernel table_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unique_ptr<ring_memory> ring_;
    std::vector<request> held_;
    std::deque<completion> overflowed_;
    std::deque<completion> deferred_; // until the loop enters
    std::optional<request> wake_poll_;
    counts counts_;
    std::int64_t now_ = 1'000'000'000;
    std::optional<std::int64_t> waited_until_;
    bool was_woken_ = false;
    unsigned nothing_ = 0;
    int nothing_error_ = EAGAIN;
    unsigned at_most_ = ~0u;
    unsigned failing_ = 0;
    int failing_error_ = 0;
    unsigned failing_waits_ = 0;
    int failing_waits_error_ = 0;
    bool deeply_ = false;
    bool time_passes_ = true;
    bool waiting_ = false;
    bool ring_registered_ = false;
    ::io_uring_buf_ring* buffers_ = nullptr;
    std::uint32_t buffer_count_ = 0;
    std::uint16_t buffer_head_ = 0;
};

/// The real kernel, with its calls counted.
class counting_kernel {
public:
    counting_kernel();
    counting_kernel(const counting_kernel&) = delete;
    counting_kernel& operator=(const counting_kernel&) = delete;

    [[nodiscard]] const weft::kernel& table() const noexcept { return table_; }
    std::atomic<unsigned> enters{0};
    std::atomic<unsigned> wakes{0};
    std::atomic<unsigned> unparks{0};

private:
    weft::kernel table_;
};

} // namespace weft::tests
