// SPDX-License-Identifier: MIT
#include "support/heap_count.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEFT_COUNTED_HEAP 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_COUNTED_HEAP 0
#endif
#endif
#ifndef WEFT_COUNTED_HEAP
#define WEFT_COUNTED_HEAP 1
#endif

namespace weft::tests {
namespace {
constinit std::atomic<std::uint64_t> count{0};
} // namespace

std::uint64_t allocations() noexcept { return count; }
bool allocations_are_counted() noexcept { return WEFT_COUNTED_HEAP != 0; }

} // namespace weft::tests

#if WEFT_COUNTED_HEAP
// In place of the standard library's. Those of arrays and those that don't throw end here too.
void* operator new(std::size_t size) {
    weft::tests::count.fetch_add(1, std::memory_order_relaxed);
    if (void* p = std::malloc(size == 0 ? 1 : size))
        return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
#endif
