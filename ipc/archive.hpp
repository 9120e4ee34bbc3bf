// SPDX-License-Identifier: MIT
// Bytes that hold values: a writer that grows, and a reader that believes nothing. What the values
// look like inside is the business of codec.hpp.
//
//     std::uint32_t round_trip() {
//         weft::ipc::archive_writer out;
//         out.write_value(std::uint32_t{7});
//         weft::ipc::archive_reader in(out.bytes());
//         auto seven = in.read_value<std::uint32_t>();
//         in.finish();                                    // bytes left over would be an error
//         return seven;
//     }
//
// Threads:      one at a time. The bytes come from the same or another process of the same program
//               and machine.
// Cancellation: none.
// Errors:       codec_error for whatever the bytes get wrong; std::bad_alloc.
// Cost:         a copy in, a copy out. Memory follows the bytes that are there, never a number that
//               stands in them.
// Source:       none; bounds as of any format that is read from strangers.
#pragma once
#include <weft/ipc/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace weft::ipc {

/// Where the memory of large messages comes from, if it isn't the heap.
class message_memory {
public:
    /// At least `size` bytes; says how many. Null: the heap is to do.
    [[nodiscard]] virtual std::byte* take(std::size_t& size) noexcept = 0;
    virtual void give_back(std::byte* at) noexcept = 0;

protected:
    ~message_memory() = default;
};

/// Bytes with one owner, which grow without being cleared first.
class byte_buffer {
public:
    byte_buffer() noexcept = default;
    /// From `least` bytes on they lie in this memory, if it has some, which outlives the buffer.
    byte_buffer(message_memory& large, std::size_t least) noexcept
        : large_(&large), least_(least) {}
    byte_buffer(byte_buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)), large_(other.large_), least_(other.least_),
          is_large_(std::exchange(other.is_large_, false)) {}
    byte_buffer& operator=(byte_buffer&& other) noexcept {
        byte_buffer(std::move(other)).swap(*this);
        return *this;
    }
    ~byte_buffer() { free_memory(); }

    [[nodiscard]] std::byte* data() noexcept { return data_; }
    [[nodiscard]] const std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::span<std::byte> bytes() noexcept { return {data_, size_}; }

    /// Makes room for exactly `capacity` bytes in all, if there is less.
    void reserve(std::size_t capacity);
    /// Adds `n` bytes of any content and gives them to be filled. Grows by doubling.
    [[nodiscard]] std::byte* extend(std::size_t n) {
        if (capacity_ - size_ < n) [[unlikely]]
            grow(n);
        std::byte* where = data_ + size_;
        size_ += n;
        return where;
    }
    /// Keeps the first `n` bytes.
    void shrink(std::size_t n) noexcept { size_ = n < size_ ? n : size_; }
    void swap(byte_buffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        std::swap(large_, other.large_);
        std::swap(least_, other.least_);
        std::swap(is_large_, other.is_large_);
    }
    /// Whether they lie in the memory for large ones.
    [[nodiscard]] bool is_large() const noexcept { return is_large_; }
    /// Leaves that memory to somebody else.
    void let_go() noexcept {
        data_ = nullptr;
        size_ = capacity_ = 0;
        is_large_ = false;
    }

private:
    void grow(std::size_t n);
    bool move_to_large(std::size_t capacity) noexcept;
    void free_memory() noexcept;

    std::byte* data_ =
        nullptr; // from malloc, so that large blocks grow by remapping instead of copying
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
    message_memory* large_ = nullptr;
    std::size_t least_ = 0;
    bool is_large_ = false;
};

/// What a reader allows. The defaults are those of every promise about decoding.
struct archive_limits {
    unsigned depth = 100;                // values inside of values
    std::uint64_t growth = 16;           // decoded bytes for each byte of the message ...
    std::uint64_t allowance = 64 * 1024; // ... and on top of that
};

/// Counts how deep values lie inside each other, in a writer or a reader.
class nesting {
public:
    explicit nesting(unsigned& left) : left_(left) {
        if (left_ == 0)
            too_deep();
        --left_;
    }
    nesting(const nesting&) = delete;
    nesting& operator=(const nesting&) = delete;
    ~nesting() { ++left_; }

private:
    [[noreturn]] static void too_deep();
    unsigned& left_;
};

class attachments;

class archive_writer {
public:
    archive_writer() noexcept = default;
    /// Leaves large blocks of values where they are, for who sends a message in pieces. They must
    /// stay there until that is done.
    static constexpr struct gather_t {
    } gather{};
    explicit archive_writer(gather_t) noexcept : gathers_(true) {}
    /// What is shorter is copied.
    static constexpr std::size_t least_block = 4096;
    /// `headroom` bytes stay free in front, for whoever sends the bytes. Alignment counts from
    /// behind them.
    explicit archive_writer(std::size_t headroom) : archive_writer(headroom, byte_buffer()) {}
    /// The same in a buffer that is empty.
    archive_writer(std::size_t headroom, byte_buffer in)
        : bytes_(std::move(in)), headroom_(headroom) {
        std::memset(bytes_.extend(headroom), 0, headroom);
    }

    void write(std::span<const std::byte> bytes) {
        if (!bytes.empty())
            std::memcpy(bytes_.extend(bytes.size()), bytes.data(), bytes.size());
    }
    /// The same, for what is part of the value that is being sent, and not made for the purpose.
    void write_block(std::span<const std::byte> bytes) {
        if (gathers_ && bytes.size() >= least_block)
            borrow(bytes);
        else
            write(bytes);
    }
    /// The object representation of `value`.
    template <class T>
        requires std::is_trivially_copyable_v<T>
    void write_value(const T& value) {
        std::memcpy(bytes_.extend(sizeof(T)), &value, sizeof(T));
    }
    void write_count(std::size_t n) { write_value(static_cast<std::uint64_t>(n)); }
    /// Fills with zeros up to a multiple of `alignment`.
    void align(std::size_t alignment) {
        std::size_t n = (alignment - size() % alignment) % alignment;
        if (n != 0)
            std::memset(bytes_.extend(n), 0, n);
    }

    [[nodiscard]] nesting nest() { return nesting(depth_left_); }

    /// While it lives, nothing is left where it is.
    class copying {
    public:
        explicit copying(archive_writer& w) noexcept : of_(w), before_(w.gathers_) {
            w.gathers_ = false;
        }
        copying(const copying&) = delete;
        copying& operator=(const copying&) = delete;
        ~copying() { of_.gathers_ = before_; }

    private:
        archive_writer& of_;
        bool before_;
    };

    /// Says that descriptors may go along: they are put into this list.
    void carry(attachments& list) noexcept { carried_ = &list; }
    /// The list. Throws codec_error if the bytes go where descriptors can't.
    [[nodiscard]] attachments& carried() const;

    /// How many bytes were written, without the headroom.
    [[nodiscard]] std::size_t size() const noexcept {
        return bytes_.size() - headroom_ + elsewhere_;
    }
    /// All of it in order, of a writer that gathers. They end with it.
    [[nodiscard]] std::vector<std::span<const std::byte>> pieces() const;
    // What follows is for writers that don't gather.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return bytes_.bytes().subspan(headroom_);
    }
    /// Everything, the headroom included.
    [[nodiscard]] byte_buffer take() noexcept { return std::move(bytes_); }
    /// Forgets what was written after the first `n` bytes.
    void rewind(std::size_t n) noexcept { bytes_.shrink(headroom_ + n); }

private:
    struct block {
        std::size_t at; // so many bytes of bytes_ come before it
        std::span<const std::byte> bytes;
    };
    void borrow(std::span<const std::byte> bytes);

    byte_buffer bytes_;
    std::vector<block> borrowed_;
    std::size_t elsewhere_ = 0; // bytes in those
    bool gathers_ = false;
    std::size_t headroom_ = 0;
    attachments* carried_ = nullptr;
    unsigned depth_left_ = archive_limits().depth;
};

class archive_reader {
public:
    explicit archive_reader(std::span<const std::byte> message,
                            const archive_limits& limits = archive_limits()) noexcept;

    /// The next `n` bytes; they live as long as the message.
    [[nodiscard]] std::span<const std::byte> read(std::size_t n) {
        if (n > left())
            too_short(n);
        auto found = message_.subspan(at_, n);
        at_ += n;
        return found;
    }
    template <class T>
        requires std::is_trivially_copyable_v<T>
    [[nodiscard]] T read_value() {
        alignas(T) std::byte raw[sizeof(T)];
        std::memcpy(raw, read(sizeof(T)).data(), sizeof(T));
        return *std::launder(reinterpret_cast<T*>(raw));
    }
    /// A count of elements which take at least `least_size` bytes each in the message and
    /// `decoded_size` in memory.
    [[nodiscard]] std::size_t read_count(std::size_t least_size, std::size_t decoded_size);
    void align(std::size_t alignment) {
        std::size_t n = (alignment - at_ % alignment) % alignment;
        if (n != 0)
            static_cast<void>(read(n));
    }
    /// Says that decoding takes memory that read_count hasn't counted.
    void charge(std::size_t count, std::size_t size);

    [[nodiscard]] nesting nest() { return nesting(depth_left_); }

    /// Says which descriptors came along.
    void carry(attachments& list) noexcept { carried_ = &list; }
    /// The list. Throws codec_error if none came.
    [[nodiscard]] attachments& carried() const;

    [[nodiscard]] std::size_t left() const noexcept { return message_.size() - at_; }
    /// The message must be used up.
    void finish() const;

private:
    [[noreturn]] void too_short(std::size_t wanted) const;

    std::span<const std::byte> message_;
    std::size_t at_ = 0;
    attachments* carried_ = nullptr;
    std::uint64_t memory_left_;
    unsigned depth_left_;
};

} // namespace weft::ipc
