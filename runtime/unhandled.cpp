// SPDX-License-Identifier: MIT
#include <weft/runtime/unhandled.hpp>

#include <weft/runtime/error.hpp>

#include <atomic>
#include <fmt/format.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace weft {

namespace {

void to_stderr(const unhandled_error& e) {
    // One write for the line, so that lines of different threads and processes don't mix.
    std::string line =
        e.spawned_at.line() == 0
            ? fmt::format("weft: unhandled error in {}: {}\n", e.where, e.text)
            : fmt::format("weft: unhandled error in {} (started at {}:{}): {}\n", e.where,
                          e.spawned_at.file_name(), e.spawned_at.line(), e.text);
    [[maybe_unused]] auto n = ::write(STDERR_FILENO, line.data(), line.size());
}

std::atomic<unhandled_error_hook> current_hook{to_stderr};

} // namespace

unhandled_error_hook set_unhandled_error_hook(unhandled_error_hook hook) noexcept {
    return current_hook.exchange(hook == nullptr ? to_stderr : hook);
}

namespace detail {

void report_unhandled(const char* where, std::source_location spawned_at,
                      std::exception_ptr e) noexcept {
    std::string text = describe(e);
    current_hook.load()({where, spawned_at, std::move(e), text.c_str()});
}

void report_current_exception(const char* where) noexcept {
    report_unhandled(where, std::source_location{}, std::current_exception());
}

} // namespace detail
} // namespace weft
