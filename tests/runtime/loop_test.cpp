// SPDX-License-Identifier: MIT
#include <weft/runtime/loop.hpp>

#include "support/audit.hpp"
#include "support/fake_kernel.hpp"
#include "support/io.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/post_at.hpp>
#include <weft/runtime/result.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <numeric>
#include <optional>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace weft;
using namespace weft::tests;

namespace {

// Reads once from a number that the fake kernel takes for a descriptor.
task<> read_once(int fd, std::vector<int>& done) {
    std::byte bytes[8];
    co_await detail::recv_op(fd, bytes);
    done.push_back(fd);
}

task<> read_all(int first, int count, std::vector<int>& done) {
    co_await with_task_group([&](task_group& g) -> task<> {
        for (int i = 0; i < count; ++i)
            g.spawn(read_once(first + i, done));
        co_return;
    });
}

// Completes whatever the kernel holds, the newest first, as soon as it holds so many.
std::function<bool()> answer_when(fake_kernel& k, std::size_t count) {
    return [&k, count, done = false]() mutable {
        std::vector<fake_kernel::request> held = k.held();
        if (done || held.size() != count)
            return false;
        done = true;
        for (std::size_t i = held.size(); i-- > 0;)
            k.complete(held[i], 1);
        return true;
    };
}

std::vector<int> sorted(std::vector<int> v) {
    std::sort(v.begin(), v.end());
    return v;
}

std::vector<int> numbers(int first, int count) {
    std::vector<int> v(static_cast<std::size_t>(count));
    std::iota(v.begin(), v.end(), first);
    return v;
}

// A request that belongs to no task.
struct target : detail::completion_target {
    target() noexcept : completion_target(completed) {}
    static void completed(completion_target& t, std::int32_t result, std::uint32_t) noexcept {
        static_cast<target&>(t).results.push_back(result);
    }
    std::vector<std::int32_t> results;
};

// The loop runs on a thread of its own until it is told to end. With a ring it waits for something
// in it, else it would sleep on a futex.
class loop_thread {
public:
    loop_thread(const kernel& k, bool with_ring, kernel_feature features = kernel_feature::all) {
        std::atomic<loop*> made{nullptr};
        thread_ = std::thread([&, with_ring, features] {
            std::byte byte[1];
            int ends[2];
            static_cast<void>(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
            {
                loop l({.kernel = &k, .features = features});
                target nothing_comes;
                if (with_ring)
                    l.submit(nothing_comes, {.opcode = detail::opcode::recv,
                                             .fd = ends[0],
                                             .address = detail::address_of(byte),
                                             .length = 1});
                made = &l;
                l.run_until(ended_);
                l.drain();
            }
            ::close(ends[0]);
            ::close(ends[1]);
        });
        until_here([&] { return made != nullptr; });
        its_ = made;
    }
    loop_thread(const loop_thread&) = delete;
    loop_thread& operator=(const loop_thread&) = delete;
    ~loop_thread() { end(); }
    void end() {
        if (!thread_.joinable())
            return;
        its_->post([this] { ended_ = true; });
        thread_.join();
    }
    loop* operator->() const { return its_; }

private:
    loop* its_ = nullptr;
    bool ended_ = false;
    std::thread thread_;
};

// Posts numbers from several threads at once; the loop puts them where it is told to.
void post_from_threads(loop_thread& l, unsigned threads, unsigned each,
                       std::vector<std::vector<unsigned>>& seen) {
    seen.assign(threads, {});
    std::vector<std::thread> posters;
    for (unsigned t = 0; t < threads; ++t) {
        posters.emplace_back([&, t] {
            for (unsigned i = 0; i < each; ++i)
                l->post([&seen, t, i] { seen[t].push_back(i); });
        });
    }
    for (std::thread& p : posters)
        p.join();
}

bool all_in_order(const std::vector<std::vector<unsigned>>& seen, unsigned each) {
    std::vector<unsigned> expected(each);
    std::iota(expected.begin(), expected.end(), 0u);
    return std::all_of(seen.begin(), seen.end(), [&](auto& s) { return s == expected; });
}

// The status of a child that has ended, or the negative signal that ended it.
int status_after(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

template <class F>
int status_of_child(F in_child) {
    pid_t child = ::fork();
    if (child == 0) {
        int status = 1;
        try {
            status = in_child();
        } catch (...) {
            status = 99;
        }
        ::_exit(status);
    }
    return status_after(child);
}

} // namespace

// --- A kernel that takes nothing -----------------------------------------------------------------

TEST_CASE("loop: more requests than the queue holds all reach the kernel, in order") {
    fake_kernel k;
    k.when_idle = answer_when(k, 50);
    std::vector<int> done;
    run(read_all(1000, 50, done), {.ring_entries = 4, .kernel = &k.table()});
    CHECK(sorted(done) == numbers(1000, 50));
    CHECK(done.front() == 1049); // the kernel answered the newest first
    CHECK(k.count().mistakes == 0);
    CHECK(k.count().left_over == 0);
}

TEST_CASE("loop: a kernel without memory is asked again after a pause, and nothing is lost",
          "[P16]") {
    int error = GENERATE(EAGAIN, ENOMEM);
    auto requests = GENERATE(1, 3, 4, 5, 30); // of a queue with four entries
    CAPTURE(error, requests);
    fake_kernel k;
    std::vector<int> done;
    auto hold_out = [&]() -> task<> {
        co_await sleep_for(1s);
        k.take_nothing(0);
    };
    auto wait_long = [&]() -> task<> {
        auto relief = weft::spawn(hold_out());
        k.take_nothing(~0u, error);
        co_await read_all(1000, requests, done);
    };
    k.when_idle = answer_when(k, static_cast<std::size_t>(requests));
    run(wait_long(), {.ring_entries = 4, .kernel = &k.table()});
    CHECK(sorted(done) == numbers(1000, requests));
    // A pause of 5 ms, and a few calls before each.
    CHECK(k.count().waits >= 190);
    CHECK(k.count().waits <= 210);
    CHECK(k.count().enters < 5 * 210);
    CHECK(k.count().left_over == 0);
}

TEST_CASE("loop: what the kernel refused once is submitted before the loop sleeps") {
    // The queue is full when the loop is going to sleep: it can't even arm its wake-up.
    auto refusals = GENERATE(1u, 2u, 3u, 4u);
    auto requests = GENERATE(2, 3, 7);
    int error = GENERATE(EAGAIN, EBUSY);
    CAPTURE(refusals, requests, error);
    fake_kernel k;
    std::vector<int> done;
    k.take_nothing(refusals, error);
    std::size_t held = 0;
    k.when_idle = [&, answer = answer_when(k, static_cast<std::size_t>(requests))]() mutable {
        if (k.waited_until().has_value())
            return false; // a pause
        held = k.held().size();
        return answer();
    };
    run(read_all(1000, requests, done), {.ring_entries = 2, .kernel = &k.table()});
    CHECK(held == static_cast<std::size_t>(requests));
    CHECK(sorted(done) == numbers(1000, requests));
}

TEST_CASE("loop: a wake-up reaches a loop whose queue was full when it went to sleep") {
    fake_kernel k;
    std::vector<int> done;
    loop* l = nullptr;
    k.take_nothing(2);
    std::thread other([&] {
        until_here([&] { return k.waiting() && k.held().size() == 2; });
        l->post([&] {
            for (const fake_kernel::request& r : k.held())
                k.complete(r, 1);
        });
    });
    auto read_two = [&]() -> task<> {
        l = &this_loop();
        co_await read_all(1000, 2, done);
    };
    run(read_two(), {.ring_entries = 2, .kernel = &k.table()});
    other.join();
    CHECK(done.size() == 2);
    CHECK(k.count().wakes == 1);
}

TEST_CASE("loop: a cancel that found no room goes out before the loop sleeps") {
    auto refusals = GENERATE(0u, 1u, 2u, 3u, 5u);
    CAPTURE(refusals);
    fake_kernel k;
    std::vector<int> done;
    auto cancel_one = [&]() -> task<> {
        auto victim = weft::spawn(read_once(1, done));
        co_await k.until_held(1);
        // These two fill the queue in the turn that wants to send the cancel.
        auto a = weft::spawn(read_once(2, done));
        auto b = weft::spawn(read_once(3, done));
        victim.cancel();
        k.take_nothing(refusals);
        result<void> r = co_await as_result(victim.join());
        CHECK(victim.stopped());
    };
    // If the cancel didn't come, the loop would sleep with all three requests at the kernel.
    run(cancel_one(), {.ring_entries = 2, .kernel = &k.table()});
    CHECK(done.empty());
    CHECK(k.count().left_over == 0);
}

TEST_CASE("loop: a busy loop sees what completes while the kernel has no memory", "[P7][P16]") {
    fake_kernel k;
    std::vector<int> done;
    auto busy = [&]() -> task<> {
        auto read = weft::spawn(read_once(1, done));
        co_await k.until_held(1);
        k.take_nothing(~0u);
        auto refused = weft::spawn(read_once(2, done));
        co_await yield();
        k.complete(k.held_on(1), 1);
        co_await until([&] { return read.done(); });
        k.take_nothing(0);
        co_await k.until_held(1);
        k.complete(k.held_on(2), 1);
        co_await refused.join();
    };
    run(busy(), {.kernel = &k.table()});
    CHECK(done == std::vector<int>{1, 2});
}

TEST_CASE("loop: a kernel whose completion queue is full is read, then asked again") {
    fake_kernel k;
    k.completion_entries = 4;
    std::vector<int> done;
    auto overflow = [&]() -> task<> {
        auto reads = weft::spawn(read_all(1000, 20, done));
        co_await k.until_held(20);
        for (const fake_kernel::request& r : k.held())
            k.complete(r, 1);
        k.fail_enters(EBUSY, 2);
        co_await reads.join();
    };
    run(overflow(), {.ring_entries = 8, .kernel = &k.table()});
    CHECK(done == numbers(1000, 20));
    CHECK(k.count().overflows > 0);
}

TEST_CASE("loop: signals that interrupt its sleep change nothing", "[P17]") {
    fake_kernel k;
    std::vector<int> done;
    k.fail_waits(EINTR, 3);
    k.when_idle = answer_when(k, 1);
    run(read_all(1000, 1, done), {.kernel = &k.table()});
    CHECK(done.size() == 1);
    CHECK(k.count().waits == 4);
}

// --- Ending --------------------------------------------------------------------------------------

TEST_CASE("loop: its end cancels requests that belong to no task, sent or not", "[P23]") {
    auto refusals = GENERATE(0u, 1u, 2u, 7u);
    CAPTURE(refusals);
    fake_kernel k;
    target targets[7];
    {
        loop l({.ring_entries = 2, .kernel = &k.table()});
        k.take_nothing(refusals);
        for (target& t : targets)
            l.submit(t, {.opcode = detail::opcode::recv, .fd = 9});
        CHECK(l.in_flight() == 7);
        l.drain();
        CHECK(l.in_flight() == 0);
    }
    for (const target& t : targets)
        CHECK(t.results == std::vector<std::int32_t>{-ECANCELED});
    CHECK(k.count().left_over == 0);
}

TEST_CASE("loop: its end waits for what the kernel doesn't give up, and delivers it",
          "[P3][P4][P23]") {
    fake_kernel k;
    std::vector<int> done;
    std::vector<fake_kernel::request> running;
    k.on_cancel = [&](const fake_kernel::request& r) {
        running.push_back(r);
        return true;
    };
    k.when_idle = [&] {
        if (running.empty())
            return false;
        k.complete(running.back(), 3);
        running.pop_back();
        return true;
    };
    auto leave_them = [&]() -> task<> {
        weft::spawn(read_once(1, done));
        weft::spawn(read_once(2, done));
        weft::spawn(read_once(3, done));
        co_await k.until_held(3);
    };
    run(leave_them(), {.kernel = &k.table()});
    CHECK(sorted(done) == numbers(1, 3)); // results that exist win
    CHECK(running.empty());
    CHECK(k.count().left_over == 0);
}

TEST_CASE("loop: what is in flight at its end is stopped, on the real kernel too", "[P23]") {
    for (kernel_feature features : feature_sets()) {
        std::vector<unix_stream> keep;
        int ended = 0;
        auto read_for_ever = [&](unix_stream s) -> task<> {
            std::byte b[16];
            try {
                co_await s.read_some(b);
            } catch (...) {
                FAIL("a stop is no exception");
            }
            ended = 1000;
        };
        auto leave_them = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) {
                auto [ours, theirs] = unix_stream_pair();
                keep.push_back(std::move(ours));
                weft::spawn(read_for_ever(std::move(theirs)));
            }
            co_await yield();
            co_await yield();
        };
        run_within(20s, leave_them(), {.ring_entries = 16, .features = features});
        CHECK(ended == 0);
    }
}

// --- Posting -------------------------------------------------------------------------------------

TEST_CASE("loop: however many post to it while it sleeps, it is woken once") {
    auto features = GENERATE(kernel_feature::all, kernel_feature::none);
    fake_kernel k;
    k.sleep_deeply(true);
    std::vector<std::vector<unsigned>> seen;
    {
        loop_thread l(k.table(), true, features);
        until_here([&] { return k.waiting(); });
        post_from_threads(l, 4, 100, seen);
        CHECK(k.count().wakes == 1);
        CHECK(seen == std::vector<std::vector<unsigned>>(4));
        k.sleep_deeply(false);
    }
    CHECK(all_in_order(seen, 100));
    CHECK(k.count().wakes <= 2); // one more for the post that ends it
    CHECK(k.count().mistakes == 0);
}

TEST_CASE("loop: while nothing is in the ring it sleeps on a futex, and is woken once") {
    const bool has_ring = GENERATE(false, true);
    CAPTURE(has_ring);
    fake_kernel k;
    std::vector<std::vector<unsigned>> seen;
    {
        loop_thread l(k.table(), false);
        if (has_ring) {
            std::atomic<bool> opened{false};
            l->post([&] {
                l->open_ring();
                opened = true;
            });
            until_here([&] { return opened.load(); });
        }
        until_here([&] { return k.waiting(); });
        k.sleep_deeply(true);
        const unsigned before = k.count().unparks;
        until_here([&] { return k.waiting(); });
        post_from_threads(l, 4, 100, seen);
        CHECK(k.count().unparks == before + 1);
        k.sleep_deeply(false);
    }
    CHECK(all_in_order(seen, 100));
    CHECK(k.count().rings == (has_ring ? 1 : 0));
    CHECK(k.count().wakes == 0);
    CHECK(k.count().enters == 0);
}

TEST_CASE("loop: posting to a busy loop costs no system call, on the real kernel too") {
    counting_kernel k;
    std::vector<std::vector<unsigned>> seen;
    unsigned wakes = 0;
    std::atomic<bool> busy{false};
    std::atomic<bool> go_on{false};
    {
        loop_thread l(k.table(), true);
        l->post([&] {
            busy = true;
            until_here([&] { return go_on.load(); });
        });
        until_here([&] { return busy.load(); });
        unsigned before = k.wakes;
        unsigned enters = k.enters;
        post_from_threads(l, 4, 100, seen);
        wakes = k.wakes - before;
        CHECK(k.enters == enters);
        go_on = true;
    }
    CHECK(wakes == 0);
    CHECK(k.unparks == 0);
    CHECK(all_in_order(seen, 100));
}

TEST_CASE("loop: no wake-up is lost, and none is in vain, whenever threads post") {
    counting_kernel k;
    std::vector<std::vector<unsigned>> seen;
    std::uint64_t parks = 0;
    {
        loop_thread l(k.table(), true);
        for (int round = 0; round < 50; ++round) {
            post_from_threads(l, 3, 20, seen);
            std::atomic<bool> arrived{false};
            l->post([&] { arrived = true; });
            until_here([&] { return arrived.load(); });
            CHECK(all_in_order(seen, 20));
        }
        std::atomic<bool> told{false};
        l->post([&] {
            parks = l->statistics().parks;
            told = true;
        });
        until_here([&] { return told.load(); });
        CHECK(k.wakes <= parks); // also of a sleep that mail prevented
    }
}

TEST_CASE("loop: wake-ups work on after an overflow has ended their request") {
    fake_kernel k;
    k.completion_entries = 2;
    std::vector<int> done;
    int woken = 0;
    {
        loop_thread l(k.table(), true);
        for (int round = 1; round <= 5; ++round) {
            until_here([&] { return k.waiting(); });
            k.sleep_deeply(true);
            l->post([&] { ++woken; });
            // More wake-ups than the queue of completions has room for.
            for (int i = 0; i < 3; ++i)
                k.wake_for_nothing();
            k.sleep_deeply(false);
            until_here([&] { return k.waiting() && k.count().wake_polls > unsigned(round); });
        }
        std::atomic<bool> arrived{false};
        l->post([&] { arrived = true; });
        until_here([&] { return arrived.load(); });
    }
    CHECK(woken == 5);
    CHECK(k.count().overflows > 0);
}

// --- Order and fairness --------------------------------------------------------------------------

TEST_CASE("loop: what is ready runs first in, first out") {
    fake_kernel k;
    std::string order;
    auto take_turns = [&](char name) -> task<> {
        for (int i = 0; i < 3; ++i) {
            order += name;
            co_await yield();
        }
    };
    auto all = [&]() -> task<> {
        auto a = weft::spawn(take_turns('a'));
        auto b = weft::spawn(take_turns('b'));
        this_loop().post([&] { order += 'p'; });
        auto c = weft::spawn(take_turns('c'));
        this_loop().post([&] { order += 'q'; });
        co_await until([&] { return a.done() && b.done() && c.done(); });
    };
    run(all(), {.kernel = &k.table()});
    // Posted functions come with the mail, after what is in the queue already.
    std::string posted = order;
    std::erase_if(order, [](char c) { return c == 'p' || c == 'q'; });
    CHECK(order == "abcabcabc");
    CHECK(posted.find('p') < posted.find('q'));
}

TEST_CASE("loop: I/O, timers and mail are looked at though ready work never ends", "[P7]") {
    for (kernel_feature features : feature_sets()) {
        fake_kernel k;
        std::vector<int> done;
        std::uint64_t asked = 0;
        std::uint64_t answered = 0;
        std::uint64_t rung = 0;
        std::uint64_t mailed = 0;
        bool ended = false;
        auto never_idle = [&]() -> task<> {
            while (!ended)
                co_await yield();
        };
        auto resumptions = [] { return this_loop().statistics().resumptions; };
        auto read = [&]() -> task<> {
            co_await read_once(1, done);
            answered = resumptions();
        };
        auto sleep = [&]() -> task<> {
            co_await sleep_for(1s);
            rung = resumptions();
        };
        auto main = [&]() -> task<> {
            co_await with_task_group([&](task_group& g) -> task<> {
                for (int i = 0; i < 3; ++i)
                    g.spawn(never_idle());
                g.spawn(read());
                g.spawn(sleep());
                co_await k.until_held(1);
                CHECK(k.count().waits == 0);
                asked = resumptions();
                k.complete(k.held_on(1), 1);
                k.advance(1s);
                loop& home = this_loop();
                std::thread([&] { home.post([&] { mailed = resumptions(); }); }).join();
                co_await until([&] { return answered != 0 && rung != 0 && mailed != 0; });
                ended = true;
            });
        };
        run(main(), {.kernel = &k.table(), .features = features});
        CHECK(answered - asked <= 2 * 256);
        CHECK(rung - asked <= 2 * 256);
        CHECK(mailed - asked <= 2 * 256);
        CHECK(k.count().waits == 0);
    }
}

// --- Time ----------------------------------------------------------------------------------------

TEST_CASE("loop: calls later are made in the order of their times, and never early", "[P24]") {
    for (kernel_feature features : {kernel_feature::all, ~kernel_feature::absolute_timeout}) {
        fake_kernel k;
        std::vector<int> order;
        auto later = [&]() -> task<> {
            time_point start = now();
            auto note = [&, start](int ms) {
                order.push_back(ms);
                CHECK(now() == start + std::chrono::milliseconds(ms)); // the clock stood
            };
            std::vector<task_handle<>> calls;
            for (int ms : {300, 100, 500, 200, 400}) {
                std::chrono::milliseconds d(ms);
                calls.push_back(post_after(d, [note, ms] { note(ms); }));
            }
            co_await sleep_for(150ms);
            calls[0].cancel();
            co_await sleep_for(1h);
        };
        run(later(), {.kernel = &k.table(), .features = features});
        CHECK(order == std::vector<int>{100, 200, 400, 500});
        // It slept until each of them and for what the main task waits for, and not once more.
        CHECK(k.count().waits == 6);
        CHECK(k.count().enters == 0); // nothing is in the ring
    }
}

TEST_CASE("loop: with a ring it sleeps until the next timer, and not longer", "[P24]") {
    for (kernel_feature features : {kernel_feature::all, ~kernel_feature::absolute_timeout}) {
        fake_kernel k;
        std::vector<int> done;
        std::int64_t start = k.now_ns();
        auto sleep = [&]() -> task<> {
            auto read = weft::spawn(read_once(1, done));
            for (int i = 1; i <= 5; ++i) {
                co_await sleep_for(10ms);
                CHECK(k.now_ns() == start + i * 10'000'000);
            }
        };
        run(sleep(), {.kernel = &k.table(), .features = features});
        CHECK(k.count().waits == 5);
        CHECK(done.empty());
    }
}

// --- Forks ---------------------------------------------------------------------------------------

TEST_CASE("loop: a child of a fork is refused its parent's loops, and makes loops of its own") {
    auto nap = []() -> task<int> {
        auto [a, b] = unix_stream_pair();
        co_await a.write_all(as_bytes("x"));
        lent_buffer data = co_await b.receive();
        co_await sleep_for(1ms);
        co_return static_cast<int>(data.size());
    };
    REQUIRE(sync_wait(nap()) == 1);
    accept_current_state(); // this thread keeps its loop
    runtime_options two;
    two.loops = 2;
    std::optional<runtime> rt(std::in_place, two);
    REQUIRE(rt->run(nap()) == 1);
    auto in_child = [&] {
        try {
            rt->run(nap());
            return 1;
        } catch (const state_error& e) {
            if (std::string(e.what()).find("fork") == std::string::npos)
                return 2;
        }
        rt.reset();
        if (sync_wait(nap()) != 1)
            return 3;
        if (run(nap()) != 1)
            return 4;
        return 42;
    };
    CHECK(status_of_child(in_child) == 42);
    // The parent doesn't notice.
    CHECK(rt->run(nap()) == 1);
    CHECK(sync_wait(nap()) == 1);
}

TEST_CASE("loop: a fork within a task leaves the task without its loop, which says so") {
    auto fork_here = [](bool wait) -> task<int> {
        auto [a, b] = unix_stream_pair();
        co_await a.write_all(as_bytes("x"));
        std::byte byte[1];
        pid_t child = ::fork();
        if (child == 0) {
            ::close(STDERR_FILENO); // of the message, if there is one
            try {
                if (wait)
                    co_await sleep_for(1ms);
                else
                    co_await b.read_some(byte);
            } catch (const state_error&) {
                ::_exit(42);
            }
            ::_exit(1);
        }
        std::size_t n = co_await b.read_some(byte);
        CHECK(n == 1);
        co_return status_after(child);
    };
    CHECK(run(fork_here(false)) == 42);
    CHECK(run(fork_here(true)) == -SIGABRT);
}
