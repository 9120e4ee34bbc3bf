// SPDX-License-Identifier: MIT
#include "worker_channel.hpp"

#include "pool_hub.hpp"

#include <weft/runtime/detail/request_operation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/spawn.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace weft::detail {

namespace {

std::pair<descriptor, descriptor> socket_pair(int type) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0)
        throw_errno(errno, "socketpair", "for a worker");
    return {descriptor(ends[0]), descriptor(ends[1])};
}

} // namespace

worker_channel::worker_channel(pool_hub& hub, loop& l, unsigned index)
    : hub_(hub), loop_(l), index_(index), receive_(*this, received), send_(*this, sent),
      end_(*this, ended) {}

void worker_channel::open() {
    auto [tasks, tasks_there] = socket_pair(SOCK_STREAM);
    auto [control, control_there] = socket_pair(SOCK_SEQPACKET);
    std::vector<descriptor> theirs;
    theirs.push_back(std::move(tasks_there));
    theirs.push_back(std::move(control_there));
    tasks_ = std::move(tasks);
    control_ = std::move(control);
    try {
        begin_start(std::move(theirs));
    } catch (...) {
        not_started();
        throw;
    }
}

// --- The start -----------------------------------------------------------------------------------

// A start that isn't over. Dropped before that (the loop ends), it has failed.
class worker_channel::pending_start {
public:
    explicit pending_start(worker_channel& c) : channel_(&c), hub_(c.hub_.shared_from_this()) {}
    pending_start(pending_start&& other) noexcept
        : channel_(std::exchange(other.channel_, nullptr)), hub_(std::move(other.hub_)) {}
    pending_start& operator=(pending_start&&) = delete;
    ~pending_start() {
        if (channel_ == nullptr)
            return;
        try {
            throw state_error("the loop ended before it was there");
        } catch (...) {
            failed();
        }
    }
    void succeeded(ipc::detail::child c) noexcept {
        worker_channel& channel = *std::exchange(channel_, nullptr);
        const int pid = c.pid();
        channel.hub_.worker_started(channel.index_, pid);
        channel.started(std::move(c));
    }
    /// The current exception says why.
    void failed() noexcept {
        worker_channel& channel = *std::exchange(channel_, nullptr);
        channel.not_started();
        channel.hub_.worker_not_started(channel.index_);
    }

private:
    worker_channel* channel_;
    std::shared_ptr<pool_hub> hub_;
};

task<> worker_channel::start_elsewhere(pending_start p, ipc::detail::forked_role role) {
    try {
        ipc::detail::child c = co_await role.start_elsewhere();
        p.succeeded(std::move(c));
    } catch (...) {
        p.failed();
    }
}

void worker_channel::begin_start(std::vector<descriptor> theirs) {
    const worker_plan& plan = hub_.plan();
    descriptor standard_error;
    if (plan.errors() != worker_errors::direct) {
        stderr_ =
            std::make_shared<worker_stderr>(plan.errors() == worker_errors::shown, STDERR_FILENO);
        standard_error = stderr_->their_end();
    }
    start_ = worker_start(plan, index_, std::move(theirs), std::move(standard_error));
    if (plan.method() == ipc::start_method::forkserver) {
        auto role = start_.elsewhere();
        try {
            spawn(start_elsewhere(pending_start(*this), std::move(role)))
                .set_name("start of a worker");
        } catch (...) { // the loop is ending, or there is no memory: the start's end has told
            static_cast<void>(index_);
        }
        return;
    }
    ipc::detail::child c = start_.here();
    hub_.worker_started(index_, c.pid());
    started(std::move(c));
}

void worker_channel::started(ipc::detail::child c) noexcept {
    process_ = std::move(c);
    if (stderr_) {
        try {
            worker_stderr::start(stderr_);
        } catch (
            ...) { // the loop is ending, or there is no memory: the last words are read at the end
            static_cast<void>(stderr_);
        }
    }
    assembler_ = frame_assembler();
    status_ = ipc::exit_status();
    dead_ = false;
    contact_ = true;
    receive();
    watch();
    close_if_quiet();
}

void worker_channel::not_started() noexcept {
    tasks_.reset();
    control_.reset();
    stderr_.reset();
    start_ = worker_start();
}

void worker_channel::prepare(std::span<const std::byte> call) noexcept {
    try {
        preparation_ = ipc::byte_buffer();
        std::ranges::copy(call, preparation_.extend(call.size()));
    } catch (...) { // no memory
        contact_lost();
        return;
    }
    finish_frame(preparation_, frame_kind::initialise, 0);
    unsent_ = preparation_.bytes();
    send_rest();
}

void worker_channel::send_task(pool_request& call) noexcept {
    sending_ = &call;
    finish_frame(call.message_, frame_kind::task, call.id);
    unsent_ = call.message_.bytes();
    send_rest();
}

void worker_channel::send_quit() noexcept {
    quit_ = frame_header();
    quit_.kind = frame_kind::quit;
    unsent_ = std::as_bytes(std::span(&quit_, 1));
    send_rest();
}

void worker_channel::send_stop(std::uint64_t task) noexcept {
    control_message m;
    m.task = task;
    // If there is no room the worker hasn't read a long row of stops: it hangs, and the end of the
    // grace will come.
    static_cast<void>(::send(control_.get(), &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void worker_channel::send_term() noexcept { process_.send_signal(SIGTERM); }

void worker_channel::kill() noexcept { process_.send_signal(SIGKILL); }

// --- The task channel ----------------------------------------------------------------------------

void worker_channel::receive() noexcept {
    try {
        auto room = assembler_.space();
        loop_.submit(receive_, {.opcode = opcode::recv,
                                .fd = tasks_.get(),
                                .address = address_of(room.data()),
                                .length = transfer_length(room.size())});
        receiving_ = true;
    } catch (...) { // no memory for what the worker sends
        contact_lost();
    }
}

void worker_channel::received(completion_target& t, std::int32_t result, std::uint32_t) noexcept {
    worker_channel& c = static_cast<target&>(t).channel;
    c.receiving_ = false;
    if (result > 0 && c.contact_) {
        try {
            c.assembler_.commit(static_cast<std::size_t>(result));
            while (auto f = c.assembler_.take())
                c.handle(std::move(*f));
        } catch (...) { // no frame, or no memory for it
            c.contact_lost();
        }
    } else if (result <= 0 && result != -EINTR && result != -EAGAIN) {
        c.contact_lost();
    }
    if (c.contact_)
        c.receive();
    c.close_if_quiet();
}

void worker_channel::handle(frame f) {
    switch (f.header.kind) {
    case frame_kind::ready: {
        ipc::archive_reader in(f.payload.bytes());
        if (in.read_value<std::uint32_t>() != pool_protocol_version)
            throw protocol_error("a worker speaks another version of the pool's protocol");
        in.finish();
        hub_.worker_ready(index_);
        break;
    }
    case frame_kind::result:
    case frame_kind::error:
        if (in_send_) // it has read everything: the completion of our send is on its way
            early_answer_ = std::move(f);
        else
            hub_.worker_answered(index_, std::move(f));
        break;
    default:
        throw protocol_error("a worker sent what only a pool sends");
    }
}

// No more can come of this worker's channel. What that means for the worker is decided by the
// machine, and it is dead when the pidfd says so.
void worker_channel::contact_lost() noexcept {
    if (!std::exchange(contact_, false))
        return;
    ::shutdown(tasks_.get(), SHUT_RDWR); // ends a send that is under way
    if (!dead_)
        hub_.worker_misbehaved(index_);
}

void worker_channel::send_rest() noexcept {
    try {
        loop_.submit(send_, {.opcode = opcode::send,
                             .fd = tasks_.get(),
                             .address = address_of(unsent_.data()),
                             .length = transfer_length(unsent_.size()),
                             .operation_flags = MSG_NOSIGNAL});
        in_send_ = true;
    } catch (...) {
        sent_all();
        contact_lost();
    }
}

void worker_channel::sent(completion_target& t, std::int32_t result, std::uint32_t) noexcept {
    worker_channel& c = static_cast<target&>(t).channel;
    c.in_send_ = false;
    if (result >= 0)
        c.unsent_ = c.unsent_.subspan(static_cast<std::size_t>(result));
    const bool failed = result < 0 && result != -EINTR && result != -EAGAIN;
    if (!failed && !c.unsent_.empty()) {
        c.send_rest();
    } else {
        c.sent_all();
        if (failed)
            c.contact_lost();
        else if (c.early_answer_)
            c.hub_.worker_answered(c.index_,
                                   std::move(*std::exchange(c.early_answer_, std::nullopt)));
    }
    c.close_if_quiet();
}

void worker_channel::sent_all() noexcept {
    if (pool_request* call = std::exchange(sending_, nullptr);
        call != nullptr && call->retries == 0)
        call->message_ = ipc::byte_buffer(); // nobody needs the arguments again
}

// --- The process ---------------------------------------------------------------------------------

void worker_channel::watch() noexcept {
    if (process_.pidfd() <
        0) { // it had ended before it could be opened, and somebody else took its status
        note_end();
        return;
    }
    try {
        loop_.submit(
            end_, {.opcode = opcode::poll_add, .fd = process_.pidfd(), .operation_flags = POLLIN});
        watching_ = true;
    } catch (...) { // without memory for the request its end can't be seen later, so it comes now
        process_ = ipc::detail::child();
        note_end();
    }
}

void worker_channel::ended(completion_target& t, std::int32_t, std::uint32_t) noexcept {
    worker_channel& c = static_cast<target&>(t).channel;
    c.watching_ = false;
    if (auto status = c.process_.try_wait()) {
        c.status_ = *status;
        c.note_end();
    } else {
        c.watch();
    }
    c.close_if_quiet();
}

void worker_channel::note_end() noexcept {
    dead_ = true;
    // Somebody else may hold the worker's end of the channel: a process that it started. What lies
    // in our end can still be read after this, and then the stream ends.
    ::shutdown(tasks_.get(), SHUT_RDWR);
}

void worker_channel::close_if_quiet() noexcept {
    if (!dead_ || receiving_ || in_send_ || watching_ || !tasks_)
        return;
    early_answer_.reset();
    contact_ = false;
    tasks_.reset();
    control_.reset();
    process_ = ipc::detail::child();
    worker_end end;
    end.status = status_;
    end.failure = start_.failure();
    if (stderr_)
        end.last_words = std::exchange(stderr_, nullptr)->last_words();
    start_ = worker_start();
    hub_.worker_died(index_, std::move(end));
}

} // namespace weft::detail
