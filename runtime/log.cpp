// SPDX-License-Identifier: MIT
#include <weft/runtime/log.hpp>

#include <weft/runtime/unhandled.hpp>

#include <atomic>
#include <cerrno>
#include <fmt/format.h>
#include <string>
#include <unistd.h>

namespace weft {

namespace {

std::atomic<log_sink> current_sink{nullptr};
std::atomic<log_level> wanted{log_level::off};

std::string_view name_of(log_level l) noexcept {
    switch (l) {
    case log_level::subdebug:
        return "SUBDEBUG";
    case log_level::debug:
        return "DEBUG";
    case log_level::info:
        return "INFO";
    case log_level::subwarning:
        return "SUBWARNING";
    case log_level::warning:
        return "WARNING";
    case log_level::error:
        return "ERROR";
    case log_level::critical:
        return "CRITICAL";
    case log_level::off:
        break;
    }
    return "LOG";
}

void write_to_stderr(const log_record& r) {
    const std::string line = fmt::format("[{}/{}] {}\n", name_of(r.level), r.pid, r.text);
    while (::write(STDERR_FILENO, line.data(), line.size()) < 0 && errno == EINTR) {
    }
}

} // namespace

log_sink set_log_sink(log_sink sink, log_level least) noexcept {
    // A line that comes in between is lost, or comes to the old sink: both are before or after.
    wanted.store(sink == nullptr ? log_level::off : least, std::memory_order_relaxed);
    return current_sink.exchange(sink);
}

void log_to_stderr(log_level least) noexcept { set_log_sink(write_to_stderr, least); }

log_level least_logged() noexcept { return wanted.load(std::memory_order_relaxed); }

void log(log_level level, std::string_view text) noexcept {
    if (level >= least_logged() && level != log_level::off) [[unlikely]]
        detail::hand_on({level, ::getpid(), text});
}

bool detail::logs_to(log_sink sink) noexcept { return current_sink.load() == sink; }

void detail::hand_on(const log_record& r) noexcept {
    log_sink sink = current_sink.load();
    if (sink == nullptr || r.level < least_logged())
        return;
    try {
        sink(r);
    } catch (...) {
        report_current_exception("the log's sink");
    }
}

} // namespace weft
