// SPDX-License-Identifier: MIT
#include <weft/ipc/error.hpp>

#include <weft/ipc/detail/one_line.hpp>

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

namespace {

std::string message_of_loss(int pid, exit_status status, const worker_lost::details& d) {
    std::string s = "worker " + std::to_string(pid) + " was lost: it " +
                    (status.killed() ? "was " : "") + status.text();
    if (d.out_of_memory)
        s += " because memory ran out";
    if (!d.function.empty()) {
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(d.ran_for).count();
        std::string fraction = std::to_string(ms % 1000);
        fraction.insert(0, 3 - fraction.size(), '0');
        s.append(", ").append(std::to_string(ms / 1000)).append(".").append(fraction);
        s.append(" s after it began ").append(d.function);
    }
    if (d.tag != 0)
        s += (d.function.empty() ? ", task " : " (task ") + std::to_string(d.tag) +
             (d.function.empty() ? "" : ")");
    if (std::string last = detail::one_line(d.last_words); !last.empty())
        s.append("; it last wrote: ").append(last);
    return s;
}

} // namespace

worker_lost::worker_lost(int pid, exit_status status, const details& d)
    : error(message_of_loss(pid, status, d)), pid_(pid), status_(status),
      out_of_memory_(d.out_of_memory), tag_(d.tag), ran_for_(d.ran_for),
      said_(std::make_shared<const said>(
          said{std::string(d.function), std::string(cut(d.last_words))})) {}
worker_lost::~worker_lost() = default;

pool_terminated::~pool_terminated() = default;

} // namespace weft::ipc
