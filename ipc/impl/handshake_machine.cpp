// SPDX-License-Identifier: MIT
#include "handshake_machine.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/buffer.hpp>

#include <algorithm>
#include <optional>
#include <string_view>

namespace weft::ipc::detail {

namespace {

constexpr std::string_view challenge_mark = "#CHALLENGE#";
constexpr std::string_view welcome = "#WELCOME#";
constexpr std::string_view failure = "#FAILURE#";
constexpr std::size_t tag_size = 16;
constexpr std::size_t least_challenge = 20;
constexpr std::size_t longest_name = 8;

// What a challenge or a response begins with: the digest, and the bytes behind its name.
struct named {
    digest of;
    bool bare; // no name: the form of Python up to 3.11
    std::span<const std::byte> rest;
};

std::optional<named> parse(std::span<const std::byte> m) noexcept {
    if (m.size() == 16 || m.size() == 20)
        return named{digest::md5, true, m};
    std::string_view text = as_text(m);
    std::size_t end = text.substr(0, longest_name + 2).find('}');
    if (!text.starts_with('{') || end == text.npos)
        return std::nullopt;
    auto d = digest_of(text.substr(1, end - 1));
    if (!d)
        return std::nullopt;
    return named{*d, false, m.subspan(end + 1)};
}

} // namespace

handshake_machine::handshake_machine(handshake_role own, half first, half second,
                                     const secret_bytes& key, bool allow_md5,
                                     std::span<const std::byte, nonce_size> nonce)
    : key_(key), own_(own), second_(second), allow_md5_(allow_md5) {
    std::copy(nonce.begin(), nonce.end(), nonce_.begin());
    begin(first);
}

void handshake_machine::begin(half h) {
    switch (h) {
    case half::none:
        at_ = at::done;
        break;
    case half::answer:
        at_ = at::receive_challenge;
        break;
    case half::deliver:
        put(challenge_mark);
        put("{sha256}");
        put(nonce_);
        put(role_tag(nonce_).bytes().first(tag_size));
        std::copy_n(out_.begin() + challenge_mark.size(), challenge_.size(), challenge_.begin());
        at_ = at::send_challenge;
        break;
    }
}

handshake_machine::step handshake_machine::next() const noexcept {
    switch (at_) {
    case at::send_challenge:
    case at::send_welcome:
    case at::send_failure:
    case at::send_response:
        return step::send;
    case at::receive_response:
    case at::receive_challenge:
    case at::receive_verdict:
        return step::receive;
    case at::done:
        return step::done;
    case at::failed:
        break;
    }
    return step::failed;
}

void handshake_machine::sent() {
    out_size_ = 0;
    switch (at_) {
    case at::send_challenge:
        at_ = at::receive_response;
        break;
    case at::send_response:
        at_ = at::receive_verdict;
        break;
    case at::send_failure:
        at_ = at::failed;
        break;
    case at::send_welcome:
        end_half();
        break;
    default:
        WEFT_ASSERT(false, "a handshake sent what it hadn't to send");
    }
}

void handshake_machine::received(std::span<const std::byte> message) {
    switch (at_) {
    case at::receive_response:
        judge(message);
        break;
    case at::receive_challenge:
        answer(message);
        break;
    case at::receive_verdict:
        if (as_text(message) == welcome)
            end_half();
        else
            fail("the peer doesn't accept the key");
        break;
    default:
        WEFT_ASSERT(false, "a handshake received what it hadn't asked for");
    }
}

void handshake_machine::end_half() { begin(std::exchange(second_, half::none)); }

void handshake_machine::fail(const char* reason) noexcept {
    reason_ = reason;
    at_ = at::failed;
}

void handshake_machine::put(std::span<const std::byte> bytes) noexcept {
    WEFT_ASSERT(bytes.size() <= out_.size() - out_size_, "a message of a handshake is too long");
    std::copy(bytes.begin(), bytes.end(), out_.begin() + out_size_);
    out_size_ += bytes.size();
}

void handshake_machine::put(std::string_view text) noexcept { put(as_bytes(text)); }

mac handshake_machine::role_tag(std::span<const std::byte> nonce) const {
    constexpr std::string_view listener = "rolelistener";
    constexpr std::string_view client = "roleclient";
    std::string_view role = own_ == handshake_role::listener ? listener : client;
    std::array<std::byte, listener.size() + nonce_size> text{};
    auto end = std::ranges::copy(as_bytes(role), text.begin()).out;
    end = std::ranges::copy(nonce, end).out;
    return hmac(digest::sha256, key_, std::span(text.begin(), end));
}

bool handshake_machine::is_ours(std::span<const std::byte> challenge) const {
    if (challenge.size() != nonce_size + tag_size)
        return false;
    mac tag = role_tag(challenge.first(nonce_size));
    // Whether it is ours is no secret, but there is no reason to take an odd time for it either.
    std::array<std::byte, 48> expected{};
    std::ranges::copy(tag.bytes(), expected.begin());
    unsigned difference = 0;
    for (std::size_t i = 0; i != tag_size; ++i)
        difference |= static_cast<unsigned>(expected.at(i) ^ challenge[nonce_size + i]);
    return difference == 0;
}

void handshake_machine::judge(std::span<const std::byte> response) {
    auto said = parse(response);
    bool right = false;
    if (!said) {
        reason_ = "the peer answered with something that is no digest";
    } else if (said->of == digest::md5 && !allow_md5_) {
        reason_ = "the peer answered with MD5, which isn't allowed here";
    } else {
        right = hmac(said->of, key_, challenge_).equals(said->rest);
        reason_ = "the peer doesn't know the key";
    }
    put(right ? welcome : failure);
    at_ = right ? at::send_welcome : at::send_failure;
}

void handshake_machine::answer(std::span<const std::byte> message) {
    if (!as_text(message).starts_with(challenge_mark)) {
        fail("the peer sent something else than a challenge");
        return;
    }
    std::span<const std::byte> m = message.subspan(challenge_mark.size());
    auto asked = parse(m);
    if (m.size() < least_challenge || !asked) {
        fail("the peer sent a challenge that is too short or names no digest");
        return;
    }
    if (asked->of == digest::md5 && !allow_md5_) {
        fail("the peer asks for MD5, which isn't allowed here");
        return;
    }
    if (is_ours(asked->rest)) {
        fail("the peer sent back a challenge of this side");
        return;
    }
    if (!asked->bare) {
        put("{");
        put(name_of(asked->of));
        put("}");
    }
    put(hmac(asked->of, key_, m).bytes());
    at_ = at::send_response;
}

} // namespace weft::ipc::detail
