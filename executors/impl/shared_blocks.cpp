// SPDX-License-Identifier: MIT
#include "shared_blocks.hpp"

#include "pool_frame.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace weft::detail {

namespace {

// A block begins with a word that is 1 while the other process has it. The message lies behind it,
// its payload on a boundary of 64.
constexpr std::size_t before_message = 64 - sizeof(frame_header);
constexpr std::size_t page = 4096;
constexpr std::size_t most_ever = std::size_t{1} << 40;

std::atomic<std::uint32_t>& lent_word(std::byte* block) noexcept {
    return *reinterpret_cast<std::atomic<std::uint32_t>*>(block); // of zeros at first
}

// Beyond it the kernel sends a signal, so such a block isn't tried.
std::uint64_t longest_file_of_process() noexcept {
    rlimit l{};
    return ::getrlimit(RLIMIT_FSIZE, &l) == 0 ? l.rlim_cur : RLIM_INFINITY;
}

// Few different sizes of those that are kept, so that many messages fit where others were.
std::size_t size_of_block(std::size_t message, std::size_t largest_kept) noexcept {
    const std::size_t needed = std::max(message, shared_blocks::least) + before_message;
    const std::size_t step = std::max(std::bit_ceil(needed) / 8, page);
    const std::size_t rounded = (needed + step - 1) / step * step;
    return rounded <= largest_kept ? rounded : (needed + page - 1) / page * page;
}

struct block_message {
    std::uint32_t magic = frame_header::right_magic;
    std::uint32_t unused = 0;
    std::uint64_t id = 0;
    std::uint64_t size = 0;
};

} // namespace

shared_blocks::shared_blocks(const block_bounds& bounds) noexcept
    : bounds_{std::min(bounds.most, most_ever), std::min(bounds.kept, most_ever)},
      longest_file_(longest_file_of_process()) {}

bool shared_blocks::block::holds(const std::byte* at) const noexcept {
    return memory.bytes().data() + before_message == at;
}

bool shared_blocks::block::is_free() const noexcept {
    // acquire: pairs with the release of who had it; what it was reading has been read
    return !taken && lent_word(memory.bytes().data()).load(std::memory_order_acquire) == 0;
}

// The other process may have it mapped still.
void shared_blocks::block::give_pages_back() const noexcept {
    static_cast<void>(::fallocate(memory.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                  static_cast<off_t>(memory.size())));
}

shared_blocks::block* shared_blocks::at_place_of(const std::byte* at) noexcept {
    auto found = std::ranges::find_if(blocks_, [at](const block& b) { return b.holds(at); });
    return found == blocks_.end() ? nullptr : &*found;
}

std::byte* shared_blocks::take(std::size_t& size) noexcept {
    if (size > bounds_.most)
        return nullptr;
    const std::size_t whole = size_of_block(size, bounds_.kept / 2);
    std::lock_guard lock(mutex_);
    block* best = nullptr;
    for (block& b : blocks_) {
        const std::size_t has = b.memory.size();
        if (has >= whole && has / 4 <= whole && b.is_free() &&
            (best == nullptr || has < best->memory.size()))
            best = &b;
    }
    if (best == nullptr)
        best = make(whole);
    if (best == nullptr)
        return nullptr;
    best->taken = best->used = true;
    size = best->memory.size() - before_message;
    return best->memory.bytes().data() + before_message;
}

shared_blocks::block* shared_blocks::make(std::size_t size) noexcept {
    std::size_t in_use = 0;
    for (const block& b : blocks_)
        in_use += b.is_free() ? 0 : b.memory.size();
    if (size > longest_file_ || size > bounds_.most || in_use > bounds_.most - size)
        return nullptr;
    drop_free(std::min(bounds_.most - size - in_use, bounds_.kept), most_blocks - 1);
    if (blocks_.size() == most_blocks)
        return nullptr;
    const auto at = static_cast<unsigned>(std::countr_one(places_));
    try {
        blocks_.reserve(most_blocks);
        ipc::shared_memory m = ipc::shared_memory::adopt(ipc::detail::make_nameless(size));
#ifdef MADV_POPULATE_WRITE
        // Much quicker than page by page; if it isn't done, then those come when they are written.
        static_cast<void>(::madvise(m.bytes().data(), m.size(), MADV_POPULATE_WRITE));
#endif
        blocks_.push_back({std::move(m), ++made_ * most_blocks + at, false, false});
    } catch (...) { // no memory, or no descriptor
        return nullptr;
    }
    places_ |= std::uint64_t{1} << at;
    return &blocks_.back();
}

// Those that nobody uses go until so much is left of them, or nothing.
void shared_blocks::drop_free(std::size_t bytes_left, std::size_t blocks_left) noexcept {
    std::size_t free = 0;
    for (const block& b : blocks_)
        free += b.is_free() ? b.memory.size() : 0;
    std::size_t left = blocks_.size();
    std::erase_if(blocks_, [&](const block& b) {
        if (!b.is_free() || (may_stay(b) && free <= bytes_left && left <= blocks_left))
            return false;
        free -= b.memory.size();
        --left;
        b.give_pages_back();
        places_ &= ~(std::uint64_t{1} << b.id % most_blocks);
        return true;
    });
}

void shared_blocks::give_back(std::byte* at) noexcept {
    std::lock_guard lock(mutex_);
    if (block* b = at_place_of(at))
        b->taken = false;
    drop_free(bounds_.kept, most_blocks);
}

void shared_blocks::adopt(ipc::byte_buffer& message) noexcept {
    if (message.is_large() || message.size() < least)
        return;
    ipc::byte_buffer moved(*this, least);
    try {
        moved.reserve(message.size());
    } catch (const std::bad_alloc&) { // no block for it, nor anything else
        return;
    }
    if (!moved.is_large())
        return;
    std::memcpy(moved.extend(message.size()), message.data(), message.size());
    message = std::move(moved);
}

shared_blocks::place shared_blocks::find(const std::byte* at) const noexcept {
    std::lock_guard lock(mutex_);
    for (const block& b : blocks_)
        if (b.holds(at))
            return {b.id, b.memory.fd(), b.memory.size(), may_stay(b)};
    return {};
}

void shared_blocks::lend(const std::byte* at) noexcept {
    std::lock_guard lock(mutex_);
    block* b = at_place_of(at);
    if (b == nullptr)
        return;
    // Relaxed: published with the slot that says what is in the block.
    lent_word(b->memory.bytes().data()).store(1, std::memory_order_relaxed);
    b->taken = false;
    if (may_stay(*b))
        return;
    places_ &= ~(std::uint64_t{1} << b->id % most_blocks);
    blocks_.erase(blocks_.begin() + (b - blocks_.data())); // its pages are being read
}

void shared_blocks::forget_lent() noexcept {
    std::lock_guard lock(mutex_);
    std::erase_if(blocks_, [&](const block& b) {
        if (b.taken || b.is_free())
            return false;
        places_ &= ~(std::uint64_t{1} << b.id % most_blocks);
        return true; // not its pages, which may be read
    });
}

void shared_blocks::drop_unused() noexcept {
    std::lock_guard lock(mutex_);
    std::erase_if(blocks_, [&](block& b) {
        if (std::exchange(b.used, false) || !b.is_free())
            return false;
        b.give_pages_back();
        places_ &= ~(std::uint64_t{1} << b.id % most_blocks);
        return true;
    });
}

std::size_t shared_blocks::size() const noexcept {
    std::lock_guard lock(mutex_);
    std::size_t all = 0;
    for (const block& b : blocks_)
        all += b.memory.size();
    return all;
}

// --- The other end -------------------------------------------------------------------------------

block_mapping::block_mapping(const descriptor& block, std::size_t size, int protection) {
    void* at = ::mmap(nullptr, size, protection, MAP_SHARED, block.get(), 0);
    if (at == MAP_FAILED)
        throw_errno(errno, "map the memory of a large message");
    data_ = static_cast<std::byte*>(at);
    size_ = size;
}

block_mapping block_mapping::to_read(const descriptor& block, std::size_t size) {
    return {block, size, PROT_READ};
}

block_mapping block_mapping::of_stranger(const descriptor& block) {
    const int seals = ::fcntl(block.get(), F_GET_SEALS);
    struct stat s{};
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(block.get(), &s) != 0 ||
        s.st_size <= 0)
        throw protocol_error("a descriptor came that is no shared memory of a fixed size");
    return {block, static_cast<std::size_t>(s.st_size), PROT_READ | PROT_WRITE};
}

block_mapping::~block_mapping() {
    if (data_ != nullptr)
        ::munmap(data_, size_);
}

std::span<const std::byte> block_mapping::message(std::uint64_t length) const {
    constexpr std::size_t before_payload = before_message + sizeof(frame_header);
    if (size_ < before_payload || length > size_ - before_payload)
        throw protocol_error("a message is larger than the block that it is said to be in");
    return {data_ + before_payload, static_cast<std::size_t>(length)};
}

block_lease::~block_lease() {
    if (block_ != nullptr) // release: pairs with the acquire in is_free()
        lent_word(block_->data_).store(0, std::memory_order_release);
}

// --- Descriptors ---------------------------------------------------------------------------------

namespace {
union descriptor_room {
    cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};
} // namespace

bool send_block(int socket, const shared_blocks::place& of) noexcept {
    block_message said;
    said.id = of.id;
    said.size = of.size;
    iovec bytes{&said, sizeof said};
    descriptor_room room{};
    msghdr m{};
    m.msg_iov = &bytes;
    m.msg_iovlen = 1;
    m.msg_control = &room;
    m.msg_controllen = sizeof room;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &of.fd, sizeof of.fd);
    ssize_t n = 0;
    do
        n = ::sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == static_cast<ssize_t>(sizeof said); // so few bytes go at once or not at all
}

received_block receive_block(int socket, std::uint64_t id) {
    block_message said;
    iovec bytes{&said, sizeof said};
    descriptor_room room{};
    msghdr m{};
    m.msg_iov = &bytes;
    m.msg_iovlen = 1;
    m.msg_control = &room;
    m.msg_controllen = CMSG_LEN(sizeof(int)); // the room would do for two
    ssize_t n = 0;
    do
        n = ::recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    received_block got;
    for (cmsghdr* c = n < 0 ? nullptr : CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
            c->cmsg_len < CMSG_LEN(sizeof(int)))
            continue;
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
        got.fd = descriptor(fd);
    }
    if (n != static_cast<ssize_t>(sizeof said) || said.magic != frame_header::right_magic ||
        said.id != id || said.size == 0)
        throw protocol_error("what should bring a block of a pool's memory brings something else");
    if (!got.fd && (m.msg_flags & MSG_CTRUNC) != 0) // this process may have no more
        throw_errno(EMFILE, "receive the memory of a large message");
    if (!got.fd || (m.msg_flags & MSG_CTRUNC) != 0)
        throw protocol_error("the memory of a pool's message came without a descriptor");
    got.size = static_cast<std::size_t>(said.size);
    return got;
}

} // namespace weft::detail
