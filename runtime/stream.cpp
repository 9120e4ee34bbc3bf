// SPDX-License-Identifier: MIT
#include <weft/runtime/stream.hpp>

#include <weft/runtime/pipe.hpp>

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>

namespace weft::detail {

namespace {

class splice_op : public request_operation<splice_op> {
public:
    splice_op(int from, int to, std::size_t most) noexcept
        : request_operation(kind), from_(from), to_(to), most_(transfer_length(most)) {}
    [[nodiscard]] request fill() const noexcept {
        return {.opcode = opcode::splice,
                .fd = to_,
                .offset = at_position,
                .address = at_position, // of where it comes from
                .length = most_,
                .file_index = from_};
    }
    /// A count, or a negative errno.
    std::int32_t await_resume() const noexcept { return result(); }

private:
    static constexpr operation_type kind = io_type("splice");
    int from_;
    int to_;
    std::uint32_t most_;
};

enum class kind_of_file { regular, pipe, other };

kind_of_file look_at(int fd) noexcept {
    struct stat s{};
    if (::fstat(fd, &s) != 0)
        return kind_of_file::other;
    return S_ISREG(s.st_mode)    ? kind_of_file::regular
           : S_ISFIFO(s.st_mode) ? kind_of_file::pipe
                                 : kind_of_file::other;
}

bool not_for_these(std::int32_t result) noexcept {
    // EINVAL: one of them doesn't splice, or appends. EBADF would be a mistake of the caller's and
    // is found by the copy in user space as well.
    return result == -EINVAL || result == -EOPNOTSUPP || result == -EBADF;
}

constexpr std::size_t piece = std::size_t{256} * 1024;

} // namespace

// One of the two sides of a splice must be a pipe. The requests run on a thread of the kernel,
// which blocks; to wait for data we poll, so that no thread is held by a stream that is idle.
task<spliced> splice_all(int from, int to) {
    spliced s;
    kind_of_file source = look_at(from);
    kind_of_file target = look_at(to);
    if (source == kind_of_file::pipe || target == kind_of_file::pipe) {
        while (true) {
            if (source != kind_of_file::regular)
                co_await readable(from);
            std::int32_t n = co_await splice_op(from, to, piece);
            if (n == -EAGAIN) { // someone has made one of them non-blocking
                co_await writable(to);
                continue;
            }
            if (not_for_these(n))
                co_return s;
            s.bytes += check(n, "splice");
            if (n == 0) {
                s.at_end = true;
                co_return s;
            }
        }
    }
    auto [out, in] = make_pipe();
    ::fcntl(in.fd(), F_SETPIPE_SZ, static_cast<int>(piece)); // larger if we may
    while (true) {
        if (source != kind_of_file::regular)
            co_await readable(from);
        std::int32_t n = co_await splice_op(from, in.fd(), piece);
        if (n == -EAGAIN)
            continue;
        if (not_for_these(n))
            co_return s;
        if (n <= 0) {
            check(n, "splice");
            s.at_end = true;
            co_return s;
        }
        auto left = static_cast<std::size_t>(n);
        while (left != 0) {
            std::int32_t m = co_await splice_op(out.fd(), to, left);
            if (m == -EAGAIN) {
                co_await writable(to);
                continue;
            }
            if (not_for_these(m)) { // what is in our pipe must get there all the same
                s.rest.resize(left);
                co_await read_exactly(out, std::as_writable_bytes(std::span(s.rest)));
                co_return s;
            }
            std::size_t moved = check(m, "splice");
            left -= moved;
            s.bytes += moved;
        }
    }
}

} // namespace weft::detail
