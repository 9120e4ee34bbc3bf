// SPDX-License-Identifier: MIT
#include "tracker_machine.hpp"

#include <cstring>

namespace weft::ipc::detail {

std::string tracker_packet(tracker_order o, const tracked_name& n) {
    std::string p(1, static_cast<char>(o));
    p.append(reinterpret_cast<const char*>(&n.device), sizeof n.device);
    p.append(reinterpret_cast<const char*>(&n.inode), sizeof n.inode);
    return p.append(n.name);
}

bool tracker_machine::received(std::string_view packet) {
    constexpr std::size_t head = longest_packet - longest_name;
    if (packet.size() <= head || packet.size() > longest_packet)
        return false;
    std::string_view name = packet.substr(head);
    if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos)
        return false;
    file f{};
    std::memcpy(&f.device, packet.data() + 1, sizeof f.device);
    std::memcpy(&f.inode, packet.data() + 1 + sizeof f.device, sizeof f.inode);
    switch (static_cast<tracker_order>(packet.front())) {
    case tracker_order::add:
        names_.insert_or_assign(std::string(name), f);
        return true;
    case tracker_order::remove: {
        auto found = names_.find(name);
        if (found != names_.end() && found->second.inode == f.inode &&
            found->second.device == f.device)
            names_.erase(found);
        return true;
    }
    }
    return false;
}

std::vector<tracked_name> tracker_machine::left() const {
    std::vector<tracked_name> all;
    for (const auto& [name, f] : names_)
        all.push_back({name, f.device, f.inode});
    return all;
}

} // namespace weft::ipc::detail
