// SPDX-License-Identifier: MIT
// Input: a role, the halves and whether MD5 is allowed, and what a peer says that doesn't know the
// key: a length and so many bytes, again and again. It must never be taken for one that does.
#include "fuzz/targets.hpp"

#include <weft/ipc/impl/handshake_machine.hpp>

#include <array>

namespace weft::fuzz {

void handshake(bytes input) {
    using machine = ipc::detail::handshake_machine;
    static const ipc::secret_bytes key = ipc::secret_bytes::random();
    source in(input);
    unsigned how = in.byte();
    constexpr machine::half halves[] = {machine::half::none, machine::half::deliver,
                                        machine::half::answer, machine::half::deliver};
    machine::half first = halves[how & 3];
    machine::half second = halves[how >> 2 & 3];
    if (first == machine::half::none || first == second)
        return; // nobody makes such a one
    std::array<std::byte, machine::nonce_size> nonce{};
    for (std::byte& b : nonce)
        b = static_cast<std::byte>(in.byte());
    machine m((how & 16) != 0 ? ipc::handshake_role::listener : ipc::handshake_role::client, first,
              second, key, (how & 32) != 0, nonce);

    for (int steps = 0;; ++steps) {
        must(steps < 16, "it has no end");
        switch (m.next()) {
        case machine::step::send:
            must(!m.message().empty() &&
                     m.message().size() <= ipc::detail::longest_handshake_message,
                 "a message of no possible length");
            m.sent();
            break;
        case machine::step::receive:
            m.received(in.take(in.byte()));
            break;
        case machine::step::done:
            must(first != machine::half::deliver && second != machine::half::deliver,
                 "a stranger was welcome");
            return;
        case machine::step::failed:
            must(*m.reason() != '\0', "it failed without a reason");
            return;
        }
    }
}

} // namespace weft::fuzz
