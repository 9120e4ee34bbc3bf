// SPDX-License-Identifier: MIT
#include "fork_server_machine.hpp"

#include <cstring>
#include <type_traits>

namespace weft::ipc::detail {

static_assert(std::is_trivially_copyable_v<fork_packet> && sizeof(fork_packet) == 32);

fork_server_machine::step fork_server_machine::add(std::size_t descriptors) noexcept {
    if (descriptors == 0 || descriptors > missing_ || descriptors > most_in_packet) {
        bad_ = true;
        return step::bad;
    }
    missing_ -= descriptors;
    return missing_ == 0 ? step::start : step::wait;
}

fork_server_machine::step fork_server_machine::received(std::span<const std::byte> packet,
                                                        std::size_t descriptors) noexcept {
    fork_packet p;
    if (bad_ || packet.size() != sizeof p) {
        bad_ = true;
        return step::bad;
    }
    std::memcpy(&p, packet.data(), sizeof p);
    if (p.mark == fork_packet::right_mark) {
        switch (p.what) {
        case fork_packet::kind::preload:
            if (missing_ != 0 || descriptors != 0)
                break;
            function_ = p.function;
            signature_ = p.signature;
            return step::preload;
        case fork_packet::kind::start:
            if (missing_ != 0 || p.descriptors > most_in_request ||
                p.descriptors < static_cast<std::size_t>(fork_place::passed))
                break;
            missing_ = p.descriptors;
            return add(descriptors);
        case fork_packet::kind::more:
            return add(descriptors);
        default:
            break;
        }
    }
    bad_ = true;
    return step::bad;
}

} // namespace weft::ipc::detail
