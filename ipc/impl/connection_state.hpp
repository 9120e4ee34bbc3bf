// SPDX-License-Identifier: MIT
// What a connection is made of, and who uses it at the moment.
//
// Threads:      as connection.hpp says: incoming and its companions belong to whoever has the turn
//               to receive, may_send_ to whoever has the turn to send.
// Cancellation: none. Errors: state_error. Cost: a lock at the beginning and end of an operation.
// Source:       none.
#pragma once
#include "frame.hpp"
#include "permits.hpp"

#include <weft/ipc/connection.hpp>

#include <atomic>
#include <mutex>
#include <optional>

namespace weft::ipc::detail {

enum class channel : std::uint8_t { unix_socket, other_socket, pipe };

class connection_state {
public:
    connection_state(descriptor d, const connection_options& options);
    connection_state(const connection_state&) = delete;
    connection_state& operator=(const connection_state&) = delete;
    ~connection_state();

    // The turns.
    permits to_send{1}, to_receive{1};

    frame_reader incoming;
    /// What lies beyond the message at hand, if this connection reads ahead.
    bytes_ahead ahead;
    /// A message whose descriptors haven't come yet.
    std::optional<byte_buffer> without_descriptors;
    /// Descriptors that came when nobody had asked for them yet.
    std::optional<std::vector<descriptor>> early_descriptors;
    /// Whether a receive would end with what is here.
    [[nodiscard]] bool holds_whole() const noexcept {
        return without_descriptors || early_descriptors || incoming.complete() || incoming.bad() ||
               incoming.length().value_or(0) > limit;
    }
    /// After a change of these four: whether a receive would find something here.
    void note_held() noexcept { held_ = holds_whole() || !ahead.empty(); }
    [[nodiscard]] bool holds_something() const noexcept { return held_; }

    /// Where the next bytes of the message at hand go, and those that come with them.
    [[nodiscard]] std::span<std::byte> space() {
        std::span<std::byte> own = incoming.space();
        to_ahead_ = reads_ahead && own.size() < bytes_ahead::most;
        return to_ahead_ ? ahead.space() : own;
    }
    void commit(std::size_t n) {
        if (!to_ahead_)
            return incoming.commit(n);
        ahead.commit(n);
        ahead.feed(incoming, limit);
    }

    /// Whether the next message is likely to be here when somebody comes for it, as the last one
    /// was. Now and then one has to look.
    [[nodiscard]] bool messages_queue_up() noexcept {
        constexpr unsigned seldom = 16;
        return queue_up_ || ++not_looked_ % seldom == 0;
    }
    void note_queue(bool was_there) noexcept { queue_up_ = was_there; }

    const channel over;
    const bool sends, receives, reads_ahead;
    const std::uint64_t limit;

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Throws if nothing can be sent or received any more.
    void check_send() const;
    void check_receive() const;
    [[nodiscard]] bool may_receive() const noexcept { return receives && may_receive_; }
    /// A message was torn off: the peer must see that there is no more to it.
    void end_sending() noexcept;
    /// What comes can't be understood any more.
    void end_receiving() noexcept;
    /// Is closed as soon as nobody uses it.
    void give_up() noexcept;

    void close();
    [[nodiscard]] descriptor release();
    /// A second descriptor of it, for another process; as if it were released.
    [[nodiscard]] descriptor duplicate() const;
    [[nodiscard]] bool is_open() const noexcept;

private:
    friend class connection_use;
    void enter();
    void leave() noexcept;
    void require_unused(const char* to_do) const;
    void require_whole() const;

    // With the turn to receive.
    unsigned not_looked_ = 0;
    bool queue_up_ = false;
    bool to_ahead_ = false;

    mutable std::mutex lock_; // for what follows, up to the blank line
    descriptor fd_;
    unsigned users_ = 0;
    bool given_up_ = false;

    std::atomic<bool> held_{false};
    std::atomic<bool> may_send_{true};
    std::atomic<bool> may_receive_{true};
};

/// While it lives, the descriptor stays open. Throws state_error if it is closed already.
class connection_use {
public:
    explicit connection_use(connection_state* s);
    connection_use(connection_use&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    connection_use& operator=(connection_use&&) = delete;
    ~connection_use() {
        if (of_ != nullptr)
            of_->leave();
    }

private:
    connection_state* of_;
};

/// Whether something can be received without waiting.
[[nodiscard]] bool has_something(const connection_state& s);

/// The bytes of one message, sent in one turn.
task<> send_message(connection_state* s, std::span<const std::byte> message);

} // namespace weft::ipc::detail
