// SPDX-License-Identifier: MIT
#include "model/arena.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>

namespace weft::model::arena {

constinit bool in_use = false;

namespace {

constexpr std::size_t arena_size = std::size_t{64} << 20;
// Chunks of the frame pool outlast an execution: they hold the frames of the next ones.
constexpr std::size_t kept_size = std::size_t{32} << 10;
constexpr int fresh = 0xa5;
constexpr int freed = 0xdd;

constinit std::byte* begin = nullptr;
constinit std::size_t used = 0;

bool holds(const void* p) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(p);
    const auto from = reinterpret_cast<std::uintptr_t>(begin);
    return begin != nullptr && at >= from && at < from + arena_size;
}

void* take(std::size_t size, std::size_t alignment) {
    if (begin == nullptr) {
        void* memory = ::mmap(nullptr, arena_size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            throw std::bad_alloc();
        begin = static_cast<std::byte*>(memory);
    }
    // The size stands before the block.
    std::size_t at = (used + sizeof(std::size_t) + alignment - 1) / alignment * alignment;
    if (at + size > arena_size)
        throw std::bad_alloc();
    used = at + size;
    std::memcpy(begin + at - sizeof size, &size, sizeof size);
    std::memset(begin + at, fresh, size);
    return begin + at;
}

} // namespace

void reset() noexcept { used = 0; }

namespace {

void* allocate(std::size_t size, std::size_t alignment) {
    if (in_use && size < kept_size)
        return take(size, alignment);
    void* p = alignment <= alignof(std::max_align_t)
                  ? std::malloc(size)
                  : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p == nullptr && size != 0)
        throw std::bad_alloc();
    return p;
}

void give_back(void* p) noexcept {
    if (p == nullptr)
        return;
    if (!holds(p)) {
        std::free(p);
        return;
    }
    std::size_t size = 0;
    std::memcpy(&size, static_cast<std::byte*>(p) - sizeof size, sizeof size);
    std::memset(p, freed, size);
}

} // namespace
} // namespace weft::model::arena

// The other forms call these.
void* operator new(std::size_t size) {
    return weft::model::arena::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return weft::model::arena::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { weft::model::arena::give_back(p); }
void operator delete(void* p, std::size_t) noexcept { weft::model::arena::give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { weft::model::arena::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    weft::model::arena::give_back(p);
}
