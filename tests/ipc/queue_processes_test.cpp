// SPDX-License-Identifier: MIT
// Queues between real processes, which are killed at any moment.
#include <weft/ipc/process.hpp>
#include <weft/ipc/queue.hpp>
#include <weft/ipc/simple_queue.hpp>

#include "support/io.hpp"

#include <weft/ipc/detail/process_mark.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <map>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;
using namespace weft::tests;
using ipc::process;
using ipc::queue;
using ipc::queue_options;

/// What a process puts: its number, how many it has put before, and bytes that follow from both.
struct letter {
    std::uint32_t writer;
    std::uint32_t number;
    std::string text;
};

letter letter_of(std::uint32_t writer, std::uint32_t number, std::size_t size) {
    letter l{writer, number, std::string(size, '\0')};
    for (std::size_t i = 0; i != size; ++i)
        l.text[i] = static_cast<char>((i * 31 + number) ^ writer);
    return l;
}

/// How long the n-th letter is: mostly short, now and then larger than the ring.
std::size_t length_of(std::uint32_t n, std::size_t of_some) {
    return n % 50 == 49 ? of_some : n * 7 % 90;
}

constexpr std::uint32_t writers = 3;
constexpr std::uint32_t each = 400;
constexpr std::size_t longest = 20'000;

/// What came of each writer.
class received {
public:
    explicit received(std::size_t of_length) noexcept : longest_(of_length) {}
    /// False: it isn't the next of its writer, or not what was put.
    bool add(const letter& l) {
        std::uint32_t& next = next_[l.writer];
        bool right = l.number == next &&
                     l.text == letter_of(l.writer, l.number, length_of(l.number, longest_)).text;
        next = l.number + 1;
        return right;
    }
    [[nodiscard]] std::uint32_t count(std::uint32_t writer) { return next_[writer]; }

private:
    std::size_t longest_;
    std::map<std::uint32_t, std::uint32_t> next_;
};

// --- The functions of the processes --------------------------------------------------------------

task<> put_letters(queue<letter> q, std::uint32_t writer, std::uint32_t n, std::size_t of_some) {
    for (std::uint32_t i = 0; i != n; ++i) {
        letter l = letter_of(writer, i, length_of(i, of_some));
        co_await q.put(std::move(l));
    }
}

task<> forward(queue<letter> from, queue<letter> to) {
    while (true) {
        letter l = co_await from.get();
        co_await to.put(std::move(l));
        from.task_done();
    }
}

task<> echo_numbers(ipc::simple_queue<int> from, ipc::simple_queue<int> to, int n) {
    for (int i = 0; i != n; ++i) {
        int got = co_await from.get();
        co_await to.put(got + 1);
    }
}

// --- Children that are killed --------------------------------------------------------------------

/// A fork, which runs `body` until it is killed. It touches nothing but the queue.
template <class Body>
pid_t fork_child(Body body) {
    pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL); // whatever becomes of the test
        body();
        ::_exit(0);
    }
    return child;
}

void kill_child(pid_t child) {
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
}

/// So many are killed in each test; more when that is asked for.
int kills() {
    const char* n = std::getenv("WEFT_KILLS");
    return n != nullptr ? std::atoi(n) : 100;
}

/// Something else happens meanwhile, for a moment of any length.
void wait_a_moment(std::mt19937_64& random) {
    const timespec t{0, static_cast<long>(random() % 400'000)};
    ::nanosleep(&t, nullptr);
}

struct mixed {
    std::uint32_t writer;
    std::uint32_t number;
    std::array<std::uint64_t, 6> check;
};
mixed mixed_of(std::uint32_t writer, std::uint32_t number) {
    mixed m{writer, number, {}};
    for (std::uint64_t& c : m.check)
        c = (std::uint64_t{writer} << 32 | number) * 0x9e3779b97f4a7c15;
    return m;
}
bool is_sound(const mixed& m) {
    for (std::uint64_t c : m.check)
        if (c != (std::uint64_t{m.writer} << 32 | m.number) * 0x9e3779b97f4a7c15)
            return false;
    return true;
}

} // namespace

TEST_CASE("ipc::queue: several processes put, several get, and nothing is lost or out of order",
          "[MP-QUE-01][MP-QUE-04][MP-QUE-13][MP-START-11]") {
    auto pass = [](queue_options options) -> task<> {
        queue<letter> there(0, options), back(0, options);
        received all(longest);
        auto run = [&](task_group&) -> task<> {
            std::vector<process> putting, getting;
            for (std::uint32_t w = 0; w != writers; ++w) {
                putting.emplace_back(weft::fn<&put_letters>, there, w, each, longest);
                co_await putting.back().start();
            }
            // One, for what two forward may overtake each other.
            getting.emplace_back(weft::fn<&forward>, there, back);
            co_await getting.back().start();
            int wrong = 0;
            for (std::uint32_t i = 0; i != writers * each; ++i) {
                letter l = co_await back.get();
                wrong += all.add(l) ? 0 : 1;
            }
            CHECK(wrong == 0);
            CHECK(there.size() == 0);
            for (process& p : putting) {
                ipc::exit_status s = co_await p.join();
                CHECK(s.code() == 0);
            }
            co_await there.join();
            getting.back().kill();
            co_await getting.back().join();
        };
        co_await with_task_group(std::ref(run));
    };
    run_within(60s, pass({.bytes = 8192}));
}

TEST_CASE("ipc::queue: a number goes back and forth between two processes", "[MP-QUE-12]") {
    run_within(60s, []() -> task<> {
        ipc::simple_queue<int> there({.one_to_one = true}), back({.one_to_one = true});
        process p(weft::fn<&echo_numbers>, there, back, 2000);
        co_await p.start();
        for (int i = 0; i != 2000; ++i) {
            co_await there.put(i);
            int got = co_await back.get();
            REQUIRE(got == i + 1);
        }
        ipc::exit_status s = co_await p.join();
        CHECK(s.code() == 0);
    }());
}

TEST_CASE("ipc::queue: a process that has put something may end before anybody gets it",
          "[MP-QUE-10][MP-QUE-11]") {
    run_within(60s, []() -> task<> {
        queue<letter> q;
        process p(weft::fn<&put_letters>, q, 1u, 40u, std::size_t{0});
        co_await p.start();
        ipc::exit_status s = co_await p.join(); // though nobody reads
        CHECK(s.code() == 0);
        CHECK(q.size() == 40);
        received all(0);
        int wrong = 0;
        for (int i = 0; i != 40; ++i) {
            letter l = co_await q.get();
            wrong += all.add(l) ? 0 : 1;
        }
        CHECK(wrong == 0);
    }());
}

TEST_CASE("ipc::queue: who puts more than fits ends when that is drained, and leaves what is there",
          "[MP-GUIDE-01]") {
    run_within(60s, []() -> task<> {
        queue<letter> q(4);
        auto fill = [&q](process& p) -> task<> {
            co_await p.start();
            while (!q.full())
                co_await sleep_for(1ms);
        };
        process p(weft::fn<&put_letters>, q, 1u, 20u, std::size_t{0});
        co_await fill(p);
        auto ended = co_await p.join_for(20ms);
        CHECK_FALSE(ended);
        received all(0);
        int wrong = 0;
        auto get = [&](int n) -> task<> {
            for (int i = 0; i != n; ++i) {
                letter l = co_await q.get();
                wrong += all.add(l) ? 0 : 1;
            }
        };
        co_await get(16);
        ipc::exit_status s = co_await p.join(); // the last four fit
        CHECK(s == ipc::exit_status::by_exit(0));
        co_await get(4);

        process endless(weft::fn<&put_letters>, q, 2u, 1000u, std::size_t{0});
        co_await fill(endless);
        endless.kill(); // while it waits
        co_await endless.join();
        CHECK(q.size() == 4);
        co_await get(4);
        CHECK(q.empty());
        CHECK(wrong == 0);
    }());
}

TEST_CASE("ipc::queue: processes that put are killed, and others go on", "[P20]") {
    std::uint64_t salt = seed();
    CAPTURE(salt);
    std::mt19937_64 random(salt);
    queue<mixed> q(0, {.bytes = 4096});
    std::vector<std::uint32_t> next(static_cast<std::size_t>(kills()) + 2);
    std::uint32_t wrong = 0, got_after = 0;
    auto get_some = [&] {
        while (auto m = q.try_get()) {
            wrong += is_sound(*m) && m->number == next[m->writer] ? 0u : 1u;
            next[m->writer] = m->number + 1;
            got_after += m->writer == 0 ? 1u : 0u;
        }
    };
    auto puts = [&q](std::uint32_t writer) {
        return [&q, writer] {
            // Without a pause, so that it is mostly in the middle of something when it is killed.
            for (std::uint32_t i = 0;; ++i)
                while (!q.try_put(mixed_of(writer, i))) {
                }
        };
    };
    // One lives all the time, and gets on.
    pid_t lives = fork_child(puts(0));
    for (int k = 1; k <= kills(); ++k) {
        pid_t dies = fork_child(puts(static_cast<std::uint32_t>(k)));
        wait_a_moment(random);
        get_some();
        wait_a_moment(random);
        kill_child(dies);
        got_after = 0;
        while (got_after == 0)
            get_some();
    }
    kill_child(lives);
    get_some();
    CHECK(wrong == 0);
    CHECK(q.empty());
    CHECK(q.try_put(mixed_of(0, 0)));
}

TEST_CASE("ipc::queue: processes that get are killed, and each takes one item with it at most",
          "[P20]") {
    std::uint64_t salt = seed();
    CAPTURE(salt);
    std::mt19937_64 random(salt);
    queue<mixed> q(0, {.bytes = 4096}), back(0, {.bytes = 4096});
    std::vector<char> came;
    std::uint32_t wrong = 0, put = 0;
    bool puts = true;
    auto step = [&] {
        if (puts && q.try_put(mixed_of(0, put)))
            ++put;
        while (auto m = back.try_get()) {
            came.resize(std::max<std::size_t>(came.size(), m->number + 1));
            wrong += is_sound(*m) && came[m->number] == 0 ? 0u : 1u;
            came[m->number] = 1;
        }
    };
    auto forwards = [&] {
        while (true) {
            if (auto m = q.try_get())
                while (!back.try_put(*m)) {
                }
        }
    };
    pid_t lives = fork_child(forwards);
    for (int k = 0; k != kills(); ++k) {
        pid_t dies = fork_child(forwards);
        const std::uint32_t until = put + static_cast<std::uint32_t>(random() % 200);
        while (put < until)
            step();
        kill_child(dies);
    }
    puts = false; // or whoever forwards would have to be faster than we are
    while (!q.empty() || !back.empty())
        step();
    for (int i = 0; i != 1000 && (!came.empty() && came.back() == 0); ++i)
        step();
    kill_child(lives);
    step();
    std::size_t lost = put;
    for (char c : came)
        lost -= c != 0 ? 1u : 0u;
    CHECK(wrong == 0);
    CHECK(lost <= static_cast<std::size_t>(kills()) + 1);
}

TEST_CASE("ipc::queue: processes that sleep at a queue are killed, and others are woken",
          "[P20][P14]") {
    run_within(100s, []() -> task<> {
        queue<letter> q(0, {.bytes = 8192});
        received all(longest);
        int wrong = 0, interrupted = 0;
        for (std::uint32_t round = 0; round != 12; ++round) {
            // Two put without end; one is killed in the middle of something, often of an item in
            // parts, or asleep for want of room.
            process stays(weft::fn<&put_letters>, q, 2 * round, 60u, longest);
            process dies(weft::fn<&put_letters>, q, 2 * round + 1, 1u << 30, longest);
            co_await stays.start();
            co_await dies.start();
            std::uint32_t n = 0;
            while (all.count(2 * round) < 60) {
                if (++n == 20 + 7 * round) {
                    dies.kill();
                    ++interrupted;
                }
                letter l = co_await q.get();
                wrong += all.add(l) ? 0 : 1;
            }
            dies.kill();
            co_await dies.join();
            co_await stays.join();
        }
        CHECK(wrong == 0);
        CHECK(interrupted != 0);
        // Nobody puts any more, and what was broken off is in nobody's way.
        while (auto l = q.try_get())
            wrong += all.add(*l) ? 0 : 1;
        letter last = letter_of(1000, 0, 0);
        co_await q.put(last);
        letter back = co_await q.get_for(10s);
        CHECK(back.writer == 1000);
    }());
}
