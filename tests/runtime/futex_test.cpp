// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/futex.hpp>

#include "support/audit.hpp"
#include "support/fake_kernel.hpp"
#include "support/heap_count.hpp"
#include "support/io.hpp"
#include "support/report.hpp"
#include "support/sanitizer.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <new>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace weft;
using namespace weft::tests;
using weft::detail::futex_sleepers;
using weft::detail::futex_wait;
using weft::detail::futex_wake;
using weft::detail::futex_word;

namespace {

const resident_thread futex_threads{"weft-futex"};

// In memory that children of a fork share.
class shared_words {
public:
    shared_words()
        : memory_(
              ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
        REQUIRE(memory_ != MAP_FAILED);
    }
    shared_words(const shared_words&) = delete;
    shared_words& operator=(const shared_words&) = delete;
    ~shared_words() { ::munmap(memory_, size); }
    futex_word& operator[](std::size_t i) { return static_cast<futex_word*>(memory_)[i]; }

private:
    static constexpr std::size_t size = 4096;
    void* memory_;
};

// With loops that sleep on the word itself, with the ring's operation, and without either.
constexpr kernel_feature with_threads = ~detail::ring_futexes;
constexpr kernel_feature ways[] = {kernel_feature::all, ~detail::parked_futexes, with_threads};

runtime_options with(kernel_feature way) { return {.features = way}; }

task<> until_asleep(const futex_word& word, int n) {
    return until([&word, n] { return futex_sleepers(word) == n; });
}

task<> wait_and_note(const futex_word& word, std::vector<int>& order, int who) {
    co_await futex_wait(word, 0);
    order.push_back(who);
}

task<> wait_until_open(const futex_word& word) {
    while (word.load(std::memory_order_acquire) == 0)
        co_await futex_wait(word, 0);
}

pid_t fork_and(void (*f)(shared_words&), shared_words& words) {
    pid_t child = ::fork();
    if (child == 0) {
        f(words);
        ::_exit(0);
    }
    REQUIRE(child > 0);
    return child;
}

int status_of(pid_t child) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

task<> wakes_in_order(shared_words& words) {
    std::vector<int> order;
    co_await with_task_group([&](task_group& g) -> task<> {
        for (int i = 0; i < 4; ++i) {
            g.spawn(wait_and_note(words[0], order, i));
            co_await until_asleep(words[0], i + 1);
        }
        CHECK(futex_wake(words[0], 1) == 1);
        co_await until([&] { return order.size() == 1; });
        co_await until_asleep(words[0], 3);
        CHECK(futex_wake(words[0], 2) == 2);
        co_await until([&] { return order.size() == 3; });
        co_await until_asleep(words[0], 1);
        CHECK(futex_wake(words[0], detail::everybody) == 1);
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3});
    CHECK(futex_wake(words[0], 1) == 0);
}

task<> ends_without_waiting(shared_words& words) {
    words[0] = 7;
    bool woken = co_await futex_wait(words[0], 6);
    CHECK_FALSE(woken);
    // Changed after that look, and before the kernel's. A thread that waits for it looks again when
    // it is given another word.
    std::vector<int> order;
    words[0] = 0;
    co_await with_task_group([&](task_group& g) -> task<> {
        g.spawn(wait_and_note(words[0], order, 1));
        co_await yield();
        words[0] = 1;
        g.spawn(wait_and_note(words[1], order, 2));
        co_await until([&] { return order.size() == 1 && futex_sleepers(words[1]) == 1; });
        futex_wake(words[1], 1);
    });
    CHECK(order == std::vector<int>{1, 2});
}

task<> stops(shared_words& words) {
    std::vector<int> order;
    co_await with_task_group([&](task_group& g) -> task<> {
        auto stopped = g.spawn(wait_and_note(words[0], order, 0));
        co_await until_asleep(words[0], 1);
        g.spawn(wait_and_note(words[0], order, 1));
        co_await until_asleep(words[0], 2);
        // The wake-up is for the one that is being stopped, who passes it on.
        stopped.cancel();
        if (futex_wake(words[0], 1) == 0) { // a thread was just about to wait for one word less
            co_await until_asleep(words[0], 1);
            CHECK(futex_wake(words[0], 1) == 1);
        }
        co_await until([&] { return stopped.done() && order.size() == 1; });
    });
    CHECK(order == std::vector<int>{1});
    CHECK(futex_sleepers(words[0]) == 0);

    bool late = false;
    try {
        co_await with_timeout(1ms, wait_until_open(words[0]));
    } catch (const timeout_error&) {
        late = true;
    }
    CHECK(late);
    co_await until_asleep(words[0], 0);
}

task<> many_words(shared_words& words) {
    constexpr int many = 300;
    std::vector<int> order;
    co_await with_task_group([&](task_group& g) -> task<> {
        for (int i = 0; i < many; ++i)
            g.spawn(wait_and_note(words[static_cast<std::size_t>(i)], order, i));
        auto awake = [&] {
            // A wait of a helper may end for no reason, when it waits for others as well.
            int n = static_cast<int>(order.size());
            for (int i = 0; i < many; ++i)
                n += futex_sleepers(words[static_cast<std::size_t>(i)]);
            return n;
        };
        co_await until([&] { return awake() == many; });
        for (int i = many - 1; i >= 0; --i)
            futex_wake(words[static_cast<std::size_t>(i)], 1);
    });
    CHECK(order.size() == many);
}

task<> between_processes(shared_words& words) {
    pid_t child = fork_and(
        [](shared_words& w) {
            sync_wait(wait_until_open(w[0]));
            w[1].store(1, std::memory_order_release);
            futex_wake(w[1], 1);
        },
        words);
    co_await until_asleep(words[0], 1);
    words[0].store(1, std::memory_order_release);
    CHECK(futex_wake(words[0], 1) == 1);
    co_await wait_until_open(words[1]);
    CHECK(status_of(child) == 0);
}

using scenario = task<> (*)(shared_words&);

void in_all_ways(scenario s) {
    for (kernel_feature way : ways) {
        CAPTURE(static_cast<std::uint32_t>(way));
        shared_words words;
        run_within(patience, s(words), with(way));
    }
}

task<> sleeps_in_one_call(shared_words& words) {
    pid_t child = fork_and(
        [](shared_words& w) {
            for (std::uint32_t i = 1; i <= 20; ++i) {
                while (futex_sleepers(w[0]) == 0) {
                }
                w[0].store(i, std::memory_order_release);
                futex_wake(w[0], 1);
            }
        },
        words);
    for (std::uint32_t i = 0; i != 20; ++i) {
        while (words[0].load(std::memory_order_acquire) == i)
            co_await futex_wait(words[0], i);
    }
    CHECK(this_loop().statistics().enters == 0);
    CHECK(this_loop().in_flight() == 0);
    CHECK(status_of(child) == 0);
    // Mail ends the sleep, and not the wait; who is awake then is counted and woken all the same.
    words[0] = 0;
    int slept = 0, woken = 0;
    loop& home = this_loop();
    std::thread other([&] {
        until_here([&] { return futex_sleepers(words[0]) == 1; });
        home.post([&] { slept = futex_sleepers(words[0]); });
        until_here([&] { return home.parked() && futex_sleepers(words[0]) == 1; });
        home.post([&] {
            words[0] = 1;
            woken = futex_wake(words[0], 1);
        });
    });
    co_await wait_until_open(words[0]);
    other.join();
    CHECK(slept == 1);
    CHECK(woken == 1);
    CHECK(this_loop().statistics().enters == 0);
}

} // namespace

TEST_CASE("futex: wakes as many as it is told, those first who fell asleep first", "[G-06]") {
    in_all_ways(wakes_in_order);
}

TEST_CASE("futex: a wait for a word that is another ends at once") {
    in_all_ways(ends_without_waiting);
}

TEST_CASE("futex: a wait that is stopped passes its wake-up on", "[G-05][P3]") {
    in_all_ways(stops);
}

TEST_CASE("futex: one process waits for as many words as it likes") { in_all_ways(many_words); }

TEST_CASE("futex: a process wakes another") { in_all_ways(between_processes); }

TEST_CASE("futex: a loop that waits for nothing else sleeps on the word itself") {
    shared_words words;
    run_within(patience, sleeps_in_one_call(words), with(kernel_feature::all));
}

TEST_CASE("futex: where loops can't sleep on a word, they wait for it as others do", "[P22]") {
    static weft::kernel refuses = real_kernel();
    for (int error : {-ENOMEM, -ENOSYS}) { // the latter is remembered, so it comes last
        refuses.park_with = error == -ENOMEM
                                ? [](void*, std::uint32_t*, std::uint32_t, const std::uint32_t*,
                                     std::uint32_t, std::int64_t) { return -ENOMEM; }
                                : [](void*, std::uint32_t*, std::uint32_t, const std::uint32_t*,
                                     std::uint32_t, std::int64_t) { return -ENOSYS; };
        shared_words words;
        pid_t child = ::fork(); // what the program has learnt holds until it ends
        if (child == 0) {
            weft::run(between_processes(words), {.kernel = &refuses});
            ::_exit(0);
        }
        CHECK(status_of(child) == 0);
    }
}

TEST_CASE("futex: plain threads wait, and are woken by one another") {
    shared_words words;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] { sync_wait(wait_until_open(words[0])); });
    until_here([&] { return futex_sleepers(words[0]) == 3; });
    words[0].store(1, std::memory_order_release);
    futex_wake(words[0], detail::everybody);
    for (auto& t : threads)
        t.join();
}

namespace {
// The thread sanitizer ends a child of a program with threads that makes a thread of its own.
constexpr bool children_may_have_threads = !tests::thread_sanitizer;
} // namespace

TEST_CASE("futex: a kernel that doesn't know the ring's operation has a thread wait for it",
          "[P22]") {
    if (!children_may_have_threads) {
        weft::tests::skip("the sanitizer ends such a child");
        return;
    }
    fake_kernel k;
    k.on_request = [&](const fake_kernel::request& r) {
        if (r.sqe.opcode == detail::opcode::futex_wait)
            k.complete(r, -EINVAL);
    };
    shared_words words;
    unsigned tries = 0;
    auto waits = [&]() -> task<> {
        for (int i = 0; i < 2; ++i) {
            co_await with_task_group([&](task_group& g) -> task<> {
                words[0] = 0;
                g.spawn(wait_until_open(words[0]));
                co_await until_asleep(words[0], 1);
                words[0] = 1;
                futex_wake(words[0], 1);
            });
        }
        tries = k.count().taken;
    };
    pid_t child = ::fork(); // what the program has learnt holds until it ends
    if (child == 0) {
        weft::run(waits(), {.kernel = &k.table()});
        ::_exit(tries >= 1 ? 0 : 1);
    }
    CHECK(status_of(child) == 0);
}

TEST_CASE("futex: a child of a fork has threads of its own") {
    if (!children_may_have_threads) {
        weft::tests::skip("the sanitizer ends such a child");
        return;
    }
    shared_words words;
    auto waits = [](shared_words& w) -> task<> {
        co_await with_task_group([&](task_group& g) -> task<> {
            w[0] = 0;
            g.spawn(wait_until_open(w[0]));
            co_await until_asleep(w[0], 1);
            w[0] = 1;
            futex_wake(w[0], 1);
        });
    };
    run_within(patience, waits(words), with(with_threads));
    pid_t child = ::fork();
    if (child == 0) {
        run_within(patience, waits(words), with(with_threads));
        ::_exit(0);
    }
    CHECK(status_of(child) == 0);
}

TEST_CASE("futex: waits don't allocate", "[P16]") {
    if (!allocations_are_counted())
        return;
    shared_words words;
    auto there_and_back = [&](int rounds) -> task<> {
        std::vector<int> order;
        order.reserve(static_cast<std::size_t>(rounds));
        for (int i = 0; i < rounds; ++i) {
            auto waits = spawn(wait_and_note(words[0], order, i));
            co_await until_asleep(words[0], 1);
            futex_wake(words[0], 1);
            co_await waits.join();
        }
    };
    for (kernel_feature way : ways) {
        auto counts = [&]() -> task<std::uint64_t> {
            co_await there_and_back(20);
            std::uint64_t before = allocations();
            co_await there_and_back(20);
            co_return allocations() - before;
        };
        // One for the vector.
        CHECK(run_within(patience, counts(), with(way)) <= 1);
    }
}
