// SPDX-License-Identifier: MIT
// Waiting for the first of several connections, sockets and processes.
//
//     weft::task<> relay(weft::ipc::connection& a, weft::ipc::connection& b,
//                        weft::ipc::process& worker) {
//         const weft::ipc::waitable all[] = {a, b, worker};
//         for (std::size_t i : co_await weft::ipc::wait_readable(all)) {
//             if (i == 2)
//                 co_return;                                  // the worker has ended
//             weft::ipc::connection& from = i == 0 ? a : b;
//             weft::ipc::connection& to = i == 0 ? b : a;
//             weft::ipc::byte_buffer message = co_await from.receive_bytes();
//             co_await to.send_bytes(message.bytes());
//         }
//     }
//
// Ready is what can be read from, or has come to its end; a process, when it has ended. Nothing is
// read: what is ready stays so, and is ready again next time.
//
// Threads:      the loop's. What is waited for must stay until then.
// Cancellation: a stopped wait leaves no trace.
// Errors:       state_error for a connection that is closed or only sends; std::system_error for a
//               descriptor that isn't one.
// Cost:         one system call if something is ready; else a descriptor, and a call for each of
//               the list.
// Source:       multiprocessing.connection.wait.
#pragma once
#include <weft/ipc/connection.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <vector>

namespace weft::ipc {

class process;

/// Something that can be waited for: a connection, a process, whatever has a descriptor.
class waitable {
public:
    waitable(const connection& c) noexcept : connection_(c.state()), is_connection_(true) {}
    /// Throws state_error if it wasn't started.
    waitable(const process& p);
    explicit waitable(int fd) noexcept : fd_(fd) {}
    template <class S>
        requires requires(const S& s) {
            { s.fd() } noexcept -> std::same_as<int>;
        }
    waitable(const S& s) noexcept : fd_(s.fd()) {}

    [[nodiscard]] detail::connection_state* connected() const noexcept { return connection_; }
    [[nodiscard]] bool is_connection() const noexcept { return is_connection_; }
    [[nodiscard]] bool is_process() const noexcept { return is_process_; }
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    detail::connection_state* connection_ = nullptr;
    int fd_ = -1;
    bool is_connection_ = false;
    bool is_process_ = false;
};

/// Waits until something of the list is ready, or until `deadline`. Gives the places of those that
/// are, in the order of the list; none if the deadline came. A past deadline only looks.
[[nodiscard]] task<std::vector<std::size_t>> wait_readable(std::span<const waitable> list,
                                                           time_point deadline = never);

} // namespace weft::ipc
