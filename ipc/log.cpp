// SPDX-License-Identifier: MIT
#include <weft/ipc/log.hpp>

#include "impl/standard_error.hpp"

#include <weft/ipc/process.hpp>

namespace weft::ipc {

std::string name_of(log_level l) {
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
    case log_level::nothing:
        break;
    }
    return "Level " + std::to_string(static_cast<int>(l));
}

void logger::write(log_level l, std::string_view message) noexcept {
    try {
        write(l, current_process().name(), message);
    } catch (...) { // no memory
        static_cast<void>(l);
    }
}

void logger::write(log_level l, std::string_view process, std::string_view message) noexcept {
    try {
        if (to_stderr()) {
            std::string line = "[" + name_of(l) + "/";
            line.append(process).append("] ");
            line.append(message).append("\n");
            detail::write_to_stderr(line);
        }
        // acquire: pairs with set_sink
        if (log_sink f = sink_.load(std::memory_order_acquire))
            f(l, process, message);
    } catch (...) { // no memory, or the sink's: nobody else should suffer from it
        static_cast<void>(l);
    }
}

logger& get_logger() noexcept {
    static constinit logger the_one;
    return the_one;
}

logger& log_to_stderr() noexcept {
    get_logger().set_to_stderr(true);
    return get_logger();
}

logger& log_to_stderr(log_level least) noexcept {
    get_logger().set_level(least);
    return log_to_stderr();
}

} // namespace weft::ipc
