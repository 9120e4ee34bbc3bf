// SPDX-License-Identifier: MIT
#include <weft/ipc/archive.hpp>

#include <cstdlib>
#include <limits>
#include <new>
#include <string>

namespace weft::ipc {

void byte_buffer::free_memory() noexcept {
    if (is_large_)
        large_->give_back(data_);
    else
        std::free(data_);
}

bool byte_buffer::move_to_large(std::size_t capacity) noexcept {
    if (large_ == nullptr || capacity < least_)
        return false;
    std::byte* at = large_->take(capacity);
    if (at == nullptr)
        return false;
    if (size_ != 0)
        std::memcpy(at, data_, size_);
    free_memory();
    data_ = at;
    capacity_ = capacity;
    is_large_ = true;
    return true;
}

void byte_buffer::reserve(std::size_t capacity) {
    if (capacity <= capacity_ || move_to_large(capacity))
        return;
    auto* moved = static_cast<std::byte*>(std::realloc(is_large_ ? nullptr : data_, capacity));
    if (moved == nullptr)
        throw std::bad_alloc();
    if (is_large_) {
        std::memcpy(moved, data_, size_);
        large_->give_back(data_);
        is_large_ = false;
    }
    data_ = moved;
    capacity_ = capacity;
}

void byte_buffer::grow(std::size_t n) {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 2;
    if (n > most - size_)
        throw std::bad_alloc();
    std::size_t doubled = capacity_ < 128 ? 256 : capacity_ * 2;
    reserve(doubled < size_ + n ? size_ + n : doubled);
}

void nesting::too_deep() { throw codec_error("values lie too deep inside of each other"); }

void archive_writer::borrow(std::span<const std::byte> bytes) {
    borrowed_.push_back({bytes_.size(), bytes});
    elsewhere_ += bytes.size();
}

std::vector<std::span<const std::byte>> archive_writer::pieces() const {
    std::vector<std::span<const std::byte>> all;
    all.reserve(2 * borrowed_.size() + 1);
    std::size_t from = headroom_;
    auto written_up_to = [&](std::size_t to) {
        if (to != from)
            all.push_back(bytes_.bytes().subspan(from, to - from));
        from = to;
    };
    for (const block& b : borrowed_) {
        written_up_to(b.at);
        all.push_back(b.bytes);
    }
    written_up_to(bytes_.size());
    return all;
}

namespace {

attachments& list_or_throw(attachments* list) {
    if (list == nullptr)
        throw codec_error("what is more than bytes, such as a connection, can be handed to another "
                          "process only when that is made");
    return *list;
}

// Growth times the size, without overflow.
std::uint64_t budget(std::uint64_t size, const archive_limits& limits) noexcept {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    if (limits.growth != 0 && size > (most - limits.allowance) / limits.growth)
        return most;
    return size * limits.growth + limits.allowance;
}

} // namespace

attachments& archive_writer::carried() const { return list_or_throw(carried_); }
attachments& archive_reader::carried() const { return list_or_throw(carried_); }

archive_reader::archive_reader(std::span<const std::byte> message,
                               const archive_limits& limits) noexcept
    : message_(message), memory_left_(budget(message.size(), limits)), depth_left_(limits.depth) {}

std::size_t archive_reader::read_count(std::size_t least_size, std::size_t decoded_size) {
    auto n = read_value<std::uint64_t>();
    if (least_size != 0 && n > left() / least_size)
        throw codec_error("a count of " + std::to_string(n) + " elements, but only " +
                          std::to_string(left()) + " bytes are left");
    charge(n, decoded_size);
    return n;
}

void archive_reader::charge(std::size_t count, std::size_t size) {
    if (size != 0 && count > memory_left_ / size)
        throw codec_error("decoding would take far more memory than the message");
    memory_left_ -= count * size;
}

void archive_reader::finish() const {
    if (left() != 0)
        throw codec_error(std::to_string(left()) + " bytes are left over");
}

void archive_reader::too_short(std::size_t wanted) const {
    throw codec_error(std::to_string(wanted) + " bytes wanted, but only " + std::to_string(left()) +
                      " are left");
}

} // namespace weft::ipc
