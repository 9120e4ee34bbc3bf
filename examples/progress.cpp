// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include <sys/ioctl.h>
#include <unistd.h>

namespace {

using clock_type = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

std::size_t columns() {
    winsize size{};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

} // namespace

progress::progress(std::string program, std::uint64_t total, bool in_bytes)
    : program_(std::move(program)), total_(total), begin_(clock_type::now()), drawn_(begin_),
      in_bytes_(in_bytes), terminal_(isatty(STDERR_FILENO) != 0) {}

progress::~progress() { wipe(); }

void progress::advance(std::uint64_t n) {
    done_ = std::min(total_, done_ + n);
    if (terminal_) {
        if (auto now = clock_type::now(); now - drawn_ >= std::chrono::milliseconds(50)) {
            drawn_ = now;
            draw();
        }
    } else if (total_ != 0 && done_ * 10 / total_ > tenths_) {
        tenths_ = done_ * 10 / total_;
        fmt::print(stderr, "{}: {}% of {}\n", program_, tenths_ * 10, amount(total_));
    }
}

void progress::say(std::string_view text) {
    const bool again = bar_is_there_;
    wipe();
    fmt::print(stderr, "{}: {}\n", program_, text);
    if (again)
        draw();
}

std::string progress::amount(std::uint64_t n) const {
    return in_bytes_ ? fmt::format("{:.1f} MB", static_cast<double>(n) / 1e6)
                     : fmt::format("{}", n);
}

void progress::draw() {
    const double part = total_ == 0 ? 1 : static_cast<double>(done_) / static_cast<double>(total_);
    const double spent = seconds(clock_type::now() - begin_).count();
    std::string text =
        fmt::format(" {:3.0f}%  {} of {}", part * 100, amount(done_), amount(total_));
    if (done_ != 0)
        text += fmt::format("  {}/s  {:.0f} s left",
                            amount(static_cast<std::uint64_t>(static_cast<double>(done_) / spent)),
                            spent / part - spent);
    // The same width each time, whatever the numbers are.
    constexpr std::size_t for_text = 54;
    const std::size_t room = columns();
    if (room > for_text + 10) {
        const std::size_t bar = std::min<std::size_t>(40, room - for_text);
        const auto full = static_cast<std::size_t>(part * static_cast<double>(bar));
        text = "[" + std::string(full, '#') + std::string(bar - full, '.') + "]" + text;
    }
    text.resize(std::min(text.size(), room - 1));
    fmt::print(stderr, "\r{}\x1b[K", text);
    bar_is_there_ = true;
}

void progress::wipe() {
    if (bar_is_there_)
        fmt::print(stderr, "\r\x1b[K");
    bar_is_there_ = false;
}
