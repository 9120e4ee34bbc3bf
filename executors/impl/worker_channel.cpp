// SPDX-License-Identifier: MIT
#include "worker_channel.hpp"

#include "pool_hub.hpp"

#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/detail/futex.hpp>
#include <weft/runtime/detail/request_operation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/spawn.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <sys/socket.h>
#include <system_error>
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

descriptor copy_of(int fd) {
    descriptor d(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!d)
        throw_errno(errno, "fcntl F_DUPFD_CLOEXEC", "for a worker");
    return d;
}

pool_message copy_of(std::span<const std::byte> bytes) {
    ipc::byte_buffer own;
    own.reserve(bytes.size());
    if (!bytes.empty())
        std::memcpy(own.extend(bytes.size()), bytes.data(), bytes.size());
    return pool_message(std::move(own));
}

// Until the kernel says otherwise.
std::atomic<bool> ring_waits_for_words{true};

constexpr auto wake_word_of_lane = [](futex_word& word, unsigned n) noexcept {
    futex_wake(word, static_cast<int>(n));
};

} // namespace

worker_channel::worker_channel(pool_hub& hub, loop& l, unsigned index)
    : hub_(hub), loop_(l), index_(index), receive_(*this, received), send_(*this, sent),
      end_(*this, ended), bell_(*this, rung), ear_(hub, l, index, this, [](void* c) noexcept {
          static_cast<worker_channel*>(c)->close_if_quiet();
      }) {}

void worker_channel::open() {
    auto [tasks, tasks_there] = socket_pair(SOCK_STREAM);
    auto [control, control_there] = socket_pair(SOCK_SEQPACKET);
    auto [blocks, blocks_there] = socket_pair(SOCK_SEQPACKET);
    ipc::shared_memory memory = make_worker_memory();
    std::vector<descriptor> theirs;
    theirs.push_back(std::move(tasks_there));
    theirs.push_back(std::move(control_there));
    theirs.push_back(copy_of(memory.fd()));
    theirs.push_back(std::move(blocks_there));
    tasks_ = std::move(tasks);
    control_ = std::move(control);
    block_socket_ = std::move(blocks);
    memory_ = std::move(memory);
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
    lanes_ = &lanes_in(memory_);
    sent_ = unanswered_ = received_ = 0;
    assembler_ = frame_assembler();
    status_ = ipc::exit_status();
    dead_ = garbled_ = awaits_stream_ = hears_frames_ = false;
    contact_ = true;
    // Relaxed: a hint, and who comes too late is told by the kernel as well.
    if (!contains(loop_.options().features, ring_futexes) ||
        !ring_waits_for_words.load(std::memory_order_relaxed))
        hear_frames();
    receive();
    ear_.open(control_.get(), process_.pid());
    watch();
    hub_.look_soon();
    close_if_quiet();
}

void worker_channel::not_started() noexcept {
    tasks_.reset();
    control_.reset();
    block_socket_.reset();
    memory_.close();
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
    put(frame_kind::initialise, 0, preparation_);
}

namespace {
frame_kind kind_of(bool in_setting) noexcept {
    return in_setting ? frame_kind::task_in_setting : frame_kind::task;
}
} // namespace

void worker_channel::send_task(pool_request& call) noexcept {
    put(kind_of(call.in_setting_), call.id, call.message_);
}

void worker_channel::send_again(pool_request& call) noexcept {
    put(kind_of(call.in_setting_), call.id, call.message_, way::stream);
}

void worker_channel::send_quit() noexcept {
    lane_slot& s = lanes_->tasks[sent_++ % worker_memory::slots];
    write_slot(s, frame_kind::quit, 0, 0, {});
    s.word.fill();
    lanes_->worker_bell.ring_all(wake_word_of_lane);
}

// A slot is free: the pool sends no more than there are before it has answers.
void worker_channel::put(frame_kind kind, std::uint64_t task, ipc::byte_buffer& message,
                         way by) noexcept {
    std::uint64_t block = 0;
    std::uint16_t marks = by == way::best ? marks_of_block(message, block) : std::uint16_t{0};
    auto payload = message.bytes().subspan(sizeof(frame_header));
    const bool streamed = marks == 0 && payload.size() > lane_slot::room;
    if (streamed)
        marks = detail::by_stream;
    lane_slot& s = lanes_->tasks[sent_++ % worker_memory::slots];
    ++unanswered_;
    write_slot(s, kind, task, marks, payload, block);
    s.word.fill();
    if (unanswered_ == 1)
        note_first();
    lanes_->worker_bell.ring_all(wake_word_of_lane);
    if (streamed) {
        finish_frame(message, kind, task);
        unsent_ = message.bytes();
        send_rest();
    }
    hub_.look_soon();
}

void worker_channel::note_first() noexcept {
    first_word_.store(unanswered_ == 0
                          ? nullptr
                          : &lanes_->tasks[(sent_ - unanswered_) % worker_memory::slots].word,
                      std::memory_order_relaxed);
}

// The marks of a slot whose message lies in a block, or 0.
std::uint16_t worker_channel::marks_of_block(ipc::byte_buffer& message,
                                             std::uint64_t& id) noexcept {
    hub_.blocks().adopt(message); // there may not have been room when it was made
    if (!message.is_large())
        return 0;
    const shared_blocks::place in = hub_.blocks().find(message.data());
    const bool stays = in.stays && hub_.plan().workers_keep_blocks();
    int marks = in_a_block | (stays ? keeps_block : 0);
    if (known_to_worker_.find(in.id) == nullptr) {
        if (!send_block(block_socket_.get(), in))
            return 0;
        marks |= brings_block;
        if (stays)
            known_to_worker_.put(in.id, true);
    }
    id = in.id;
    return static_cast<std::uint16_t>(marks);
}

// Throws std::system_error if this process can't have it.
block_lease worker_channel::take_block(const slot_content& c) {
    std::shared_ptr<const block_mapping> block;
    if (!c.new_block) {
        if (auto* kept = of_worker_.find(c.block))
            block = *kept;
        else // it couldn't be had when it came
            throw_errno(ENOMEM, "find the memory of a large message");
    } else {
        try {
            const received_block came = receive_block(block_socket_.get(), c.block);
            block = std::make_shared<const block_mapping>(block_mapping::of_stranger(came.fd));
        } catch (const protocol_error&) {
            throw;
        } catch (...) {
            // Relaxed: the worker looks before it uses the slot that is freed after this.
            lanes_->pool_lost_blocks.fetch_add(1, std::memory_order_relaxed);
            throw;
        }
        if (c.kept_block)
            of_worker_.put(c.block, block);
    }
    const auto bytes = block->message(c.header.length);
    return {std::move(block), bytes};
}

// What has come can't be had here, so that is what the task gives.
void worker_channel::fail(frame& f, const std::exception_ptr& why) {
    if (f.header.kind != frame_kind::result && f.header.kind != frame_kind::error)
        std::rethrow_exception(why); // a sequence with a gap is none
    ipc::archive_writer out;
    ipc::encode_error(out, why, "");
    f.payload = pool_message(out.take());
    f.header.kind = frame_kind::error;
}

bool worker_channel::withdraw_last() noexcept {
    if (unanswered_ < 2 || !lanes_->tasks[(sent_ - 1) % worker_memory::slots].word.withdraw())
        return false;
    --sent_;
    --unanswered_;
    return true;
}

void worker_channel::send_stop(std::uint64_t task) noexcept {
    control_message m;
    m.task = task;
    // If there is no room the worker hasn't read a long row of stops: it hangs, and the end of the
    // grace will come.
    static_cast<void>(::send(control_.get(), &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void worker_channel::send_credit(std::uint64_t task, std::uint32_t items) noexcept {
    control_message m;
    m.what = control_message::kind::credit;
    m.task = task;
    m.amount = items;
    // There is room: of a window that was granted anew two or three can be unread.
    static_cast<void>(::send(control_.get(), &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void worker_channel::send_question(std::uint64_t id) noexcept {
    control_message m;
    m.what = control_message::kind::tasks;
    m.task = id;
    static_cast<void>(::send(control_.get(), &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void worker_channel::send_term() noexcept { process_.send_signal(SIGTERM); }

void worker_channel::kill() noexcept { process_.send_signal(SIGKILL); }

// --- The lanes -----------------------------------------------------------------------------------

bool worker_channel::has_answer() const noexcept {
    return lanes_ != nullptr && !garbled_ && !in_send_ && !awaits_stream_ &&
           lanes_->answers[received_ % worker_memory::slots].word.is_full();
}

bool worker_channel::take_answers() noexcept {
    bool any = false;
    try {
        // What is being sent must stay where it is, however early the answer comes.
        while (has_answer()) {
            lane_slot& s = lanes_->answers[received_ % worker_memory::slots];
            const slot_content c(s);
            frame f;
            if (c.block != 0) {
                f.header = c.header;
                try {
                    f.payload = pool_message(take_block(c));
                    if (hub_.plan().suspects_workers())
                        f.payload = copy_of(f.payload.bytes());
                } catch (const protocol_error&) {
                    throw;
                } catch (...) {
                    fail(f, std::current_exception());
                }
            } else if (!c.streamed) {
                f.header = c.header;
                if (!c.payload.empty())
                    std::memcpy(f.payload.own().extend(c.payload.size()), c.payload.data(),
                                c.payload.size());
            } else if (!streamed_.empty()) {
                f = std::move(streamed_.front());
                streamed_.pop_front();
                if (f.lacks_payload)
                    fail(f, std::make_exception_ptr(std::bad_alloc()));
            } else {
                awaits_stream_ = true;
                break;
            }
            ++received_;
            s.word.clear();
            lanes_->worker_bell.ring_all(wake_word_of_lane); // it may wait for room
            any = true;
            handle(std::move(f));
        }
    } catch (...) { // no frame, or no memory for it
        garbled_ = true;
        contact_lost();
    }
    return any;
}

bool worker_channel::arm_bell() noexcept {
    if (lanes_ == nullptr || garbled_ || dead_ || awaits_bell_)
        return !has_answer();
    const std::uint32_t seen = lanes_->pool_bell.announce();
    if (lanes_->answers[received_ % worker_memory::slots].word.is_full_now() && has_answer())
        return false;
    if (hears_frames_)
        return true;
    try {
        // As futex_wait(2) wants it: FUTEX2_SIZE_U32, and for all processes.
        loop_.submit(bell_, {.opcode = opcode::futex_wait,
                             .fd = 2,
                             .offset = seen,
                             .address = address_of(&lanes_->pool_bell.word),
                             .address3 = 0xffffffff});
        awaits_bell_ = true;
    } catch (...) {
        contact_lost();
    }
    return true;
}

void worker_channel::rung(completion_target& t, std::int32_t result, std::uint32_t) noexcept {
    worker_channel& c = static_cast<target&>(t).channel;
    c.awaits_bell_ = false;
    if (result == -EINVAL) { // the kernel doesn't know the operation
        ring_waits_for_words.store(false, std::memory_order_relaxed);
        c.hear_frames();
    }
    c.hub_.was_woken();
    c.close_if_quiet();
}

void worker_channel::hear_frames() noexcept {
    hears_frames_ = true;
    // Relaxed: who hasn't seen it in time wakes us in vain, and we look once more after this.
    lanes_->pool_hears_frames.store(1, std::memory_order_relaxed);
}

// --- The stream ----------------------------------------------------------------------------------

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
            while (auto f = c.assembler_.take()) {
                if (f->header.kind != frame_kind::bell)
                    c.streamed_.push_back(std::move(*f));
                if (c.streamed_.size() > worker_memory::slots)
                    throw protocol_error("a worker sends what it has no slots for");
            }
            c.awaits_stream_ = false;
            c.hub_.was_woken();
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
    case frame_kind::by_stream_please:
        if (unanswered_ == 0)
            throw protocol_error("a worker answers what it wasn't asked");
        --unanswered_;
        note_first();
        known_to_worker_.clear();
        if (f.header.task == 0)
            put(frame_kind::initialise, 0, preparation_, way::stream);
        else
            hub_.worker_wants_again(index_, f.header.task);
        break;
    case frame_kind::item:
        hub_.worker_gave(index_, std::move(f));
        break;
    case frame_kind::result:
    case frame_kind::error:
        if (unanswered_ == 0)
            throw protocol_error("a worker answers what it wasn't asked");
        --unanswered_;
        note_first();
        if (f.header.task == 0)
            preparation_ = ipc::byte_buffer();
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
        if (failed)
            c.contact_lost();
        c.hub_.look_soon();
    }
    c.close_if_quiet();
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
    ::shutdown(control_.get(), SHUT_RDWR);
    lanes_->pool_bell.word.fetch_add(2, std::memory_order_relaxed); // whatever it has left there
    futex_wake(lanes_->pool_bell.word, everybody);
}

void worker_channel::close_if_quiet() noexcept {
    if (!dead_ || receiving_ || in_send_ || watching_ || awaits_bell_ || ear_.listens() || !tasks_)
        return;
    take_answers();
    const bool begun = has_begun();
    contact_ = false;
    streamed_.clear();
    known_to_worker_.clear();
    of_worker_.clear();
    block_socket_.reset();
    unanswered_ = 0;
    {
        auto held = hub_.hold(); // who looks whether it has begun
        first_word_.store(nullptr, std::memory_order_relaxed);
        lanes_ = nullptr;
        memory_.close();
    }
    tasks_.reset();
    control_.reset();
    process_ = ipc::detail::child();
    worker_end end;
    end.status = status_;
    end.failure = start_.failure();
    if (stderr_)
        end.last_words = std::exchange(stderr_, nullptr)->last_words();
    start_ = worker_start();
    hub_.worker_died(index_, std::move(end), begun);
}

} // namespace weft::detail
