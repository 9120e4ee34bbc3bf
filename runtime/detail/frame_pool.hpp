// SPDX-License-Identifier: MIT
// Recycles the memory of coroutine frames and of spawn records, a cache for each thread.
//
// Blocks are cut in steps of 32 bytes from chunks that stay with the process. A thread keeps a
// bounded number of free blocks of each size; what is over goes, in batches, to a pool that all
// threads share, so that a thread which only frees feeds one which only allocates. Under the
// address sanitizer every block comes from operator new, so that a use after free is seen.
//
// Threads:      any; a block may be freed on another thread than the one that it came from.
// Cancellation: none.
// Errors:       allocate throws std::bad_alloc.
// Cost:         a pop or a push on the thread's own list.
// Source:       batches between thread caches and a central list as in Bonwick's magazines (USENIX
//               2001).
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_PLAIN_FRAMES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_PLAIN_FRAMES 1
#endif
#endif
#ifndef WEFT_PLAIN_FRAMES
#define WEFT_PLAIN_FRAMES 0
#endif

namespace weft::detail {

class runner;

inline constexpr std::size_t frame_step = 32;
inline constexpr std::size_t frame_classes =
    32; // up to 1 KiB; larger blocks come from operator new

struct free_block {
    free_block* next;
    free_block* next_batch; // in the shared pool: the batch behind this one
    std::uint32_t count;    // in the shared pool: the blocks of this batch
};

/// Free blocks of one size that a thread keeps before it gives a batch away.
inline constexpr std::uint32_t frame_cache_limit = 256;

struct frame_cache {
    free_block* head = nullptr;
    // One that is empty and looks full is not in use: its thread hasn't used the pool yet, or is
    // ending.
    std::uint32_t count = frame_cache_limit;
};

/// What weft keeps for each thread. Plain data, so that reaching it costs one address computation.
struct thread_state {
    runner* current_runner = nullptr;
    frame_cache frames[frame_classes];
};

extern constinit thread_local thread_state this_thread_state;

/// Sees to it that this thread gives its free blocks back when it ends. Repeating it is harmless.
void attach_thread_state() noexcept;

void* allocate_frame_slow(std::size_t index);
void release_frame_slow(std::size_t index, void* block) noexcept;

inline void* allocate_frame(std::size_t size) {
    std::size_t index = (size - 1) / frame_step;
    if (WEFT_PLAIN_FRAMES || index >= frame_classes)
        return ::operator new(size);
    frame_cache& cache = this_thread_state.frames[index];
    free_block* b = cache.head;
    if (b == nullptr) [[unlikely]]
        return allocate_frame_slow(index);
    cache.head = b->next;
    --cache.count;
    return b;
}

inline void release_frame(void* block, std::size_t size) noexcept {
    std::size_t index = (size - 1) / frame_step;
    if (WEFT_PLAIN_FRAMES || index >= frame_classes) {
        ::operator delete(block, size);
        return;
    }
    frame_cache& cache = this_thread_state.frames[index];
    if (cache.count >= frame_cache_limit) [[unlikely]] {
        release_frame_slow(index, block);
        return;
    }
    auto* b = static_cast<free_block*>(block);
    b->next = cache.head;
    cache.head = b;
    ++cache.count;
}

/// Base of what is allocated like a frame.
struct recycled {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* block, std::size_t size) noexcept {
        release_frame(block, size);
    }
};

} // namespace weft::detail
