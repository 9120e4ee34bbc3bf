// SPDX-License-Identifier: MIT
#include <weft/ipc/passing.hpp>

#include "impl/connection_state.hpp"

#include <weft/runtime/error.hpp>

namespace weft::ipc {

std::uint32_t attachments::add(descriptor d) {
    list_.push_back(std::move(d));
    return static_cast<std::uint32_t>(list_.size() - 1);
}

descriptor attachments::take(std::uint32_t place) {
    if (place >= list_.size() || !list_[place])
        throw codec_error("a descriptor is missing that should have come along");
    return std::move(list_[place]);
}

void codec<descriptor>::encode(archive_writer& out, const descriptor& d) {
    attachments& list = out.carried();
    if (!d)
        throw codec_error("a descriptor that is none can't be handed over");
    ipc::encode<std::uint32_t>(out, list.add(d.duplicate()));
}

descriptor codec<descriptor>::decode(archive_reader& in) {
    auto place = ipc::decode<std::uint32_t>(in);
    return in.carried().take(place);
}

void codec<connection>::encode(archive_writer& out, const connection& c) {
    attachments& list = out.carried();
    if (c.state() == nullptr)
        throw state_error("there is no connection");
    ipc::encode<std::uint32_t>(out, list.add(c.state()->duplicate()));
    ipc::encode<std::uint64_t>(out, c.state()->limit);
    ipc::encode<bool>(out, c.state()->reads_ahead);
}

connection codec<connection>::decode(archive_reader& in) {
    auto d = ipc::decode<descriptor>(in);
    connection_options options;
    options.message_limit = ipc::decode<std::uint64_t>(in);
    options.read_ahead = ipc::decode<bool>(in);
    return connection(std::move(d), options);
}

void codec<shared_memory>::encode(archive_writer& out, const shared_memory& m) {
    ipc::encode<descriptor>(out, m.fd_);
    ipc::encode<std::string>(out, m.name_);
}

shared_memory codec<shared_memory>::decode(archive_reader& in) {
    auto d = ipc::decode<descriptor>(in);
    auto name = ipc::decode<std::string>(in);
    if (name.empty())
        return shared_memory::adopt(std::move(d));
    return shared_memory(std::move(d), std::move(name));
}

} // namespace weft::ipc
