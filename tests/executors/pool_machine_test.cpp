// SPDX-License-Identifier: MIT
#include <weft/executors/impl/pool_machine.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <deque>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace {

using namespace weft;
using namespace weft::detail;
using namespace std::chrono_literals;
using kind = pool_machine::action_kind;
using answer = pool_machine::answer;
using state = pool_machine::worker_state;

const auto sigkill = ipc::exit_status::by_signal(SIGKILL);

std::shared_ptr<const worker_end> end_by(ipc::exit_status s) {
    worker_end e;
    e.status = s;
    return std::make_shared<const worker_end>(e);
}

// A machine with its clock. What it wants done is noted; spawning is carried out at once unless
// told otherwise.
struct bench {
    explicit bench(unsigned workers, std::size_t pending = 1000) : m(limits(workers, pending)) {}
    explicit bench(const pool_machine::limits& l) : m(l) {}

    static pool_machine::limits limits(unsigned workers, std::size_t pending) {
        pool_machine::limits l;
        l.workers = workers;
        l.pending = pending;
        return l;
    }

    void run() {
        while (auto a = m.next()) {
            switch (a->what) {
            case kind::complete:
                completed.push_back(a->task);
                break;
            case kind::spawn:
                ++spawns;
                if (spawn_error != 0)
                    m.spawn_failed(a->worker, spawn_error, now);
                else
                    m.spawned(a->worker, next_pid++, now);
                break;
            case kind::send_task:
                sent.push_back(a->task);
                break;
            case kind::recall:
                ++recalls;
                while (m.last_ahead_of(a->worker) != nullptr &&
                       begun.count(m.last_ahead_of(a->worker)) == 0)
                    m.taken_back(a->worker, now);
                while (answered_early != 0) {
                    --answered_early;
                    m.finished(a->worker, false, now);
                }
                m.recalled(a->worker, now);
                break;
            case kind::send_stop:
                stops.push_back(a->worker);
                break;
            case kind::send_quit:
                quits.push_back(a->worker);
                break;
            case kind::send_credit:
                credits.push_back(a->worker);
                break;
            case kind::send_term:
                terms.push_back(a->worker);
                break;
            case kind::kill:
                kills.push_back(a->worker);
                break;
            }
        }
    }
    // All workers that are there at once are up and ready.
    void start() {
        m.start(now);
        run();
        for (unsigned i = 0; i != m.workers(); ++i)
            if (state_of(i) == state::starting)
                m.ready(i, now);
        run();
    }
    answer submit(pool_task& t) {
        answer a = m.submit(t, now);
        run();
        return a;
    }
    void pass(duration d) {
        now += d;
        m.advance(now);
        run();
    }
    void finish(unsigned worker) {
        m.finished(worker, false, now);
        run();
    }
    void die(unsigned worker, ipc::exit_status s = sigkill) {
        m.died(worker, end_by(s), now);
        run();
    }
    [[nodiscard]] state state_of(unsigned i) const { return m.worker(i).state; }

    time_point now = time_point(100s);
    pool_machine m;
    int next_pid = 1000;
    int spawn_error = 0;
    int spawns = 0;
    std::vector<pool_task*> completed, sent;
    std::vector<unsigned> stops, quits, terms, kills, credits;
    int recalls = 0;
    int answered_early = 0; // what a recall finds answered
    std::set<const pool_task*> begun;
};

// Makes the machine believe that tasks are short.
void work_briefly(bench& b) {
    for (int i = 0; i != 40; ++i) {
        pool_task t;
        REQUIRE(b.submit(t) == answer::accepted);
        b.finish(t.worker);
        REQUIRE(t.outcome == task_outcome::finished);
    }
    b.sent.clear();
    b.completed.clear();
}

bench with_look_ahead(unsigned workers, unsigned ahead) {
    auto l = bench::limits(workers, 1000);
    l.look_ahead = ahead;
    return bench(l);
}

} // namespace

TEST_CASE("pool_machine: tasks go to idle workers, first come first served") {
    bench b(2);
    pool_task t[4];
    CHECK(b.submit(t[0]) == answer::accepted);
    CHECK(b.sent.empty()); // nobody is up yet
    b.start();
    for (int i = 1; i != 4; ++i)
        CHECK(b.submit(t[i]) == answer::accepted);
    CHECK(b.sent == std::vector<pool_task*>{&t[0], &t[1]}); // one at a time each, no look-ahead
    CHECK(b.m.queued() == 2);

    b.finish(t[1].worker);
    CHECK(b.completed == std::vector<pool_task*>{&t[1]});
    CHECK(t[1].outcome == task_outcome::finished);
    CHECK(b.sent.back() == &t[2]);
    b.finish(t[2].worker);
    CHECK(b.sent.back() == &t[3]);
    CHECK(b.m.done() == 2);
}

TEST_CASE("pool_machine: the queue has a bound", "[P5]") {
    bench b(1, 2);
    pool_task t[3];
    CHECK(b.submit(t[0]) == answer::accepted);
    CHECK(b.submit(t[1]) == answer::accepted);
    CHECK(b.submit(t[2]) == answer::full);
    b.start();
    CHECK(b.submit(t[2]) == answer::accepted);
    b.m.terminate(b.now);
    b.run();
}

TEST_CASE("pool_machine: a death fails the task that the worker held, and only that", "[P8]") {
    bench b(2);
    b.start();
    pool_task t[3];
    for (auto& x : t)
        b.submit(x);
    unsigned victim = t[0].worker;
    int pid = b.m.worker(victim).pid;
    b.die(victim);
    CHECK(b.completed == std::vector<pool_task*>{&t[0]});
    CHECK(t[0].outcome == task_outcome::lost);
    CHECK(t[0].pid == pid);
    CHECK(t[0].end->status == sigkill);
    // The slot is filled anew, and the waiting task runs there.
    CHECK(b.state_of(victim) == state::starting);
    CHECK(b.m.respawned() == 1);
    b.m.ready(victim, b.now);
    b.run();
    CHECK(t[2].worker == victim);
    CHECK(b.state_of(victim) == state::running);
    CHECK(t[1].at == pool_task::place::worker);
}

TEST_CASE("pool_machine: an idle worker that dies is replaced and fails nobody", "[P8]") {
    bench b(2);
    b.start();
    b.die(1);
    CHECK(b.completed.empty());
    CHECK(b.state_of(1) == state::starting);
    pool_task t;
    b.submit(t);
    CHECK(t.worker == 0);
    b.finish(0);
}

TEST_CASE("pool_machine: a task that may be retried is, as often as that and first in the queue",
          "[P8]") {
    bench b(1);
    b.start();
    pool_task safe, next;
    safe.retries = 1;
    b.submit(safe);
    b.submit(next);
    b.die(0);
    CHECK(b.completed.empty());
    b.m.ready(0, b.now);
    b.run();
    CHECK(b.sent == std::vector<pool_task*>{&safe, &safe});
    b.die(0);
    CHECK(b.completed == std::vector<pool_task*>{&safe});
    CHECK(safe.outcome == task_outcome::lost);
    b.m.ready(0, b.now);
    b.run();
    CHECK(b.sent.back() == &next);
    b.finish(0);
}

TEST_CASE("pool_machine: five deaths in ten seconds without a finished task break the pool",
          "[P9]") {
    bench b(1);
    b.start();
    pool_task waiting[2];
    pool_task held[5];
    auto die_holding = [&](pool_task& t) {
        b.submit(t);
        b.now += 1s;
        b.die(0);
        b.m.ready(0, b.now);
        b.run();
    };
    for (int i = 0; i != 4; ++i)
        die_holding(held[i]);
    CHECK_FALSE(b.m.is_broken());
    b.submit(held[4]);
    b.submit(waiting[0]);
    b.submit(waiting[1]);
    b.die(0);
    CHECK(b.m.is_broken());
    CHECK(b.m.reason() ==
          "5 workers died without a finished task between them; the last one killed "
          "by signal 9 (SIGKILL)");
    CHECK(held[4].outcome == task_outcome::lost);
    CHECK(waiting[0].outcome == task_outcome::broken);
    CHECK(waiting[1].outcome == task_outcome::broken);
    pool_task late;
    CHECK(b.submit(late) == answer::broken);
    CHECK(b.m.closed());
}

TEST_CASE("pool_machine: deaths don't break a pool that gets something done, or that has time",
          "[P9]") {
    bench b(1);
    b.start();
    auto round = [&](bool finish_one) {
        if (finish_one) {
            pool_task done;
            b.submit(done);
            b.finish(0);
        }
        b.die(0);
        b.m.ready(0, b.now);
        b.run();
    };
    for (int i = 0; i != 20; ++i)
        round(true);
    CHECK_FALSE(b.m.is_broken());
    for (int i = 0; i != 20; ++i) {
        b.now += 2501ms; // the fifth is more than ten seconds after the first
        round(false);
    }
    CHECK_FALSE(b.m.is_broken());
}

TEST_CASE(
    "pool_machine: if the first worker comes back at once the pool is broken, without a second "
    "try",
    "[P9]") {
    bench b(1);
    b.m.start(b.now);
    b.run();
    pool_task t;
    b.submit(t);
    SECTION("by exit") {
        b.die(0, ipc::exit_status::by_exit(0));
        CHECK_THAT(b.m.reason(), Catch::StartsWith("the first worker exited with code 0 "));
    }
    SECTION("after its channel was closed") {
        b.m.misbehaved(0, b.now);
        b.run();
        b.die(0, ipc::exit_status::by_exit(3));
        CHECK_THAT(b.m.reason(), Catch::StartsWith("the first worker exited with code 3 "));
    }
    SECTION("by silence") {
        b.pass(10s - 1ns);
        CHECK(b.kills.empty());
        b.pass(1ns);
        CHECK(b.kills == std::vector<unsigned>{0});
        b.die(0);
        CHECK_THAT(b.m.reason(), Catch::StartsWith("the first worker didn't answer"));
    }
    CHECK(b.m.is_broken());
    CHECK(t.outcome == task_outcome::broken);
    CHECK(b.spawns == 1);
    CHECK(b.m.closed());
}

TEST_CASE("pool_machine: a worker that is killed while it starts is replaced", "[P8]") {
    bench b(1);
    b.m.start(b.now);
    b.run();
    pool_task t;
    b.submit(t);
    b.die(0);
    CHECK_FALSE(b.m.is_broken());
    b.m.ready(0, b.now);
    b.run();
    CHECK(b.sent == std::vector<pool_task*>{&t});
    b.finish(0);
}

TEST_CASE("pool_machine: workers that never come up break the pool, however slowly they fail",
          "[P9]") {
    bench b(1);
    b.start(); // the first one did come up
    b.die(0);
    int n = 0;
    while (!b.m.is_broken() && n < 100) {
        b.pass(10s); // the start deadline
        b.die(0);
        ++n;
    }
    CHECK(n == 5);
}

TEST_CASE("pool_machine: a queued task that is cancelled is out at once") {
    bench b(1);
    b.start();
    pool_task running, queued;
    b.submit(running);
    b.submit(queued);
    CHECK(b.m.cancel(queued, b.now));
    CHECK(b.m.queued() == 0);
    b.finish(0);
    CHECK(b.completed == std::vector<pool_task*>{&running});
}

TEST_CASE("pool_machine: a running task that is cancelled is asked, and killed after its grace",
          "[P10]") {
    bench b(1);
    b.start();
    pool_task t, next;
    t.grace = 2s;
    b.submit(t);
    b.submit(next);
    CHECK_FALSE(b.m.cancel(t, b.now));
    b.run();
    CHECK(b.stops == std::vector<unsigned>{0});

    SECTION("it answers in time") {
        b.pass(1s);
        b.finish(0);
        CHECK(t.outcome == task_outcome::finished);
        CHECK(b.sent.back() == &next);
        b.pass(10s); // the grace is forgotten
        CHECK(b.kills.empty());
    }
    SECTION("it doesn't") {
        b.pass(2s - 1ns);
        CHECK(b.kills.empty());
        b.pass(1ns);
        CHECK(b.kills == std::vector<unsigned>{0});
        CHECK(b.completed.empty()); // its scope waits until it is gone
        b.die(0);
        CHECK(t.outcome == task_outcome::stopped);
        b.m.ready(0, b.now);
        b.run();
        CHECK(b.sent.back() == &next);
    }
    SECTION("its answer overtakes the kill") {
        b.pass(2s);
        b.finish(0);
        CHECK(t.outcome == task_outcome::finished);
        b.die(0);
        CHECK(b.completed == std::vector<pool_task*>{&t});
    }
    SECTION("its worker dies by itself") {
        t.retries = 5;
        b.die(0);
        CHECK(t.outcome == task_outcome::lost); // and it isn't tried again
    }
    if (next.at == pool_task::place::worker)
        b.finish(0);
}

TEST_CASE("pool_machine: without grace a running task is killed at once; such deaths don't count",
          "[P9][P10]") {
    bench b(1);
    b.start();
    for (int i = 0; i != 20; ++i) {
        pool_task t;
        b.submit(t);
        CHECK_FALSE(b.m.cancel(t, b.now));
        b.run();
        b.die(0);
        CHECK(t.outcome == task_outcome::stopped);
        b.m.ready(0, b.now);
        b.run();
    }
    CHECK_FALSE(b.m.is_broken());
    CHECK(b.kills.size() == 20);
}

TEST_CASE(
    "pool_machine: at its deadline a task fails that waits; one that runs is asked, then killed",
    "[P2][P10]") {
    bench b(1);
    b.start();
    pool_task t, next;
    t.deadline = b.now + 1s;
    t.grace = 2s;

    SECTION("before it is submitted") {
        t.deadline = b.now;
        CHECK(b.submit(t) == answer::accepted);
        CHECK(t.outcome == task_outcome::timed_out);
        CHECK(b.sent.empty());
    }
    SECTION("while it waits") {
        b.submit(next);
        b.submit(t);
        CHECK(b.m.next_deadline() == t.deadline);
        b.pass(1s - 1ns);
        CHECK(b.m.queued() == 1);
        b.pass(1ns);
        CHECK(b.m.queued() == 0);
        CHECK(t.outcome == task_outcome::timed_out);
        CHECK(b.stops.empty());
        CHECK(b.m.next_deadline() == never);
    }
    SECTION("while it was given to a worker but not sent") {
        CHECK(b.m.submit(t, b.now) == answer::accepted);
        b.pass(1s);
        CHECK(t.outcome == task_outcome::timed_out);
        CHECK(b.sent.empty());
        b.submit(next);
        CHECK(b.sent == std::vector<pool_task*>{&next});
    }
    SECTION("while it runs") {
        b.submit(t);
        b.submit(next);
        b.pass(1s);
        CHECK(b.stops == std::vector<unsigned>{0});
        SECTION("and it answers in time") {
            b.pass(1s);
            b.finish(0);
            CHECK(t.outcome == task_outcome::finished);
            CHECK(t.late);
            CHECK(b.kills.empty());
        }
        SECTION("and it doesn't") {
            b.pass(2s);
            CHECK(b.kills == std::vector<unsigned>{0});
            b.die(0);
            CHECK(t.outcome == task_outcome::timed_out);
            CHECK_FALSE(b.m.is_broken());
            b.m.ready(0, b.now);
            b.run();
        }
        SECTION("and its worker dies meanwhile") {
            t.retries = 5;
            b.die(0);
            CHECK(t.outcome == task_outcome::lost); // and it isn't tried again
            b.m.ready(0, b.now);
            b.run();
        }
        SECTION("and nobody wants it any more") {
            CHECK_FALSE(b.m.cancel(t, b.now));
            b.pass(2s);
            b.die(0);
            CHECK(t.outcome == task_outcome::stopped);
            b.m.ready(0, b.now);
            b.run();
        }
        CHECK(b.sent.back() == &next);
    }
    if (next.at == pool_task::place::worker)
        b.finish(0);
}

TEST_CASE("pool_machine: a running task's worker is told what was taken, and nobody else") {
    bench b(1);
    b.start();
    pool_task t, next;
    CHECK_FALSE(b.m.grant(t));
    b.submit(t);
    b.submit(next);
    CHECK_FALSE(b.m.grant(next));
    CHECK(b.m.grant(t));
    b.run();
    CHECK(b.credits == std::vector<unsigned>{0});
    CHECK(b.m.grant(t));
    b.finish(0); // was faster
    CHECK_FALSE(b.m.grant(t));
    CHECK(b.credits.size() == 1);
    CHECK(b.sent.back() == &next);
    b.finish(0);
}

TEST_CASE("pool_machine: of many deadlines each comes at its time") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    bench b(1);
    b.start();
    pool_task busy;
    b.submit(busy);
    std::vector<pool_task> tasks(500);
    for (pool_task& t : tasks) {
        t.deadline = b.now + std::chrono::milliseconds(1 + random() % 100);
        b.submit(t);
    }
    for (std::size_t i = 0; i < tasks.size(); i += 3)
        CHECK(b.m.cancel(tasks[i], b.now));
    int wrong = 0;
    for (int ms = 0; ms != 100; ++ms) {
        b.pass(1ms);
        for (const pool_task& t : tasks) {
            bool expected = !t.cancel_asked && t.deadline <= b.now;
            wrong += (t.outcome == task_outcome::timed_out) == expected ? 0 : 1;
        }
    }
    CHECK(wrong == 0);
    CHECK(b.m.next_deadline() == never);
    b.finish(0);
}

TEST_CASE("pool_machine: a task that was given to a worker but not sent is out at once") {
    bench b(1);
    b.start();
    pool_task t, next;
    CHECK(b.m.submit(t, b.now) == answer::accepted);
    CHECK(b.m.submit(next, b.now) == answer::accepted);
    CHECK(b.m.cancel(t, b.now));
    b.run();
    CHECK(b.sent == std::vector<pool_task*>{&next});
    b.finish(0);
}

TEST_CASE("pool_machine: shutdown finishes what was accepted and sends everybody home", "[P10]") {
    bench b(2);
    b.start();
    pool_task t[3];
    for (auto& x : t)
        b.submit(x);
    b.m.shut_down(never, never, b.now);
    b.run();
    pool_task late;
    CHECK(b.submit(late) == answer::closed);
    CHECK(b.quits.empty());
    b.finish(t[0].worker);
    CHECK(t[2].worker == t[0].worker);
    b.finish(t[1].worker);
    CHECK(b.quits == std::vector<unsigned>{t[1].worker});
    b.finish(t[2].worker);
    CHECK(b.quits.size() == 2);
    b.die(t[1].worker, ipc::exit_status::by_exit(0));
    CHECK_FALSE(b.m.closed());

    // The other one doesn't go.
    b.pass(5s);
    CHECK(b.kills == std::vector<unsigned>{t[2].worker});
    b.die(t[2].worker);
    CHECK(b.m.closed());
    CHECK(b.m.next_deadline() == never);
}

TEST_CASE("pool_machine: a worker that dies during shutdown is replaced only if work is left") {
    bench b(1);
    b.start();
    pool_task t[2];
    b.submit(t[0]);
    b.submit(t[1]);
    b.m.shut_down(never, never, b.now);
    b.run();
    b.die(0);
    CHECK(t[0].outcome == task_outcome::lost);
    CHECK(b.state_of(0) == state::starting);
    b.m.ready(0, b.now);
    b.run();
    b.die(0);
    CHECK(t[1].outcome == task_outcome::lost);
    CHECK(b.m.closed());
    CHECK_FALSE(b.m.is_broken());
}

TEST_CASE("pool_machine: shutdown with a deadline asks before it and kills at it", "[P10]") {
    bench b(1);
    b.start();
    pool_task running, queued;
    running.retries = 3;
    b.submit(running);
    b.submit(queued);
    b.m.shut_down(b.now + 3s, b.now + 4s, b.now);
    b.run();
    CHECK(b.stops.empty());
    CHECK(b.m.next_deadline() == b.now + 3s);
    b.pass(3s);
    CHECK(queued.outcome == task_outcome::terminated);
    CHECK(b.stops == std::vector<unsigned>{0});
    CHECK(b.kills.empty());
    b.pass(1s);
    CHECK(b.kills == std::vector<unsigned>{0});
    b.die(0);
    CHECK(running.outcome == task_outcome::terminated);
    CHECK(b.m.closed());
}

TEST_CASE("pool_machine: terminate fails everything and kills everybody", "[P10]") {
    bench b(2);
    b.start();
    pool_task t[4];
    for (auto& x : t)
        b.submit(x);
    CHECK_FALSE(b.m.cancel(t[0], b.now));
    b.m.terminate(b.now);
    b.run();
    CHECK(t[2].outcome == task_outcome::terminated);
    CHECK(t[3].outcome == task_outcome::terminated);
    CHECK(b.kills.size() == 2);
    b.die(0);
    b.die(1);
    CHECK(t[0].outcome == task_outcome::stopped); // as was asked of it
    CHECK(t[1].outcome == task_outcome::terminated);
    CHECK(b.m.closed());
}

TEST_CASE("pool_machine: terminate with a grace asks by SIGTERM and kills at the end of it",
          "[P10][CF-PPE-10]") {
    bench b(3);
    b.start();
    pool_task t[4];
    for (auto& x : t)
        b.submit(x);
    b.m.terminate(b.now, 2s);
    b.run();
    CHECK(b.terms.size() == 3);
    CHECK(b.kills.empty());
    CHECK(b.completed == std::vector<pool_task*>{&t[3]}); // at once
    const pool_task* held = b.m.task_of(0);
    b.die(0, ipc::exit_status::by_signal(SIGTERM));
    CHECK(held->outcome == task_outcome::terminated);
    SECTION("in time") {
        b.pass(1s);
        CHECK(b.kills.empty());
        b.pass(2s);
        CHECK(b.kills == std::vector<unsigned>{1, 2});
    }
    SECTION("or earlier, if it is cut short") {
        b.m.terminate(b.now);
        b.run();
        CHECK(b.kills == std::vector<unsigned>{1, 2});
        b.pass(1h);
        CHECK(b.kills.size() == 2);
    }
    b.die(1);
    b.die(2);
    CHECK(b.m.closed());
    CHECK(b.spawns == 3);
}

TEST_CASE("pool_machine: while processes are short it tries again, more and more slowly", "[P16]") {
    bench b(1);
    b.spawn_error = EAGAIN;
    b.m.start(b.now);
    b.run();
    pool_task t;
    b.submit(t);
    std::vector<duration> waits;
    for (int i = 0; i != 12; ++i) {
        duration wait = b.m.next_deadline() - b.now;
        waits.push_back(wait);
        b.pass(wait);
    }
    CHECK(waits.front() == 5ms);
    CHECK(waits[1] == 10ms);
    CHECK(waits.back() == 1s);
    CHECK(b.spawns == 13);
    CHECK_FALSE(b.m.is_broken());
    CHECK(t.outcome == task_outcome::none);

    b.spawn_error = 0;
    b.pass(b.m.next_deadline() - b.now);
    b.m.ready(0, b.now);
    b.run();
    CHECK(b.sent == std::vector<pool_task*>{&t});
    b.finish(0);
}

TEST_CASE("pool_machine: who waits while nobody can be started learns it in time", "[P2][P16]") {
    bench b(1);
    b.spawn_error = ENOMEM;
    b.m.start(b.now);
    b.run();
    pool_task t;
    b.submit(t);
    time_point start = b.now;
    while (t.outcome == task_outcome::none && b.now < start + 1h)
        b.pass(b.m.next_deadline() - b.now);
    CHECK(t.outcome == task_outcome::no_worker);
    CHECK(t.error_number == ENOMEM);
    CHECK(b.now - start <= 10s + 1s);
    CHECK_FALSE(b.m.is_broken());
}

TEST_CASE("pool_machine: while somebody works, a shortage that lasts is no deadline", "[P16]") {
    bench b(2);
    b.start();
    pool_task t[3];
    for (pool_task& each : t)
        b.submit(each);
    b.spawn_error = EAGAIN;
    b.die(1);
    const time_point end = b.now + 1min;
    while (b.now < end) {
        const duration wait = b.m.next_deadline() - b.now;
        REQUIRE(wait > 0s); // or it would be looked after without an end
        b.pass(wait);
    }
    CHECK(t[2].outcome == task_outcome::none);
    b.die(0);
    b.pass(0s);
    CHECK(t[2].outcome == task_outcome::no_worker);
}

TEST_CASE("pool_machine: a program that can't be started breaks the pool", "[P12]") {
    bench b(2);
    b.spawn_error = EACCES;
    pool_task t;
    b.submit(t);
    b.m.start(b.now);
    b.run();
    CHECK(b.m.is_broken());
    CHECK(t.outcome == task_outcome::broken);
    CHECK(b.m.reason() == "no worker can be started: Permission denied");
}

TEST_CASE("pool_machine: a worker that talks nonsense is killed, and it counts as a death",
          "[P9]") {
    bench b(1);
    b.start();
    int n = 0;
    while (!b.m.is_broken() && n < 100) {
        b.m.misbehaved(0, b.now);
        b.run();
        CHECK(b.state_of(0) == state::dying);
        b.die(0);
        b.m.ready(0, b.now);
        b.run();
        ++n;
    }
    CHECK(n == 5);
}

TEST_CASE("pool_machine: an answer without a task and a second greeting are nonsense") {
    bench b(2);
    b.start();
    b.m.finished(0, false, b.now);
    CHECK(b.state_of(0) == state::dying);
    b.m.ready(1, b.now);
    CHECK(b.state_of(1) == state::dying);
}

TEST_CASE("pool_machine: workers come when tasks wait, and go when they have had nothing to do",
          "[CF-PPE-06]") {
    pool_machine::limits l = bench::limits(3, 1000);
    l.least_workers = 1;
    l.idle_time = 10s;
    bench b(l);
    b.start();
    CHECK(b.spawns == 1);
    pool_task t[5];
    b.submit(t[0]);
    CHECK(b.spawns == 1); // the idle one took it
    b.submit(t[1]);
    b.submit(t[2]);
    b.submit(t[3]);
    CHECK(b.spawns == 3); // not more than may be
    b.m.ready(1, b.now);
    b.m.ready(2, b.now);
    b.run();
    CHECK(b.sent.size() == 3);
    b.finish(0);
    CHECK(b.sent.back() == &t[3]);
    b.finish(1);
    b.finish(2);
    b.submit(t[4]);
    CHECK(b.spawns == 3); // idle ones are reused
    b.finish(t[4].worker);
    b.pass(9s);
    CHECK(b.quits.empty());
    b.finish(0);
    b.pass(2s);
    CHECK(b.quits.size() == 2);
    for (unsigned i : b.quits)
        b.die(i, ipc::exit_status::by_exit(0));
    b.pass(1h);
    CHECK(b.quits.size() == 2); // one stays
    CHECK(b.spawns == 3);
    b.die(0); // and is replaced
    CHECK(b.spawns == 4);
    CHECK(b.m.respawned() == 1);
}

TEST_CASE("pool_machine: without work an on-demand pool starts nobody; before its start neither") {
    pool_machine::limits l = bench::limits(2, 1000);
    l.least_workers = 0;
    bench b(l);
    pool_task t[2];
    b.submit(t[0]);
    CHECK(b.spawns == 0);
    b.m.start(b.now);
    b.run();
    CHECK(b.spawns == 1);
    CHECK(b.m.cancel(t[0], b.now));
    b.m.ready(0, b.now);
    b.run();
    b.m.shut_down(never, never, b.now);
    b.run();
    CHECK(b.quits.size() == 1);
    b.die(0, ipc::exit_status::by_exit(0));
    CHECK(b.m.closed());
}

TEST_CASE("pool_machine: a worker goes home after so many tasks, and another takes its place",
          "[MP-POOL-15][CF-PPE-05]") {
    pool_machine::limits l = bench::limits(1, 1000);
    l.tasks_per_worker = 2;
    bench b(l);
    b.start();
    pool_task t[4];
    for (auto& x : t)
        b.submit(x);
    b.finish(0);
    CHECK(b.quits.empty());
    b.finish(0);
    CHECK(b.quits.size() == 1);
    CHECK(b.sent.size() == 2);
    b.m.shut_down(never, never, b.now); // what was accepted is done all the same
    b.run();
    b.die(0, ipc::exit_status::by_exit(0));
    CHECK(b.spawns == 2);
    b.m.ready(0, b.now);
    b.run();
    b.finish(0);
    b.finish(0);
    CHECK(b.completed.size() == 4);
    b.die(0, ipc::exit_status::by_exit(0));
    CHECK(b.spawns == 2);
    CHECK(b.m.closed());
    CHECK_FALSE(b.m.is_broken());
}

TEST_CASE("pool_machine: the more urgent task comes first, and first again when it is retried") {
    bench b(1);
    b.start();
    pool_task t[6];
    t[1].priority = 2;
    t[2].priority = 1;
    t[3].priority = 0;
    t[4].priority = 0;
    t[3].retries = 1;
    for (auto& x : t)
        b.submit(x);
    b.finish(0);
    CHECK(b.sent.back() == &t[3]);
    b.die(0);
    b.m.ready(0, b.now);
    b.run();
    CHECK(b.sent.back() == &t[3]);
    for (int i = 0; i != 4; ++i)
        b.finish(0);
    CHECK(std::vector(b.sent.begin() + 3, b.sent.end()) ==
          std::vector<pool_task*>{&t[4], &t[2], &t[5], &t[1]});
}

TEST_CASE("pool_machine: where one death is to be enough, all else fails with it", "[CF-PPE-02]") {
    pool_machine::limits l = bench::limits(2, 1000);
    l.death_breaks = true;
    bench b(l);
    b.start();
    pool_task t[4];
    for (auto& x : t)
        b.submit(x);
    b.die(0);
    CHECK(b.m.is_broken());
    CHECK(b.kills == std::vector<unsigned>{1});
    b.die(1);
    CHECK(b.completed.size() == 4);
    for (auto& x : t)
        CHECK(x.outcome == task_outcome::broken);
    pool_task late;
    CHECK(b.submit(late) == answer::broken);
    CHECK(b.m.reason().find("killed") != std::string::npos);
}

TEST_CASE("pool_machine: an initialiser that fails breaks the pool; one that hangs is killed",
          "[P9][CF-PPE-03][MP-POOL-16]") {
    bench b(2);
    b.m.start(b.now);
    b.run();
    pool_task t;
    b.submit(t);
    b.pass(9s);
    b.m.preparing(0, b.now);
    b.m.preparing(1, b.now);
    b.pass(9s); // as long again
    CHECK(b.kills.empty());
    b.m.ready(1, b.now);
    b.run();
    SECTION("fails") {
        b.m.preparation_failed(0, "no model", b.now);
        b.run();
        CHECK(b.m.is_broken());
        CHECK(b.m.reason() == "the initialiser failed: no model");
        b.die(0);
        b.die(1);
        CHECK(t.outcome == task_outcome::broken);
        CHECK(b.m.closed());
    }
    SECTION("hangs") {
        b.pass(2s);
        CHECK(b.kills == std::vector<unsigned>{0});
        b.die(0);
        CHECK(b.spawns == 3);
        CHECK_FALSE(b.m.is_broken());
    }
}

TEST_CASE("pool_machine: who works briefly is given more than one task, and only then",
          "[P8][P10]") {
    bench b = with_look_ahead(1, 2);
    b.start();
    pool_task t[5];
    for (pool_task& each : t)
        each.grace = 1s;
    auto submit_all = [&] {
        for (pool_task& each : t)
            REQUIRE(b.submit(each) == answer::accepted);
    };
    using tasks = std::vector<pool_task*>;
    auto ends_as = [&](std::vector<task_outcome> wanted) {
        std::vector<task_outcome> all;
        for (const pool_task& each : t)
            all.push_back(each.outcome);
        return all == wanted;
    };
    constexpr auto none = task_outcome::none, finished = task_outcome::finished,
                   stopped = task_outcome::stopped, lost = task_outcome::lost;

    SECTION("of unknown tasks, one") {
        submit_all();
        CHECK(b.sent == tasks{&t[0]});
    }
    SECTION("of long tasks, one") {
        for (int i = 0; i != 20; ++i) {
            pool_task slow;
            REQUIRE(b.submit(slow) == answer::accepted);
            b.pass(2ms);
            b.finish(0);
        }
        b.sent.clear();
        submit_all();
        CHECK(b.sent == tasks{&t[0]});
    }
    SECTION("in order, and as many as it may") {
        work_briefly(b);
        submit_all();
        CHECK(b.sent == tasks{&t[0], &t[1], &t[2]});
        CHECK(b.m.queued() == 4); // that it has some doesn't mean that it has begun
        b.finish(0);
        CHECK(b.sent == tasks{&t[0], &t[1], &t[2], &t[3]});
        CHECK(ends_as({finished, none, none, none, none}));
    }
    SECTION("if one takes long, the others wait with us again") {
        work_briefly(b);
        submit_all();
        b.pass(900us);
        CHECK(b.recalls == 0);
        b.pass(100us);
        CHECK(b.recalls == 1);
        CHECK(t[1].at == pool_task::place::queue);
        CHECK(b.m.cancel(t[1], b.now)); // as if nobody had had it
        b.sent.clear();
        b.finish(0);
        CHECK(b.sent == tasks{&t[2], &t[3]}); // one ahead: they have turned out longer
    }
    SECTION("something more urgent doesn't wait for them") {
        work_briefly(b);
        submit_all();
        b.sent.clear();
        pool_task urgent;
        urgent.priority = 0;
        REQUIRE(b.submit(urgent) == answer::accepted);
        CHECK(b.sent == tasks{&urgent, &t[1]});
        b.finish(0);
        CHECK(t[0].outcome == finished);
        b.finish(0);
        CHECK(urgent.outcome == finished);
    }
    SECTION("a death fails the one that ran") {
        work_briefly(b);
        submit_all();
        b.die(0);
        CHECK(ends_as({lost, none, none, none, none}));
        CHECK(b.m.queued() == 4);
        b.m.ready(0, b.now);
        b.sent.clear();
        b.run();
        CHECK(b.sent.front() == &t[1]);
    }
    SECTION("or none, if it hadn't begun") {
        work_briefly(b);
        submit_all();
        b.m.died(0, end_by(sigkill), b.now, false);
        b.run();
        CHECK(ends_as({none, none, none, none, none}));
        CHECK(b.m.queued() == 5);
    }
    SECTION("one of them is stopped without the one that runs") {
        work_briefly(b);
        submit_all();
        CHECK_FALSE(b.m.cancel(t[1], b.now));
        b.run();
        CHECK(ends_as({none, stopped, none, none, none}));
        CHECK(b.stops.empty());
        CHECK(b.kills.empty());
    }
    SECTION("the one that runs is stopped without the others") {
        t[0].grace = 0s;
        work_briefly(b);
        submit_all();
        CHECK_FALSE(b.m.cancel(t[0], b.now));
        b.run();
        CHECK(b.kills.size() == 1);
        b.die(0);
        CHECK(ends_as({stopped, none, none, none, none}));
        CHECK(b.m.queued() == 4);
    }
    SECTION("unless it was done, and the next has begun") {
        t[0].grace = 0s;
        work_briefly(b);
        submit_all();
        b.begun = {&t[1]};
        b.answered_early = 1;
        CHECK_FALSE(b.m.cancel(t[0], b.now));
        b.run();
        CHECK(b.kills.empty());
        CHECK(ends_as({finished, none, none, none, none}));
        CHECK(b.m.task_of(0) == &t[1]);
    }
    SECTION("but stopping has an end, whatever the worker says") {
        t[0].grace = 0s;
        work_briefly(b);
        submit_all();
        b.begun = {&t[1]};
        CHECK_FALSE(b.m.cancel(t[0], b.now));
        b.run();
        CHECK(b.kills.empty());
        b.pass(10ms);
        CHECK(b.kills.size() == 1);
        b.die(0);
        CHECK(t[0].outcome == stopped);
    }
    SECTION("what may be dropped is, there too") {
        work_briefly(b);
        t[1].droppable = t[4].droppable = true;
        submit_all();
        b.m.shut_down(never, never, b.now);
        b.m.drop_pending(b.now);
        b.run();
        CHECK(ends_as({none, stopped, none, none, stopped}));
    }
    SECTION("a worker isn't given more than it may do") {
        auto l = bench::limits(1, 1000);
        l.look_ahead = 5;
        l.tasks_per_worker = 42;
        bench limited(l);
        limited.start();
        work_briefly(limited);
        for (pool_task& each : t)
            REQUIRE(limited.submit(each) == answer::accepted);
        CHECK(limited.sent == tasks{&t[0], &t[1]});
        limited.m.terminate(limited.now);
        limited.run();
        limited.die(0);
    }
    b.m.terminate(b.now);
    b.run();
    if (b.m.worker(0).pid != 0)
        b.die(0);
    for (const pool_task& each : t)
        CHECK((each.outcome != none || each.cancel_asked || each.at == pool_task::place::nowhere ||
               each.at == pool_task::place::done));
}

TEST_CASE("pool_machine: where there is no processor for one more, who works briefly does it all",
          "[P8][P10]") {
    auto l = bench::limits(2, 1000);
    l.look_ahead = 2;
    l.processors = 2;
    pool_task t[5];
    for (pool_task& each : t)
        each.grace = 1s;
    auto submit_all = [&](bench& b) {
        for (pool_task& each : t)
            REQUIRE(b.submit(each) == answer::accepted);
    };
    auto workers_of_all = [&] {
        std::vector<int> all; // -1: with none
        for (const pool_task& each : t)
            all.push_back(each.at == pool_task::place::worker ? static_cast<int>(each.worker) : -1);
        return all;
    };
    using workers = std::vector<int>;
    auto end = [](bench& b) {
        b.m.terminate(b.now);
        b.run();
        for (unsigned i = 0; i != b.m.workers(); ++i)
            if (b.m.worker(i).pid != 0)
                b.die(i);
        CHECK(b.m.closed());
    };
    bench b(l);
    b.start();

    SECTION("unless there is one") {
        l.processors = 3;
        bench with_room(l);
        with_room.start();
        work_briefly(with_room);
        submit_all(with_room);
        CHECK(workers_of_all() == workers{1, 0, 0, 1, 0});
        end(with_room);
    }
    SECTION("unless tasks are longer") {
        work_briefly(b);
        pool_task longer;
        REQUIRE(b.submit(longer) == answer::accepted);
        b.pass(100us);
        b.finish(longer.worker);
        submit_all(b);
        CHECK(workers_of_all() == workers{1, 0, 0, 1, 0});
    }
    SECTION("as fast as it can") {
        work_briefly(b);
        submit_all(b);
        CHECK(workers_of_all() == workers{1, 1, 1, -1, -1});
        CHECK(b.state_of(0) == state::idle);
        b.finish(1);
        b.finish(1);
        CHECK(workers_of_all() == workers{-1, -1, 1, 1, 1});
    }
    SECTION("until it has been at one for a while") {
        work_briefly(b);
        submit_all(b);
        CHECK((b.m.next_deadline() == b.now + 200us));
        b.pass(200us);
        CHECK(b.recalls == 1);
        CHECK(workers_of_all() == workers{1, 0, 0, 1, 0});
    }
    SECTION("or until that one is to be stopped") {
        work_briefly(b);
        submit_all(b);
        CHECK_FALSE(b.m.cancel(t[0], b.now));
        b.run();
        CHECK(workers_of_all() == workers{1, 0, 0, 0, -1});
    }
    SECTION("or dies") {
        work_briefly(b);
        submit_all(b);
        b.die(1);
        CHECK(t[0].outcome == task_outcome::lost);
        CHECK(workers_of_all() == workers{-1, 0, 0, 0, -1});
    }
    SECTION("or goes home") {
        l.tasks_per_worker = 41;
        bench limited(l);
        limited.start();
        work_briefly(limited); // of which one has done all
        submit_all(limited);
        CHECK(workers_of_all() == workers{1, 0, 0, 0, -1});
        end(limited);
    }
    SECTION("or the pool is shut down") {
        work_briefly(b);
        submit_all(b);
        b.m.shut_down(never, never, b.now);
        b.run();
        CHECK(workers_of_all() == workers{1, 1, 1, 0, 0});
    }
    end(b);
}

// Random events against random pools. Whatever happens, each task has one outcome, and in the end
// everything ends.
TEST_CASE("pool_machine: every task has one outcome in every order of events", "[P1][P3][P10]") {
    const unsigned first_seed = std::random_device()();
    std::size_t waited_for_others = 0;
    for (unsigned seed = first_seed; seed != first_seed + 3000; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
        pool_machine::limits l;
        l.workers = 1 + static_cast<unsigned>(pick(4));
        l.pending = 1 + pick(20);
        l.deaths = 1 + static_cast<unsigned>(pick(6));
        l.death_breaks = pick(10) == 0;
        if (pick(2) == 0) {
            l.least_workers = static_cast<unsigned>(pick(l.workers + 1));
            l.idle_time = 100ms * static_cast<long>(pick(20));
        }
        l.tasks_per_worker = pick(3) == 0 ? 1 + pick(3) : 0;
        l.look_ahead = pick(3) == 0 ? 0 : static_cast<unsigned>(pick(5));
        l.processors = 1 + static_cast<unsigned>(pick(6));
        std::size_t most_passes = std::array{400u, 2u, 1u}[pick(3)]; // milliseconds, in a step
        const bool with_preparation = pick(3) == 0;
        pool_machine m(l);
        time_point now = time_point(1000s);

        struct task : pool_task {
            bool withdrawn = false;
            bool told = false;
            unsigned runs = 0;
            unsigned first_retries = 0;
        };
        std::deque<task> tasks;
        enum class process { none, up, prepares, ready, killed };
        std::vector<process> processes(l.workers, process::none);
        std::vector<bool> quitting(l.workers, false);
        // What a process has: the first ones it has answered, but that is still on its way; one it
        // may be running.
        struct lane {
            std::deque<task*> holds;
            std::size_t done = 0, begun = 0;
        };
        std::vector<lane> lanes(l.workers);
        int pid = 1;
        bool faults = true;
        bool ended = false;

        auto tell_answer = [&](std::size_t w) {
            lane& its = lanes[w];
            its.holds.pop_front();
            --its.done;
            --its.begun;
            m.finished(static_cast<unsigned>(w), pick(4) == 0, now);
        };
        auto die = [&](std::size_t w, ipc::exit_status how) {
            processes[w] = process::none;
            while (lanes[w].done != 0)
                tell_answer(w);
            bool begun = lanes[w].begun != 0;
            lanes[w] = lane();
            m.died(static_cast<unsigned>(w), end_by(how), now, begun);
        };
        auto drain = [&] {
            while (auto a = m.next()) {
                auto w = static_cast<std::size_t>(a->worker);
                switch (a->what) {
                case kind::complete: {
                    auto* t = static_cast<task*>(a->task);
                    REQUIRE_FALSE(t->told);
                    REQUIRE_FALSE(t->withdrawn);
                    REQUIRE(t->outcome != task_outcome::none);
                    REQUIRE(t->at == pool_task::place::done);
                    REQUIRE((t->outcome != task_outcome::terminated || ended));
                    REQUIRE((t->outcome != task_outcome::lost || t->runs != 0));
                    t->told = true;
                    break;
                }
                case kind::spawn:
                    REQUIRE(processes[w] == process::none);
                    if (faults && pick(5) == 0) {
                        m.spawn_failed(a->worker, pick(30) == 0 ? ENOENT : EAGAIN, now);
                    } else {
                        m.spawned(a->worker, pid++, now);
                        processes[w] = process::up;
                        quitting[w] = false;
                        lanes[w] = lane();
                    }
                    break;
                case kind::send_task:
                    REQUIRE(processes[w] == process::ready);
                    REQUIRE(lanes[w].holds.size() <= l.look_ahead);
                    REQUIRE_FALSE(quitting[w]);
                    if (pick(20) == 0) { // nobody wants it any more
                        REQUIRE(m.take_back(*a->task, now));
                        static_cast<task*>(a->task)->withdrawn = true;
                    } else {
                        lanes[w].holds.push_back(static_cast<task*>(a->task));
                    }
                    break;
                case kind::recall: {
                    lane& its = lanes[w];
                    while (its.holds.size() > std::max<std::size_t>(its.begun, 1)) {
                        REQUIRE(m.last_ahead_of(a->worker) == its.holds.back());
                        its.holds.pop_back();
                        m.taken_back(a->worker, now);
                    }
                    while (its.done != 0)
                        tell_answer(w);
                    m.recalled(a->worker, now);
                    break;
                }
                case kind::send_stop:
                case kind::send_credit:
                    REQUIRE(lanes[w].holds.front() == a->task);
                    break;
                case kind::send_quit:
                    REQUIRE(lanes[w].holds.empty());
                    quitting[w] = true;
                    break;
                case kind::send_term: // which some ignore
                    REQUIRE(processes[w] != process::none);
                    if (pick(2) == 0)
                        processes[w] = process::killed;
                    break;
                case kind::kill:
                    REQUIRE(processes[w] != process::none);
                    processes[w] = process::killed;
                    break;
                }
            }
        };
        auto step = [&](bool may_submit) {
            auto w = pick(l.workers);
            auto i = static_cast<unsigned>(w);
            switch (pick(9)) {
            case 0:
                if (may_submit) {
                    task& t = tasks.emplace_back();
                    t.retries = t.first_retries = static_cast<unsigned>(pick(3));
                    t.priority = static_cast<std::uint8_t>(pick(task_priorities));
                    t.droppable = pick(2) == 0;
                    t.grace = 100ms * static_cast<long>(pick(4));
                    if (pick(3) == 0)
                        t.deadline = now + 100ms * static_cast<long>(pick(20));
                    if (m.submit(t, now) != answer::accepted)
                        tasks.pop_back();
                }
                break;
            case 1:
                if (!tasks.empty()) {
                    task& t = tasks[pick(tasks.size())];
                    if (!t.told && !t.withdrawn && t.outcome == task_outcome::none &&
                        !t.cancel_asked)
                        t.withdrawn = m.cancel(t, now);
                }
                break;
            case 8:
                if (!tasks.empty())
                    static_cast<void>(m.grant(tasks[pick(tasks.size())]));
                break;
            case 2: // a process gets on
            case 3:
                if (processes[w] == process::up && with_preparation) {
                    processes[w] = process::prepares;
                    m.preparing(i, now);
                } else if (processes[w] == process::prepares && faults && pick(50) == 0) {
                    m.preparation_failed(i, "no", now);
                } else if (processes[w] == process::up || processes[w] == process::prepares) {
                    processes[w] = process::ready;
                    m.ready(i, now);
                } else if (lanes[w].done != 0 && pick(2) == 0) {
                    tell_answer(w);
                } else if (processes[w] == process::ready && lanes[w].begun > lanes[w].done) {
                    ++lanes[w].done;
                } else if (processes[w] == process::ready &&
                           lanes[w].begun < lanes[w].holds.size()) {
                    ++lanes[w].holds[lanes[w].begun++]->runs;
                } else if (processes[w] == process::ready && quitting[w]) {
                    die(w, ipc::exit_status::by_exit(0));
                }
                break;
            case 4:
                if (processes[w] == process::killed ||
                    (faults && processes[w] != process::none && pick(4) == 0)) {
                    die(w, sigkill);
                }
                break;
            case 5:
                if (faults && processes[w] != process::none && pick(20) == 0)
                    m.misbehaved(i, now);
                break;
            default:
                now += std::chrono::milliseconds(pick(most_passes));
                m.advance(now);
                break;
            }
            drain();
            // What is to be done about the time that has passed has been done; a worker that was
            // given something which nobody wants any more may have no time to be idle.
            m.advance(now);
            drain();
            for (int n = 0; n != 20 && m.next_deadline() <= now; ++n) {
                m.advance(now);
                drain();
            }
            REQUIRE(m.next_deadline() > now);
            // Who waits although somebody is idle waits for one who is at something short.
            auto any_worker = [&](state is) {
                for (unsigned n = 0; n != l.workers; ++n)
                    if (m.worker(n).state == is)
                        return true;
                return false;
            };
            const bool any_waits = std::any_of(tasks.begin(), tasks.end(), [](const task& t) {
                return t.at == pool_task::place::queue;
            });
            if (any_waits && any_worker(state::idle) && !any_worker(state::dying)) {
                ++waited_for_others;
                REQUIRE(m.next_deadline() <= now + 200us);
            }
        };

        m.start(now);
        drain();
        if (l.look_ahead != 0 && pick(6) == 0) { // learns that tasks are short
            faults = false;
            const std::size_t then = std::exchange(most_passes, 1);
            for (int n = 0; n != 1000; ++n)
                step(true);
            faults = true;
            most_passes = then;
        }
        std::size_t steps = 50 + pick(300);
        for (std::size_t n = 0; n != steps; ++n)
            step(true);
        faults = false;
        ended = true;
        most_passes = 400;
        switch (pick(3)) {
        case 0:
            m.terminate(now, 1s * static_cast<long>(pick(3)));
            break;
        case 1:
            m.shut_down(now + 1s, now + 2s, now);
            break;
        default:
            m.shut_down(never, never, now);
            break;
        }
        drain();
        if (pick(3) == 0) {
            m.drop_pending(now);
            for (const task& t : tasks)
                REQUIRE_FALSE((t.droppable && t.at == pool_task::place::queue));
        }
        drain();
        time_point end = now + 60s;
        while (!m.closed() && now < end)
            step(true);
        REQUIRE(m.closed());
        REQUIRE(m.queued() == 0);
        REQUIRE(std::all_of(processes.begin(), processes.end(),
                            [](process p) { return p == process::none; }));
        for (const task& t : tasks) {
            REQUIRE(t.told != t.withdrawn);
            REQUIRE_FALSE(t.heap.in);
        }
        for (const task& t : tasks)
            REQUIRE(t.runs <= 1 + t.first_retries);
    }
    CHECK(waited_for_others != 0);
}
