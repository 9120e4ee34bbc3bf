// SPDX-License-Identifier: MIT
#include <weft/runtime/filesystem.hpp>

#include "impl/helper_threads.hpp"

#include <weft/runtime/error.hpp>

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <memory>
#include <unistd.h>

namespace weft {

namespace detail {

const operation_type path_op::kind = io_type("file system");

namespace {

const char* name_of(path_op::change c) noexcept {
    switch (c) {
    case path_op::change::mkdir:
        return "create directory";
    case path_op::change::unlink:
        return "remove";
    case path_op::change::rmdir:
        return "remove directory";
    case path_op::change::rename:
    case path_op::change::rename_new:
        return "rename";
    case path_op::change::symlink:
        return "create symbolic link";
    case path_op::change::link:
        return "create link";
    }
    return "change";
}

void refuse_nulls(const char* operation, const std::string& path) {
    if (path.find('\0') != path.npos) // the kernel would see another path
        throw_errno(ENOENT, operation, "a path with a null character");
}

} // namespace

path_op::path_op(change c, std::string first, std::string second, unsigned mode)
    : request_operation(kind), first_(std::move(first)), second_(std::move(second)), mode_(mode),
      change_(c) {
    refuse_nulls(name_of(c), first_);
    refuse_nulls(name_of(c), second_);
}

request path_op::fill() const noexcept {
    request r{.fd = AT_FDCWD, .address = address_of(first_.c_str())};
    switch (change_) {
    case change::mkdir:
        r.opcode = opcode::mkdirat;
        r.length = mode_;
        return r;
    case change::unlink:
        r.opcode = opcode::unlinkat;
        return r;
    case change::rmdir:
        r.opcode = opcode::unlinkat;
        r.operation_flags = AT_REMOVEDIR;
        return r;
    case change::rename:
    case change::rename_new:
        r.opcode = opcode::renameat;
        r.operation_flags = change_ == change::rename ? 0 : RENAME_NOREPLACE;
        break;
    case change::symlink:
        r.opcode = opcode::symlinkat;
        r.offset = address_of(second_.c_str());
        return r;
    case change::link:
        r.opcode = opcode::linkat;
        break;
    }
    r.length = static_cast<std::uint32_t>(AT_FDCWD); // the second path's directory
    r.offset = address_of(second_.c_str());
    return r;
}

void path_op::await_resume() const {
    if (result() < 0)
        throw_errno(-result(), name_of(change_),
                    second_.empty() ? first_ : first_ + " -> " + second_);
}

} // namespace detail

namespace {

class link_reading {
public:
    explicit link_reading(std::string path) noexcept : path_(std::move(path)) {}
    std::string operator()() const {
        std::string target(4096, '\0'); // PATH_MAX: no link is longer
        ssize_t n = ::readlink(path_.c_str(), target.data(), target.size());
        if (n < 0)
            throw_errno(errno, "read link", path_);
        target.resize(static_cast<std::size_t>(n));
        return target;
    }

private:
    std::string path_;
};
constexpr detail::operation_type link_kind{detail::helper_op<link_reading>::cancel, "read link"};

file_type type_of(unsigned char t) noexcept {
    switch (t) {
    case DT_REG:
        return file_type::regular;
    case DT_DIR:
        return file_type::directory;
    case DT_LNK:
        return file_type::symlink;
    case DT_FIFO:
        return file_type::fifo;
    case DT_SOCK:
        return file_type::socket;
    case DT_CHR:
        return file_type::character_device;
    case DT_BLK:
        return file_type::block_device;
    default:
        return file_type::unknown;
    }
}

class listing {
public:
    explicit listing(std::string path) noexcept : path_(std::move(path)) {}
    std::vector<directory_entry> operator()() const {
        std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path_.c_str()), ::closedir);
        if (!dir)
            throw_errno(errno, "list directory", path_);
        std::vector<directory_entry> found;
        while (true) {
            errno = 0;
            const dirent* e = ::readdir(dir.get());
            if (e == nullptr && errno != 0)
                throw_errno(errno, "list directory", path_);
            if (e == nullptr)
                return found;
            std::string name = e->d_name;
            if (name != "." && name != "..")
                found.emplace_back(std::move(name), type_of(e->d_type));
        }
    }

private:
    std::string path_;
};
constexpr detail::operation_type list_kind{detail::helper_op<listing>::cancel, "list directory"};

} // namespace

task<bool> file_exists(std::string path) {
    detail::refuse_nulls("stat", path);
    try {
        co_await file_status_of(std::move(path));
        co_return true;
    } catch (const std::system_error& e) {
        if (e.code() == std::errc::no_such_file_or_directory ||
            e.code() == std::errc::not_a_directory)
            co_return false;
        throw;
    }
}

task<std::string> read_symlink(std::string path) {
    detail::refuse_nulls("read link", path);
    detail::helper_op<link_reading> asked(link_kind, link_reading(std::move(path)));
    co_return co_await asked;
}

task<std::vector<directory_entry>> list_directory(std::string path) {
    detail::refuse_nulls("list directory", path);
    detail::helper_op<listing> asked(list_kind, listing(std::move(path)));
    co_return co_await asked;
}

} // namespace weft
