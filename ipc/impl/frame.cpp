// SPDX-License-Identifier: MIT
#include "frame.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cstring>

namespace weft::ipc::detail {

namespace {

constexpr std::uint64_t longest_short = 0x7fffffff;
constexpr std::uint32_t extended = 0xffffffff;
// How much memory is reserved beyond what has come, at least.
constexpr std::size_t ahead = std::size_t{64} * 1024;

void put_big_endian(std::byte* at, std::size_t size, std::uint64_t value) noexcept {
    for (std::size_t i = 0; i != size; ++i)
        at[i] = static_cast<std::byte>(value >> (8 * (size - 1 - i)));
}

std::uint64_t get_big_endian(const std::byte* at, std::size_t size) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i != size; ++i)
        value = value << 8 | static_cast<std::uint64_t>(at[i]);
    return value;
}

} // namespace

frame_header::frame_header(std::uint64_t length) noexcept : size_(length > longest_short ? 12 : 4) {
    if (size_ == 4) {
        put_big_endian(raw_.data(), 4, length);
    } else {
        put_big_endian(raw_.data(), 4, extended);
        put_big_endian(raw_.data() + 4, 8, length);
    }
}

std::span<std::byte> frame_reader::space() {
    if (!length_)
        return std::span(header_).subspan(have_, wanted_ - have_);
    std::uint64_t missing = *length_ - filled_;
    if (filled_ == body_.size() && missing != 0) {
        std::size_t room = std::min<std::uint64_t>(missing, std::max(filled_, ahead));
        body_.reserve(filled_ + room);
        static_cast<void>(body_.extend(room));
    }
    return body_.bytes().subspan(filled_);
}

void frame_reader::commit(std::size_t n) noexcept {
    if (length_) {
        filled_ += n;
        return;
    }
    have_ += n;
    if (have_ < wanted_)
        return;
    if (have_ == 12) {
        length_ = get_big_endian(header_.data() + 4, 8);
        return;
    }
    std::uint64_t first = get_big_endian(header_.data(), 4);
    if (first == extended)
        wanted_ = 12;
    else if (first > longest_short)
        bad_ = true; // a negative length
    else
        length_ = first;
}

void frame_reader::check() const {
    if (bad_)
        throw protocol_error("a message of a negative length came over a connection");
}

byte_buffer frame_reader::take() noexcept {
    WEFT_ASSERT(complete(), "a message was taken before it was complete");
    byte_buffer message = std::move(body_);
    body_ = byte_buffer();
    have_ = filled_ = 0;
    wanted_ = 4;
    length_.reset();
    return message;
}

std::span<std::byte> bytes_ahead::space() {
    WEFT_ASSERT(empty(), "what came ahead was to be overwritten");
    if (!bytes_)
        bytes_ = std::make_unique_for_overwrite<std::byte[]>(most);
    return {bytes_.get(), most};
}

void bytes_ahead::feed(frame_reader& r, std::uint64_t limit) {
    while (!empty() && !r.complete() && !r.bad() && r.length().value_or(0) <= limit) {
        std::span<std::byte> room = r.space();
        std::size_t n = std::min(room.size(), end_ - first_);
        std::memcpy(room.data(), bytes_.get() + first_, n);
        r.commit(n);
        first_ += n;
    }
}

} // namespace weft::ipc::detail
