// SPDX-License-Identifier: MIT
// Input: packets, each a length, so many bytes, and how many descriptors came along. A process must
// never be made of more or fewer descriptors than its request said, nor after a bad packet.
#include "fuzz/targets.hpp"

#include <weft/ipc/impl/fork_server_machine.hpp>

#include <cstring>

namespace weft::fuzz {

void fork_server(bytes input) {
    using namespace ipc::detail;
    using step = fork_server_machine::step;
    fork_server_machine m;
    source in(input);
    std::size_t come = 0;
    std::size_t announced = 0;
    bool bad = false;
    while (!in.empty()) {
        bytes packet = in.take(in.byte());
        std::size_t descriptors = in.byte();
        fork_packet p;
        if (packet.size() == sizeof p)
            std::memcpy(&p, packet.data(), sizeof p);
        if (come == 0)
            announced = p.descriptors;
        come += descriptors;
        step s = m.received(packet, descriptors);
        must(!bad || s == step::bad, "it went on after a bad packet");
        switch (s) {
        case step::wait:
            must(come < announced && announced <= fork_server_machine::most_in_request,
                 "it waits for what was never announced");
            break;
        case step::start:
            must(come == announced && come >= static_cast<std::size_t>(fork_place::passed),
                 "a process of too many or too few descriptors");
            come = 0;
            break;
        case step::preload:
            must(come == 0, "a preload in the middle of a request");
            break;
        case step::bad:
            bad = true;
            break;
        }
    }
}

} // namespace weft::fuzz
