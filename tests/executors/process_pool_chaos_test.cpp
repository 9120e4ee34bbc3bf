// SPDX-License-Identifier: MIT
// Random work on a process pool while its workers are killed and stopped: each task has one
// outcome, and it is the right one; afterwards the pool works as before and nothing is left.
//
// The last case runs at full size, 200,000 tasks with 200 kills, with WEFT_TEST_KILLS=200 in the
// environment; then it must be done within 30 seconds.
#include <weft/executors/process_pool.hpp>

#include "support/sanitizer.hpp"

#include <weft/executors/isolate_buffer.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <poll.h>
#include <random>
#include <set>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace std::chrono_literals;

int add_slowly(int a, int b, int milliseconds) {
    ::poll(nullptr, 0, milliseconds);
    return a + b;
}
std::vector<std::uint32_t> mirror(std::vector<std::uint32_t> v) {
    std::reverse(v.begin(), v.end());
    return v;
}
void refuse(int n) { throw std::out_of_range(std::to_string(n)); }
void perish(int how) {
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    if (how == 0)
        ::_exit(3);
    ::raise(SIGKILL);
}
int listen_for_stop(std::stop_token stop, int n) {
    while (!stop.stop_requested())
        ::poll(nullptr, 0, 1);
    return n;
}
void sleep_for_ever() {
    while (true)
        ::poll(nullptr, 0, 1000);
}

struct counts {
    int begun = 0, values = 0, errors = 0, lost = 0, timeouts = 0, stopped = 0, wrong = 0;
    [[nodiscard]] int all() const { return values + errors + lost + timeouts + stopped + wrong; }
};

// One task of the random kinds. Its outcome is counted by whoever spawns it.
task<> one(process_pool& pool, unsigned seed, counts& c) {
    std::mt19937 random(seed);
    submit_options o;
    o.retry = random() % 2;
    o.stop_grace = std::chrono::milliseconds(random() % 3 * 10);
    duration limit = random() % 3 == 0 ? duration(1ms * (random() % 5)) : duration(60ms);
    int n = static_cast<int>(random() % 1000);
    switch (random() % 7) {
    case 0:
    case 1: {
        int pause = static_cast<int>(random() % 3);
        auto sum = co_await with_timeout(limit, pool.call(o, fn<&add_slowly>, n, 1, pause));
        ++(sum == n + 1 ? c.values : c.wrong);
        break;
    }
    case 2: {
        std::vector<std::uint32_t> v(random() % 100'000);
        std::iota(v.begin(), v.end(), 0u);
        auto back = co_await with_timeout(limit, pool.call(o, fn<&mirror>, v));
        std::reverse(back.begin(), back.end());
        ++(back == v ? c.values : c.wrong);
        break;
    }
    case 3:
        try {
            if (n % 5 == 0) // answered, however slow the machine is
                co_await pool.call({.retry = 1000}, fn<&refuse>, n);
            else
                co_await with_timeout(limit, pool.call(o, fn<&refuse>, n));
            ++c.wrong;
        } catch (const std::out_of_range& e) {
            ++(e.what() == std::to_string(n) ? c.errors : c.wrong);
        }
        break;
    case 4:
        if (n % 5 == 0)
            co_await pool.call(o, fn<&perish>, n % 2); // lost, however slow the machine is
        else
            co_await with_timeout(limit, pool.call(o, fn<&listen_for_stop>, n));
        ++c.wrong; // neither comes back by itself
        break;
    case 5:
        if (n % 5 != 0)
            limit = 0ms;
        co_await with_timeout(limit, pool.call(o, fn<&sleep_for_ever>));
        ++c.wrong;
        break;
    default: {
        auto sum = co_await pool.call({.retry = 1000}, fn<&add_slowly>, n, 2, 0);
        ++(sum == n + 2 ? c.values : c.wrong);
        break;
    }
    }
}

// Counts what comes of one task; if it is stopped, the frames are unwound and only the destructor
// tells.
class witness {
public:
    explicit witness(counts& c) noexcept : counts_(c) { ++counts_.begun; }
    witness(const witness&) = delete;
    witness& operator=(const witness&) = delete;
    ~witness() {
        if (!told_)
            ++counts_.stopped;
    }
    void tell(int n = 0) noexcept {
        counts_.timeouts += n;
        told_ = true;
    }

private:
    counts& counts_;
    bool told_ = false;
};

task<> counted(process_pool& pool, unsigned seed, counts& c) {
    witness w(c);
    try {
        co_await one(pool, seed, c);
        w.tell();
    } catch (const timeout_error&) {
        w.tell(1);
    } catch (const worker_lost&) {
        ++c.lost;
        w.tell();
    }
}

// Kills and stops workers until it is stopped itself. Where they take long to start it gives them
// the time to get something done in between, or none would ever come to it.
task<> killer(process_pool& pool, unsigned seed) {
    std::mt19937 random(seed);
    std::set<int> stopped;
    auto all_stopped = [&] {
        auto is_stopped = [&](const auto& w) { return stopped.contains(w.pid); };
        return std::ranges::all_of(pool.statistics().workers, is_stopped);
    };
    while (true) {
        auto s = pool.statistics();
        if (!s.workers.empty()) {
            // The pool reaps on this loop, so the pid can't be somebody else's yet.
            const int pid = s.workers[random() % s.workers.size()].pid;
            const int signals[] = {SIGKILL, SIGKILL, SIGTERM, SIGSTOP};
            const int signal = signals[random() % 4];
            ::kill(pid, signal);
            if (signal == SIGSTOP)
                stopped.insert(pid);
        }
        const auto done = s.done;
        co_await sleep_for(std::chrono::milliseconds(1 + random() % 20));
        const time_point end = now() + 1s; // what they have may wait for one that is stopped
        while (pool.statistics().done == done && !all_stopped() && now() < end)
            co_await sleep_for(1ms);
    }
}

task<> storm(process_pool& pool, unsigned seed, int tasks, counts& c) {
    std::mt19937 random(seed);
    co_await with_task_group([&](task_group& g) -> task<> {
        std::vector<task_handle<>> handles;
        for (int i = 0; i != tasks; ++i) {
            while (g.size() > 40)
                co_await sleep_for(1ms);
            handles.push_back(g.spawn(counted(pool, static_cast<unsigned>(random()), c)));
            if (random() % 5 == 0)
                handles[handles.size() - 1 - random() % std::min<std::size_t>(handles.size(), 40)]
                    .cancel();
        }
    });
}

// --- Many short tasks, and kills spread over them ------------------------------------------------

// How often each task was begun and done, for all processes to see.
struct journal {
    std::optional<isolate_buffer> begun, done;
};
journal& journal_here() {
    static journal j;
    return j;
}
void open_journal(isolate_buffer begun, isolate_buffer done) {
    journal_here().begun.emplace(std::move(begun));
    journal_here().done.emplace(std::move(done));
}
int times(const isolate_buffer& b, std::uint32_t task) {
    return std::atomic_ref(b.as<std::uint8_t>()[task]).load();
}
std::uint64_t triple_it(std::uint32_t task) {
    journal& j = journal_here();
    ++std::atomic_ref(j.begun->as<std::uint8_t>()[task]);
    volatile std::uint64_t n = 0;
    for (std::uint32_t i = 0; i != task % 500; ++i) // up to about a microsecond
        n = n * 31 + i;
    ++std::atomic_ref(j.done->as<std::uint8_t>()[task]);
    return std::uint64_t{3} * task;
}
bool may_run_twice(std::uint32_t task) { return task % 4 == 0; }

struct killing_spree {
    std::uint32_t tasks = 0;
    unsigned kills = 0;

    std::uint32_t handed_out = 0;
    std::vector<char> outcome; // 'v' a value, 'l' lost
    unsigned wrong = 0;
    std::vector<int> lost_with; // pids
    std::set<int> killed;
    [[nodiscard]] std::size_t ended() const {
        return static_cast<std::size_t>(
            std::ranges::count_if(outcome, [](char c) { return c != 0; }));
    }
    std::uint32_t count = 0; // the same, while it goes on
};

task<> short_tasks(process_pool& pool, killing_spree& s) {
    while (s.handed_out != s.tasks) {
        std::uint32_t n = s.handed_out++;
        submit_options o;
        o.retry = may_run_twice(n) ? 1000 : 0;
        char c = 'v';
        try {
            auto tripled = co_await pool.call(o, fn<&triple_it>, n);
            s.wrong += tripled != std::uint64_t{3} * n;
        } catch (const worker_lost& e) {
            s.wrong += may_run_twice(n);
            s.lost_with.push_back(e.pid());
            c = 'l';
        }
        s.wrong += s.outcome[n] != 0;
        s.outcome[n] = c;
        ++s.count;
    }
}

// At random moments, but so that they are spread over all of the tasks.
task<> kill_now_and_then(process_pool& pool, killing_spree& s, unsigned seed) {
    std::mt19937 random(seed);
    const std::uint32_t apart = s.tasks / (s.kills + 1);
    for (unsigned i = 0; i != s.kills; ++i) {
        const std::uint32_t due = i * apart + static_cast<std::uint32_t>(random()) % apart;
        bool hit = false;
        while (!hit && s.count != s.tasks) {
            co_await sleep_for(std::chrono::microseconds(random() % 500));
            auto workers = pool.statistics().workers;
            if (s.count < due || workers.empty())
                continue;
            const int pid = workers[random() % workers.size()].pid;
            // The pool reaps on this loop, so the pid can't be somebody else's yet.
            hit = !s.killed.contains(pid) && ::kill(pid, SIGKILL) == 0;
            if (hit)
                s.killed.insert(pid);
        }
    }
}

constexpr int storm_size = tests::sanitized ? 1000 : 3000; // a worker takes much longer to start

unsigned kills_wanted() {
    if (const char* n = std::getenv("WEFT_TEST_KILLS"))
        return static_cast<unsigned>(std::max(1, std::atoi(n)));
    return storm_size / 150;
}

} // namespace

TEST_CASE("process_pool: in a storm of deaths and stops each task has the one right outcome",
          "[P1][P3][P8][P10]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    runtime rt({.loops = 2});
    rt.run([](runtime& r, unsigned first_seed) -> task<> {
        process_pool pool({.workers = 3, .deaths_before_broken = 1'000'000});
        counts here, there;
        auto death = spawn(killer(pool, first_seed));
        co_await when_all(storm(pool, first_seed + 1, storm_size, here),
                          on(r.get_loop(1), storm(pool, first_seed + 2, storm_size, there)));
        death.cancel();
        CHECK(here.wrong + there.wrong == 0);
        // One that was stopped before its first turn never began.
        CHECK(here.all() == here.begun);
        CHECK(there.all() == there.begun);
        CHECK(here.values > storm_size / 50);
        CHECK(there.values > storm_size / 50);
        CHECK(here.errors + there.errors > 0);
        CHECK(here.lost + there.lost > 0);
        CHECK(here.timeouts > 0);
        CHECK(here.stopped > 0);

        auto s = pool.statistics();
        CHECK(s.queued == 0);
        CHECK(s.respawned > 10);
        CHECK_FALSE(s.broken);
        // Nobody is left stopped; all are replaced, and all is well.
        for (const auto& w : s.workers)
            ::kill(w.pid, SIGKILL);
        for (int i = 0; i != 100; ++i) {
            auto sum =
                co_await with_timeout(60s, pool.call({.retry = 10}, fn<&add_slowly>, i, 1, 0));
            CHECK(sum == i + 1);
        }
        co_await pool.shutdown();
    }(rt, seed));
}

TEST_CASE("process_pool: a thousand tasks for each kill, and each kill costs one task at most",
          "[P1][P8][P9]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    const auto begin = std::chrono::steady_clock::now();
    run([](unsigned first_seed) -> task<> {
        killing_spree s;
        s.kills = kills_wanted();
        s.tasks = 1000 * s.kills;
        s.outcome.resize(s.tasks);
        isolate_buffer begun(s.tasks), done(s.tasks);
        process_pool pool({.workers = 2, .deaths_before_broken = 1'000'000}, fn<&open_journal>,
                          begun, done);
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(kill_now_and_then(pool, s, first_seed));
            for (int i = 0; i != 64; ++i)
                g.spawn(short_tasks(pool, s));
            co_return;
        });

        // One outcome each.
        CHECK(s.wrong == 0);
        CHECK(s.ended() == s.tasks);
        auto values = static_cast<std::uint64_t>(std::ranges::count(s.outcome, 'v'));
        CHECK(values + s.lost_with.size() == s.tasks);
        // Each kill was one, and each loss is that of a worker that was killed, and its only one.
        CHECK(s.killed.size() == s.kills);
        CHECK(std::set<int>(s.lost_with.begin(), s.lost_with.end()).size() == s.lost_with.size());
        CHECK(std::ranges::all_of(s.lost_with, [&](int pid) { return s.killed.contains(pid); }));
        CHECK(s.lost_with.size() <= s.kills); // who is killed between two tasks loses none
        // A value comes of a task that was done, and nothing ran twice that mustn't.
        std::uint32_t undone = 0, twice = 0;
        for (std::uint32_t n = 0; n != s.tasks; ++n) {
            undone += s.outcome[n] == 'v' && times(done, n) == 0;
            twice += !may_run_twice(n) && times(begun, n) > 1;
        }
        CHECK(undone == 0);
        CHECK(twice == 0);

        auto told = pool.statistics();
        CHECK(told.done == values);
        CHECK(told.failed == s.lost_with.size());
        CHECK(told.queued == 0);
        CHECK(told.respawned + told.workers.size() >= s.kills);
        CHECK_FALSE(told.broken);
        co_await pool.shutdown();
        CHECK(pool.statistics().workers.empty());
    }(seed));
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    if (std::getenv("WEFT_TEST_KILLS") != nullptr) {
        WARN(kills_wanted() << " kills took " << spent.count() << " s");
        CHECK((kills_wanted() > 200 || spent.count() < 30));
    }
}
