// SPDX-License-Identifier: MIT
// What all primitives have in common: waiting in order, being stopped, and ending too early.
#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/sync/barrier.hpp>
#include <weft/sync/bounded_semaphore.hpp>
#include <weft/sync/capacity_limiter.hpp>
#include <weft/sync/condition.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/latch.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/queue.hpp>
#include <weft/sync/recursive_mutex.hpp>
#include <weft/sync/semaphore.hpp>
#include <weft/sync/shared_mutex.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

// Each primitive in such a state that wait() waits until let_go(), which lets all go.
template <class Lock>
struct locked {
    Lock it;
    locked() { static_cast<void>(it.try_lock()); }
    task<> wait() { auto held = co_await it.scoped(); }
    task<> let_go() {
        it.unlock();
        co_return;
    }
    std::size_t waiting() { return it.waiting(); }
};
struct read_locked : locked<weft::shared_mutex> {
    task<> wait() { auto held = co_await it.scoped_shared(); }
};
template <class Semaphore>
struct used_up {
    Semaphore it{1};
    used_up() { static_cast<void>(it.try_acquire()); }
    task<> wait() { auto held = co_await it.scoped(); }
    task<> let_go() {
        it.release();
        co_return;
    }
    std::size_t waiting() { return it.waiting(); }
};
struct lent_out {
    weft::capacity_limiter::token token;
    weft::capacity_limiter it{1};
    lent_out() { token = it.try_scoped(); }
    task<> wait() { auto mine = co_await it.scoped(); }
    task<> let_go() {
        token.reset();
        co_return;
    }
    std::size_t waiting() { return it.waiting(); }
};
struct unset {
    weft::event it;
    task<> wait() { co_await it.wait(); }
    task<> let_go() {
        it.set();
        co_return;
    }
    std::size_t waiting() { return it.waiting(); }
};
struct counting {
    weft::latch it{1};
    task<> wait() { co_await it.wait(); }
    task<> let_go() {
        it.count_down();
        co_return;
    }
    std::size_t waiting() { return it.waiting(); }
};
struct not_notified {
    weft::mutex lock;
    weft::condition it{lock};
    task<> wait() {
        auto held = co_await lock.scoped();
        co_await it.wait();
    }
    task<> let_go() {
        auto held = co_await lock.scoped();
        it.notify_all();
    }
    std::size_t waiting() { return it.waiting(); }
};
struct empty_queue {
    weft::queue<int> it;
    task<> wait() { co_await it.get(); }
    task<> let_go() {
        while (it.getting() != 0)
            co_await it.put(1);
    }
    std::size_t waiting() { return it.getting(); }
};
struct not_all_there {
    weft::barrier<> it{5};
    task<> wait() { co_await it.arrive_and_wait(); }
    task<> let_go() { co_await it.arrive_and_wait(); }
    std::size_t waiting() { return it.waiting(); }
};

#define WEFT_TESTS_ALL_PRIMITIVES                                                                  \
    locked<weft::mutex>, locked<weft::recursive_mutex>, locked<weft::shared_mutex>, read_locked,   \
        used_up<weft::semaphore>, used_up<weft::bounded_semaphore>, lent_out, unset, counting,     \
        not_notified, empty_queue, not_all_there

template <class P>
task<> wait_and_note(P& p, std::vector<int>& order, int who) {
    co_await p.wait();
    order.push_back(who);
}

template <class P>
task<> wait_and_count(P& p, std::atomic<int>& count) {
    co_await p.wait();
    ++count;
}

} // namespace

TEMPLATE_TEST_CASE("primitives: first come, first served, and who is stopped leaves no trace",
                   "[AIO-SYNC-01][G-05][G-06]", WEFT_TESTS_ALL_PRIMITIVES) {
    TestType p;
    std::vector<int> order;
    on_a_loop([&]() -> task<> {
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            weft::task_handle<> stopped;
            std::size_t n = 0;
            for (int i = 0; i < 5; ++i) {
                if (p.waiting() == 4) // a barrier for five
                    break;
                auto handle = g.spawn(wait_and_note(p, order, i));
                ++n;
                co_await until([&] { return p.waiting() == n; });
                if (i == 1) {
                    handle.cancel();
                    --n;
                    co_await until([&] { return handle.done(); });
                    CHECK(p.waiting() == n);
                }
            }
            CHECK(order.empty());
            // A condition's lock is free meanwhile, and there is room at a barrier.
            if constexpr (!std::is_same_v<TestType, not_notified> &&
                          !std::is_same_v<TestType, not_all_there>)
                CHECK(p.it.stats().free == 0);
            CHECK(p.it.stats().waiting == 4);
            co_await p.let_go();
        });
    });
    CHECK(order == std::vector<int>{0, 2, 3, 4});
    CHECK(p.it.stats().waiting == 0);
    CHECK(std::string(p.it.stats().kind) != "");
    CHECK(p.waiting() == 0);
}

TEMPLATE_TEST_CASE("primitives: tasks of two loops and plain threads wait for the same one",
                   "[AIO-SYNC-01][G-14]", WEFT_TESTS_ALL_PRIMITIVES) {
    TestType p;
    std::atomic<int> count{0};
    on_loops(2, [&](weft::runtime& rt) -> task<> {
        std::vector<std::thread> threads;
        for (int i = 0; i < 2; ++i)
            threads.emplace_back([&] { weft::sync_wait(wait_and_count(p, count)); });
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            g.spawn(wait_and_count(p, count));
            g.spawn(weft::on(rt.get_loop(1), wait_and_count(p, count)));
            co_await until([&] { return p.waiting() == 4; });
            co_await p.let_go();
        });
        for (auto& t : threads)
            t.join();
    });
    CHECK(count == 4);
    CHECK(p.waiting() == 0);
}

namespace {

// What a process that runs `f` writes to its standard error, and that it was aborted.
template <class F>
std::string last_words(F f) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = ::fork();
    if (child == 0) {
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::signal(SIGABRT, SIG_DFL);
        ::dup2(ends[1], STDERR_FILENO);
        f();
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string text;
    char part[512];
    for (ssize_t n; (n = ::read(ends[0], part, sizeof(part))) > 0;)
        text.append(part, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
    return text;
}

} // namespace

TEMPLATE_TEST_CASE("primitives: to destroy one while somebody waits for it ends the program",
                   "[G-11]", WEFT_TESTS_ALL_PRIMITIVES) {
    std::string text = last_words([] {
        auto p = std::make_unique<TestType>();
        on_a_loop([&]() -> task<> {
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(p->wait());
                co_await until([&] { return p->waiting() == 1; });
                p.reset();
            });
        });
    });
    CHECK_THAT(text, Catch::Contains("was destroyed while somebody waited"));
}

TEST_CASE("primitives: stats tell who has a lock, and how much is used") {
    weft::mutex a;
    weft::recursive_mutex b;
    CHECK(a.stats().holder == 0);
    CHECK(a.stats().free == 1);
    REQUIRE(a.try_lock());
    REQUIRE(b.try_lock());
    REQUIRE(b.try_lock());
    CHECK(a.stats().holder != 0);
    CHECK(a.stats().holder == b.stats().holder);
    CHECK(a.stats().held == 1);
    CHECK(b.stats().held == 2);
    b.unlock();
    b.unlock();
    CHECK(b.stats().holder == 0);
    CHECK(b.stats().held == 0);
    a.unlock();

    weft::bounded_semaphore s(3);
    REQUIRE(s.try_acquire());
    CHECK(s.stats().held == 1);
    CHECK(s.stats().free == 2);
    weft::semaphore plain(3);
    CHECK(plain.stats().free == 3);
    weft::shared_mutex m;
    REQUIRE(m.try_lock_shared());
    REQUIRE(m.try_lock_shared());
    CHECK(m.stats().held == 2);
    m.unlock_shared();
    m.unlock_shared();
    CHECK(m.stats().free == 1);
    weft::capacity_limiter l(2);
    auto token = l.try_scoped();
    CHECK(l.stats().held == 1);
    CHECK(l.stats().free == 1);
    l.set_total(1);
    CHECK(l.stats().free == 0);
    weft::latch n(2);
    CHECK(n.stats().held == 2);
    weft::queue<int> q(3);
    REQUIRE(q.try_put(1));
    CHECK(q.stats().held == 1);
    CHECK(q.stats().free == 2);
    weft::event e;
    CHECK(e.stats().free == 0);
    e.set();
    CHECK(e.stats().free == 1);
}
