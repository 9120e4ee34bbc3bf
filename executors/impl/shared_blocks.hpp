// SPDX-License-Identifier: MIT
// Blocks of shared memory for messages that are too large for a slot. Who sends encodes into a
// block, and who receives reads it there, so such a message is written once. Blocks are kept and
// used again; those that weren't used for a while, and those that are too large to be kept, are
// given back to the system. The other process gets the descriptor of each with the first message
// that lies in it, and keeps it mapped if it will be used again.
//
//     shared_blocks mine({most, kept});
//     weft::ipc::archive_writer out(sizeof(frame_header),
//                                   weft::ipc::byte_buffer(mine, shared_blocks::least));
//
// Threads:      shared_blocks: any. The rest: one at a time; a lease may end on any thread.
// Cancellation: none.
// Errors:       None here: without memory, descriptors or room the message lies in the heap, as
//               others. What receives throws std::system_error if it can't have a block, and
//               protocol_error for what is none.
// Cost:         five system calls for a new block and its pages, none for one that is used again.
// Source:       none.
#pragma once
#include <weft/executors/detail/pool_message.hpp>
#include <weft/ipc/archive.hpp>
#include <weft/ipc/shared_memory.hpp>
#include <weft/runtime/descriptor.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace weft::detail {

struct block_bounds {
    std::size_t most = 0; // bytes of all together
    std::size_t kept = 0; // of those that nobody uses; half of it, of one that is used again
};

/// Blocks that this process writes.
class shared_blocks final : public ipc::message_memory {
public:
    /// A message of this size goes into a block.
    static constexpr std::size_t least = std::size_t{64} << 10;
    static constexpr std::size_t most_blocks = 64;
    /// Who has blocks calls drop_unused() so often.
    static constexpr std::chrono::milliseconds trim_every{500};

    explicit shared_blocks(const block_bounds& bounds) noexcept;
    shared_blocks(const shared_blocks&) = delete;
    shared_blocks& operator=(const shared_blocks&) = delete;
    ~shared_blocks() = default;

    std::byte* take(std::size_t& size) noexcept override;
    void give_back(std::byte* at) noexcept override;
    /// Moves a message there that lies elsewhere, if there is room for it now.
    void adopt(ipc::byte_buffer& message) noexcept;

    struct place {
        std::uint64_t id = 0; // 0: it isn't in a block. Of equal ones modulo most_blocks one exists
        int fd = -1;
        std::size_t size = 0;
        bool stays = false; // it will be used again
    };
    /// Where a message lies.
    [[nodiscard]] place find(const std::byte* at) const noexcept;
    /// The other process has it now, and says in the block itself when it is done.
    void lend(const std::byte* at) noexcept;

    /// The other process may not have got what it was lent, and then never says that it is done.
    void forget_lent() noexcept;

    /// Those that nobody uses, and nobody has used since this was called before, go back to the
    /// system.
    void drop_unused() noexcept;
    /// Bytes of all that there are.
    [[nodiscard]] std::size_t size() const noexcept;

private:
    struct block {
        ipc::shared_memory memory;
        std::uint64_t id;
        bool taken; // by us
        bool used;  // since drop_unused()
        [[nodiscard]] bool holds(const std::byte* at) const noexcept;
        [[nodiscard]] bool is_free() const noexcept;
        void give_pages_back() const noexcept;
    };
    [[nodiscard]] block* at_place_of(const std::byte* at) noexcept;
    [[nodiscard]] bool may_stay(const block& b) const noexcept {
        return b.memory.size() <= bounds_.kept / 2;
    }
    [[nodiscard]] block* make(std::size_t size) noexcept;
    void drop_free(std::size_t bytes_left, std::size_t blocks_left) noexcept;

    const block_bounds bounds_;
    const std::uint64_t longest_file_; // that the system lets this process make
    mutable std::mutex mutex_;
    std::vector<block> blocks_;
    std::uint64_t places_ = 0; // those that are in use, a bit each
    std::uint64_t made_ = 0;
};

/// What a process has by the blocks' ids: one for each place.
template <class T>
class block_places {
public:
    [[nodiscard]] T* find(std::uint64_t id) noexcept {
        auto& place = places_[id % shared_blocks::most_blocks];
        return id != 0 && place.first == id ? &place.second : nullptr;
    }
    T& put(std::uint64_t id, T value) noexcept {
        auto& place = places_[id % shared_blocks::most_blocks];
        place = std::pair<std::uint64_t, T>(id, std::move(value));
        return place.second;
    }
    void clear() noexcept { *this = block_places(); }

private:
    std::array<std::pair<std::uint64_t, T>, shared_blocks::most_blocks> places_{};
};

// --- The other end -------------------------------------------------------------------------------

/// A block of the other process.
class block_mapping {
public:
    block_mapping() noexcept = default;
    /// To be read. `size` is what its owner says, who is to be believed.
    [[nodiscard]] static block_mapping to_read(const descriptor& block, std::size_t size);
    /// To be lent. Nobody is believed.
    [[nodiscard]] static block_mapping of_stranger(const descriptor& block);
    block_mapping(block_mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    block_mapping& operator=(block_mapping&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~block_mapping();
    /// The payload of a message of `length` bytes. Throws protocol_error if it isn't in there.
    [[nodiscard]] std::span<const std::byte> message(std::uint64_t length) const;

private:
    friend class block_lease;
    block_mapping(const descriptor& block, std::size_t size, int protection);

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Sends the descriptor of a block. False: that doesn't work, or not now.
[[nodiscard]] bool send_block(int socket, const shared_blocks::place& of) noexcept;

struct received_block {
    descriptor fd;
    std::size_t size = 0; // as it was said
};
/// Receives one that must be there. Throws protocol_error if it isn't that one, std::system_error
/// if this process can't have it.
[[nodiscard]] received_block receive_block(int socket, std::uint64_t id);

} // namespace weft::detail
