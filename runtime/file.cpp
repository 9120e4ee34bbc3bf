// SPDX-License-Identifier: MIT
#include <weft/runtime/file.hpp>

#include "impl/helper_threads.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/stream.hpp>

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace weft {

namespace detail {

const operation_type file_op::kind = io_type("file");
const operation_type status_op::kind = io_type("stat");
const operation_type open_op::kind = io_type("open");

namespace {

file_type type_of(unsigned mode) noexcept {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return file_type::regular;
    case S_IFDIR:
        return file_type::directory;
    case S_IFLNK:
        return file_type::symlink;
    case S_IFIFO:
        return file_type::fifo;
    case S_IFSOCK:
        return file_type::socket;
    case S_IFCHR:
        return file_type::character_device;
    case S_IFBLK:
        return file_type::block_device;
    default:
        return file_type::unknown;
    }
}

file_status::time time_of(const statx_timestamp& t) noexcept {
    return file_status::time(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

} // namespace

request status_op::fill() noexcept {
    static_assert(sizeof buffer_ == sizeof(struct statx));
    int flags = fd_ >= 0 ? AT_EMPTY_PATH : follow_ ? 0 : AT_SYMLINK_NOFOLLOW;
    return {.opcode = opcode::statx,
            .fd = fd_ >= 0 ? fd_ : AT_FDCWD,
            .offset = address_of(buffer_),
            .address = address_of(path_.c_str()),
            .length = STATX_BASIC_STATS | STATX_BTIME,
            .operation_flags = static_cast<std::uint32_t>(flags)};
}

file_status status_op::await_resume() const {
    if (fd_ >= 0)
        check_file(result(), "stat", fd_);
    else
        check(result(), "stat", path_);
    struct statx s;
    std::memcpy(&s, buffer_, sizeof s);
    file_status f;
    f.type = type_of(s.stx_mode);
    f.permissions = s.stx_mode & 07777;
    f.links = s.stx_nlink;
    f.uid = s.stx_uid;
    f.gid = s.stx_gid;
    f.size = s.stx_size;
    f.allocated = s.stx_blocks * 512; // statx(2): always of 512 bytes
    f.inode = s.stx_ino;
    f.device = ::makedev(s.stx_dev_major, s.stx_dev_minor);
    f.accessed = time_of(s.stx_atime);
    f.modified = time_of(s.stx_mtime);
    f.changed = time_of(s.stx_ctime);
    if ((s.stx_mask & STATX_BTIME) != 0)
        f.created = time_of(s.stx_btime);
    return f;
}

request open_op::fill() const noexcept {
    // The kernel first tries without waiting, which for a pipe means to open it without its other
    // end.
    constexpr std::uint8_t not_at_first = 1 << 4; // IOSQE_ASYNC
    return {.opcode = opcode::openat,
            .flags = at_once_ ? std::uint8_t{0} : not_at_first,
            .fd = AT_FDCWD,
            .address = address_of(path_.c_str()),
            .length = permissions_,
            .operation_flags = static_cast<std::uint32_t>(flags_ | O_CLOEXEC)};
}

descriptor open_op::take() const {
    check(result(), "open", path_);
    return descriptor(result());
}

} // namespace detail

namespace {

int native(const open_options& o) noexcept {
    int flags = 0;
    switch (o.access) {
    case file_access::read:
        flags = O_RDONLY;
        break;
    case file_access::write:
        flags = O_WRONLY;
        break;
    case file_access::read_write:
        flags = O_RDWR;
        break;
    case file_access::append:
        flags = O_WRONLY | O_APPEND;
        break;
    }
    switch (o.creation) {
    case file_creation::existing:
        break;
    case file_creation::if_missing:
        flags |= O_CREAT;
        break;
    case file_creation::truncate:
        flags |= O_CREAT | O_TRUNC;
        break;
    case file_creation::exclusive:
        flags |= O_CREAT | O_EXCL;
        break;
    }
    return flags | O_NOCTTY; // a terminal that is opened as a file must not become ours
}

// Not in the ring before 6.9, and it may block. Has a descriptor of its own, because an abandoned
// call may outlive the file.
class resizing {
public:
    resizing(descriptor d, std::uint64_t size) noexcept : held_(std::move(d)), size_(size) {}
    int operator()() const noexcept {
        int n;
        do {
            n = ::ftruncate(held_.get(), static_cast<off_t>(size_));
        } while (n != 0 && errno == EINTR);
        return n == 0 ? 0 : -errno;
    }

private:
    descriptor held_;
    std::uint64_t size_;
};
constexpr detail::operation_type resize_kind{detail::helper_op<resizing>::cancel, "resize file"};

} // namespace

detail::file_op file::sync() noexcept {
    return {"sync", fd(), {.opcode = detail::opcode::fsync, .fd = fd()}};
}

detail::file_op file::sync_data() noexcept {
    constexpr std::uint32_t data_only = 1; // IORING_FSYNC_DATASYNC
    return {
        "sync", fd(), {.opcode = detail::opcode::fsync, .fd = fd(), .operation_flags = data_only}};
}

detail::file_op file::reserve(std::uint64_t offset, std::uint64_t size) noexcept {
    // The length is where other requests have their address, the mode where they have a length.
    return {"reserve space in",
            fd(),
            {.opcode = detail::opcode::fallocate, .fd = fd(), .offset = offset, .address = size}};
}

task<> file::resize(std::uint64_t size) {
    detail::helper_op<resizing> asked(resize_kind, resizing(fd_.duplicate(), size));
    int result = co_await asked;
    detail::check_file(result, "resize", fd());
}

std::uint64_t file::position() const {
    off_t at = ::lseek(fd(), 0, SEEK_CUR);
    if (at < 0)
        detail::throw_file_error(-errno, "seek in", fd());
    return static_cast<std::uint64_t>(at);
}

void file::seek(std::uint64_t position) {
    if (::lseek(fd(), static_cast<off_t>(position), SEEK_SET) < 0)
        detail::throw_file_error(-errno, "seek in", fd());
}

detail::open_op open_file(std::string path, const open_options& options) {
    if (path.find('\0') != path.npos)
        throw_errno(ENOENT, "open", "a path with a null character");
    return detail::open_op(std::move(path), native(options), options.permissions);
}

task<std::string> read_file(std::string path, std::size_t limit) {
    file f = co_await open_file(path);
    // The size is a hint: what /proc has says 0, and a file may grow meanwhile.
    auto expected = static_cast<std::size_t>(co_await f.size());
    std::string contents;
    while (true) {
        std::size_t have = contents.size();
        // One more than expected, so that the read that finds the end needs no new memory.
        std::size_t room = expected >= have ? expected - have + 1 : std::size_t{64} * 1024;
        contents.resize(have + std::min(room, limit - have + 1));
        auto spare = std::as_writable_bytes(std::span(contents)).subspan(have);
        std::size_t n = co_await f.read_some(spare);
        contents.resize(have + n);
        if (contents.size() > limit)
            throw limit_error(fmt::format("{} has more than {} bytes", path, limit), limit);
        if (n == 0)
            break;
    }
    co_return contents;
}

task<> write_file(std::string path, std::span<const std::byte> contents) {
    open_options options;
    options.access = file_access::write;
    options.creation = file_creation::truncate;
    file f = co_await open_file(std::move(path), options);
    co_await write_all(f, contents);
    co_await f.close();
}

} // namespace weft
