// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/acceptor.hpp>

#include "support/fake_kernel.hpp"
#include "support/io.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <set>
#include <stdexcept>
#include <sys/eventfd.h>
#include <vector>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::uint16_t multishot = 1u << 0; // IORING_ACCEPT_MULTISHOT

// A descriptor that a fake kernel hands out for a connection. That it is closed in the end is seen
// by the audit.
int connection() {
    int fd = ::eventfd(0, EFD_CLOEXEC);
    REQUIRE(fd >= 0);
    return fd;
}

// An accepted "connection" is a descriptor.
using accepting = detail::accept_op<descriptor>;

struct listening {
    explicit listening(unsigned ahead = 8)
        : its(descriptor(::eventfd(0, EFD_CLOEXEC)), ahead), number(its.fd()) {}
    [[nodiscard]] accepting accept() { return accepting(its.get()); }
    detail::acceptor_handle its;
    int number;
};

runtime_options on(fake_kernel& k) { return {.kernel = &k.table()}; }

task<> accept_one(listening& l, std::vector<descriptor>& got) {
    got.push_back(co_await l.accept());
}

std::vector<int> numbers_of(const std::vector<descriptor>& v) {
    std::vector<int> all;
    for (const descriptor& d : v)
        all.push_back(d.get());
    return all;
}

} // namespace

TEST_CASE("acceptor: one request gives many connections, in order, also to those who come later") {
    fake_kernel k;
    auto many = [&]() -> task<> {
        listening l;
        std::vector<descriptor> got;
        std::vector<int> given;
        auto first = weft::spawn(accept_one(l, got));
        auto second = weft::spawn(accept_one(l, got));
        co_await k.until_held(1);
        fake_kernel::request r = k.held_on(l.number);
        CHECK((r.sqe.ioprio & multishot) != 0);
        for (int i = 0; i < 5; ++i) {
            given.push_back(connection());
            k.complete(r, given.back(), true);
        }
        co_await first.join();
        co_await second.join();
        for (int i = 0; i < 3; ++i)
            co_await accept_one(l, got);
        CHECK(numbers_of(got) == given);
        CHECK(k.holds(r));
    };
    run(many(), on(k));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("acceptor: a request that ends is made again while somebody waits") {
    auto features = GENERATE(kernel_feature::all, ~kernel_feature::multishot_accept);
    fake_kernel k;
    runtime_options options = on(k);
    options.features = features;
    auto again = [&]() -> task<> {
        listening l;
        std::vector<descriptor> got;
        std::vector<int> given;
        std::vector<task_handle<>> all;
        for (int i = 0; i < 3; ++i)
            all.push_back(weft::spawn(accept_one(l, got)));
        for (int i = 0; i < 3; ++i) {
            // Of a connection that was gone before it came out of the queue nobody hears.
            for (int error : {ECONNABORTED, EINTR, ECANCELED}) {
                co_await k.until_held(1);
                fake_kernel::request r = k.held_on(l.number);
                k.complete(r, -error);
                co_await until([&] { return !k.holds(r) && k.held().size() == 1; });
            }
            fake_kernel::request r = k.held_on(l.number);
            given.push_back(connection());
            k.complete(r, given.back(), false);
            co_await until([&] { return !k.holds(r); });
        }
        for (auto& t : all)
            co_await t.join();
        CHECK(numbers_of(got) == given);
        CHECK(k.held().empty()); // nobody waits, so nothing is asked for
    };
    run(again(), options);
    CHECK(k.count().left_over == 0);
}

TEST_CASE("acceptor: what the kernel accepts in a race with a stop is for the next one", "[P3]") {
    fake_kernel k;
    auto race = [&]() -> task<> {
        listening l;
        std::vector<descriptor> got;
        auto first = weft::spawn(accept_one(l, got));
        co_await k.until_held(1);
        fake_kernel::request r = k.held_on(l.number);
        first.cancel();
        int fd = connection();
        k.complete(r, fd, true);
        co_await until([&] { return first.done(); });
        CHECK(first.stopped());
        CHECK(got.empty());
        co_await accept_one(l, got);
        CHECK(numbers_of(got) == std::vector<int>{fd});
    };
    run(race(), on(k));
}

TEST_CASE("acceptor: no more than a few are accepted ahead, and all come out", "[P5]") {
    fake_kernel k;
    auto ahead = [&]() -> task<> {
        listening l(2);
        std::vector<descriptor> got;
        std::vector<int> given;
        auto give = [&](const fake_kernel::request& r, bool more) {
            given.push_back(connection());
            k.complete(r, given.back(), more);
        };
        auto first = weft::spawn(accept_one(l, got));
        co_await k.until_held(1);
        fake_kernel::request r = k.held_on(l.number);
        give(r, true);
        co_await first.join();
        k.on_cancel = [&](const fake_kernel::request& asked) {
            give(asked, true); // one more while the cancel is under way
            return false;
        };
        give(r, true);
        co_await yield();
        co_await yield();
        CHECK(k.holds(r));
        give(r, true);
        co_await until([&] { return !k.holds(r); });
        k.on_cancel = nullptr; // the end of the loop cancels too, when this task is gone
        for (int i = 0; i < 3; ++i)
            co_await accept_one(l, got);
        CHECK(numbers_of(got) == given);
        CHECK(k.held().empty());
        auto next = weft::spawn(accept_one(l, got));
        co_await k.until_held(1);
        give(k.held_on(l.number), true);
        co_await next.join();
        CHECK(numbers_of(got) == given);
    };
    run(ahead(), on(k));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("acceptor: a shortage is waited out, ever longer, and ends by itself", "[P16]") {
    int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM);
    fake_kernel k;
    auto shortage = [&]() -> task<> {
        listening l;
        std::vector<descriptor> got;
        std::vector<std::int64_t> pauses;
        auto waiting = weft::spawn(accept_one(l, got));
        // Only time is to pass: a task that yields would keep the clock from it.
        k.on_request = [&, last = k.now_ns()](const fake_kernel::request& r) mutable {
            pauses.push_back(k.now_ns() - last);
            last = k.now_ns();
            if (pauses.size() <= 10)
                k.complete(r, -error);
            else
                k.complete(r, connection(), true);
        };
        co_await waiting.join();
        CHECK(got.size() == 1);
        pauses.erase(pauses.begin());
        const std::int64_t ms = 1'000'000;
        CHECK(pauses == std::vector<std::int64_t>{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms,
                                                  160 * ms, 320 * ms, 640 * ms, 1000 * ms,
                                                  1000 * ms});
        k.on_request = nullptr;
    };
    run(shortage(), on(k));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("acceptor: an error of the listener comes out of every accept that waits") {
    fake_kernel k;
    auto broken = [&]() -> task<> {
        listening l;
        int errors = 0;
        auto fails = [&]() -> task<> {
            try {
                co_await l.accept();
            } catch (const std::system_error&) {
                ++errors;
            }
        };
        auto a = weft::spawn(fails());
        auto b = weft::spawn(fails());
        co_await k.until_held(1);
        k.complete(k.held_on(l.number), -EINVAL);
        co_await a.join();
        co_await b.join();
        CHECK(errors == 2);
        CHECK(k.held().empty());
    };
    run(broken(), on(k));
}

TEST_CASE("acceptor: what comes while a listener closes or is dropped gets closed", "[P3]") {
    auto closing = GENERATE(true, false);
    auto left_running = GENERATE(true, false);
    CAPTURE(closing, left_running);
    fake_kernel k;
    auto end = [&]() -> task<> {
        std::optional<listening> l(std::in_place);
        std::vector<descriptor> got;
        auto first = weft::spawn(accept_one(*l, got));
        co_await k.until_held(1);
        fake_kernel::request r = k.held_on(l->number);
        k.complete(r, connection(), true);
        co_await first.join();
        k.complete(r, connection(), true); // accepted ahead
        co_await yield();
        co_await yield();
        bool asked = false;
        k.on_cancel = [&](const fake_kernel::request& of) {
            asked = true;
            k.complete(of, connection(), true);
            return left_running;
        };
        auto close = [&]() -> task<> { co_await detail::stop_accepting_op(std::move(l->its)); };
        std::optional<task_handle<>> closed;
        if (closing)
            closed = weft::spawn(close());
        else
            l.reset();
        co_await until([&] { return asked; });
        if (left_running) {
            co_await yield();
            if (closed)
                CHECK_FALSE(closed->done());
            k.complete(r, connection(), false);
        }
        co_await until([&] { return !k.holds(r); });
        if (closed)
            co_await closed->join();
        k.on_cancel = nullptr;
        CHECK(got.size() == 1);
    };
    run(end(), on(k));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("acceptor: a listener that is dropped while the kernel takes nothing goes later") {
    fake_kernel k;
    auto drop = [&]() -> task<> {
        std::optional<listening> l(std::in_place);
        std::vector<descriptor> got;
        std::vector<task_handle<>> others;
        std::byte bytes[8];
        auto read = [&](int fd) -> task<> { co_await detail::recv_op(fd, bytes); };
        auto first = weft::spawn(accept_one(*l, got));
        co_await k.until_held(1);
        fake_kernel::request r = k.held_on(l->number);
        k.complete(r, connection(), true);
        co_await first.join();
        k.take_nothing(~0u);
        for (int i = 0; i < 6; ++i)
            others.push_back(weft::spawn(read(1'000'100 + i)));
        co_await yield();
        l.reset();
        unsigned before = k.count().enters;
        co_await sleep_for(1s);
        CHECK(k.holds(r));
        CHECK(k.count().enters - before < 2000);
        k.take_nothing(0);
        co_await until([&] { return !k.holds(r); });
    };
    runtime_options options = on(k);
    options.ring_entries = 4;
    run(drop(), options);
    CHECK(k.count().left_over == 0);
}

TEST_CASE("acceptor: no connection is lost, whatever the kernel does and whoever is stopped",
          "[P3][P16]") {
    unsigned seed = new_seed();
    for (kernel_feature features :
         {kernel_feature::all, ~kernel_feature::multishot_accept, ~kernel_feature::defer_taskrun}) {
        for (unsigned completions : {0u, 4u}) {
            CAPTURE(static_cast<std::uint32_t>(features), completions);
            fake_kernel k;
            k.completion_entries = completions;
            dice d(seed, completions);
            std::vector<int> given;
            std::vector<int> taken;
            std::set<std::uint64_t> left_running;
            auto give = [&](const fake_kernel::request& r, bool more) {
                if (given.size() == 1000) {
                    k.complete(r, -ECANCELED);
                    return;
                }
                given.push_back(connection());
                k.complete(r, given.back(), more && (r.sqe.ioprio & multishot) != 0);
            };
            auto answer = [&](const fake_kernel::request& r) {
                constexpr int errors[] = {EINTR, ECONNABORTED, EMFILE};
                if (d.below(8) == 0)
                    k.complete(r, -errors[d.below(3)]);
                else
                    give(r, d.below(3) != 0);
            };
            k.on_cancel = [&](const fake_kernel::request& r) {
                switch (d.below(3)) {
                case 0:
                    left_running.insert(r.number);
                    return true;
                case 1:
                    give(r, true);
                    return false;
                default:
                    return false;
                }
            };
            // The others stay, so that time passes, and pauses after a shortage.
            k.when_idle = [&] {
                bool any = false;
                for (const fake_kernel::request& r : k.held()) {
                    if (left_running.contains(r.number)) {
                        give(r, false);
                        any = true;
                    }
                }
                return any;
            };
            auto one = [&](listening& l) -> task<> {
                descriptor c = co_await l.accept();
                taken.push_back(c.get());
            };
            auto accept_all = [&]() -> task<> {
                listening l(4);
                std::deque<task_handle<>> tasks;
                const auto end = std::chrono::steady_clock::now() + patience;
                while (taken.size() < 1000) {
                    if (std::chrono::steady_clock::now() > end)
                        throw std::runtime_error("connections were lost");
                    while (tasks.size() < 3)
                        tasks.push_back(weft::spawn(one(l)));
                    for (const fake_kernel::request& r : k.held()) {
                        if (d.below(2) == 0)
                            answer(r);
                    }
                    if (d.below(4) == 0)
                        tasks[d.below(3)].cancel();
                    if (d.below(16) == 0)
                        co_await sleep_for(1ms);
                    co_await yield();
                    std::erase_if(tasks, [](task_handle<>& t) { return t.done(); });
                }
                for (task_handle<>& t : tasks)
                    t.cancel();
                co_await until([&] {
                    return std::all_of(tasks.begin(), tasks.end(),
                                       [](task_handle<>& t) { return t.done(); });
                });
            };
            runtime_options options = on(k);
            options.features = features;
            run(accept_all(), options);
            CHECK(taken.size() == given.size());
            CHECK(k.count().left_over == 0);
        }
    }
}
