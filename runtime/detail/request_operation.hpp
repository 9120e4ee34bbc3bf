// SPDX-License-Identifier: MIT
// The usual shape of an operation that is one request: `Op` has a `fill()` that makes the request
// and an await_resume() that reads `result()`. A request that a signal interrupted is made again.
//
//     class sync_op : public detail::request_operation<sync_op> {
//     public:
//         explicit sync_op(int fd) noexcept : request_operation(kind), fd_(fd) {}
//         detail::request fill() const noexcept {
//             return {.opcode = detail::opcode::fsync, .fd = fd_};
//         }
//         void await_resume() const { detail::check(result(), "fsync"); }
//     private:
//         static constexpr detail::operation_type kind = detail::io_type("fsync");
//         int fd_;
//     };
//
// Threads:      the loop's. Cancellation: as io_operation's. Errors: std::bad_alloc when it starts.
// Cost:         as io_operation's. Source: none.
#pragma once
#include <weft/runtime/detail/io_operation.hpp>

#include <cerrno>

namespace weft::detail {

template <class Op>
class request_operation : public io_operation {
public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where)) [[likely]]
            submit(static_cast<Op&>(*this).fill());
        return true;
    }

protected:
    explicit request_operation(const operation_type& t, function f = completed) noexcept
        : io_operation(t, f) {}
    request_operation(request_operation&&) = default; // before it has begun
    ~request_operation() = default;

    static void completed(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept {
        auto& op = static_cast<request_operation&>(static_cast<io_operation&>(t));
        if (interrupted(result) && !op.cancel_asked()) [[unlikely]]
            op.again();
        else
            finish(t, result, flags);
    }

    /// From a completion: makes the request once more. Without memory for that it ends with ENOMEM.
    void again() noexcept {
        try {
            submit(static_cast<Op&>(*this).fill());
        } catch (...) {
            finish(*this, -ENOMEM, 0);
        }
    }
};

/// The kernel takes no more than this in one transfer.
inline constexpr std::size_t most_at_once = 0x7ffff000;
inline std::uint32_t transfer_length(std::size_t n) noexcept {
    return static_cast<std::uint32_t>(n < most_at_once ? n : most_at_once);
}

} // namespace weft::detail
