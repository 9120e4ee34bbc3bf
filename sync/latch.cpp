// SPDX-License-Identifier: MIT
#include <weft/sync/latch.hpp>

#include <stdexcept>

namespace weft {

namespace {

std::ptrdiff_t checked_expected(std::ptrdiff_t expected) {
    if (expected < 0)
        throw std::invalid_argument("a latch can't begin below zero");
    return expected;
}

} // namespace

latch::latch(std::ptrdiff_t expected)
    : left_(checked_expected(expected)), line_(expected == 0 ? 1 : 0) {}

latch::~latch() {
    WEFT_ASSERT(!line_.has_waiters(), "a latch was destroyed while somebody waited for it");
}

void latch::count_down(std::ptrdiff_t n) {
    if (n < 0)
        throw std::invalid_argument("a latch isn't counted up");
    std::ptrdiff_t seen = left_.load(std::memory_order_relaxed);
    do {
        if (n > seen)
            throw std::invalid_argument("a latch was counted down below zero");
        // acq_rel: who counts to zero opens the line, and so passes on what all others did before
    } while (!left_.compare_exchange_weak(seen, seen - n, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    if (seen == n && n != 0)
        line_.open(); // the last look at this object: who waited may destroy it
}

} // namespace weft
