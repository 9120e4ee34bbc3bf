// SPDX-License-Identifier: MIT
#include <weft/runtime/descriptor.hpp>

#include <weft/runtime/error.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace weft {

// EINTR included: Linux has let go of the descriptor by then, and another try could hit somebody
// else's.
void descriptor::close_now(int fd) noexcept { ::close(fd); }

descriptor descriptor::duplicate() const {
    int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        throw_errno(errno, "duplicate a descriptor");
    return descriptor(fd);
}

namespace detail {

// A close that has begun is soon over, and a stop that came before it would only leave the closing
// to the destructor.
const operation_type close_op::kind{[](operation&) noexcept {}, "close"};
const operation_type poll_op::kind = io_type("poll");

close_op::close_op(descriptor d) noexcept : request_operation(kind, closed), held_(std::move(d)) {}

void close_op::closed(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept {
    // As for close(2): after EINTR the descriptor is gone.
    finish(t, interrupted(result) ? 0 : result, flags);
}

request poll_op::fill() const noexcept {
    return {.opcode = opcode::poll_add,
            .fd = fd_,
            .operation_flags =
                static_cast<std::uint32_t>(for_writing_ ? POLLOUT : POLLIN | POLLRDHUP)};
}

} // namespace detail
} // namespace weft
