// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/atomics.hpp>

#include <weft/runtime/assert.hpp>

#include <cerrno>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace weft::detail {

namespace {

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

bool ask_for_barrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

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

constinit bool std_atomics::fences_reach_all = false;

void std_atomics::prepare_fences() noexcept {
    static const bool asked =
        (fences_reach_all = ask_for_barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
    static_cast<void>(asked);
}

void std_atomics::fence_all() noexcept {
    if (!fences_reach_all)
        return;
    while (!ask_for_barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
        WEFT_ASSERT(errno == ENOMEM, "the kernel refuses a memory barrier that it had granted");
        pause(yielding_rounds);
    }
}

} // namespace weft::detail
