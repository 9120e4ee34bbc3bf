// SPDX-License-Identifier: MIT
// Receives from one socket by one request that stays with the kernel, for streams that always have
// something: each piece of data costs a completion and no submission.
//
//     weft::task<std::size_t> drain(weft::tcp_stream& s) {
//         weft::receiver in(s);
//         std::size_t n = 0;
//         while (weft::lent_buffer data = co_await in.receive())
//             n += data.size();
//         co_return n;
//     }
//
// Threads:      the loop's that receives. The socket must outlive the receiver.
// Cancellation: a stopped receive loses nothing: what came is given to the next one. What was
//               received ahead and not asked for is dropped with the receiver.
// Errors:       std::system_error, after everything that came before it.
// Cost:         one allocation; up to `ahead` lent buffers wait for the reader. With many
//               connections that are mostly idle, stream_socket::receive is the better choice.
// Source:       io_uring_prep_recv_multishot(3).
#pragma once
#include <weft/runtime/buffer.hpp>
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/socket.hpp>

namespace weft {

namespace detail {

class receiver_state;

class [[nodiscard]] receiver_op : public operation {
public:
    explicit receiver_op(receiver_state& s) noexcept : operation(kind), state_(&s) {}
    [[nodiscard]] bool await_ready() noexcept;
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }
    lent_buffer await_resume();

private:
    friend class receiver_state;
    void start();
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;
    receiver_state* state_;
};

} // namespace detail

struct receiver_options {
    /// How many filled buffers may wait before the kernel is told to pause.
    unsigned ahead = 8;
};

class receiver {
public:
    explicit receiver(stream_socket& from, const receiver_options& options = {});
    receiver(const receiver&) = delete;
    receiver& operator=(const receiver&) = delete;
    ~receiver();

    /// The next piece, in a lent buffer; empty at the end of the stream. One task at a time.
    [[nodiscard]] detail::receiver_op receive() noexcept { return detail::receiver_op(*state_); }

private:
    detail::receiver_state* state_;
};

} // namespace weft
