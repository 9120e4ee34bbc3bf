// SPDX-License-Identifier: MIT
#include "worker_link.hpp"

#include <weft/runtime/detail/futex.hpp>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <linux/futex.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace weft::detail {

namespace {

// Until somebody wakes us, or for no reason.
void sleep_while(const futex_word& word, std::uint32_t value, const timespec* longest) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAIT, value, longest, nullptr, 0);
}

} // namespace

void leave_at_once() noexcept { ::_exit(0); }

worker_link::worker_link(int tasks, int memory, int blocks, const block_bounds& bounds)
    : tasks_(tasks), block_socket_(blocks), blocks_(bounds),
      memory_(open_worker_memory(descriptor(memory))), lanes_(lanes_in(memory_)) {}

// `there` says of a word whether it is what we wait for; with true, after we have said that we will
// sleep.
template <class There>
void worker_link::wait_until(There there) {
    if (there(false))
        return;
    if (lookout_.is_worth_it()) {
        for (unsigned n = 0; n != lane_lookout::looks; ++n) {
            std_atomics::pause(1);
            if (there(false)) {
                lookout_.saw_it();
                return;
            }
        }
        const auto began = std::chrono::steady_clock::now();
        auto took = began - began;
        do {
            std_atomics::pause(lane_lookout::giving_way);
            const bool found = there(false);
            took = std::chrono::steady_clock::now() - began;
            if (found) {
                lookout_.saw_it_after(took);
                return;
            }
        } while (took < lane_lookout::brief);
        lookout_.saw_nothing();
    }
    while (true) {
        const std::uint32_t seen = lanes_.worker_bell.announce();
        if (there(true))
            return;
        const auto before = std::chrono::steady_clock::now();
        if (before - trimmed_ >= shared_blocks::trim_every) {
            trimmed_ = before;
            blocks_.drop_unused();
        }
        constexpr timespec until_trim{0,
                                      std::chrono::nanoseconds(shared_blocks::trim_every).count()};
        sleep_while(lanes_.worker_bell.word, seen, blocks_.size() != 0 ? &until_trim : nullptr);
        if (!there(false))
            continue;
        if (std::chrono::steady_clock::now() - before < lane_lookout::brief)
            lookout_.slept_briefly();
        return;
    }
}

bool worker_link::first_comes_soon() const noexcept {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(200);
    do {
        if (lanes_.tasks[0].word.is_full())
            return true;
        ::sched_yield(); // the pool may have been woken where we run
    } while (std::chrono::steady_clock::now() < until);
    return false;
}

worker_link::message worker_link::receive() {
    one_use_ = block_mapping(); // what was in there is answered
    current_.reset();
    while (true) {
        lane_slot& s = lanes_.tasks[received_ % worker_memory::slots];
        do
            wait_until(
                [&s](bool surely) { return surely ? s.word.is_full_now() : s.word.is_full(); });
        while (!s.word.take());
        ++received_;
        const slot_content c(s);
        if (c.streamed)
            return receive_from_stream();
        if (c.block == 0)
            return {c.header, c.payload};
        if (const block_mapping* in = block_of(c))
            return {c.header, in->message(c.header.length)};
        ipc::archive_writer nothing = writer();
        send(nothing, frame_kind::by_stream_please, c.header.task);
    }
}

// Null: this process can't have it, for want of memory or descriptors.
const block_mapping* worker_link::block_of(const slot_content& c) noexcept {
    if (!c.new_block)
        return of_pool_.find(c.block);
    received_block came;
    try {
        came = receive_block(block_socket_, c.block);
    } catch (const std::system_error&) {
        return nullptr;
    } catch (...) { // the parent is the same program: this is memory gone wrong
        leave_at_once();
    }
    try {
        one_use_ = block_mapping::to_read(came.fd, came.size);
    } catch (...) {
        of_pool_.clear(); // there may be room without them
        return nullptr;
    }
    return c.kept_block ? &of_pool_.put(c.block, std::move(one_use_)) : &one_use_;
}

void worker_link::send(ipc::archive_writer& payload, frame_kind kind, std::uint64_t task,
                       bool stop_seen) {
    ipc::byte_buffer whole = payload.take();
    auto bytes = whole.bytes().subspan(sizeof(frame_header));
    lane_slot& s = lanes_.answers[sent_++ % worker_memory::slots];
    wait_until([&s](bool surely) { return surely ? s.word.is_free_now() : s.word.is_free(); });
    std::uint64_t block = 0;
    std::uint16_t marks = lend(whole, block);
    if (marks == 0 && bytes.size() > lane_slot::room) {
        // Not before, or a long sequence would have more there than it has slots.
        send_by_stream(whole, kind, task, stop_seen);
        marks = by_stream;
    }
    if (stop_seen)
        marks |= stop_was_seen;
    write_slot(s, kind, task, marks, bytes, block);
    s.word.fill();
    lanes_.pool_bell.ring_all([this](futex_word& word, unsigned n) noexcept {
        // Relaxed: if it was said too late for us, the pool looks for what we did before.
        if (lanes_.pool_hears_frames.load(std::memory_order_relaxed) == 0) {
            futex_wake(word, static_cast<int>(n));
        } else {
            frame_header h;
            h.kind = frame_kind::bell;
            send_bytes(std::as_bytes(std::span(&h, 1)));
        }
    });
}

// Gives the pool the block that a message lies in: the marks of its slot, or 0 if that doesn't
// work.
std::uint16_t worker_link::lend(ipc::byte_buffer& whole, std::uint64_t& id) noexcept {
    if (!whole.is_large())
        return 0;
    // Relaxed: seen when the slot was free, or so late that the pool tells about it once more.
    const std::uint32_t lost = lanes_.pool_lost_blocks.load(std::memory_order_relaxed);
    if (std::exchange(lost_by_pool_, lost) != lost)
        blocks_.forget_lent();
    const shared_blocks::place in = blocks_.find(whole.data());
    int marks = in_a_block | (in.stays ? keeps_block : 0);
    if (known_to_pool_.find(in.id) == nullptr) {
        if (!send_block(block_socket_, in))
            return 0;
        marks |= brings_block;
        if (in.stays)
            known_to_pool_.put(in.id, true);
    }
    id = in.id;
    blocks_.lend(whole.data());
    whole.let_go();
    return static_cast<std::uint16_t>(marks);
}

// --- The stream ----------------------------------------------------------------------------------

worker_link::message worker_link::receive_from_stream() {
    while (true) {
        if (auto f = assembler_.take()) {
            current_ = std::move(f);
            return {current_->header, current_->payload.bytes(), current_->lacks_payload};
        }
        auto room = assembler_.space();
        auto n = ::recv(tasks_, room.data(), room.size(), 0);
        if (n > 0)
            assembler_.commit(static_cast<std::size_t>(n));
        else if (n == 0 || errno != EINTR)
            leave_at_once();
    }
}

void worker_link::send_by_stream(ipc::byte_buffer& whole, frame_kind kind, std::uint64_t task,
                                 bool stop_seen) {
    finish_frame(whole, kind, task, stop_seen);
    send_bytes(whole.bytes());
}

void worker_link::send_bytes(std::span<const std::byte> left) noexcept {
    while (!left.empty()) {
        auto n = ::send(tasks_, left.data(), left.size(), MSG_NOSIGNAL);
        if (n >= 0)
            left = left.subspan(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            leave_at_once(); // EPIPE, ECONNRESET: the parent has closed the channel
    }
}

} // namespace weft::detail
