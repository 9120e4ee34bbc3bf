// SPDX-License-Identifier: MIT
#include "worker_link.hpp"

#include <weft/runtime/detail/futex.hpp>

#include <cerrno>
#include <chrono>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft::detail {

namespace {

// Until somebody wakes us, or for no reason.
void sleep_while(const futex_word& word, std::uint32_t value) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}

} // namespace

void leave_at_once() noexcept { ::_exit(0); }

worker_link::worker_link(int tasks, int memory)
    : tasks_(tasks), memory_(open_worker_memory(descriptor(memory))), lanes_(lanes_in(memory_)) {}

// `there` says of a word whether it is what we wait for; with true, after we have said that we will
// sleep.
template <class There>
void worker_link::wait_until(There there) {
    if (there(false))
        return;
    if (lookout_.is_worth_it()) {
        for (unsigned n = 0; n != lane_lookout::rounds; ++n) {
            std_atomics::pause(1);
            if (there(false)) {
                lookout_.saw_it();
                return;
            }
        }
        lookout_.saw_nothing();
    }
    while (true) {
        const std::uint32_t seen = lanes_.worker_bell.announce();
        if (there(true))
            return;
        const auto before = std::chrono::steady_clock::now();
        sleep_while(lanes_.worker_bell.word, seen);
        if (!there(false))
            continue;
        if (std::chrono::steady_clock::now() - before <
            std::chrono::nanoseconds(lane_lookout::brief_ns))
            lookout_.slept_briefly();
        return;
    }
}

worker_link::message worker_link::receive() {
    lane_slot& s = lanes_.tasks[received_ % worker_memory::slots];
    do
        wait_until([&s](bool surely) { return surely ? s.word.is_full_now() : s.word.is_full(); });
    while (!s.word.take());
    ++received_;
    const slot_content c(s);
    if (c.streamed)
        return receive_from_stream();
    return {c.header, c.payload};
}

void worker_link::send(ipc::archive_writer& payload, frame_kind kind, std::uint64_t task,
                       bool stop_seen) {
    ipc::byte_buffer whole = payload.take();
    auto bytes = whole.bytes().subspan(sizeof(frame_header));
    const bool streamed = bytes.size() > lane_slot::room;
    lane_slot& s = lanes_.answers[sent_++ % worker_memory::slots];
    wait_until([&s](bool surely) { return surely ? s.word.is_free_now() : s.word.is_free(); });
    if (streamed) // not before, or a long sequence would have more there than it has slots
        send_by_stream(whole, kind, task, stop_seen);
    const int marks = (stop_seen ? stop_was_seen : 0) | (streamed ? by_stream : 0);
    write_slot(s, kind, task, static_cast<std::uint16_t>(marks), bytes);
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

// --- The stream ----------------------------------------------------------------------------------

worker_link::message worker_link::receive_from_stream() {
    while (true) {
        if (auto f = assembler_.take()) {
            current_ = std::move(f);
            return {current_->header, current_->payload.bytes()};
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
