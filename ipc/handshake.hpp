// SPDX-License-Identifier: MIT
// Two ends of a connection show each other that they know the same key, as Python's do.
//
//     weft::task<> meet(weft::ipc::connection& c, const weft::ipc::secret_bytes& key, bool calls) {
//         using role = weft::ipc::handshake_role;
//         co_await weft::ipc::authenticate(c, key, calls ? role::client : role::listener);
//     }
//
// listen() and connect() do this for those who give them a key. It shows that both knew the key
// when they met. It doesn't hide what they say afterwards, nor keep somebody in between from
// changing it: over a network use a tunnel.
//
// Threads:      the connection's. Nobody else may use it until it is done.
// Cancellation: a stopped handshake closes the connection.
// Errors:       authentication_error if the peer doesn't know the key, or asks for a digest that
//               isn't allowed; timeout_error if it takes too long; as receive_bytes else, where a
//               message of more than 256 bytes is beyond the limit. After any of them the
//               connection is closed.
// Cost:         three messages each way, four keyed digests.
// Source:       multiprocessing.connection; challenges that carry the role of who made them, so
//               that nobody can be made to answer its own.
#pragma once
#include <weft/ipc/connection.hpp>
#include <weft/ipc/secret_bytes.hpp>
#include <weft/runtime/time.hpp>

#include <chrono>

namespace weft::ipc {

enum class handshake_role : int { listener, client };

struct handshake_options {
    /// Python up to 3.11 knows nothing better than MD5, and so does who plays it.
    bool allow_legacy_md5 = false;
    /// For all of it.
    duration time_limit = std::chrono::seconds(10);
};

/// Both halves, in the order of the role: the listener asks first.
[[nodiscard]] task<> authenticate(connection& c, const secret_bytes& key, handshake_role own,
                                  handshake_options options = {});

/// Asks the peer to show that it knows the key.
[[nodiscard]] task<> deliver_challenge(connection& c, const secret_bytes& key, handshake_role own,
                                       handshake_options options = {});
/// Shows the peer, which asks, that the caller knows the key.
[[nodiscard]] task<> answer_challenge(connection& c, const secret_bytes& key, handshake_role own,
                                      handshake_options options = {});

} // namespace weft::ipc
