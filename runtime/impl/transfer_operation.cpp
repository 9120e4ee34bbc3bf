// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/transfer_operation.hpp>

#include "ring.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <atomic>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

namespace weft::detail {

static_assert(sizeof(const_buffer) == sizeof(iovec) && alignof(const_buffer) == alignof(iovec));

const operation_type read_op::kind = io_type("read");
const operation_type write_op::kind = io_type("write");

namespace {
constexpr std::uint32_t rwf_nosignal = 0x100;  // 6.18
std::atomic<bool> kernel_knows_nosignal{true}; // until it says otherwise
} // namespace

request write_op::fill() noexcept {
    if (offset_ == at_position)
        began_at_ = ::lseek(fd_, 0, SEEK_CUR);
    // Relaxed: a hint, and who comes too late is told by the kernel as well.
    const loop* l = owner().run_by->io(); // where there is none, submit() refuses
    told_ = kernel_knows_nosignal.load(std::memory_order_relaxed) && l != nullptr &&
            contains(l->options().features, kernel_feature::silent_write);
    return {.opcode = opcode_,
            .flags = static_cast<std::uint8_t>(told_ ? 0 : IOSQE_ASYNC),
            .fd = fd_,
            .offset = offset_ == no_position ? at_position : offset_,
            .address = address_of(data_),
            .length = size_,
            .operation_flags = told_ ? rwf_nosignal : 0};
}

void write_op::written(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept {
    auto& op = static_cast<write_op&>(static_cast<io_operation&>(t));
    if (result == -EOPNOTSUPP && op.told_ && !op.cancel_asked()) {
        kernel_knows_nosignal.store(false, std::memory_order_relaxed);
        op.again();
        return;
    }
    bool whole = op.opcode_ == opcode::write && static_cast<std::uint32_t>(result) == op.size_;
    if (result > 0 && !whole && op.began_at_ >= 0)
        op.advance(result);
    completed(t, result, flags);
}

// A write that was cut short by an error (the disk is full) or by a stop gives its count, but the
// kernel (6.18) leaves the position where it was, and the next write would overwrite this one.
void write_op::advance(std::int32_t n) const noexcept {
    if (::lseek(fd_, 0, SEEK_CUR) == began_at_)
        ::lseek(fd_, began_at_ + n, SEEK_SET);
}

void throw_file_error(std::int32_t result, const char* operation, int fd) {
    char path[512];
    ssize_t n = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path, sizeof path);
    throw_errno(-result, operation,
                n < 0 ? fmt::format("descriptor {}", fd)
                      : std::string(path, static_cast<std::size_t>(n)));
}

} // namespace weft::detail
