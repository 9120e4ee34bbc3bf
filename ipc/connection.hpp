// SPDX-License-Identifier: MIT
// A connection carries whole messages, between processes or within one, over a socket or a pipe. On
// the wire it is what Python's multiprocessing.connection speaks.
//
//     struct order { std::string item; int count; };
//
//     weft::task<int> over_and_back() {
//         auto [ours, theirs] = weft::ipc::make_connection_pair();
//         order nails{"nail", 12};
//         co_await ours.send(nails);                            // as codec.hpp writes it
//         order o = co_await theirs.receive<order>();
//         co_await theirs.send_bytes(weft::as_bytes("thanks")); // or any bytes
//         weft::ipc::byte_buffer answer = co_await ours.receive_bytes();
//         co_return o.count + static_cast<int>(answer.size());
//     }
//
// Other connections are made of a descriptor that somebody else opened.
// send_descriptors hands files, sockets and connections to the process at the other end.
//
// Threads:      tasks on any loop may send and receive at the same time; each message stays in one
//               piece, and each kind of operation is first come, first served. Making, moving,
//               closing and destroying is for one of them, when no operation is under way.
// Cancellation: a stopped receive leaves what has come of a message to the next one. A stopped send
//               has sent nothing, or it was in the middle: then nothing can be sent any more, and
//               the peer sees the end inside of a message.
// Errors:       std::system_error naming operation and peer; sending to one that is gone is EPIPE
//               and no signal. eof_error when the peer has closed, truncated_error if that is
//               inside of a message, each time one asks. limit_error for a message beyond the
//               limit: then nothing can be received any more. protocol_error for bytes that are no
//               message, after which the connection is closed. codec_error for a message that holds
//               something else: the connection goes on. state_error for a connection that is closed
//               or goes in the other direction, and for closing it while it is in use.
// Cost:         one allocation for a connection. A message takes a call of the kernel to send, and
//               two or more to receive (the length, then the rest): nothing is read that lies
//               beyond it, so the descriptor can go to others in between. With `read_ahead` it is
//               one, and 4 KiB. Where a call needn't wait, the loop goes without a turn, but for
//               one of 32. Memory follows the bytes that came, whatever the peer says is to come.
// Source:       meaning and format after Python's multiprocessing.connection.
#pragma once
#include <weft/ipc/codec.hpp>
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/time.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace weft::ipc {

struct connection_options {
    /// Longer messages aren't received, whoever sends them.
    std::uint64_t message_limit = std::uint64_t{1} << 30;
    /// Takes what has come in one go, also beyond the message at hand: a small message then costs
    /// one call to receive, and less if several have come. For an end that nobody else reads from,
    /// here or in another process: they would miss what was read ahead. Nor may a task receive
    /// while another one waits for it in wait_readable(). Descriptors aren't received on it.
    bool read_ahead = false;
};

/// A message, and the descriptors that came with it, close-on-exec.
class message_with_descriptors {
public:
    message_with_descriptors(byte_buffer bytes, std::vector<descriptor> descriptors) noexcept
        : bytes_(std::move(bytes)), descriptors_(std::move(descriptors)) {}
    [[nodiscard]] byte_buffer& bytes() noexcept { return bytes_; }
    [[nodiscard]] std::vector<descriptor>& descriptors() noexcept { return descriptors_; }

private:
    byte_buffer bytes_;
    std::vector<descriptor> descriptors_;
};

namespace detail {
class connection_state;
task<> send_encoded(connection_state* s, byte_buffer message);
task<> send_gathered(connection_state* s, archive_writer message);
template <class T>
task<> send_moved(connection_state* s, T value) {
    archive_writer out(archive_writer::gather);
    ipc::encode<T>(out, value);
    co_await send_gathered(s, std::move(out)); // here the value stays meanwhile
}
task<byte_buffer> receive_message(connection_state* s, std::uint64_t limit);
// Takes the state: the connection may be moved before the task begins.
template <class T>
task<T> receive_value(connection_state* s, std::uint64_t limit) {
    byte_buffer message = co_await receive_message(s, limit);
    co_return ipc::decode<T>(message.bytes());
}
} // namespace detail

class connection {
public:
    /// The limit of a receive that has none but the connection's.
    static constexpr std::uint64_t no_limit = ~std::uint64_t{0};

    /// None.
    connection() noexcept;
    /// Takes over a connected stream socket or an end of a pipe. Throws std::invalid_argument for
    /// what is neither; a socket that isn't connected says so when it is used.
    explicit connection(descriptor d, const connection_options& options = {});
    connection(connection&& other) noexcept;
    connection& operator=(connection&& other) noexcept;
    /// Closes it.
    ~connection();

    /// Sends a message, which may be empty.
    [[nodiscard]] task<> send_bytes(std::span<const std::byte> message);
    /// The same with up to 32 descriptors, over a Unix socket. They must stay open until it is
    /// done. The other end receives it with receive_with_descriptors.
    [[nodiscard]] task<> send_bytes(std::span<const std::byte> message,
                                    std::span<const int> descriptors);
    /// Sends a value. It is encoded at once, and needn't live longer than the call.
    template <class T>
    [[nodiscard]] task<> send(const T& value) {
        return detail::send_encoded(state_.get(), ipc::encode<T>(value));
    }
    /// A value that is given away is kept until it is sent. Large blocks of plain elements in it
    /// (strings, vectors) are sent from where they lie.
    template <class T>
        requires(!std::is_reference_v<T> && !std::is_const_v<T> && !std::is_trivially_copyable_v<T>)
    [[nodiscard]] task<> send(T&& value) {
        return detail::send_moved<T>(state_.get(), std::forward<T>(value));
    }
    /// So are the elements of a view, which must stay there until it is done. It is received as a
    /// vector of the same.
    template <class T>
        requires detail::plain<T>
    [[nodiscard]] task<> send(std::span<const T> elements) {
        archive_writer out(archive_writer::gather);
        encode_block<T>(out, elements);
        return detail::send_gathered(state_.get(), std::move(out));
    }

    /// The next message. One of more than `limit` bytes is a limit_error.
    [[nodiscard]] task<byte_buffer> receive_bytes(std::uint64_t limit = no_limit);
    /// Puts the next message into `into` and gives its length. If it is too long, buffer_too_short
    /// has it.
    [[nodiscard]] task<std::size_t> receive_into(std::span<std::byte> into);
    [[nodiscard]] task<message_with_descriptors>
    receive_with_descriptors(std::uint64_t limit = no_limit);
    /// The value that the next message holds.
    template <class T>
    [[nodiscard]] task<T> receive() {
        return detail::receive_value<T>(state_.get(), no_limit);
    }

    /// Up to 32 descriptors without a message, over a Unix socket: what Python's sendfds and
    /// recvfds do.
    [[nodiscard]] task<> send_descriptors(std::span<const int> descriptors);
    [[nodiscard]] task<std::vector<descriptor>> receive_descriptors();

    /// Whether a receive would find something: a message, a part of one, or the end.
    [[nodiscard]] bool ready() const;
    /// Waits until that is so. Takes nothing.
    [[nodiscard]] task<> readable();
    /// Waits until `deadline` at most. Gives whether it is so.
    [[nodiscard]] task<bool> readable_until(time_point deadline);
    /// Waits for `d` at most; with zero or less it only looks.
    template <class Rep, class Period>
    [[nodiscard]] task<bool> readable_for(std::chrono::duration<Rep, Period> d) {
        return readable_until(deadline_after(d));
    }

    /// Closes it at once; does nothing if it is closed. state_error while it is in use.
    void close();
    /// Gives the descriptor to the caller. state_error while it is in use, or if a part of a
    /// message has been read that nobody has received yet.
    [[nodiscard]] descriptor release();

    [[nodiscard]] bool is_open() const noexcept;
    [[nodiscard]] bool can_send() const noexcept;
    [[nodiscard]] bool can_receive() const noexcept;
    /// Throws state_error if it is closed. Who reads from it misses what was read already: a part
    /// of a message if a receive was stopped, a message that came while a long one was being sent,
    /// and what read_ahead has taken.
    [[nodiscard]] int fd() const;

    /// For functions of this module.
    [[nodiscard]] detail::connection_state* state() const noexcept { return state_.get(); }

private:
    std::unique_ptr<detail::connection_state> state_;
};

/// Two connections, each of which sends what the other receives.
[[nodiscard]] std::pair<connection, connection>
make_connection_pair(const connection_options& options = {});

/// What is sent on the second is received on the first, over a pipe; not the other way.
[[nodiscard]] std::pair<connection, connection>
make_one_way_connection(const connection_options& options = {});

} // namespace weft::ipc
