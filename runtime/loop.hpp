// SPDX-License-Identifier: MIT
// One thread's event loop: a queue of ready tasks, timers, a ring, and a mailbox for everybody
// else.
//
//     weft::task<> ask_other_thread(std::stop_token) {
//         weft::loop& home = weft::this_loop();
//         std::jthread([&home] { home.post([] { fmt::print("back on the loop\n"); }); }).join();
//         co_await weft::yield();                 // lets the posted function run
//     }
//
// A program gets its loops from `run` or `runtime`; `sync_wait` makes one for a plain thread.
//
// Threads:      post from any thread; the rest from the loop's own.
// Cancellation: a loop that ends stops every task that it still has and waits for them.
// Errors:       what a posted function throws goes to the unhandled-error hook.
// Cost:         a post to a busy loop makes no system call, one to a parked loop makes one wake-up.
// Source:       one enter a turn, as io_uring_submit_and_wait(3); the mailbox is Treiber's stack,
//               emptied whole.
#pragma once
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/io_operation.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/kernel.hpp>
#include <weft/runtime/time.hpp>

#include <atomic>
#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>

struct io_uring_sqe;

namespace weft {

namespace detail {
class ring;
class buffer_ring;
class futex_operation;
struct timer;
} // namespace detail

struct loop_options {
    /// Entries of the submission queue; the completion queue is four times as large.
    unsigned ring_entries = 256;
    /// Size and number of the buffers that the loop lends for receiving; made when the first is
    /// needed.
    std::uint32_t lent_buffer_size = 16 * 1024;
    std::uint32_t lent_buffers = 64;
    /// Resumed tasks between two looks at I/O and timers.
    unsigned batch = 256;
    const weft::kernel* kernel = nullptr; // null: the real one
    kernel_feature features = kernel_feature::all;
};

/// Counters since the loop was made.
struct loop_statistics {
    std::uint64_t turns = 0;       // rounds of the loop
    std::uint64_t resumptions = 0; // tasks and functions run
    std::uint64_t enters = 0;      // system calls into the ring
    std::uint64_t parks = 0;       // how often it slept, or mail came as it lay down
    std::uint64_t requests = 0;    // submitted to the ring
    std::uint64_t completions = 0;
};

class loop : public detail::runner {
public:
    explicit loop(const loop_options& options = {});
    /// Precondition: nothing runs on it any more.
    ~loop();

    /// Runs `f()` on the loop, in the order of posting. Allocates one node.
    template <std::invocable F>
    void post(F f);
    using detail::runner::post;

    /// The loop's clock.
    [[nodiscard]] time_point now() const noexcept;
    [[nodiscard]] const loop_statistics& statistics() const noexcept { return statistics_; }
    /// What the kernel offers and the options allow. Makes the ring if there is none.
    [[nodiscard]] kernel_feature features();
    [[nodiscard]] const loop_options& options() const noexcept { return options_; }
    /// How many requests the kernel holds now.
    [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }
    /// Whether it sleeps, as seen from any thread.
    [[nodiscard]] bool parked() const noexcept {
        return parked_.load(std::memory_order_relaxed) != awake; // may have changed since
    }
    /// Whether there is something for it to do, on its thread.
    [[nodiscard]] bool has_news() const noexcept;
    /// Whether its ring belongs to the process that this one was forked from. Such a loop runs
    /// nothing any more; a child makes a loop of its own.
    [[nodiscard]] bool left_behind() const noexcept;

    // --- For those who drive a loop -------------------------------------------------------------

    /// Runs until `*done`. The calling thread becomes the loop's.
    void run_until(const bool& done) noexcept;
    /// Stops every task that is left, then every request that the kernel still holds, and runs
    /// until all have ended. What a shield holds is stopped too after a second.
    void drain() noexcept;
    /// Gives the ring back, on the thread that made it. Precondition: the kernel holds no request.
    void close_ring() noexcept;
    /// Creates the ring now instead of at the first request.
    void open_ring();
    /// The strand that everything on this loop descends from.
    [[nodiscard]] detail::strand& root() noexcept { return root_; }

    // --- For those who write operations ---------------------------------------------------------

    /// Hands a request to the ring; `target` gets every completion of it. Throws std::bad_alloc.
    void submit(detail::completion_target& target, detail::request r);
    /// Asks the kernel to give up a request whose final completion hasn't come.
    void cancel(detail::io_operation& op) noexcept;
    /// The same for targets that are no operation: takes one entry of the submission queue at once.
    /// False: none is free, or requests wait for one, and the target's may be among them.
    [[nodiscard]] bool try_cancel(detail::completion_target& target) noexcept;
    /// Runs work when it makes sense to try_cancel again.
    void push_when_room(detail::work& w) noexcept;

    /// Keeps a wait for a word, instead of the ring, as long as there is nothing else to wait for.
    /// False: somebody else has to.
    [[nodiscard]] bool keep(detail::futex_operation& op) noexcept;
    /// Gives whether it was woken before.
    bool drop_kept() noexcept {
        kept_ = nullptr;
        return std::exchange(kept_was_woken_, false);
    }
    /// Whether a wait for that word is kept, which the kernel doesn't know of while the loop is
    /// awake; and wakes it. On the loop's thread.
    [[nodiscard]] bool keeps(const std::atomic<std::uint32_t>& word) const noexcept;
    [[nodiscard]] bool wake_kept(const std::atomic<std::uint32_t>& word) noexcept;

    void add_timer(detail::timer& t, time_point when) { timers_.add(t, when); }
    void remove_timer(detail::timer& t) noexcept {
        if (t.active())
            timers_.remove(t);
    }

    /// The buffers that the kernel fills. Made on first use; throws if that fails.
    [[nodiscard]] detail::buffer_ring& buffers();
    [[nodiscard]] detail::ring& get_ring() noexcept { return *ring_; }

    /// Posts to `l` from any thread, with the work's memory in the caller's hands.
    static void post_to(detail::runner& r, detail::work& w) noexcept;

private:
    enum park_state : std::uint32_t { awake = 0, on_futex = 1, on_ring = 2 };
    struct wake_target;

    void turn() noexcept;
    [[nodiscard]] bool finished() const noexcept;
    void mail_and_wake(detail::work& w) noexcept;
    void take_mail() noexcept;
    void fire_timers() noexcept;
    void poll(bool may_wait) noexcept;
    bool mail_comes() noexcept;
    [[nodiscard]] std::int64_t falls_asleep() const noexcept;
    void was_asleep_since(std::int64_t when) noexcept;
    void park_on_futex(std::int64_t deadline) noexcept;
    void hand_over_kept() noexcept;
    void end_kept(std::int32_t result) noexcept;
    void look_at_kept() noexcept;
    void was_parked_with_kept(int how) noexcept;
    unsigned reap() noexcept;
    void flush_cancels() noexcept;
    void flush_backlog() noexcept;
    void forget_cancel(detail::io_operation& op) noexcept;
    [[nodiscard]] ::io_uring_sqe* sqe_or_room() noexcept;
    bool make_room() noexcept;
    void let_try_again() noexcept;
    [[nodiscard]] bool queue_cancel(detail::completion_target& target) noexcept;
    [[nodiscard]] bool cancel_everything() noexcept;
    [[nodiscard]] bool arm_wake() noexcept;
    friend class detail::io_operation;
    friend class detail::futex_operation;

    loop_options options_;
    const kernel& kernel_;
    detail::timer_heap timers_;
    std::unique_ptr<detail::ring> ring_;
    std::unique_ptr<detail::buffer_ring> buffers_;
    std::unique_ptr<wake_target> wake_;
    struct backlog;
    std::unique_ptr<backlog> backlog_; // requests for which the submission queue had no room
    detail::io_operation* cancels_ = nullptr;
    detail::futex_operation* kept_ = nullptr; // what it sleeps for without the ring
    bool kept_was_woken_ = false;             // by a task of this loop
    unsigned kept_for_ = 0;                   // so many turns, since it has slept
    unsigned waits_elsewhere_ = 0;            // for words, in a thread
    std::size_t in_flight_ = 0;
    unsigned forks_ = 0; // of the process that made the ring
    loop_statistics statistics_;
    detail::strand root_;
    const bool* done_ = nullptr;
    detail::work_queue when_room_; // what waits for room in the submission queue
    unsigned looks_out_ = 0;       // how often for mail, before it sleeps
    bool mail_woke_ = false;       // the last time
    bool shortage_ = false;        // the last submission found the kernel without memory
    bool cancel_all_ = false;      // every request is to be cancelled, and the kernel wasn't told
    enum class drain_phase : std::uint8_t { none, tasks, requests };
    drain_phase draining_ = drain_phase::none;

    // Written by other threads: on lines of their own.
    alignas(64) std::atomic<detail::work*> mail_{nullptr};
    std::atomic<std::uint32_t> parked_{awake};
    std::atomic<std::uint32_t> posting_{0}; // threads inside of post
};

/// The loop that the calling thread runs. Throws state_error if it runs none.
[[nodiscard]] loop& this_loop();
/// The same, or null.
[[nodiscard]] loop* this_loop_or_null() noexcept;

namespace detail {
/// See unhandled.hpp.
void report_current_exception(const char* where) noexcept;

template <class F>
struct posted_function : work, recycled {
    explicit posted_function(F&& f)
        : work(call), function(std::move(f)), context(capture_context()) {}
    static void call(work& w) noexcept {
        std::unique_ptr<posted_function> self(static_cast<posted_function*>(&w));
        context_scope in(self->context); // of whoever posted it
        try {
            self->function();
        } catch (...) {
            report_current_exception("a posted function");
        }
    }
    F function;
    context_data* context;
};
} // namespace detail

template <std::invocable F>
void loop::post(F f) {
    post(*static_cast<detail::work*>(new detail::posted_function<F>(std::move(f))));
}

} // namespace weft
