// SPDX-License-Identifier: MIT
// Locks between processes that are killed. Each scenario kills WEFT_TEST_KILLS of them (25 if
// nothing is said), at random moments, and prints the longest time that somebody else was held up;
// if a number is given, that must be less than 100 ms, and what the machine itself holds up one who
// just sleeps, or who does the same while nobody is killed.
#include "support/sanitizer.hpp"
#include "sync/patience.hpp"

#include <weft/ipc/barrier.hpp>
#include <weft/ipc/condition.hpp>
#include <weft/ipc/event.hpp>
#include <weft/ipc/mutex.hpp>
#include <weft/ipc/recursive_mutex.hpp>
#include <weft/ipc/semaphore.hpp>
#include <weft/ipc/shared.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::dice;
using weft::tests::until_here;
namespace ipc = weft::ipc;
using steady = std::chrono::steady_clock;

namespace {

// A process that runs a task, until it is killed or done.
class child {
public:
    template <class F>
    explicit child(F f) : pid_(::fork()) {
        if (pid_ == 0) {
            try {
                weft::sync_wait(f());
            } catch (const std::exception& e) {
                std::cerr << "a child: " << e.what() << '\n';
                ::_exit(1);
            }
            ::_exit(0);
        }
        REQUIRE(pid_ > 0);
    }
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child() {
        if (pid_ > 0)
            kill();
    }
    void kill() {
        ::kill(pid_, SIGKILL);
        static_cast<void>(wait());
    }
    /// 0: it ended well.
    [[nodiscard]] int wait() {
        int status = -1;
        CHECK(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
        return status;
    }
    /// A zombie is as dead as one that was asked for.
    void kill_and_leave() const { ::kill(pid_, SIGKILL); }

private:
    pid_t pid_;
};

// How late a thread comes that only sleeps.
class ruler {
public:
    ruler()
        : thread_([this](const std::stop_token& stop) {
              while (!stop.stop_requested()) {
                  const auto due = steady::now() + 1ms;
                  std::this_thread::sleep_until(due);
                  latest_ = std::max(latest_.load(), steady::now() - due);
              }
          }) {}
    [[nodiscard]] steady::duration latest() const { return latest_; }

private:
    std::atomic<steady::duration> latest_{steady::duration{}};
    std::jthread thread_;
};

class delays {
public:
    void note(steady::time_point since) {
        const auto d = steady::now() - since;
        worst_ = std::max(worst_, d);
        long_ += d > 60ms ? 1 : 0;
    }
    /// The same, while everybody lives.
    void note_usual(steady::time_point since) { usual_ = std::max(usual_, steady::now() - since); }
    void judge(const char* what) const {
        auto us = [](auto d) {
            return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
        };
        std::cout << what << ": held up for " << us(worst_) << " us at most, " << long_
                  << " times for more than 60 ms; without deaths for " << us(usual_)
                  << " us, a sleeper for " << us(ruler_.latest()) << " us\n";
        if (std::getenv("WEFT_TEST_KILLS") != nullptr)
            CHECK(worst_ < 100ms + std::max(ruler_.latest(), usual_));
    }

private:
    ruler ruler_;
    steady::duration worst_{};
    steady::duration usual_{};
    int long_ = 0;
};

int kills() {
    const char* n = std::getenv("WEFT_TEST_KILLS");
    return n == nullptr ? 25 : std::atoi(n);
}

template <class T>
T in_time(task<T> t) {
    return weft::run(weft::as_task(weft::with_timeout(weft::tests::patience, std::move(t))));
}

// Gets the lock, whatever became of who had it.
task<bool> lock_after_all(ipc::mutex& m) {
    bool died = false;
    try {
        co_await m.lock();
    } catch (const ipc::owner_dead& e) {
        e.keep();
        died = true;
    }
    if (died)
        m.mark_consistent();
    co_return died;
}

struct guarded_pair {
    ipc::mutex lock;
    ipc::condition changed{lock};
    std::atomic<std::uint32_t> a{0};
    std::atomic<std::uint32_t> b{0};
    std::atomic<std::uint32_t> rounds{0};
};

// Changes both, always together.
task<> change_for_ever(guarded_pair& p) {
    while (true) {
        if (co_await lock_after_all(p.lock))
            p.b = p.a.load();
        ++p.a;
        for (int i = 0; i < 50; ++i)
            weft::detail::std_atomics::pause(0);
        ++p.b;
        ++p.rounds;
        p.lock.unlock();
    }
}

} // namespace

TEST_CASE("shared locks: whoever is killed with a mutex, or waiting for it, delays nobody",
          "[P19][P20][MP-PROC-10]") {
    ipc::shared<guarded_pair> p(std::in_place);
    dice d(weft::tests::new_seed(), 0);
    delays worst;
    int told = 0;
    child steady_one([&] { return change_for_ever(*p); });
    for (int i = 0; i < kills(); ++i) {
        child victim([&] { return change_for_ever(*p); });
        const auto before = p->rounds.load();
        until_here([&] { return p->rounds.load() != before; });
        std::this_thread::sleep_for(d.moment() * 4);
        for (int n = 0; n < 3; ++n) {
            const auto since = steady::now();
            in_time(lock_after_all(p->lock));
            worst.note_usual(since);
            p->lock.unlock();
        }
        std::this_thread::sleep_for(d.moment() * 4);
        victim.kill();
        for (int n = 0; n < 3; ++n) {
            const auto since = steady::now();
            bool died = in_time(lock_after_all(p->lock));
            worst.note(since);
            told += died ? 1 : 0;
            if (died)
                p->b = p->a.load();
            CHECK(p->a.load() == p->b.load());
            p->lock.unlock();
        }
        // And so has the other one.
        const auto since = steady::now();
        const auto rounds = p->rounds.load();
        until_here([&] { return p->rounds.load() != rounds; });
        worst.note(since);
    }
    std::cout << told << " of " << kills() << " died with the lock, and this process was told\n";
    worst.judge("a mutex");
}

TEST_CASE("shared locks: who is told of the death of a holder repairs, or nobody gets it again",
          "[P19][MP-PROC-10]") {
    struct both {
        ipc::mutex plain;
        ipc::recursive_mutex recursive;
    };
    ipc::shared<both> locks(std::in_place);
    auto dies_with = [&](auto& m) {
        child c([&]() -> task<> { co_await m.lock(); });
        CHECK(c.wait() == 0); // ended by itself, which is no better
        CHECK(m.locked());
    };
    auto is_told = [](auto& m) {
        bool died = false;
        try {
            in_time(weft::as_task(m.lock()));
        } catch (const ipc::owner_dead& e) {
            e.keep();
            died = true;
        }
        CHECK(died);
    };
    auto all_ways = [&](auto& m) {
        using lock = std::remove_reference_t<decltype(m)>;
        dies_with(m);
        is_told(m);
        CHECK(m.locked());
        m.mark_consistent();
        m.unlock();
        in_time(weft::as_task(m.lock())); // as ever
        m.unlock();
        CHECK_THROWS_AS(m.mark_consistent(), weft::state_error);

        dies_with(m);
        CHECK_THROWS_AS(m.try_lock(), ipc::owner_dead); // nobody keeps it, so it is unlocked
        CHECK_THROWS_AS(m.try_lock(), ipc::not_recoverable);
        CHECK_THROWS_AS(in_time(weft::as_task(m.lock())), ipc::not_recoverable);
        CHECK_THROWS_AS(in_time(weft::as_task(m.scoped())), ipc::not_recoverable);
        ::new (static_cast<void*>(&m)) lock;
        CHECK(m.try_lock());
        m.unlock();
    };
    all_ways(locks->plain);
    all_ways(locks->recursive);

    // A zombie is dead, and a deadline finds that out as well.
    child zombie([&]() -> task<> { co_await locks->plain.lock(); });
    until_here([&] { return locks->plain.locked(); });
    zombie.kill_and_leave();
    bool told = false;
    while (!told) {
        try {
            bool has = in_time(weft::as_task(locks->plain.lock_for(1ms)));
            CHECK_FALSE(has); // it was still dying
        } catch (const ipc::owner_dead&) {
            told = true;
        }
    }
}

TEST_CASE("shared locks: who is killed releasing a semaphore delays nobody who waits", "[P20]") {
    struct seats {
        ipc::semaphore free{0};
        std::atomic<std::uint32_t> taken{0};
    };
    ipc::shared<seats> s(std::in_place);
    dice d(weft::tests::new_seed(), 1);
    delays worst;
    auto takes = [&]() -> task<> {
        while (true) {
            co_await s->free.acquire();
            ++s->taken;
        }
    };
    // A waiter is killed each time, too, as it is woken or as it sleeps.
    child steady_one(takes);
    for (int i = 0; i < kills(); ++i) {
        child waiter(takes);
        child victim([&]() -> task<> {
            while (true) {
                s->free.release();
                if (s->free.value() > 3)
                    co_await weft::yield();
                for (int n = 0; n < 300; ++n)
                    weft::detail::std_atomics::pause(0);
            }
        });
        const auto before = s->taken.load();
        until_here([&] { return s->taken.load() > before + 2; });
        std::this_thread::sleep_for(d.moment() * 4);
        waiter.kill();
        victim.kill();
        const auto since = steady::now();
        until_here([&] { return s->free.value() == 0; });
        worst.note(since);
    }
    worst.judge("a semaphore");
}

TEST_CASE("shared locks: who is killed notifying a condition delays nobody who waits",
          "[P19][P20]") {
    ipc::shared<guarded_pair> p(std::in_place); // a: sent, b: taken
    dice d(weft::tests::new_seed(), 2);
    delays worst;
    auto takes = [&]() -> task<> {
        while (true) {
            co_await lock_after_all(p->lock);
            while (p->a.load() == p->b.load()) {
                bool died = false;
                try {
                    co_await p->changed.wait();
                } catch (const ipc::owner_dead&) {
                    died = true;
                }
                if (died) {
                    p->lock.mark_consistent();
                    p->changed.notify_all();
                }
            }
            ++p->b;
            p->lock.unlock();
        }
    };
    child steady_one(takes);
    for (int i = 0; i < kills(); ++i) {
        child waiter(takes);
        child victim([&]() -> task<> {
            while (true) {
                co_await lock_after_all(p->lock);
                ++p->a;
                p->changed.notify();
                p->lock.unlock();
                for (int n = 0; n < 300; ++n)
                    weft::detail::std_atomics::pause(0);
            }
        });
        const auto before = p->b.load();
        until_here([&] { return p->b.load() > before + 2; });
        std::this_thread::sleep_for(d.moment() * 4);
        waiter.kill();
        victim.kill();
        const auto since = steady::now();
        // Whoever died within what the lock guards may have had something to tell.
        if (in_time(lock_after_all(p->lock)))
            p->changed.notify_all();
        p->lock.unlock();
        until_here([&] { return p->a.load() == p->b.load(); });
        worst.note(since);
    }
    worst.judge("a condition");
}

TEST_CASE("shared locks: the death of one who waits at a barrier breaks it", "[P20]") {
    struct meeting {
        ipc::barrier<> all{4};
        std::atomic<int> broken{0};
    };
    ipc::shared<meeting> m(std::in_place);
    delays worst;
    auto comes = [&]() -> task<> {
        try {
            co_await m->all.arrive_and_wait();
        } catch (const ipc::broken_barrier&) {
            ++m->broken;
        }
    };
    for (int i = 0; i < kills(); ++i) {
        m->all.reset();
        m->broken = 0;
        child first(comes);
        child victim(comes);
        child last(comes);
        until_here([&] { return m->all.waiting() == 3; });
        victim.kill();
        const auto since = steady::now();
        until_here([&] { return m->broken.load() == 2; });
        worst.note(since);
        CHECK(m->all.broken());
        CHECK(first.wait() == 0);
        CHECK(last.wait() == 0);
    }
    worst.judge("a barrier");
}

TEST_CASE("shared locks: five processes stay in step, and an event wakes them all",
          "[MP-SYNC-06]") {
    struct plan {
        ipc::event begin;
        ipc::barrier<> step{5};
        std::atomic<int> done[5] = {};
        std::atomic<int> mistakes{0};
    };
    ipc::shared<plan> p(std::in_place);
    constexpr int cycles = weft::tests::sanitized ? 300 : 1000;
    auto works = [&](std::size_t who) -> task<> {
        co_await p->begin.wait();
        for (int i = 1; i <= cycles; ++i) {
            p->done[who] = i;
            co_await p->step.arrive_and_wait();
            for (const auto& d : p->done) {
                if (d.load() != i)
                    ++p->mistakes;
            }
            co_await p->step.arrive_and_wait();
        }
    };
    std::vector<std::unique_ptr<child>> others;
    for (std::size_t who = 1; who < 5; ++who)
        others.push_back(std::make_unique<child>([&, who] { return works(who); }));
    until_here([&] { return p->begin.waiting() == 4; });
    p->begin.set();
    in_time(works(0));
    for (auto& c : others)
        CHECK(c->wait() == 0);
    CHECK(p->mistakes == 0);
}

TEST_CASE("shared locks: they lie where each process maps them") {
    ipc::shared<guarded_pair> here(std::in_place);
    auto again = ipc::shared_memory::adopt(weft::descriptor(::dup(here.memory().fd())));
    ipc::shared<guarded_pair> there(std::move(again));
    REQUIRE(&*here != &*there);
    auto waits = [&]() -> task<> {
        co_await here->lock.lock();
        co_await here->changed.wait([&] { return here->a.load() != 0; });
        here->lock.unlock();
    };
    std::thread other([&] { in_time(waits()); });
    until_here([&] { return there->changed.waiting() == 1; });
    in_time(weft::as_task(there->lock.lock()));
    there->a = 1;
    there->changed.notify();
    there->lock.unlock();
    other.join();
    CHECK_FALSE(there->lock.locked());
}
