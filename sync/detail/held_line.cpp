// SPDX-License-Identifier: MIT
#include <weft/sync/detail/held_line.hpp>

#include <weft/runtime/error.hpp>

#include <string>
#include <string_view>
#include <system_error>

namespace weft::detail {

void held_line::throw_not_locked() {
    throw state_error("a mutex was unlocked that nobody had locked");
}

void held_line::throw_not_locked_here() {
    throw state_error(describe_caller() + " unlocked a recursive_mutex that it had not locked");
}

void throw_self_deadlock(const char* what, const std::source_location& where) {
    std::string_view file = where.file_name();
    file.remove_prefix(file.rfind('/') + 1); // npos + 1 is 0
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            describe_caller() + " waits for a " + what +
                                " that it has locked, at " + std::string(file) + ":" +
                                std::to_string(where.line()));
}

} // namespace weft::detail
