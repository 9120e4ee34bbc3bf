// SPDX-License-Identifier: MIT
// One worker process and what connects the pool with it: the task channel, read and written through
// the ring; the control channel; the pidfd. Death is what the pidfd says. When it has said so, what
// is still in the channel is read to its end, so an answer that was sent before the death counts.
//
// Threads:      the loop's.
// Cancellation: kill() ends everything that is under way.
// Errors:       open throws std::system_error, std::bad_alloc. Later ones are told to the hub.
// Cost:         four requests a task at most: two sends and two receives.
// Source:       none.
#pragma once
#include "pool_frame.hpp"
#include "worker_start.hpp"
#include "worker_stderr.hpp"

#include <weft/ipc/detail/child.hpp>
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/loop.hpp>

#include <optional>

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
    void send_stop(std::uint64_t task) noexcept;
    void send_quit() noexcept;
    void send_term() noexcept;
    void kill() noexcept;

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

    void receive() noexcept;
    void send_rest() noexcept;
    void watch() noexcept;
    void note_end() noexcept;
    void handle(frame f);
    void contact_lost() noexcept;
    void sent_all() noexcept;
    void close_if_quiet() noexcept;

    pool_hub& hub_;
    loop& loop_;
    unsigned index_;
    target receive_, send_, end_;
    worker_start start_;
    std::shared_ptr<worker_stderr> stderr_;
    ipc::detail::child process_;
    descriptor tasks_, control_;
    frame_assembler assembler_;
    frame_header quit_;
    ipc::byte_buffer preparation_;
    std::span<const std::byte> unsent_;
    pool_request* sending_ = nullptr;
    std::optional<frame> early_answer_; // came before the completion of the send that it answers
    ipc::exit_status status_;
    bool receiving_ = false;
    bool in_send_ = false;
    bool watching_ = false;
    bool contact_ = false; // the task channel is of use
    bool dead_ = false;
};

} // namespace weft::detail
