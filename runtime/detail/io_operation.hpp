// SPDX-License-Identifier: MIT
// An operation that is one request to the ring. A class of its own derives from it, fills the
// request in await_suspend and reads `result()` in await_resume:
//
//     inline constexpr detail::operation_type read_type = detail::io_type("read");
//     ...
//     template <detail::weft_promise P>
//     bool await_suspend(std::coroutine_handle<P> h,
//                        std::source_location where = std::source_location::current()) {
//         if (begin(h, where))
//             submit({.opcode = detail::opcode::read,
//                     .fd = fd_,
//                     .offset = ~0ull,
//                     .address = detail::address_of(data),
//                     .length = size});
//         return true;
//     }
//     std::size_t await_resume() { return detail::check(result(), "read"); }
//
// Threads:      the loop's.
// Cancellation: a cancel request goes to the ring, and the operation ends when the kernel has let
//               go of it: with its result if it has one, else the frames get unwound.
// Errors:       submit throws std::bad_alloc if the submission queue is full, the kernel takes
//               nothing and no memory is left.
// Cost:         64 bytes copied into the ring. Source: io_uring_enter(2).
#pragma once
#include <weft/runtime/detail/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::detail {

/// Who gets a completion. Its address is the request's user data.
struct completion_target {
    using function = void (*)(completion_target&, std::int32_t result,
                              std::uint32_t flags) noexcept;
    explicit completion_target(function f) noexcept : on_completion(f) {}
    function on_completion;
};

/// A submission, laid out as the kernel wants it; so public headers need not include liburing.
struct request {
    std::uint8_t opcode = 0;
    std::uint8_t flags = 0;
    std::uint16_t ioprio = 0;
    std::int32_t fd = -1;
    std::uint64_t offset = 0; // also addr2
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint32_t operation_flags = 0;
    std::uint64_t user_data = 0;
    std::uint16_t buffer_group = 0; // also buf_index
    std::uint16_t personality = 0;
    std::int32_t file_index = 0;
    std::uint64_t address3 = 0;
    std::uint64_t unused = 0;
};
static_assert(sizeof(request) == 64);

inline std::uint64_t address_of(const void* p) noexcept {
    return reinterpret_cast<std::uint64_t>(p);
}
/// What the user data of a request or a completion leads to.
inline completion_target* completion_target_at(std::uint64_t user_data) noexcept {
    return reinterpret_cast<completion_target*>(static_cast<std::uintptr_t>(user_data));
}

/// The operations of the ring that weft uses; the numbers are the kernel's.
namespace opcode {
inline constexpr std::uint8_t nop = 0, readv = 1, writev = 2, fsync = 3, poll_add = 6,
                              poll_remove = 7, sendmsg = 9, recvmsg = 10, accept = 13,
                              async_cancel = 14, connect = 16, fallocate = 17, openat = 18,
                              close = 19, statx = 21, read = 22, write = 23, fadvise = 24,
                              send = 26, recv = 27, splice = 30, tee = 33, shutdown = 34,
                              renameat = 35, unlinkat = 36, mkdirat = 37, symlinkat = 38,
                              linkat = 39, socket = 45, waitid = 50, futex_wait = 51;
} // namespace opcode

/// Whether a request ended because its thread was interrupted. From some of them the kernel lets
/// its internal numbers out, ERESTARTSYS (512) to ERESTART_RESTARTBLOCK (516), instead of EINTR.
constexpr bool interrupted(std::int32_t result) noexcept {
    return result == -4 || (result <= -512 && result >= -516);
}

class io_operation : public operation, public completion_target {
public:
    /// What the kernel answered: a count, a descriptor, or a negative errno.
    [[nodiscard]] std::int32_t result() const noexcept { return result_; }
    [[nodiscard]] std::uint32_t completion_flags() const noexcept { return completion_flags_; }

    /// Asks the kernel to give up the request. The completion still comes.
    void cancel() noexcept;

protected:
    explicit io_operation(const operation_type& t, function f = finish) noexcept
        : operation(t), completion_target(f) {}
    io_operation(io_operation&&) = default; // before it has begun

    /// Hands the request over, after begin().
    void submit(request r);

    /// The usual end of a request: resumes with the result, or unwinds if it was cancelled.
    static void finish(completion_target& target, std::int32_t result,
                       std::uint32_t flags) noexcept;
    /// For kinds with a completion function of their own: takes note of a completion that was the
    /// last.
    void note(std::int32_t result, std::uint32_t flags) noexcept;
    /// Whether the kernel gave up because of cancel().
    [[nodiscard]] bool was_cancelled() const noexcept;
    [[nodiscard]] bool cancel_asked() const noexcept { return cancel_asked_; }

private:
    friend class ::weft::loop;

    std::int32_t result_ = 0;
    std::uint32_t completion_flags_ = 0;
    io_operation* next_cancel_ =
        nullptr; // in the loop's list of cancels that are still to be submitted
    bool cancel_asked_ = false;
    bool cancel_queued_ = false;
};

/// Throws the errno of a negative result; gives the others back. `operation` and `object` name what
/// failed.
[[noreturn]] void throw_result(std::int32_t result, const char* operation, std::string_view object);
inline std::size_t check(std::int32_t result, const char* operation, std::string_view object = {}) {
    if (result < 0) [[unlikely]]
        throw_result(result, operation, object);
    return static_cast<std::size_t>(result);
}

void cancel_io(operation& op) noexcept;

/// What a kind of request is called in the task tree:
///     inline constexpr operation_type read_type = io_type("read");
constexpr operation_type io_type(const char* name) noexcept { return {cancel_io, name}; }

} // namespace weft::detail
