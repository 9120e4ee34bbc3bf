// SPDX-License-Identifier: MIT
// Owns a file descriptor.
//
//     weft::task<> one_byte_waits(weft::descriptor pipe_end) {
//         co_await weft::readable(pipe_end.get());     // there is something, or the end
//         co_await pipe_end.close();                   // through the ring: the loop goes on
//     }
//
// Threads:      one at a time.
// Cancellation: readable and writable: at once. close can't be stopped once it has begun.
// Errors:       std::system_error. The destructor ignores what close(2) says.
// Cost:         an int. Source: none.
#pragma once
#include <weft/runtime/detail/request_operation.hpp>

#include <utility>

namespace weft {

namespace detail {
class close_op;
class poll_op;
} // namespace detail

class descriptor {
public:
    /// None.
    descriptor() noexcept = default;
    /// Takes the descriptor over; a negative one is none.
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
    descriptor& operator=(descriptor&& other) noexcept {
        reset(other.release());
        return *this;
    }
    ~descriptor() {
        if (fd_ >= 0)
            close_now(fd_);
    }

    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    /// Gives the descriptor to the caller.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    /// Closes it at once, and holds another one from now on.
    void reset(int fd = -1) noexcept {
        if (int old = std::exchange(fd_, fd); old >= 0)
            close_now(old);
    }
    /// A second descriptor for the same open file; close-on-exec.
    [[nodiscard]] descriptor duplicate() const;

    /// Closes it through the ring, where a file system may take its time, and says how that went.
    [[nodiscard]] detail::close_op close() noexcept;

private:
    static void close_now(int fd) noexcept;
    int fd_ = -1;
};

namespace detail {

class [[nodiscard]] close_op : public request_operation<close_op> {
public:
    explicit close_op(descriptor d) noexcept;
    close_op(close_op&& other) noexcept = default;
    [[nodiscard]] bool await_ready() const noexcept { return !held_; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where)) {
            submit(fill());
            static_cast<void>(held_.release()); // the kernel closes it from here on
        }
        return true;
    }
    void await_resume() const { check(result(), "close"); }
    [[nodiscard]] request fill() const noexcept {
        return {.opcode = opcode::close, .fd = held_.get()};
    }

private:
    static void closed(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static const operation_type kind;
    descriptor held_;
};

class [[nodiscard]] poll_op : public request_operation<poll_op> {
public:
    poll_op(int fd, bool for_writing) noexcept
        : request_operation(kind), fd_(fd), for_writing_(for_writing) {}
    void await_resume() const { check(result(), "poll"); }
    [[nodiscard]] request fill() const noexcept;

private:
    static const operation_type kind;
    int fd_;
    bool for_writing_;
};

} // namespace detail

/// Waits until reading wouldn't block: data, the end of the stream, an error; for a pidfd, the end
/// of the process.
[[nodiscard]] inline detail::poll_op readable(int fd) noexcept {
    return detail::poll_op(fd, false);
}
/// Waits until writing wouldn't block.
[[nodiscard]] inline detail::poll_op writable(int fd) noexcept { return detail::poll_op(fd, true); }

inline detail::close_op descriptor::close() noexcept { return detail::close_op(std::move(*this)); }

} // namespace weft
