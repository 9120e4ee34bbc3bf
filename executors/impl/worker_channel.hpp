// SPDX-License-Identifier: MIT
// One worker process and what connects the pool with it: the lanes in the memory that both have,
// blocks of memory for what is larger, the stream where there are none, the control channel, the
// pidfd. Death is what the pidfd says. When it has said so, what is still in lanes and stream is
// read to its end, so an answer that was sent before the death counts.
//
// Threads:      the loop's.
// Cancellation: kill() ends everything that is under way.
// Errors:       open throws std::system_error, std::bad_alloc. Later ones are told to the hub.
// Cost:         a system call to wake a worker that sleeps, a request to be woken by it. None while
//               both are busy, or look out. A new block is a send and a receive; what goes by the
//               stream is two of each.
// Source:       none.
#pragma once
#include "pool_frame.hpp"
#include "shared_blocks.hpp"
#include "worker_ear.hpp"
#include "worker_lanes.hpp"
#include "worker_start.hpp"
#include "worker_stderr.hpp"

#include <weft/ipc/detail/child.hpp>
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/loop.hpp>

#include <atomic>
#include <deque>

namespace weft::detail {

class pool_request;
class pool_hub;

class worker_channel {
public:
    worker_channel(pool_hub& hub, loop& l, unsigned index);
    worker_channel(const worker_channel&) = delete;
    worker_channel& operator=(const worker_channel&) = delete;

    /// Starts the worker. The hub is told when it is there, or that it can't be; that may be during
    /// the call. What is thrown comes before anything has been started.
    void open();
    /// Sends the call that it is to begin with, which lies behind room for a header.
    void prepare(std::span<const std::byte> call) noexcept;
    void send_task(pool_request& call) noexcept;
    /// The same for one that the worker couldn't take, by another way.
    void send_again(pool_request& call) noexcept;
    void send_stop(std::uint64_t task) noexcept;
    void send_credit(std::uint64_t task, std::uint32_t items) noexcept;
    void send_question(std::uint64_t id) noexcept;
    void send_quit() noexcept;
    void send_term() noexcept;
    void kill() noexcept;

    /// Takes back the last task that it was sent. False: it has begun with it.
    [[nodiscard]] bool withdraw_last() noexcept;
    /// Hands what it has sent to the hub. Gives whether that was anything.
    bool take_answers() noexcept;
    /// Whether there is something for take_answers().
    [[nodiscard]] bool has_answer() const noexcept;
    [[nodiscard]] bool expects_answer() const noexcept { return unanswered_ != 0; }
    /// Whether it has begun with the first task that it holds. For who holds the hub's lock.
    [[nodiscard]] bool has_begun() const noexcept {
        const lane_word<>* w = first_word_.load(std::memory_order_relaxed); // there until unlocked
        return w != nullptr && !w->was_left();
    }
    /// Sees to it that the hub looks when something comes. False: it has come already.
    [[nodiscard]] bool arm_bell() noexcept;

private:
    struct target : completion_target {
        target(worker_channel& c, function f) noexcept : completion_target(f), channel(c) {}
        worker_channel& channel;
    };

    class pending_start;
    void begin_start(std::vector<descriptor> theirs);
    static task<> start_elsewhere(pending_start p, ipc::detail::forked_role role);
    void started(ipc::detail::child c) noexcept;
    void not_started() noexcept;

    static void received(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static void sent(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static void ended(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static void rung(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;

    void receive() noexcept;
    void send_rest() noexcept;
    void watch() noexcept;
    void note_end() noexcept;
    void handle(frame f);
    void contact_lost() noexcept;
    enum class way : std::uint8_t { best, stream };
    void put(frame_kind kind, std::uint64_t task, ipc::byte_buffer& message,
             way by = way::best) noexcept;
    void note_first() noexcept;
    [[nodiscard]] std::uint16_t marks_of_block(ipc::byte_buffer& message,
                                               std::uint64_t& id) noexcept;
    [[nodiscard]] block_lease take_block(const slot_content& c);
    static void fail(frame& f, const std::exception_ptr& why);
    void hear_frames() noexcept;
    void close_if_quiet() noexcept;

    pool_hub& hub_;
    loop& loop_;
    unsigned index_;
    target receive_, send_, end_, bell_;
    worker_start start_;
    std::shared_ptr<worker_stderr> stderr_;
    ipc::detail::child process_;
    descriptor tasks_, control_, block_socket_;
    worker_ear ear_;
    block_places<bool> known_to_worker_;
    block_places<std::shared_ptr<const block_mapping>> of_worker_;
    ipc::shared_memory memory_;
    worker_memory* lanes_ = nullptr;
    unsigned sent_ = 0;       // what was put into its lane, and not taken back
    unsigned unanswered_ = 0; // of those, what wasn't answered
    unsigned received_ = 0;
    std::atomic<const lane_word<>*> first_word_{nullptr}; // of the first that wasn't answered
    frame_assembler assembler_;
    std::deque<frame> streamed_; // those whose slots say so weren't looked at yet
    ipc::byte_buffer preparation_;
    std::span<const std::byte> unsent_;
    ipc::exit_status status_;
    bool receiving_ = false;
    bool in_send_ = false;
    bool watching_ = false;
    bool awaits_bell_ = false;   // by a request
    bool hears_frames_ = false;  // instead
    bool awaits_stream_ = false; // for what a slot says is in it
    bool contact_ = false;       // the stream is of use
    bool garbled_ = false;       // the lanes aren't
    bool dead_ = false;
};

} // namespace weft::detail
