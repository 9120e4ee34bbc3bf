// SPDX-License-Identifier: MIT
// Where connections come from: one end listens at an address, others connect to it. With a key,
// only those who know it.
//
//     weft::task<> serve(const weft::ipc::secret_bytes& key) {
//         auto at = weft::socket_address::unix_path("/run/shop/orders");
//         weft::ipc::listener l = weft::ipc::listen(at, {.key = &key});
//         while (true) {
//             try {
//                 weft::ipc::connection c = co_await l.accept();
//                 co_await c.send_bytes(weft::as_bytes("welcome"));
//             } catch (const weft::ipc::authentication_error& e) {
//                 fmt::print("somebody wasn't let in: {}\n", e.what());
//             }
//         }
//     }
//     weft::task<> call(const weft::ipc::secret_bytes& key) {
//         auto at = weft::socket_address::unix_path("/run/shop/orders");
//         weft::ipc::connection c = co_await weft::ipc::connect(at, {.key = &key});
//         weft::ipc::byte_buffer greeting = co_await c.receive_bytes();
//     }
//
// A path is there for this user alone, and the user at the other end is looked at before anything
// is read. A name without a path (abstract) and an address that other machines reach need a key, or
// one's word that none is wanted. A key lets in and keeps out; it doesn't hide what is said
// afterwards (see handshake.hpp).
//
// Threads:      a listener belongs to one loop at a time. Any number of tasks may accept, first
//               come, first served.
// Cancellation: a stopped accept loses no connection: the next one gets it. A stopped connect
//               closes its socket.
// Errors:       std::system_error naming operation and address, EADDRINUSE for one that is taken;
//               std::invalid_argument for an address that needs a key; state_error for accepting
//               from a listener that is closed, or is closed meanwhile. accept throws
//               authentication_error for a peer that wasn't let in, with the reason, and goes on
//               with the others; connect throws what handshake.hpp says. A listener that is
//               destroyed while a task accepts from it ends the program.
// Cost:         with a key a task for each peer until it is let in, of whom there may be 64: the
//               oldest goes when a new one comes. Nobody waits for another one's handshake.
// Source:       multiprocessing.connection's Listener and Client.
#pragma once
#include <weft/ipc/handshake.hpp>
#include <weft/runtime/address.hpp>

#include <memory>
#include <optional>

namespace weft::ipc {

struct listener_options {
    /// Whom to let in: those who know it. The listener takes a copy. Null: everybody who gets here.
    const secret_bytes* key = nullptr;
    /// Also those who know no better digest: Python up to 3.11.
    bool allow_legacy_md5 = false;
    /// No key is wanted, wherever this can be reached from.
    bool unauthenticated = false;
    /// Over a Unix socket also processes of other users.
    bool any_user = false;
    int backlog = 128;
    duration handshake_time = std::chrono::seconds(10);
    unsigned most_unfinished = 64;
    /// How many that were let in may wait for accept() before no more are looked at.
    unsigned ahead = 32;
    std::uint64_t message_limit = connection_options().message_limit;
    bool read_ahead = false; // see connection.hpp
};

namespace detail {
class listener_state;
} // namespace detail

class listener {
public:
    /// None.
    listener() noexcept;
    listener(listener&& other) noexcept;
    listener& operator=(listener&& other) noexcept;
    /// Closes it, as close() does, though the kernel may take until the loop's next turn.
    ~listener();

    /// The next connection.
    [[nodiscard]] task<connection> accept();
    /// Stops listening, ends waiting accepts and unfinished handshakes, and removes the path.
    /// Connections that were accepted go on. Does nothing if it is closed.
    [[nodiscard]] task<> close();

    /// Where it listens; with the port that was chosen, if the given one was 0.
    [[nodiscard]] const socket_address& address() const;
    /// Where the last accepted connection came from. None before the first; a peer without a name
    /// for one over a Unix socket.
    [[nodiscard]] const std::optional<socket_address>& last_accepted() const;
    /// How many peers are on their way in.
    [[nodiscard]] std::size_t unfinished() const noexcept;

    /// For the functions below.
    explicit listener(std::shared_ptr<detail::listener_state> s) noexcept;

private:
    std::shared_ptr<detail::listener_state> state_;
};

/// Listens at a path that doesn't exist yet, at an abstract name or at an IP address.
[[nodiscard]] listener listen(const socket_address& at, const listener_options& options = {});
/// Listens at a path that nobody had before, in a directory for this user alone. Both go with it.
[[nodiscard]] listener listen_at_fresh_path(const listener_options& options = {});

struct client_options {
    /// To show and to ask for. It must stay until the connection is there. Null: there is none.
    const secret_bytes* key = nullptr;
    bool allow_legacy_md5 = false;
    /// For the handshake; connecting itself has no limit but what is around it.
    duration handshake_time = std::chrono::seconds(10);
    std::uint64_t message_limit = connection_options().message_limit;
    bool read_ahead = false; // see connection.hpp
};

/// Connects to a listener.
[[nodiscard]] task<connection> connect(socket_address to, client_options options = {});

} // namespace weft::ipc
