// SPDX-License-Identifier: MIT
#include <weft/ipc/shared_memory.hpp>

#include "impl/tracker.hpp"

#include <weft/runtime/error.hpp>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include <utility>

namespace weft::ipc {

namespace {

std::string kernel_name(std::string_view name) {
    if (name.find('\0') != std::string_view::npos) // the kernel would see another name
        throw_errno(EINVAL, "shared memory", "with a null character in its name");
    return "/" + std::string(name);
}

void require_size(std::size_t size) {
    if (size == 0)
        throw std::invalid_argument("shared memory has one byte at least");
}

// What the kernel thinks it can give, swap included. Without /proc: all that the machine has.
std::uint64_t memory_to_be_had() {
    std::ifstream file("/proc/meminfo");
    std::uint64_t kib = 0;
    bool known = false;
    for (std::string line; std::getline(file, line);) {
        for (std::string_view field : {"MemAvailable:", "SwapFree:"}) {
            if (line.starts_with(field)) {
                kib += std::strtoull(line.c_str() + field.size(), nullptr, 10);
                known = known || field == "MemAvailable:";
            }
        }
    }
    if (known)
        return kib * 1024;
    struct sysinfo s{};
    if (::sysinfo(&s) != 0)
        return ~std::uint64_t{0};
    return (std::uint64_t{s.totalram} + s.totalswap) * s.mem_unit;
}

[[noreturn]] void refuse(int error_number, std::size_t size, std::string_view name) {
    throw_errno(error_number, fmt::format("allocate {} bytes of shared memory", size), name);
}

// Where memory runs out, the kernel ends processes rather than the call that asks for more, so what
// can't be had isn't tried. Neither is what is beyond the limit of a file's size: that would be a
// signal.
void require_room(std::size_t size, std::string_view name) {
    constexpr std::size_t worth_a_look = std::size_t{64} << 20;
    if (size >= worth_a_look && size > memory_to_be_had())
        refuse(ENOSPC, size, name);
    rlimit longest{};
    if (::getrlimit(RLIMIT_FSIZE, &longest) == 0 && size > longest.rlim_cur)
        refuse(EFBIG, size, name);
}

// All of it, now: pages that aren't there when they are used would be a signal.
void allocate(int fd, std::size_t size, std::string_view name) {
    int result = 0;
    do {
        result = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
    } while (result == EINTR);
    if (result != 0)
        refuse(result, size, name);
}

std::string random_name() {
    std::array<unsigned char, 4> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
        throw_errno(errno, "get random bytes");
    return fmt::format("psm_{:02x}{:02x}{:02x}{:02x}", bytes[0], bytes[1], bytes[2], bytes[3]);
}

} // namespace

shared_memory::shared_memory(descriptor d, std::string name)
    : fd_(std::move(d)), name_(std::move(name)) {
    struct stat s{};
    if (::fstat(fd_.get(), &s) != 0)
        throw_errno(errno, "look at shared memory", name_);
    if (s.st_size == 0) // somebody makes it just now, or it is none
        throw_errno(EINVAL, "map shared memory of no bytes", name_);
    void* at = ::mmap(nullptr, static_cast<std::size_t>(s.st_size), PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd_.get(), 0);
    if (at == MAP_FAILED)
        throw_errno(errno, "map shared memory", name_);
    data_ = static_cast<std::byte*>(at);
    size_ = static_cast<std::size_t>(s.st_size);
}

shared_memory shared_memory::create(std::size_t size, const shared_memory_options& options) {
    while (true) {
        try {
            return create(size, random_name(), options);
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::file_exists)
                throw;
        }
    }
}

shared_memory shared_memory::create(std::size_t size, std::string_view name,
                                    const shared_memory_options& options) {
    require_size(size);
    std::string path = kernel_name(name);
    require_room(size, name);
    if (options.track) {
        if (auto m = create_tracked(size, name))
            return std::move(*m);
    }
    descriptor d(::shm_open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    if (!d)
        throw_errno(errno, "create shared memory", name);
    try {
        allocate(d.get(), size, name);
        shared_memory m(std::move(d), std::string(name));
        if (options.track)
            m.track();
        return m;
    } catch (...) {
        ::shm_unlink(path.c_str());
        throw;
    }
}

void shared_memory::track() {
    struct stat s{};
    if (::fstat(fd_.get(), &s) != 0)
        throw_errno(errno, "look at shared memory", name_);
    device_ = s.st_dev;
    inode_ = s.st_ino;
    detail::tracker::instance().add({name_, device_, inode_});
    tracked_ = true;
}

// The name comes when the tracker knows of it, so that there is no moment at which the end of this
// process would leave it. None if it can't be made so.
std::optional<shared_memory> shared_memory::create_tracked(std::size_t size,
                                                           std::string_view name) {
    if (name.empty() || name.find('/') != std::string_view::npos)
        return std::nullopt; // shm_open knows how to refuse it
    descriptor d(::open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!d)
        return std::nullopt;
    allocate(d.get(), size, name);
    const std::string file = "/proc/self/fd/" + std::to_string(d.get());
    const std::string path = "/dev/shm/" + std::string(name);
    shared_memory m(std::move(d), std::string(name));
    m.track();
    if (::linkat(AT_FDCWD, file.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        const int error_number = errno;
        detail::tracker::instance().remove({m.name_, m.device_, m.inode_});
        if (error_number == ENOENT) // no /proc
            return std::nullopt;
        throw_errno(error_number, "create shared memory", name);
    }
    return m;
}

shared_memory shared_memory::open(std::string_view name) {
    descriptor d(::shm_open(kernel_name(name).c_str(), O_RDWR | O_CLOEXEC, 0));
    if (!d)
        throw_errno(errno, "open shared memory", name);
    return shared_memory(std::move(d), std::string(name));
}

descriptor detail::make_nameless(std::size_t size) {
    descriptor d(::memfd_create("weft", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!d)
        throw_errno(errno, "create shared memory without a name");
    allocate(d.get(), size, "without a name");
    if (::fcntl(d.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        throw_errno(errno, "seal shared memory");
    return d;
}

shared_memory shared_memory::create_nameless(std::size_t size) {
    require_size(size);
    require_room(size, "without a name");
    return shared_memory(detail::make_nameless(size), std::string());
}

shared_memory shared_memory::adopt(descriptor d) {
    int seals = ::fcntl(d.get(), F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
        throw protocol_error("a descriptor came that is no shared memory of a fixed size");
    return shared_memory(std::move(d), std::string());
}

void shared_memory::swap(shared_memory& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(name_, other.name_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    std::swap(tracked_, other.tracked_);
}

void shared_memory::close() noexcept {
    if (data_ != nullptr)
        ::munmap(data_, size_);
    data_ = nullptr;
    size_ = 0;
    fd_.reset();
}

void shared_memory::unlink() {
    if (name_.empty())
        throw state_error("this shared memory has no name");
    if (::shm_unlink(kernel_name(name_).c_str()) != 0)
        throw_errno(errno, "unlink shared memory", name_);
    if (std::exchange(tracked_, false))
        detail::tracker::instance().remove({name_, device_, inode_});
}

} // namespace weft::ipc
