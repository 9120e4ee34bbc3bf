// SPDX-License-Identifier: MIT
#include <weft/runtime/error.hpp>

#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace weft {

// Out of line, so that each type's information is in the library once.
error::~error() = default;
state_error::~state_error() = default;
timeout_error::~timeout_error() = default;
eof_error::~eof_error() = default;
truncated_error::~truncated_error() = default;
limit_error::~limit_error() = default;
protocol_error::~protocol_error() = default;
unavailable_error::~unavailable_error() = default;
interrupted_error::~interrupted_error() = default;
lookup_error::~lookup_error() = default;
cancelled_error::~cancelled_error() = default;
exception_group::~exception_group() = default;

truncated_error::truncated_error(std::string partial, std::size_t expected)
    : eof_error(
          expected == 0
              ? fmt::format("the stream ended after {} bytes, before the delimiter", partial.size())
              : fmt::format("the stream ended after {} of {} bytes", partial.size(), expected)),
      partial_(std::move(partial)), expected_(expected) {}

truncated_error::truncated_error(std::size_t came, std::size_t expected)
    : eof_error(fmt::format("the stream ended after {} of {} bytes", came, expected)),
      expected_(expected) {}

interrupted_error::interrupted_error(int signal)
    : error(fmt::format("interrupted by signal {} ({})", signal, ::strsignal(signal))),
      signal_(signal) {}

const char* cancelled_error::what() const noexcept { return "cancelled"; }

namespace {
std::string list(std::string_view where, const std::vector<std::exception_ptr>& errors) {
    std::string text =
        fmt::format("{}: {} error{}", where, errors.size(), errors.size() == 1 ? "" : "s");
    for (const std::exception_ptr& e : errors) {
        text += "\n- ";
        text += describe(e);
    }
    return text;
}
} // namespace

exception_group::exception_group(std::string_view where, std::vector<std::exception_ptr> errors)
    : error(list(where, errors)), errors_(std::move(errors)) {}

bool exception_group::is_group(const std::exception_ptr& e) noexcept {
    try {
        std::rethrow_exception(e);
    } catch (const exception_group&) {
        return true;
    } catch (...) {
        return false;
    }
}

std::string describe(const std::exception_ptr& e) {
    if (!e)
        return "no error";
    try {
        std::rethrow_exception(e);
    } catch (const std::exception& known) {
        return known.what();
    } catch (...) {
        return "an exception that is not a std::exception";
    }
}

void throw_errno(int error_number, std::string_view operation, std::string_view object) {
    throw std::system_error(error_number, std::system_category(),
                            object.empty() ? std::string(operation)
                                           : fmt::format("{} {}", operation, object));
}

} // namespace weft
