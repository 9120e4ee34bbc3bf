// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/atomics.hpp>

#include <sched.h>
#include <time.h>

namespace weft::detail {

namespace {

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

constexpr unsigned spinning_rounds = 6;
constexpr unsigned yielding_rounds = 64;

} // namespace

void std_atomics::pause(unsigned round) noexcept {
    if (round < spinning_rounds) {
        for (unsigned n = 1u << round; n != 0; --n)
            relax();
    } else if (round < yielding_rounds) {
        ::sched_yield();
    } else {
        const timespec a_while{0, 50'000};
        ::nanosleep(&a_while, nullptr);
    }
}

} // namespace weft::detail
