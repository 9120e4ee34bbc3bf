// SPDX-License-Identifier: MIT
#include <weft/executors/detail/memory_place.hpp>

#include <weft/executors/isolate.hpp>
#include <weft/runtime/error.hpp>

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::detail {

namespace {

struct stat look_at_memory(int fd) {
    struct stat s{};
    if (::fstat(fd, &s) != 0)
        throw_errno(errno, "look at shared memory");
    return s;
}

[[noreturn]] void memory_is_gone(const memory_place& place) {
    throw isolate_error("what process " + std::to_string(place.pid) +
                        " shared isn't there any more: it must be kept until it has arrived");
}

} // namespace

memory_place place_of(const ipc::shared_memory& m) {
    const struct stat s = look_at_memory(m.fd());
    return memory_place{::getpid(), m.fd(), s.st_dev, s.st_ino};
}

ipc::shared_memory memory_at(const memory_place& place) {
    const std::string path =
        "/proc/" + std::to_string(place.pid) + "/fd/" + std::to_string(place.fd);
    // Whatever else may be there by now isn't waited for.
    descriptor d(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!d) {
        if (errno == ENOENT || errno == ENXIO) // closed, or a socket by now
            memory_is_gone(place);
        throw_errno(errno, "open shared memory", path);
    }
    const struct stat s = look_at_memory(d.get());
    if (s.st_dev != place.device || s.st_ino != place.inode)
        memory_is_gone(place);
    return ipc::shared_memory::adopt(std::move(d));
}

} // namespace weft::detail
