// SPDX-License-Identifier: MIT
#include "support/io.hpp"
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/sync/select.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/error.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/queue.hpp>
#include <weft/sync/semaphore.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::select;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;
using weft::tests::until_here;

namespace {

// Which of two queues it was, and the item.
struct got {
    std::size_t from = 9;
    int item = -1;
};

task<> get_either(weft::queue<int>& a, weft::queue<int>& b, got& into) {
    auto first = co_await select(a.get(), b.get());
    into.from = first.index();
    into.item = first.index() == 0 ? first.value<0>() : first.value<1>();
}

// Its moves fail when they are told to.
struct fragile {
    explicit fragile(int n) : number(n) {}
    fragile(fragile&& other) noexcept(false) : number(other.number) {}
    fragile& operator=(fragile&&) = delete;
    int number;
};

// Can be made of what it doesn't like.
struct picky {
    explicit picky(int n) noexcept : number(n) {}
    explicit picky(const char*) : number(0) { throw std::runtime_error("not this"); }
    picky(picky&&) noexcept = default;
    picky& operator=(picky&&) = delete;
    int number;
};

} // namespace

TEST_CASE("select: does the first that can be done at once, and nothing else") {
    on_a_loop([]() -> task<> {
        weft::queue<int> a;
        weft::queue<int> b;
        REQUIRE(b.try_put(2));
        got g;
        co_await get_either(a, b, g);
        CHECK(g.from == 1);
        CHECK(g.item == 2);
        REQUIRE(a.try_put(1));
        REQUIRE(b.try_put(3));
        co_await get_either(a, b, g);
        CHECK(g.from == 0);
        CHECK(g.item == 1);
        CHECK(a.empty());
        CHECK(b.size() == 1);
    });
}

TEST_CASE("select: waits in all lines, and leaves those where nothing came", "[G-05]") {
    on_a_loop([]() -> task<> {
        weft::queue<int> a;
        weft::queue<int> b;
        got g;
        auto waits = weft::spawn(get_either(a, b, g));
        co_await until([&] { return a.getting() == 1 && b.getting() == 1; });
        REQUIRE(b.try_put(5));
        co_await waits.join();
        CHECK(g.from == 1);
        CHECK(g.item == 5);
        CHECK(a.getting() == 0);
        CHECK(b.getting() == 0);
        REQUIRE(a.try_put(1)); // stays there
        CHECK(a.size() == 1);
    });
}

TEST_CASE("select: what another one has decided before is passed by, and keeps nobody waiting",
          "[G-05][G-06]") {
    on_a_loop([]() -> task<> {
        weft::queue<int> a;
        weft::queue<int> b;
        got g;
        got next;
        auto waits = weft::spawn(get_either(a, b, g));
        co_await until([&] { return b.getting() == 1; });
        auto behind = [](weft::queue<int>& q, got& into) -> task<> {
            into.item = co_await q.get();
        };
        auto waits_behind = weft::spawn(behind(b, next));
        co_await until([&] { return b.getting() == 2; });
        // The one is decided, and had no turn since; so what comes next is for the other.
        REQUIRE(a.try_put(1));
        REQUIRE(b.try_put(2));
        REQUIRE(b.try_put(3));
        CHECK(b.size() == 1);
        co_await waits.join();
        co_await waits_behind.join();
        CHECK(g.from == 0);
        CHECK(g.item == 1);
        CHECK(next.item == 2);
    });
}

TEST_CASE("select: locks, permits, events, places and joins can be chosen from alike") {
    on_a_loop([]() -> task<> {
        weft::mutex m;
        weft::semaphore s(0);
        weft::event e;
        weft::queue<std::string> full(1);
        weft::queue<int> pending;
        REQUIRE(full.try_put("first"));
        REQUIRE(pending.try_put(1));
        co_await m.lock();
        std::size_t index = 9;
        auto chooses = [&]() -> task<> {
            auto first = co_await select(m.scoped(), s.acquire(), e.wait(), full.put("second"),
                                         pending.join());
            index = first.index();
            if (index == 0)
                CHECK(m.locked()); // by the guard in its results
        };
        auto waiting = [&] {
            return m.waiting() == 1 && s.waiting() == 1 && e.waiting() == 1 &&
                   full.putting() == 1 && pending.joining() == 1;
        };
        auto nobody = [&] {
            return m.waiting() + s.waiting() + e.waiting() + full.putting() + pending.joining() ==
                   0;
        };
        std::vector<std::size_t> order;
        for (int round = 0; round < 5; ++round) {
            auto t = weft::spawn(chooses());
            co_await until(waiting);
            switch (round) {
            case 0:
                m.unlock();
                break;
            case 1:
                s.release();
                break;
            case 2:
                e.set();
                break;
            case 3:
                CHECK(full.try_get() == "first");
                break;
            default:
                REQUIRE(pending.try_get() == 1);
                pending.task_done();
            }
            co_await t.join();
            order.push_back(index);
            REQUIRE(nobody());
            if (round == 0) {
                CHECK_FALSE(m.locked()); // the guard is gone
                co_await m.lock();
            }
            e.clear();
        }
        CHECK(order == std::vector<std::size_t>{0, 1, 2, 3, 4});
        CHECK(s.value() == 0);
        CHECK(full.try_get() == "second");
        m.unlock();
    });
}

TEST_CASE("select: a put that is chosen puts its item, those that aren't put none") {
    on_a_loop([]() -> task<> {
        weft::queue<std::unique_ptr<int>> a(1);
        weft::queue<std::unique_ptr<int>> b(1);
        REQUIRE(a.try_put(std::make_unique<int>(1)));
        REQUIRE(b.try_put(std::make_unique<int>(2)));
        std::size_t chosen = 9;
        auto puts = [&]() -> task<> {
            auto to_a = a.put(std::make_unique<int>(3));
            auto to_b = b.put(std::make_unique<int>(4));
            auto first = co_await select(std::move(to_a), std::move(to_b));
            chosen = first.index();
        };
        auto t = weft::spawn(puts());
        co_await until([&] { return a.putting() == 1 && b.putting() == 1; });
        CHECK(**b.try_get() == 2);
        co_await t.join();
        CHECK(chosen == 1);
        CHECK(a.putting() == 0);
        CHECK(**a.try_get() == 1);
        CHECK(a.empty());
        CHECK(**b.try_get() == 4);
    });
}

TEST_CASE("select: puts and gets of two selects meet, also of one with itself") {
    on_a_loop([]() -> task<> {
        weft::queue<int> there(1);
        weft::queue<int> back(1);
        weft::queue<int> never(1);
        std::size_t put = 9;
        int item = -1;
        auto gets = [&]() -> task<> {
            auto first = co_await select(never.get(), there.get());
            item = first.value<1>();
        };
        auto puts = [&]() -> task<> {
            auto first = co_await select(back.get(), there.put(7));
            put = first.index();
        };
        auto a = weft::spawn(gets());
        auto b = weft::spawn(puts());
        co_await a.join();
        co_await b.join();
        CHECK(item == 7);
        CHECK(put == 1);
        CHECK(there.empty());

        auto alone = co_await select(there.get(), there.put(8));
        CHECK(alone.index() == 1);
        CHECK(there.try_get() == 8);
    });
}

TEST_CASE("select: the end of a queue is an end like any other", "[Q-07]") {
    on_a_loop([]() -> task<> {
        weft::queue<int> a;
        weft::queue<int> b;
        std::size_t index = 9;
        bool threw = false;
        auto gets = [&]() -> task<> {
            auto first = co_await select(a.get(), b.get());
            index = first.index();
            try {
                static_cast<void>(first.value<1>());
            } catch (const weft::queue_shut_down&) {
                threw = true;
            }
        };
        auto t = weft::spawn(gets());
        co_await until([&] { return b.getting() == 1; });
        b.shutdown();
        co_await t.join();
        CHECK(index == 1);
        CHECK(threw);
        index = 9;
        co_await gets(); // now it is known at once
        CHECK(index == 1);
        CHECK(a.getting() == 0);
    });
}

TEST_CASE("select: a stop leaves all lines, unless something was given before", "[G-05][P3]") {
    on_a_loop([]() -> task<> {
        weft::queue<int> a;
        weft::queue<int> b;
        got g;
        auto waits = weft::spawn(get_either(a, b, g));
        co_await until([&] { return b.getting() == 1; });
        waits.cancel();
        static_cast<void>(co_await weft::as_result(waits.join()));
        CHECK(g.from == 9);
        CHECK(a.getting() == 0);
        CHECK(b.getting() == 0);

        auto given = weft::spawn(get_either(a, b, g));
        co_await until([&] { return b.getting() == 1; });
        REQUIRE(a.try_put(6));
        given.cancel();
        static_cast<void>(co_await weft::as_result(given.join()));
        CHECK(g.from == 0);
        CHECK(g.item == 6);
    });
}

TEST_CASE("select: a deadline around it takes nothing") {
    on_a_loop([]() -> task<> {
        weft::queue<int> a;
        weft::mutex m;
        co_await m.lock();
        bool late = false;
        auto choice = weft::with_timeout(5ms, select(a.get(), m.lock()));
        try {
            static_cast<void>(co_await std::move(choice));
        } catch (const weft::timeout_error&) {
            late = true;
        }
        CHECK(late);
        CHECK(a.getting() == 0);
        CHECK(m.waiting() == 0);
        m.unlock();
        CHECK_FALSE(m.locked());
    });
}

TEST_CASE("select: I/O is part of it, and isn't begun if something else can be done at once") {
    on_a_loop([]() -> task<> {
        weft::queue<int> q;
        auto [reader, writer] = weft::make_pipe();
        std::byte buffer[8];
        auto either = [&, &from = reader]() -> task<std::size_t> {
            auto read = from.read_some(buffer);
            auto first = co_await select(std::move(read), q.get());
            co_return first.index();
        };
        const std::byte byte{42};
        // Both could be done: the read isn't begun, and its byte stays in the pipe.
        co_await weft::write_all(writer, std::span(&byte, 1));
        REQUIRE(q.try_put(1));
        std::size_t index = co_await either();
        CHECK(index == 1);
        CHECK(q.empty());
        index = co_await either();
        CHECK(index == 0);
        CHECK(buffer[0] == byte);
        CHECK(q.getting() == 0);
        // The queue wins while the read waits.
        auto t = weft::spawn(either());
        co_await until([&] { return q.getting() == 1; });
        REQUIRE(q.try_put(2));
        index = co_await t.join();
        CHECK(index == 1);
        // The read wins while it stands in line.
        auto u = weft::spawn(either());
        co_await until([&] { return q.getting() == 1; });
        co_await weft::write_all(writer, std::span(&byte, 1));
        index = co_await u.join();
        CHECK(index == 0);
        CHECK(q.getting() == 0);
    });
}

TEST_CASE("select: tasks and I/O alone race as in when_any") {
    on_a_loop([]() -> task<> {
        auto ready = []() -> task<int> { co_return 3; };
        auto first = co_await select(weft::sleep_for(1h), ready());
        CHECK(first.index() == 1);
        CHECK(first.value<1>() == 3);
    });
}

TEST_CASE("select: what can't be moved safely races beside the rest, and is in the results") {
    on_a_loop([]() -> task<> {
        weft::queue<fragile> a;
        weft::queue<int> b;
        REQUIRE(a.try_put(fragile(4)));
        auto first = co_await select(a.get(), b.get());
        CHECK(first.index() == 0);
        CHECK(std::get<0>(first.results()).value().number == 4);
        CHECK(b.getting() == 0);
    });
}

TEST_CASE("select: an item that can't be made leaves it waiting") {
    on_a_loop([]() -> task<> {
        weft::queue<picky> a;
        weft::event e;
        int number = -1;
        auto gets = [&]() -> task<> {
            auto first = co_await select(a.get(), e.wait());
            number = first.value<0>().number;
        };
        auto t = weft::spawn(gets());
        co_await until([&] { return e.waiting() == 1; });
        REQUIRE_THROWS_AS(a.try_put("no"), std::runtime_error);
        CHECK(a.empty());
        CHECK(a.getting() == 1);
        REQUIRE(a.try_put(5));
        co_await t.join();
        CHECK(number == 5);
    });
}

TEST_CASE("select: of two that come at once from two threads one is taken, the other stays",
          "[G-05][G-14]") {
    for (int round = 0; round < 300; ++round) {
        weft::queue<int> a;
        weft::queue<int> b;
        std::atomic<bool> go{false};
        auto puts = [&go](weft::queue<int>& q, int item) {
            until_here([&] { return go.load() && q.getting() <= 1; });
            static_cast<void>(q.try_put(item));
        };
        std::thread first([&] { puts(a, 1); });
        std::thread second([&] { puts(b, 2); });
        got g;
        weft::sync_wait([](weft::queue<int>& x, weft::queue<int>& y, std::atomic<bool>& start,
                           got& into) -> task<> {
            start = true;
            co_await get_either(x, y, into);
        }(a, b, go, g));
        first.join();
        second.join();
        REQUIRE(g.item == static_cast<int>(g.from) + 1);
        REQUIRE(a.size() + b.size() == 1);
        REQUIRE((g.from == 0 ? a : b).empty());
    }
}

namespace {

struct mixer {
    weft::queue<int> a{2};
    weft::queue<int> b{1};
    weft::mutex m;
    weft::semaphore s{1};
    std::atomic<long> put{0}, got{0}; // sums
    std::atomic<int> in_lock{0}, crowds{0};
    std::atomic<bool> over{false};
};

// In the lock, until it is stopped or done.
class inside {
public:
    explicit inside(mixer& x) noexcept : mixer_(x) {
        if (++x.in_lock > 1)
            ++x.crowds;
    }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() { --mixer_.in_lock; }

private:
    mixer& mixer_;
};

task<> mix_once(mixer& x, unsigned kind, int n) {
    switch (kind) {
    case 0: {
        auto first = co_await select(x.a.put(n), x.b.put(n));
        static_cast<void>(first);
        x.put += n;
        break;
    }
    case 1:
    case 2: {
        auto first = co_await select(x.a.get(), x.b.get());
        x.got += first.index() == 0 ? first.value<0>() : first.value<1>();
        break;
    }
    case 3: {
        // One way or the other, with whatever can be done.
        auto first = co_await select(x.a.get(), x.b.put(n));
        if (first.index() == 0)
            x.got += first.value<0>();
        else
            x.put += n;
        break;
    }
    default: {
        auto first = co_await select(x.m.scoped(), x.s.scoped(), x.b.get());
        if (first.index() == 0) {
            auto held = first.value<0>();
            inside here(x);
            co_await weft::yield();
        } else if (first.index() == 1) {
            auto held = first.value<1>();
            co_await weft::yield();
        } else {
            x.got += first.value<2>();
        }
    }
    }
}

task<> mix(mixer& x, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    int n = static_cast<int>(who) * 1'000'000;
    for (const weft::tests::mixing_time t; !t.over();) {
        ++n;
        auto in_time = weft::with_timeout(d.moment(), mix_once(x, d.below(5), n));
        static_cast<void>(co_await weft::as_result(std::move(in_time)));
    }
}

} // namespace

TEST_CASE("select: stops at random moments balance every item, permit and lock",
          "[G-05][G-14][P3]") {
    const unsigned seed = weft::tests::new_seed();
    CAPTURE(seed);
    mixer x;
    std::thread aside([&] { weft::sync_wait(mix(x, seed, 1)); });
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        weft::loop& other = rt.get_loop(1);
        co_await weft::when_all(mix(x, seed, 2), mix(x, seed, 3), mix(x, seed, 4),
                                weft::on(other, mix(x, seed, 5)), weft::on(other, mix(x, seed, 6)),
                                weft::on(other, mix(x, seed, 7)));
    });
    aside.join();
    long left = 0;
    for (weft::queue<int>* q : {&x.a, &x.b}) {
        while (auto item = q->try_get())
            left += *item;
        CHECK(q->getting() == 0);
        CHECK(q->putting() == 0);
    }
    CHECK(x.put == x.got + left);
    CHECK(x.put > 0);
    CHECK(x.crowds == 0);
    CHECK_FALSE(x.m.locked());
    CHECK(x.m.waiting() == 0);
    CHECK(x.s.value() == 1);
    CHECK(x.s.waiting() == 0);
}
