// SPDX-License-Identifier: MIT
#include "support/heap_count.hpp"

#include "support/sanitizer.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace weft::tests {
namespace {
constinit std::atomic<std::uint64_t> count{0};
} // namespace

std::uint64_t allocations() noexcept { return count; }
bool allocations_are_counted() noexcept { return !sanitized; }

} // namespace weft::tests

#if !defined(WEFT_ADDRESS_SANITIZER) && !defined(WEFT_THREAD_SANITIZER)
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
