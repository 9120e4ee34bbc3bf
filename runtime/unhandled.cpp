// SPDX-License-Identifier: MIT
#include <weft/runtime/unhandled.hpp>

#include <weft/runtime/error.hpp>

#include <atomic>
#include <fmt/format.h>
#include <new>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace weft {

namespace {

void write_out(std::string_view line) noexcept {
    [[maybe_unused]] auto n = ::write(STDERR_FILENO, line.data(), line.size());
}

void to_stderr(const unhandled_error& e) {
    // One write for the line, so that lines of different threads and processes don't mix.
    try {
        write_out(e.spawned_at.line() == 0
                      ? fmt::format("weft: unhandled error in {}: {}\n", e.where, e.text)
                      : fmt::format("weft: unhandled error in {} (started at {}:{}): {}\n", e.where,
                                    e.spawned_at.file_name(), e.spawned_at.line(), e.text));
    } catch (const std::bad_alloc&) {
        write_out("weft: unhandled error, and no memory to say more\n");
    }
}

std::atomic<unhandled_error_hook> current_hook{to_stderr};

} // namespace

unhandled_error_hook set_unhandled_error_hook(unhandled_error_hook hook) noexcept {
    return current_hook.exchange(hook == nullptr ? to_stderr : hook);
}

namespace detail {

void report_unhandled(const char* where, std::source_location spawned_at,
                      std::exception_ptr e) noexcept {
    std::string text;
    bool described = false;
    try {
        text = describe(e);
        described = true;
    } catch (const std::bad_alloc&) {
        text.clear();
    }
    const unhandled_error told{where, spawned_at, std::move(e),
                               described ? text.c_str() : "no memory for its text"};
    try {
        current_hook.load()(told);
    } catch (const std::exception& of_the_hook) { // whoever reports goes on, whatever a hook does
        to_stderr(told);
        to_stderr(
            {"the unhandled-error hook", std::source_location{}, nullptr, of_the_hook.what()});
    } catch (...) {
        to_stderr(told);
        to_stderr({"the unhandled-error hook", std::source_location{}, nullptr,
                   "an exception that is not a std::exception"});
    }
}

void report_current_exception(const char* where) noexcept {
    report_unhandled(where, std::source_location{}, std::current_exception());
}

} // namespace detail
} // namespace weft
