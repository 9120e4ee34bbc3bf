// SPDX-License-Identifier: MIT
#include "call_setting.hpp"

#include <weft/ipc/travelling_var.hpp>

namespace weft::detail {

bool call_setting::append(ipc::archive_writer& message, time_point deadline,
                          const stream_window& window) {
    // With an alignment of its own.
    ipc::archive_writer variables;
    const bool none = ipc::detail::write_travelling(variables) == 0;
    const ipc::log_level logged = ipc::get_logger().least_wanted();
    if (none && deadline == never && window.items == 0 && logged == ipc::log_level::nothing)
        return false;
    message.write(variables.bytes());
    message.write_value(static_cast<std::int64_t>(deadline.time_since_epoch().count()));
    message.write_value(static_cast<std::uint64_t>(window.bytes));
    message.write_value(window.items);
    message.write_value(logged);
    message.write_value(static_cast<std::uint64_t>(variables.size()));
    return true;
}

call_setting::call_setting(std::span<const std::byte> message) {
    constexpr std::size_t fixed = sizeof(std::int64_t) + 2 * sizeof(std::uint64_t) +
                                  sizeof(std::uint32_t) + sizeof(ipc::log_level);
    if (message.size() < fixed)
        throw ipc::codec_error("a call's setting is cut off");
    ipc::archive_reader in(message.last(fixed));
    deadline_ = time_point(duration(in.read_value<std::int64_t>()));
    window_.bytes = in.read_value<std::uint64_t>();
    window_.items = in.read_value<std::uint32_t>();
    least_logged_ = in.read_value<ipc::log_level>();
    const auto n = in.read_value<std::uint64_t>();
    if (n > message.size() - fixed)
        throw ipc::codec_error("a call's setting is cut off");
    variables_ = message.subspan(message.size() - fixed - n, n);
    size_ = fixed + n;
}

void call_setting::set_variables() const {
    if (variables_.empty())
        return;
    ipc::archive_reader in(variables_);
    ipc::detail::read_travelling(in);
    in.finish();
}

} // namespace weft::detail
