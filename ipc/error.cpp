// SPDX-License-Identifier: MIT
#include <weft/ipc/error.hpp>

namespace weft::ipc {

namespace {

std::string_view cut(std::string_view text) { return text.substr(0, remote_error::longest_text); }

std::string message_of(std::string_view type_name, std::string_view text) {
    std::string s(cut(type_name));
    if (!text.empty())
        s.append(": ").append(cut(text));
    return s;
}

} // namespace

codec_error::~codec_error() = default;

remote_error::remote_error(std::string_view type_name, std::string_view text,
                           std::string_view trace)
    : error(message_of(type_name, text)),
      said_(std::make_shared<const said>(
          said{std::string(cut(type_name)), std::string(cut(text)), std::string(cut(trace))})) {}
remote_error::~remote_error() = default;

process_error::~process_error() = default;

buffer_too_short::buffer_too_short(std::span<const std::byte> message, std::size_t room)
    : process_error("a message of " + std::to_string(message.size()) +
                    " bytes doesn't fit into the " + std::to_string(room) +
                    " that there is room for"),
      message_(std::make_shared<const std::vector<std::byte>>(message.begin(), message.end())) {}
buffer_too_short::~buffer_too_short() = default;

authentication_error::~authentication_error() = default;

worker_lost::worker_lost(int pid, exit_status status)
    : error("worker " + std::to_string(pid) + " was lost: it " + (status.killed() ? "was " : "") +
            status.text()),
      pid_(pid), status_(status) {}
worker_lost::~worker_lost() = default;

pool_terminated::~pool_terminated() = default;

} // namespace weft::ipc
