// SPDX-License-Identifier: MIT
#include <weft/ipc/connection.hpp>

#include "impl/connection_state.hpp"

#include <weft/runtime/loop.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <sys/socket.h>

namespace weft::ipc {

namespace detail {

namespace {

using weft::detail::no_position;

// Lives while a message is being sent. If that ends early the stream can't go on after it.
class message_guard {
public:
    explicit message_guard(connection_state& s) noexcept : state_(s) {}
    message_guard(const message_guard&) = delete;
    message_guard& operator=(const message_guard&) = delete;
    ~message_guard() {
        if (begun_ && !whole_)
            state_.end_sending();
    }
    void begun() noexcept { begun_ = true; }
    void whole() noexcept { whole_ = true; }

private:
    connection_state& state_;
    bool begun_ = false;
    bool whole_ = false;
};

// A call of the kernel that needn't wait is had without the ring: that costs a fraction of a
// request, and no turn of the loop. But the loop has other tasks, whose turn comes now and then.
bool may_go_on() noexcept {
    constexpr unsigned in_a_row = 32;
    thread_local unsigned calls = 0;
    return this_loop_or_null() != nullptr && ++calls % in_a_row != 0;
}

// The beginning of a message, and all of it if the socket has room.
class [[nodiscard]] begin_sending_op : public weft::detail::request_operation<begin_sending_op> {
public:
    /// Parts of `size` bytes in all.
    begin_sending_op(int fd, std::span<const const_buffer> parts, std::size_t size) noexcept
        : request_operation(kind), fd_(fd), parts_(parts), size_(size) {
        header_.parts = const_cast<const_buffer*>(parts.data());
        header_.part_count = parts.size();
    }
    template <weft::detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (!begin(h, where)) // a stop came before it
            return true;
        if (may_go_on() && sent_at_once()) {
            owner().leaf = nullptr;
            return false;
        }
        submit(fill());
        return true;
    }
    std::size_t await_resume() const {
        return weft::detail::check_socket(result(), "send to", fd_);
    }
    [[nodiscard]] weft::detail::request fill() const noexcept {
        return {.opcode = weft::detail::opcode::sendmsg,
                .fd = fd_,
                .address = weft::detail::address_of(&header_),
                .length = 1,
                .operation_flags = weft::detail::send_flags};
    }

private:
    // What goes wrong is left to the request to say.
    bool sent_at_once() noexcept {
        static_assert(sizeof(header_) == sizeof(msghdr));
        constexpr int flags = static_cast<int>(weft::detail::send_flags) | MSG_DONTWAIT;
        ssize_t n = 0;
        std::array<std::byte, 512> together; // the kernel is quicker with one piece
        if (size_ <= together.size()) {
            std::byte* end = together.data();
            for (const const_buffer& part : parts_)
                end = std::copy_n(part.data(), part.size(), end);
            n = ::send(fd_, together.data(), size_, flags);
        } else {
            n = ::sendmsg(fd_, reinterpret_cast<const msghdr*>(&header_), flags);
        }
        if (n < 0)
            return false;
        note(static_cast<std::int32_t>(n), 0);
        return true;
    }

    static constexpr weft::detail::operation_type kind = weft::detail::io_type("write to socket");
    int fd_;
    std::span<const const_buffer> parts_;
    std::size_t size_;
    weft::detail::message_header header_;
};

// What is there already; 0 if that is nothing, for whatever reason.
std::size_t received_at_once(const connection_state& s, std::span<std::byte> room) noexcept {
    if (s.over == channel::pipe || room.empty())
        return 0;
    ssize_t n = ::recv(s.fd(), room.data(), room.size(), MSG_DONTWAIT);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
}

void check_count(connection_state& s, std::span<const std::byte> said, std::size_t n) {
    if (said.size() == 1 && n % 256 == static_cast<std::size_t>(said[0]))
        return;
    s.give_up();
    throw protocol_error("another number of descriptors came than was announced");
}

// While a long message is under way, the peer may be sending one too, and neither would read: so
// the next message is taken in meanwhile. Whoever receives finds it, and whatever goes wrong here.
task<> read_ahead(connection_state& s) {
    permit turn = co_await s.to_receive.take();
    if (!s.may_receive())
        co_return;
    try {
        std::size_t n = 1;
        s.ahead.feed(s.incoming, s.limit);
        while (n != 0 && !s.holds_whole()) {
            std::span<std::byte> room = s.space();
            if (s.over == channel::unix_socket && !s.reads_ahead && !s.incoming.begun()) {
                // Perhaps it isn't a message that comes next.
                received_message m = co_await weft::detail::receive_message_op(s.fd(), room);
                if (!m.descriptors().empty()) {
                    check_count(s, room.first(m.size()), m.descriptors().size());
                    s.early_descriptors = std::move(m.descriptors());
                    break;
                }
                n = m.size();
            } else {
                n = co_await weft::detail::recv_op(s.fd(), room);
            }
            s.commit(n);
        }
    } catch (const std::exception&) { // whoever receives will hear of it
    }
    s.note_held();
}

// Drops the first `n` bytes.
std::span<const_buffer> without_front(std::span<const_buffer> parts, std::size_t n) noexcept {
    while (!parts.empty() && n >= parts.front().size()) {
        n -= parts.front().size();
        parts = parts.subspan(1);
    }
    if (n != 0)
        parts.front() = parts.front().bytes().subspan(n);
    return parts;
}

std::size_t size_of(std::span<const const_buffer> parts) noexcept {
    std::size_t size = 0;
    for (const const_buffer& part : parts)
        size += part.size();
    return size;
}

// Sends what is left of a message, which still has `of_head` bytes of its header. Uses the parts
// up.
task<> write_rest(connection_state& s, std::span<const_buffer> parts, std::size_t of_head,
                  message_guard& guard) {
    constexpr std::size_t most_parts = 1024; // that the kernel takes at a time
    while (of_head != 0) {
        std::span<const const_buffer> first = parts.first(std::min(parts.size(), most_parts));
        std::size_t n = 0;
        if (s.over == channel::pipe)
            n = co_await weft::detail::write_op(s.fd(), no_position, first);
        else
            n = co_await begin_sending_op(s.fd(), first, size_of(first));
        guard.begun();
        of_head -= std::min(n, of_head);
        parts = without_front(parts, n);
    }
    if (s.over == channel::pipe) {
        while (!parts.empty()) {
            std::span<const const_buffer> next = parts.first(std::min(parts.size(), most_parts));
            std::size_t n = co_await weft::detail::write_op(s.fd(), no_position, next);
            parts = without_front(parts, n);
        }
    } else if (!parts.empty()) {
        std::exception_ptr failure;
        co_await with_task_group([&](task_group& g) -> task<> {
            auto ahead = g.spawn(read_ahead(s));
            try {
                for (const const_buffer& part : parts)
                    co_await weft::detail::send_all_op(s.fd(), part.bytes());
                guard.whole(); // a stop that comes now is too late to tear anything
            } catch (const std::exception&) {
                failure = std::current_exception();
            }
            ahead.cancel();
        });
        if (failure)
            std::rethrow_exception(failure);
    }
    guard.whole();
}

// The first part is for the header: it and the message leave together, so that a small message is
// one segment. Uses the parts up.
task<> write_message(connection_state& s, std::span<const_buffer> parts) {
    const frame_header header(size_of(parts.subspan(1)));
    parts.front() = header.bytes();
    message_guard guard(s);
    co_await write_rest(s, parts, header.bytes().size(), guard);
}

// The beginning of a message. To try at once is in vain where nobody expects it to be here.
class [[nodiscard]] first_piece_op : public weft::detail::request_operation<first_piece_op> {
public:
    explicit first_piece_op(connection_state& s)
        : request_operation(kind), state_(&s), into_(s.space()) {}
    template <weft::detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (!begin(h, where)) // a stop came before it
            return true;
        if (state_->messages_queue_up() && may_go_on() && received_already()) {
            owner().leaf = nullptr;
            return false;
        }
        submit(fill());
        return true;
    }
    std::size_t await_resume() const {
        return weft::detail::check_socket(result(), "receive from", state_->fd());
    }
    [[nodiscard]] weft::detail::request fill() const noexcept {
        constexpr std::uint16_t poll_first = 1; // IORING_RECVSEND_POLL_FIRST
        return {.opcode = weft::detail::opcode::recv,
                .ioprio = poll_first,
                .fd = state_->fd(),
                .address = weft::detail::address_of(into_.data()),
                .length = static_cast<std::uint32_t>(into_.size())};
    }

private:
    bool received_already() noexcept {
        std::size_t n = received_at_once(*state_, into_);
        state_->note_queue(n != 0);
        note(static_cast<std::int32_t>(n), 0);
        return n != 0;
    }

    static constexpr weft::detail::operation_type kind = weft::detail::io_type("read from socket");
    connection_state* state_;
    std::span<std::byte> into_;
};

// Notes that so many bytes came.
void took(connection_state& s, std::size_t n) {
    if (n == 0 && !s.incoming.begun())
        throw eof_error("the other end of the connection was closed");
    if (n == 0) // without the bytes: errors don't carry what was in a message
        throw truncated_error(s.incoming.came(), s.incoming.expected());
    s.commit(n);
}

// Whether the message is complete. Throws if it is none, or has more than `limit` bytes.
bool is_here(connection_state& s, std::uint64_t limit) {
    if (s.incoming.bad()) {
        s.give_up();
        s.incoming.check();
    }
    if (s.incoming.length().value_or(0) > limit) {
        s.end_receiving();
        throw limit_error("a message of " + std::to_string(*s.incoming.length()) +
                          " bytes came where " + std::to_string(limit) + " are allowed");
    }
    return s.incoming.complete();
}

// In the turn to receive: until the message is complete.
task<> read_rest(connection_state& s, std::uint64_t limit) {
    while (!is_here(s, limit)) {
        std::span<std::byte> room = s.space();
        std::size_t n = 0;
        if (s.over == channel::pipe)
            n = co_await weft::detail::read_op(s.fd(), no_position, room);
        else
            n = co_await weft::detail::recv_op(s.fd(), room);
        took(s, n);
    }
}

void require_descriptors(const connection_state& s) {
    if (s.over != channel::unix_socket)
        throw state_error("only a connection over a Unix socket carries descriptors");
}

void require_exact(const connection_state& s) {
    require_descriptors(s);
    if (s.reads_ahead)
        throw state_error("a connection that reads ahead doesn't receive descriptors");
}

// One byte beside the frames, with the descriptors.
task<> write_descriptors(connection_state& s, std::span<const int> descriptors) {
    const std::byte count[] = {static_cast<std::byte>(descriptors.size() % 256)};
    static_cast<void>(
        co_await weft::detail::send_message_op(s.fd(), count, descriptors, socket_address()));
}

task<std::vector<descriptor>> read_descriptors(connection_state& s) {
    if (s.early_descriptors) {
        std::vector<descriptor> early = std::move(*s.early_descriptors);
        s.early_descriptors.reset();
        s.note_held();
        co_return early;
    }
    std::byte count[1];
    received_message m = co_await weft::detail::receive_message_op(s.fd(), count);
    if (m.size() == 0)
        throw eof_error("the other end of the connection was closed");
    check_count(s, count, m.descriptors().size());
    co_return std::move(m.descriptors());
}

task<> send_with(connection_state* s, std::span<const std::byte> message,
                 std::span<const int> descriptors) {
    connection_use in_use(s);
    require_descriptors(*s);
    if (descriptors.size() > most_descriptors)
        throw std::invalid_argument("at most 32 descriptors go with a message");
    permit turn = co_await s->to_send.take();
    s->check_send();
    std::array<const_buffer, 2> parts{const_buffer(), const_buffer(message)};
    co_await write_message(*s, std::span(parts));
    message_guard guard(*s);
    guard.begun(); // the message alone is but a half of it
    co_await write_descriptors(*s, descriptors);
    guard.whole();
}

byte_buffer take_without_descriptors(connection_state& s) noexcept {
    byte_buffer message = std::move(*s.without_descriptors);
    s.without_descriptors.reset();
    s.note_held();
    return message;
}

task<message_with_descriptors> receive_with(connection_state* s, std::uint64_t limit) {
    connection_use in_use(s);
    require_exact(*s);
    permit turn = co_await s->to_receive.take();
    s->check_receive();
    if (!s->without_descriptors) {
        co_await read_rest(*s, std::min(limit, s->limit));
        s->without_descriptors = s->incoming.take();
        s->note_held();
    }
    std::vector<descriptor> descriptors;
    try {
        descriptors = co_await read_descriptors(*s);
    } catch (const eof_error&) {
        throw truncated_error(s->without_descriptors->size(), s->without_descriptors->size() + 1);
    }
    byte_buffer message = take_without_descriptors(*s);
    co_return message_with_descriptors(std::move(message), std::move(descriptors));
}

task<std::size_t> receive_into(connection_state* s, std::span<std::byte> into) {
    byte_buffer message = co_await receive_message(s, connection::no_limit);
    if (message.size() > into.size())
        throw buffer_too_short(message.bytes(), into.size());
    std::copy_n(message.data(), message.size(), into.data());
    co_return message.size();
}

task<> send_only_descriptors(connection_state* s, std::span<const int> descriptors) {
    connection_use in_use(s);
    require_descriptors(*s);
    permit turn = co_await s->to_send.take();
    s->check_send();
    co_await write_descriptors(*s, descriptors);
}

task<std::vector<descriptor>> receive_only_descriptors(connection_state* s) {
    connection_use in_use(s);
    require_exact(*s);
    permit turn = co_await s->to_receive.take();
    s->check_receive();
    co_return co_await read_descriptors(*s);
}

// Somebody who receives meanwhile may read ahead what is waited for: so nobody does.
task<> something_in_turn(connection_state& s) {
    permit turn = co_await s.to_receive.take();
    if (!has_something(s))
        co_await weft::readable(s.fd());
}

task<> something_comes(connection_state& s) {
    if (s.reads_ahead)
        co_await something_in_turn(s);
    else
        co_await weft::readable(s.fd());
}

task<bool> something_there_by(connection_state* s, time_point deadline) {
    connection_use in_use(s);
    s->check_receive();
    if (has_something(*s))
        co_return true;
    if (deadline <= now())
        co_return false;
    auto wait = with_deadline(deadline, something_comes(*s));
    try {
        co_await std::move(wait);
    } catch (const timeout_error&) {
        co_return false;
    }
    co_return true;
}

task<> something_there(connection_state* s) {
    static_cast<void>(co_await something_there_by(s, never));
}

} // namespace

task<> send_message(connection_state* s, std::span<const std::byte> message) {
    connection_use in_use(s);
    permit turn = co_await s->to_send.take();
    s->check_send();
    const frame_header header(message.size());
    const std::size_t of_head = header.bytes().size();
    std::array<const_buffer, 2> parts{const_buffer(header.bytes()), const_buffer(message)};
    message_guard guard(*s);
    std::size_t n = 0;
    if (s->over != channel::pipe) { // here and not in another coroutine: most messages are small
        n = co_await begin_sending_op(s->fd(), parts, of_head + message.size());
        guard.begun();
    }
    if (n == of_head + message.size())
        guard.whole();
    else
        co_await write_rest(*s, without_front(parts, n), of_head - std::min(n, of_head), guard);
}

task<> send_encoded(connection_state* s, byte_buffer message) {
    co_await send_message(s, message.bytes());
}

task<> send_gathered(connection_state* s, archive_writer message) {
    auto pieces = message.pieces();
    std::vector<const_buffer> parts(1);
    parts.insert(parts.end(), pieces.begin(), pieces.end());
    connection_use in_use(s);
    permit turn = co_await s->to_send.take();
    s->check_send();
    co_await write_message(*s, std::span(parts));
}

task<byte_buffer> receive_message(connection_state* s, std::uint64_t limit) {
    connection_use in_use(s);
    permit turn = co_await s->to_receive.take();
    s->check_receive();
    if (s->without_descriptors)
        co_return take_without_descriptors(*s);
    if (s->early_descriptors)
        throw state_error("descriptors came, and wait to be received, before the next message");
    limit = std::min(limit, s->limit);
    s->ahead.feed(s->incoming, s->limit);
    bool is_first = !s->incoming.begun() && s->over != channel::pipe;
    if (is_first) {
        std::size_t n = co_await first_piece_op(*s);
        took(*s, n);
        // The rest is most likely there, too.
        if (!is_here(*s, limit))
            s->commit(received_at_once(*s, s->space()));
    }
    if (!is_here(*s, limit)) {
        co_await read_rest(*s, limit);
    } else if (!is_first && !may_go_on()) {
        s->note_held(); // a stop may come
        co_await yield();
    }
    byte_buffer message = s->incoming.take();
    s->note_held();
    co_return message;
}

} // namespace detail

connection::connection() noexcept = default;
connection::connection(descriptor d, const connection_options& options)
    : state_(std::make_unique<detail::connection_state>(std::move(d), options)) {}
connection::connection(connection&& other) noexcept = default;
connection& connection::operator=(connection&& other) noexcept = default;
connection::~connection() = default;

task<> connection::send_bytes(std::span<const std::byte> message) {
    return detail::send_message(state_.get(), message);
}

task<> connection::send_bytes(std::span<const std::byte> message,
                              std::span<const int> descriptors) {
    return detail::send_with(state_.get(), message, descriptors);
}

task<byte_buffer> connection::receive_bytes(std::uint64_t limit) {
    return detail::receive_message(state_.get(), limit);
}

task<std::size_t> connection::receive_into(std::span<std::byte> into) {
    return detail::receive_into(state_.get(), into);
}

task<message_with_descriptors> connection::receive_with_descriptors(std::uint64_t limit) {
    return detail::receive_with(state_.get(), limit);
}

task<> connection::send_descriptors(std::span<const int> descriptors) {
    return detail::send_only_descriptors(state_.get(), descriptors);
}

task<std::vector<descriptor>> connection::receive_descriptors() {
    return detail::receive_only_descriptors(state_.get());
}

bool connection::ready() const {
    detail::connection_use in_use(state_.get());
    state_->check_receive();
    return detail::has_something(*state_);
}

task<> connection::readable() { return detail::something_there(state_.get()); }

task<bool> connection::readable_until(time_point deadline) {
    return detail::something_there_by(state_.get(), deadline);
}

void connection::close() {
    if (state_)
        state_->close();
}

descriptor connection::release() {
    if (!state_)
        throw state_error("there is no connection");
    return state_->release();
}

bool connection::is_open() const noexcept { return state_ && state_->is_open(); }
bool connection::can_send() const noexcept { return is_open() && state_->sends; }
bool connection::can_receive() const noexcept { return is_open() && state_->receives; }

int connection::fd() const {
    if (!is_open())
        throw state_error("the connection is closed");
    return state_->fd();
}

std::pair<connection, connection> make_connection_pair(const connection_options& options) {
    auto [a, b] = unix_stream_pair();
    return {connection(a.release(), options), connection(b.release(), options)};
}

std::pair<connection, connection> make_one_way_connection(const connection_options& options) {
    auto [out, in] = make_pipe();
    return {connection(out.release(), options), connection(in.release(), options)};
}

} // namespace weft::ipc
