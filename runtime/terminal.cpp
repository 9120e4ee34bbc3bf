// SPDX-License-Identifier: MIT
#include <weft/runtime/terminal.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

namespace weft {

bool standard_stream::is_terminal() const noexcept { return ::isatty(fd_) == 1; }

std::optional<terminal_size> size_of_terminal(const standard_stream& s) noexcept {
    winsize w{};
    if (::ioctl(s.fd(), TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0)
        return std::nullopt;
    return terminal_size{w.ws_col, w.ws_row};
}

} // namespace weft
