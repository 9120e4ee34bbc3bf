// SPDX-License-Identifier: MIT
#include "pool_frame.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace weft::detail {

namespace {
// How much memory is reserved for a payload beyond what has come of it, at least.
constexpr std::size_t ahead = 64 * 1024;
} // namespace

void finish_frame(ipc::byte_buffer& message, frame_kind kind, std::uint64_t task,
                  bool stop_seen) noexcept {
    WEFT_ASSERT(message.size() >= sizeof(frame_header), "a message has no room for its header");
    frame_header h;
    h.kind = kind;
    h.stop_seen = stop_seen ? 1 : 0;
    h.task = task;
    h.length = message.size() - sizeof h;
    std::memcpy(message.data(), &h, sizeof h);
}

// False: the payload is dropped, then.
bool frame_assembler::make_room(std::size_t capacity, std::size_t size) noexcept {
    if (current_->lacks_payload)
        return false;
    ipc::byte_buffer& payload = current_->payload.own();
    if (payload.size() >= size)
        return true;
    try {
        payload.reserve(capacity);
        static_cast<void>(payload.extend(size - payload.size()));
        return true;
    } catch (const std::bad_alloc&) {
        payload = ipc::byte_buffer();
        current_->lacks_payload = true;
        return false;
    }
}

std::span<std::byte> frame_assembler::space() {
    if (current_ && begin_ == end_ && current_->header.length - filled_ >= staging_.size()) {
        // Much is missing: receive it in place. Doubling what is there keeps the copies few and the
        // claim honest.
        std::size_t missing = current_->header.length - filled_;
        std::size_t room = std::min(missing, std::max(filled_, ahead));
        if (make_room(filled_ + room, filled_ + room)) {
            direct_ = true;
            return current_->payload.own().bytes().subspan(filled_, room);
        }
    }
    direct_ = false;
    if (begin_ == end_)
        begin_ = end_ = 0;
    if (end_ == staging_.size()) {
        std::memmove(staging_.data(), staging_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    return std::span(staging_).subspan(end_);
}

void frame_assembler::commit(std::size_t n) noexcept {
    if (direct_)
        filled_ += n;
    else
        end_ += n;
}

void frame_assembler::start_frame() {
    frame f;
    std::memcpy(&f.header, staging_.data() + begin_, sizeof f.header);
    auto kind = static_cast<std::uint16_t>(f.header.kind);
    if (f.header.magic != frame_header::right_magic || kind < 1 ||
        f.header.kind > last_frame_kind || f.header.stop_seen > 1 || f.header.unused != 0)
        throw protocol_error("bytes that are no frame came from the other end of a pool's channel");
    begin_ += sizeof f.header;
    filled_ = 0;
    current_.emplace(std::move(f));
}

std::optional<frame> frame_assembler::take() {
    if (!current_) {
        if (end_ - begin_ < sizeof(frame_header))
            return std::nullopt;
        start_frame();
    }
    if (std::size_t n = std::min<std::size_t>(end_ - begin_, current_->header.length - filled_);
        n != 0) {
        const std::size_t capacity =
            std::min<std::size_t>(current_->header.length, filled_ + std::max(n, ahead));
        if (make_room(capacity, filled_ + n))
            std::memcpy(current_->payload.own().data() + filled_, staging_.data() + begin_, n);
        begin_ += n;
        filled_ += n;
    }
    if (filled_ < current_->header.length)
        return std::nullopt;
    current_->payload.own().shrink(filled_);
    std::optional<frame> whole = std::move(current_);
    current_.reset();
    return whole;
}

} // namespace weft::detail
