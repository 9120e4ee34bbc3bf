// SPDX-License-Identifier: MIT
#include <weft/runtime/pipe.hpp>

#include <weft/runtime/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft {

std::pair<pipe_reader, pipe_writer> make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0)
        throw_errno(errno, "pipe");
    return {pipe_reader(descriptor(fds[0])), pipe_writer(descriptor(fds[1]))};
}

void create_fifo(const std::string& path, unsigned permissions) {
    if (::mkfifo(path.c_str(), permissions) != 0)
        throw_errno(errno, "create pipe", path);
}

detail::open_fifo_op<pipe_reader> open_fifo_reader(std::string path) {
    return {std::move(path), O_RDONLY, 0, false};
}

detail::open_fifo_op<pipe_writer> open_fifo_writer(std::string path) {
    return {std::move(path), O_WRONLY, 0, false};
}

} // namespace weft
