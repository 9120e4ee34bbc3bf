// SPDX-License-Identifier: MIT
#include <weft/executors/thread_pool.hpp>

#include <weft/executors/on_pool.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/mutex.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;

struct counted {
    explicit counted(std::atomic<int>& a) noexcept : alive(a) { ++alive; }
    counted(const counted& other) noexcept : alive(other.alive) { ++alive; }
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
    std::atomic<int>& alive;
};

std::uint32_t next(std::uint32_t bits) noexcept { return bits * 1664525u + 1013904223u; }

// What a workload shares.
struct world {
    std::atomic<int> alive{0}; // coroutines that have begun and aren't destroyed
    std::atomic<int> wrong{0}; // results that can't be
    mutex lock;
};

// A tree of everything that a task on a pool may do. Gives its number of leaves.
struct tree {
    static task<int> leaf(world& w, std::uint32_t bits) {
        counted here(w.alive);
        switch (bits >> 16 & 15) {
        case 0: {
            auto held = co_await w.lock.scoped();
            co_await yield();
            break;
        }
        case 1:
            co_await sleep_for(std::chrono::microseconds(bits % 100));
            break;
        case 2:
            if (bits % 32 == 0)
                throw std::out_of_range("random");
            break;
        case 3:
            co_await shield(as_task(yield()));
            break;
        case 4:
            co_await yield();
            break;
        default:
            co_await checkpoint();
            break;
        }
        co_return 1;
    }
    static task<int> forked(world& w, int depth, std::uint32_t x) {
        auto [a, b, c] = co_await when_all(of(w, depth - 1, x >> 3), of(w, depth - 1, x >> 5),
                                           of(w, depth - 1, x >> 7));
        co_return a + b + c;
    }
    static task<int> grouped(world& w, int depth, std::uint32_t x) {
        int sum = 0;
        co_await with_task_group([&](task_group& g) -> task<> {
            std::vector<task_handle<int>> all;
            for (unsigned i = 3; i <= 7; i += 2)
                all.push_back(g.spawn(of(w, depth - 1, x >> i)));
            for (auto& h : all)
                sum += co_await h.join();
        });
        co_return sum;
    }
    static task<int> settled(world& w, int depth, std::uint32_t x) {
        auto [a, b, c] = co_await when_all_settled(
            of(w, depth - 1, x >> 3), of(w, depth - 1, x >> 5), of(w, depth - 1, x >> 7));
        co_return std::move(a).value() + std::move(b).value() + std::move(c).value();
    }
    static task<int> raced(world& w, int depth, std::uint32_t x) {
        auto first = co_await when_any(of(w, depth - 1, x >> 3), of(w, depth - 1, x >> 3));
        int one = first.index() == 0 ? first.value<0>() : first.value<1>();
        co_return 3 * one;
    }
    static task<int> timed(world& w, int depth, std::uint32_t x) {
        co_return co_await with_timeout(1h, forked(w, depth, x));
    }
    static task<int> of(world& w, int depth, std::uint32_t bits) {
        counted here(w.alive);
        std::uint32_t x = next(bits);
        if (depth == 0)
            co_return co_await leaf(w, x);
        switch (x >> 20 & 7) {
        case 0:
            co_return co_await grouped(w, depth, x);
        case 1:
            co_return co_await settled(w, depth, x);
        case 2:
            co_return co_await raced(w, depth, x);
        case 3:
            co_return co_await timed(w, depth, x);
        default:
            co_return co_await forked(w, depth, x);
        }
    }
};

// With a value, by a cancel, or because the pool has.
bool has_ended(const future<int>& f) {
    if (!f.done() || f.cancelled())
        return f.done();
    try {
        static_cast<void>(f.get());
        return true;
    } catch (const ipc::pool_terminated&) {
        return true;
    }
}

// Awaits something of the pool. It may fail in the ways in which it may.
task<> one(thread_pool& pool, world& w, std::uint32_t bits) {
    counted here(w.alive);
    auto plain = [](int n) { return n; };
    auto polite = [](std::stop_token stop, int n) {
        for (int i = 0; i != 3 && !stop.stop_requested(); ++i)
            std::this_thread::yield();
        return n;
    };
    work_options o;
    o.priority = static_cast<task_priority>(bits % 3);
    o.blocks = bits % 5 == 0;
    try {
        int n = 27;
        switch (bits >> 8 & 3) {
        case 0:
            n = co_await pool.call(o, plain, 27);
            break;
        case 1:
            n = co_await pool.submit(o, polite, 27);
            break;
        default:
            n = co_await on(pool, o.priority, tree::of(w, 3, bits));
            break;
        }
        w.wrong += n == 27 ? 0 : 1;
    } catch (const std::out_of_range&) { // of a leaf
        co_return;
    } catch (const exception_group&) {
        co_return;
    } catch (const cancelled_error&) { // pending when the pool was shut down, or part of it
        co_return;
    } catch (const ipc::pool_terminated&) {
        co_return;
    } catch (const state_error&) { // submitted after the shutdown
        co_return;
    }
}

} // namespace

TEST_CASE("thread_pool: ended at any moment of whatever it does, it loses no task and no future",
          "[P1][P3][P23]") {
    auto seed = std::random_device()();
    CAPTURE(seed);
    run([](unsigned from) -> task<> {
        std::mt19937 random(from);
        world w;
        int lost = 0;
        for (int round = 0; round < 150; ++round) {
            thread_pool_options o;
            o.threads = 1 + round % 3;
            o.blocking_threads = 2;
            auto pool = std::make_unique<thread_pool>(o);
            std::vector<task_handle<>> tasks;
            std::vector<future<int>> futures;
            for (int i = 0; i < 20; ++i) {
                auto bits = static_cast<std::uint32_t>(random());
                tasks.push_back(spawn(one(*pool, w, bits)));
                work_options how;
                how.priority = static_cast<task_priority>(bits >> 3 & 1);
                how.blocks = bits % 7 == 0;
                futures.push_back(pool->submit(how, [i] { return i; }));
                if (bits % 3 == 0)
                    co_await yield();
                if (bits % 4 == 0)
                    tasks[random() % tasks.size()].cancel();
                if (bits % 6 == 0)
                    static_cast<void>(futures[random() % futures.size()].cancel());
            }
            co_await yield(); // all have handed their work in, or never will
            switch (random() % 4) {
            case 0:
                pool.reset();
                break;
            case 1:
                co_await pool->shutdown({.cancel_pending = true});
                break;
            case 2:
                co_await pool->shutdown({.wait = false, .cancel_pending = random() % 2 == 0});
                break;
            default:
                break;
            }
            for (auto& t : tasks)
                static_cast<void>(co_await as_result(t.join()));
            if (pool)
                co_await pool->shutdown();
            pool.reset();
            for (const future<int>& f : futures)
                lost += has_ended(f) ? 0 : 1;
            CHECK(w.alive.load() == 0);
        }
        CHECK(lost == 0);
        CHECK(w.wrong.load() == 0);
    }(seed));
}
