// SPDX-License-Identifier: MIT
// How tests of primitives wait: for a condition, never for time to pass, and with a bound. And
// random numbers for those that mix things, with the seed printed.
//
//     weft::task<> a_test(weft::mutex& m) {
//         co_await weft::tests::until([&] { return m.waiting() == 3; });
//     }
//
// Threads:      any. Cancellation: until() can be stopped at each look.
// Errors:       std::runtime_error when the bound is over.
// Cost:         the processor's time, meanwhile. Source: none.
#pragma once
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <random>
#include <stdexcept>
#include <thread>

namespace weft::tests {

/// Far beyond what any condition takes, also with sanitizers on a busy machine.
inline constexpr std::chrono::seconds patience{40};

/// Lets other tasks run until it is so.
template <class Condition>
task<> until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end)
            throw std::runtime_error("a condition didn't come true");
        co_await yield();
    }
}

/// On a plain thread.
template <class Condition>
void until_here(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end)
            throw std::runtime_error("a condition didn't come true");
        std::this_thread::yield();
    }
}

/// A new seed, or that of the failure to look at: WEFT_TEST_SEED=17 sync_tests ...
inline unsigned new_seed() {
    const char* given = std::getenv("WEFT_TEST_SEED");
    unsigned seed = given == nullptr ? std::random_device()()
                                     : static_cast<unsigned>(std::strtoul(given, nullptr, 10));
    std::cout << "WEFT_TEST_SEED=" << seed << '\n';
    return seed;
}

/// Numbers for one task or thread.
class dice {
public:
    dice(unsigned seed, unsigned who) : engine_(seed * 7919u + who) {}
    /// From 0 to n - 1.
    unsigned below(unsigned n) { return static_cast<unsigned>(engine_() % n); }
    /// Short enough to end in the middle of what others do.
    std::chrono::microseconds moment() { return std::chrono::microseconds(below(120)); }

private:
    std::minstd_rand engine_;
};

/// From here on, for as long as a test that mixes things goes on.
class mixing_time {
public:
    mixing_time() : end_(std::chrono::steady_clock::now() + std::chrono::milliseconds(700)) {}
    [[nodiscard]] bool over() const { return std::chrono::steady_clock::now() >= end_; }

private:
    std::chrono::steady_clock::time_point end_;
};

} // namespace weft::tests
