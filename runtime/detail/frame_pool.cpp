// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/frame_pool.hpp>

#include <weft/runtime/detail/atomics.hpp>

#include <mutex>

namespace weft::detail {

constinit thread_local thread_state this_thread_state{};

namespace {

constexpr std::uint32_t batch_size = frame_cache_limit / 2;
constexpr std::size_t chunk_size = 64 * 1024;

// Chunks are linked so that a leak checker sees them; they live as long as the process.
struct chunk {
    chunk* next;
    alignas(std::max_align_t) std::byte space[1];
};

struct shared_pool {
    // Not a mutex: it would make a system call whenever two threads meet, and a post to a busy
    // loop is to make none.
    short_lock<> lock;
    free_block* batches = nullptr; // a stack of full batches
};

// Not destroyed: threads may free frames while the program's statics are being torn down.
struct central {
    shared_pool pools[frame_classes];
    std::mutex chunk_mutex;
    chunk* chunks = nullptr;
};
central& shared() noexcept {
    alignas(central) static std::byte space[sizeof(central)];
    static central* const c = new (space) central;
    return *c;
}

void give_batch(std::size_t index, free_block* first, std::uint32_t count) noexcept {
    first->count = count;
    shared_pool& pool = shared().pools[index];
    short_hold held(pool.lock);
    first->next_batch = pool.batches;
    pool.batches = first;
}

// Not a member of the guard below: what a destructor stores in its object is dead for the compiler.
constinit thread_local bool exiting = false;

// Gives back what a thread holds when it ends.
struct flush_at_exit {
    flush_at_exit() noexcept = default;
    flush_at_exit(const flush_at_exit&) = delete;
    flush_at_exit& operator=(const flush_at_exit&) = delete;
    ~flush_at_exit() {
        for (std::size_t i = 0; i < frame_classes; ++i) {
            frame_cache& cache = this_thread_state.frames[i];
            if (cache.head != nullptr)
                give_batch(i, cache.head, cache.count);
            cache.head = nullptr;
            // Frames freed by later destructors of this thread go straight to the shared pool.
            cache.count = frame_cache_limit;
        }
        exiting = true;
    }
    /// The first call for a thread constructs the guard, and with that registers its destructor.
    void attach() const noexcept {}
};
thread_local flush_at_exit exit_guard;

} // namespace

void attach_thread_state() noexcept { exit_guard.attach(); }

void* allocate_frame_slow(std::size_t index) {
    frame_cache& cache = this_thread_state.frames[index];
    bool keep = !exiting;
    if (keep)
        exit_guard.attach();
    {
        shared_pool& pool = shared().pools[index];
        short_hold held(pool.lock);
        if (free_block* b = pool.batches) {
            pool.batches = b->next_batch;
            if (!keep) {
                if (b->next != nullptr) {
                    b->next->next_batch = pool.batches;
                    b->next->count = b->count - 1;
                    pool.batches = b->next;
                }
                return b;
            }
            cache.head = b->next;
            cache.count = b->count - 1;
            return b;
        }
    }
    std::size_t size = (index + 1) * frame_step;
    if (!keep)
        return ::operator new(size);
    void* memory = ::operator new(chunk_size);
    auto* c = static_cast<chunk*>(memory);
    {
        std::lock_guard lock(shared().chunk_mutex);
        c->next = shared().chunks;
        shared().chunks = c;
    }
    std::size_t n = (chunk_size - offsetof(chunk, space)) / size;
    std::byte* at = static_cast<std::byte*>(memory) + offsetof(chunk, space);
    free_block* head = nullptr;
    // The rest of the chunk goes into batches for the shared pool and the first into the cache,
    // linked so that blocks are handed out in the order of their addresses.
    std::uint32_t count = 0;
    for (std::size_t i = n; i-- > 1;) {
        auto* b = reinterpret_cast<free_block*>(at + i * size);
        b->next = head;
        head = b;
        ++count;
        if (count == batch_size && i > batch_size) {
            give_batch(index, head, batch_size);
            head = nullptr;
            count = 0;
        }
    }
    cache.head = head;
    cache.count = count;
    return at;
}

void release_frame_slow(std::size_t index, void* block) noexcept {
    frame_cache& cache = this_thread_state.frames[index];
    auto* b = static_cast<free_block*>(block);
    if (cache.head == nullptr) {
        b->next = nullptr;
        if (exiting) {
            give_batch(index, b, 1);
        } else { // the first that this thread frees
            exit_guard.attach();
            cache.head = b;
            cache.count = 1;
        }
        return;
    }
    free_block* first = cache.head;
    free_block* last = first;
    for (std::uint32_t i = 1; i < batch_size; ++i)
        last = last->next;
    cache.head = last->next;
    cache.count -= batch_size;
    last->next = nullptr;
    give_batch(index, first, batch_size);
    b->next = cache.head;
    cache.head = b;
    ++cache.count;
}

} // namespace weft::detail
