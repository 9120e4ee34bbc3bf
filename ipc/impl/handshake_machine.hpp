// SPDX-License-Identifier: MIT
// The handshake without I/O: messages in, messages out.
//
// The 40 bytes of a challenge are 24 random ones and the first 16 of a keyed digest over them and
// the role of who made them. To others they are random bytes; but whoever knows the key recognises
// a challenge of its own side, which somebody without the key has sent back to be answered.
//
// Threads:      one. Cancellation: none. Errors: unavailable_error; else it says that it failed.
// Cost:         no allocation. Source: Python's multiprocessing.connection.
#pragma once
#include "digest.hpp"

#include <weft/ipc/handshake.hpp>

#include <array>
#include <cstddef>
#include <span>

namespace weft::ipc::detail {

/// No message of a handshake is longer.
inline constexpr std::size_t longest_handshake_message = 256;

class handshake_machine {
public:
    static constexpr std::size_t nonce_size = 24;
    enum class half : std::uint8_t { none, deliver, answer };
    enum class step : std::uint8_t { send, receive, done, failed };

    /// `nonce`: random bytes for the challenge. The key must outlive the machine.
    handshake_machine(handshake_role own, half first, half second, const secret_bytes& key,
                      bool allow_md5, std::span<const std::byte, nonce_size> nonce);

    /// What is to be done next.
    [[nodiscard]] step next() const noexcept;
    /// The message to send.
    [[nodiscard]] std::span<const std::byte> message() const noexcept {
        return std::span(out_).first(out_size_);
    }
    void sent();
    void received(std::span<const std::byte> message);
    /// Why it failed.
    [[nodiscard]] const char* reason() const noexcept { return reason_; }

private:
    enum class at : std::uint8_t {
        send_challenge,
        receive_response,
        send_welcome,
        send_failure,
        receive_challenge,
        send_response,
        receive_verdict,
        done,
        failed
    };

    void begin(half h);
    void end_half();
    void fail(const char* reason) noexcept;
    void put(std::span<const std::byte> bytes) noexcept;
    void put(std::string_view text) noexcept;
    [[nodiscard]] mac role_tag(std::span<const std::byte> nonce) const;
    [[nodiscard]] bool is_ours(std::span<const std::byte> challenge) const;
    void judge(std::span<const std::byte> response);
    void answer(std::span<const std::byte> challenge);

    const secret_bytes& key_;
    std::array<std::byte, nonce_size> nonce_{};
    std::array<std::byte, 64> out_{};
    std::array<std::byte, 48> challenge_{}; // that was sent, without its literal
    std::size_t out_size_ = 0;
    const char* reason_ = "";
    handshake_role own_;
    half second_;
    at at_ = at::done;
    bool allow_md5_;
};

} // namespace weft::ipc::detail
