// SPDX-License-Identifier: MIT
// Files: reading and writing at a position or one after the other, and getting them to the disk.
//
//     weft::task<> append_line(std::string path, std::string_view line) {
//         weft::open_options how;
//         how.access = weft::file_access::append;
//         how.creation = weft::file_creation::if_missing;
//         weft::file f = co_await weft::open_file(path, how);
//         co_await weft::write_all(f, weft::as_bytes(line));
//         co_await f.sync();
//     }
//     weft::task<std::string> whole(std::string path) {
//         co_return co_await weft::read_file(std::move(path));
//     }
//
// Threads:      operations at a position may run at the same time; sequential ones one by one.
// Cancellation: the kernel is asked, but may go on with a file; then the operation ends as usual. A
//               file that was opened in the race is delivered.
// Errors:       std::system_error naming operation and path. A full disk is ENOSPC, after a short
//               write of what fitted.
// Cost:         what is in the page cache is read within the submission; writes, sync and opening
//               to create take a hop to a thread of the kernel, about 3 us.
// Source:       open(2), pread(2), pwrite(2), fsync(2).
#pragma once
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/detail/transfer_operation.hpp>
#include <weft/runtime/file_status.hpp>
#include <weft/runtime/task.hpp>

#include <string>

namespace weft {

enum class file_access : std::uint8_t { read, write, read_write, append };
enum class file_creation : std::uint8_t {
    existing,   // it must be there
    if_missing, // opened as it is, or created empty
    truncate,   // created, or emptied
    exclusive,  // it must not exist; links are not followed
};

struct open_options {
    file_access access = file_access::read;
    file_creation creation = file_creation::existing;
    /// Of a file that is created, without what the umask takes away.
    unsigned permissions = 0666;
};

namespace detail {

// Requests about a whole file that give nothing.
class [[nodiscard]] file_op : public request_operation<file_op> {
public:
    file_op(const char* name, int fd, const request& r) noexcept
        : request_operation(kind), name_(name), fd_(fd), request_(r) {}
    void await_resume() const { check_file(result(), name_, fd_); }
    [[nodiscard]] request fill() const noexcept { return request_; }

private:
    static const operation_type kind;
    const char* name_;
    int fd_;
    request request_;
};

class [[nodiscard]] status_op : public request_operation<status_op> {
public:
    /// Of an open file.
    explicit status_op(int fd) noexcept : request_operation(kind), fd_(fd) {}
    /// Of a path.
    status_op(std::string path, bool follow) noexcept
        : request_operation(kind), path_(std::move(path)), follow_(follow) {}
    file_status await_resume() const;
    [[nodiscard]] request fill() noexcept;

private:
    static const operation_type kind;
    int fd_ = -1;
    std::string path_;
    bool follow_ = true;
    alignas(8) std::byte buffer_[256]; // struct statx
};

class [[nodiscard]] size_op : public status_op {
public:
    using status_op::status_op;
    std::uint64_t await_resume() const { return status_op::await_resume().size; }
};

} // namespace detail

class file {
public:
    /// None.
    file() noexcept = default;
    explicit file(weft::descriptor open) noexcept : fd_(std::move(open)) {}

    /// At least one byte from the file's position on; 0 at its end.
    [[nodiscard]] detail::read_op read_some(std::span<std::byte> into) noexcept {
        return {fd(), detail::at_position, into};
    }
    /// At least one byte of these, to the file's position, or to its end if opened for appending.
    [[nodiscard]] detail::write_op write_some(std::span<const std::byte> from) noexcept {
        return {fd(), detail::at_position, from};
    }
    /// Pieces that needn't lie together, at most 1024; they must stay until it is done.
    [[nodiscard]] detail::write_op write_some(std::span<const const_buffer> parts) noexcept {
        return {fd(), detail::at_position, parts};
    }
    /// At least one byte from `offset` on; 0 at the end. The file's position stays.
    [[nodiscard]] detail::read_op read_at(std::uint64_t offset,
                                          std::span<std::byte> into) noexcept {
        return {fd(), offset, into};
    }
    [[nodiscard]] detail::write_op write_at(std::uint64_t offset,
                                            std::span<const std::byte> from) noexcept {
        return {fd(), offset, from};
    }
    [[nodiscard]] detail::write_op write_at(std::uint64_t offset,
                                            std::span<const const_buffer> parts) noexcept {
        return {fd(), offset, parts};
    }

    /// Returns when everything that was written has reached the disk.
    [[nodiscard]] detail::file_op sync() noexcept;
    /// The same without times and other things that aren't needed to read the data.
    [[nodiscard]] detail::file_op sync_data() noexcept;
    /// Reserves space on the disk, so that writing there can't fail for want of it.
    [[nodiscard]] detail::file_op reserve(std::uint64_t offset, std::uint64_t size) noexcept;
    /// Cuts the file, or lengthens it by zeros.
    [[nodiscard]] task<> resize(std::uint64_t size);
    [[nodiscard]] detail::size_op size() const noexcept { return detail::size_op(fd()); }
    [[nodiscard]] detail::status_op status() const noexcept { return detail::status_op(fd()); }

    /// The position of sequential operations, from the beginning.
    [[nodiscard]] std::uint64_t position() const;
    void seek(std::uint64_t position);

    [[nodiscard]] detail::close_op close() noexcept { return fd_.close(); }
    [[nodiscard]] const weft::descriptor& descriptor() const noexcept { return fd_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }

private:
    weft::descriptor fd_;
};

namespace detail {
class [[nodiscard]] open_op : public request_operation<open_op> {
public:
    /// Without `at_once` it waits, where there is something to wait for.
    open_op(std::string path, int flags, unsigned permissions, bool at_once = true) noexcept
        : request_operation(kind), path_(std::move(path)), flags_(flags), permissions_(permissions),
          at_once_(at_once) {}
    file await_resume() const { return file(take()); }
    [[nodiscard]] request fill() const noexcept;

protected:
    [[nodiscard]] descriptor take() const;

private:
    static const operation_type kind;
    std::string path_;
    int flags_;
    unsigned permissions_;
    bool at_once_;
};
} // namespace detail

/// Opens a file; close-on-exec.
[[nodiscard]] detail::open_op open_file(std::string path, const open_options& options = {});

/// The whole contents. limit_error if there are more than `limit` bytes.
[[nodiscard]] task<std::string> read_file(std::string path,
                                          std::size_t limit = std::size_t{1} << 30);
/// Creates or replaces a file's contents. The bytes must stay until it is done.
[[nodiscard]] task<> write_file(std::string path, std::span<const std::byte> contents);

} // namespace weft
