// SPDX-License-Identifier: MIT
#include "worker_link.hpp"

#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>

namespace weft::detail {

void leave_at_once() noexcept { ::_exit(0); }

worker_link::message worker_link::receive() {
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

void worker_link::send(ipc::archive_writer& payload, frame_kind kind, std::uint64_t task,
                       bool stop_seen) {
    ipc::byte_buffer whole = payload.take();
    finish_frame(whole, kind, task, stop_seen);
    auto left = whole.bytes();
    while (!left.empty()) {
        auto n = ::send(tasks_, left.data(), left.size(), MSG_NOSIGNAL);
        if (n >= 0)
            left = left.subspan(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            leave_at_once(); // EPIPE, ECONNRESET: the parent has closed the channel
    }
}

} // namespace weft::detail
