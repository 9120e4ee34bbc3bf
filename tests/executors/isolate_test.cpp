// SPDX-License-Identifier: MIT
#include <weft/executors/isolate.hpp>

#include <weft/executors/isolate_buffer.hpp>
#include <weft/executors/isolate_queue.hpp>
#include <weft/executors/map.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/passing.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/sync_wait.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <map>
#include <numeric>
#include <poll.h>
#include <unistd.h>

namespace {

using namespace weft;
using namespace std::chrono_literals;

// --- What isolates do ----------------------------------------------------------------------------

struct own_trouble : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct nobodys_trouble : std::runtime_error {
    using std::runtime_error::runtime_error;
};
[[maybe_unused]] const bool trouble_known = ipc::register_error<own_trouble>();

int counter = 0;
int count_up(int by) { return counter += by; }
int pid_there() { return ::getpid(); }
std::vector<std::uint64_t> who_is_there() {
    std::vector<std::uint64_t> ids{isolate::current().id()};
    for (const isolate& i : isolate::list_all())
        ids.push_back(i.id());
    return ids;
}
bool can_call_itself() {
    try {
        static_cast<void>(isolate::current().call(fn<&count_up>, 1));
        return true;
    } catch (const isolate_error&) {
        return false;
    }
}
void get_into_trouble(int how) {
    switch (how) {
    case 0:
        throw std::out_of_range("no such thing");
    case 1:
        throw own_trouble("mine");
    case 2:
        throw nobodys_trouble("strange");
    case 3:
        throw 7;
    default:
        throw state_error("not now");
    }
}
void wait_for_ever() {
    while (true)
        ::poll(nullptr, 0, 1000);
}
int until_told(std::stop_token stop) {
    while (!stop.stop_requested())
        ::poll(nullptr, 0, 1);
    return 0;
}
std::string greet(std::string_view whom) {
    return isolate::bound<std::string>("greeting") + ", " + std::string(whom);
}
int grow_bound() { return ++isolate::bound<int>("number"); }
std::string bound_as_text() { return isolate::bound<std::string>("number"); }
int sum_of_bound_queue(int n) {
    auto& q = isolate::bound<isolate_queue<int>>("numbers");
    int sum = 0;
    for (int i = 0; i != n; ++i)
        sum += sync_wait(q.get());
    return sum;
}
void pass_on(isolate_queue<std::string> from, isolate_queue<std::string> to, int n) {
    for (int i = 0; i != n; ++i)
        sync_wait(to.put(sync_wait(from.get()) + "."));
}
void scale(const isolate_buffer& b, double factor) {
    for (double& x : b.as<double>())
        x *= factor;
}
std::size_t spoil(std::vector<int> mine) {
    mine.assign(3, 0);
    return mine.size();
}
void signal_and_wait(isolate_queue<int> begun) {
    sync_wait(begun.put(::getpid()));
    wait_for_ever();
}
std::size_t count_bytes(const isolate_buffer& b) { return b.size(); }

// The type's name and text of what a call threw.
template <class A>
task<std::string> failure_of(A call) {
    try {
        co_await std::move(call);
    } catch (const execution_failed& e) {
        co_return e.type_name() + " / " + e.text();
    }
    co_return "none";
}

// A call that is refused.
template <class E, class F>
bool refuses(F f) {
    try {
        f();
        return false;
    } catch (const E&) {
        return true;
    }
}
bool is_closed(const isolate& i) {
    return refuses<isolate_closed>([&] { static_cast<void>(i.call(fn<&pid_there>)); });
}

std::vector<std::uint64_t> ids_of(const std::vector<isolate>& all) {
    std::vector<std::uint64_t> ids;
    for (const isolate& i : all)
        ids.push_back(i.id());
    return ids;
}

// --- What may cross ------------------------------------------------------------------------------

struct leaf {
    std::string name;
    std::vector<std::optional<int>> numbers;
};
struct tree {
    leaf own;
    std::vector<tree> children;
};
struct with_pointer {
    int number = 0;
    const leaf* elsewhere = nullptr;
};
struct no_codec {
    explicit no_codec(int) {}
};

static_assert(sendable<int> && sendable<std::string> && sendable<leaf> && sendable<tree>);
static_assert(sendable<std::map<std::string, std::pair<leaf, std::array<double, 3>>>>);
static_assert(sendable<std::variant<int, std::tuple<std::string, bool>>>);
static_assert(sendable<isolate_queue<leaf>> && sendable<isolate_buffer>);
static_assert(sendable<std::vector<isolate_queue<int>>>);
static_assert(!sendable<int*> && !sendable<no_codec> && !sendable<with_pointer>);
static_assert(!sendable<std::vector<with_pointer>> && !sendable<std::optional<int*>>);
static_assert(!sendable<std::map<int, std::tuple<std::string, no_codec>>>);
static_assert(!sendable<std::variant<int, const char*>>);
static_assert(!sendable<descriptor> && !sendable<ipc::queue<int>> &&
              !sendable<std::vector<ipc::shared_memory>>);
static_assert(!sendable<std::span<const int>>, "a view can be sent, but not kept");

} // namespace

TEST_CASE("isolate: each has a state of its own, a number and a place in the list",
          "[CI-01][CI-02][CI-03][CF-EXE-01]") {
    run([]() -> task<> {
        CHECK(ids_of(isolate::list_all()) == std::vector<std::uint64_t>{0});
        CHECK(isolate::current() == isolate::main());
        CHECK(isolate::main().whence() == isolate_origin::program);
        CHECK(isolate::main().is_running());

        isolate a = isolate::create();
        isolate b = isolate::create();
        CHECK(a.whence() == isolate_origin::created);
        CHECK(ids_of(isolate::list_all()) == std::vector<std::uint64_t>{0, a.id(), b.id()});
        CHECK(a != b);

        int first = co_await a.call(fn<&count_up>, 1);
        int second = co_await a.call(fn<&count_up>, 1);
        int elsewhere = co_await b.call(fn<&count_up>, 5);
        CHECK(first == 1);
        CHECK(second == 2);
        CHECK(elsewhere == 5);
        CHECK(counter == 0);
        int pid = co_await a.call(fn<&pid_there>);
        CHECK(pid != ::getpid());
        CHECK(pid == a.statistics().workers.at(0).pid);

        auto seen_from_a = co_await a.call(fn<&who_is_there>);
        CHECK(seen_from_a == std::vector<std::uint64_t>{a.id(), 0, a.id()});
        bool recursive = co_await a.call(fn<&can_call_itself>);
        CHECK_FALSE(recursive);
        CHECK(refuses<isolate_error>(
            [] { static_cast<void>(isolate::main().call(fn<&pid_there>)); }));

        // At once and in order, whether or not somebody waits.
        std::vector<future<int>> later;
        for (int i = 0; i != 5; ++i)
            later.push_back(a.spawn(fn<&count_up>, 10));
        int last = co_await later.back();
        CHECK(last == 52);
        auto twice = map(b, {.chunk = 2}, [](int n) { return 2 * n; }, std::vector{1, 2, 3});
        int sum = 0;
        while (auto n = co_await twice.next())
            sum += *n;
        CHECK(sum == 12);

        // The last handle ends it.
        std::uint64_t kept = a.id();
        b = a;
        CHECK(ids_of(isolate::list_all()) == std::vector<std::uint64_t>{0, kept});
        co_await with_shutdown(a, as_task(b.call(fn<&count_up>, 0)));
        CHECK(is_closed(b));
    }());
    CHECK(ids_of(isolate::list_all()) == std::vector<std::uint64_t>{0});
}

TEST_CASE("isolate: its functions find what is bound to names", "[CI-04]") {
    run([]() -> task<> {
        isolate i = isolate::create();
        co_await i.bind("greeting", "hello");
        co_await i.bind("number", 7);
        auto text = co_await i.call(fn<&greet>, "world");
        CHECK(text == "hello, world");
        co_await i.bind("greeting", std::string("good night"));
        text = co_await i.call(fn<&greet>, "moon");
        CHECK(text == "good night, moon");
        // It is theirs, and stays.
        int n = co_await i.call(fn<&grow_bound>);
        CHECK(n == 8);
        n = co_await i.call(fn<&grow_bound>);
        CHECK(n == 9);
        auto wrong = co_await failure_of(i.call(fn<&bound_as_text>));
        CHECK_THAT(wrong, Catch::Contains("weft::isolate_error") && Catch::Contains("is a int"));
        isolate other = isolate::create();
        auto missing = co_await failure_of(other.call(fn<&greet>, "world"));
        CHECK_THAT(missing, Catch::Contains("weft::lookup_error") && Catch::Contains("greeting"));
        CHECK(refuses<lookup_error>([] { static_cast<void>(isolate::bound<int>("number")); }));

        isolate_queue<int> numbers;
        co_await i.bind("numbers", numbers);
        auto sum = i.spawn(fn<&sum_of_bound_queue>, 3);
        for (int k = 1; k != 4; ++k)
            co_await numbers.put(k);
        int got = co_await sum;
        CHECK(got == 6);
        co_await i.close();
        co_await other.close();
    }());
}

TEST_CASE("isolate: one that runs isn't closed, one that is closed takes nothing", "[CI-05]") {
    run([]() -> task<> {
        isolate i = isolate::create();
        isolate same = i;
        CHECK_FALSE(i.is_running());
        isolate_queue<int> begun;
        auto running = i.spawn(
            [](std::stop_token stop, isolate_queue<int> q) {
                sync_wait(q.put(1));
                return until_told(std::move(stop));
            },
            begun);
        co_await begun.get();
        CHECK(i.is_running());
        CHECK(refuses<isolate_error>([&] { static_cast<void>(i.close()); }));
        auto queued = i.spawn(fn<&count_up>, 3);
        running.request_stop();
        int three = co_await queued;
        CHECK(three == 3);
        CHECK_FALSE(i.is_running());
        co_await i.close();
        CHECK(is_closed(i));
        CHECK(is_closed(same));
        CHECK(refuses<isolate_closed>([&] { static_cast<void>(same.close()); }));
        CHECK(refuses<isolate_closed>([&] { static_cast<void>(same.is_running()); }));
        CHECK(refuses<isolate_closed>([&] { static_cast<void>(same.spawn(fn<&count_up>, 1)); }));
        CHECK(refuses<isolate_closed>([&] { static_cast<void>(same.bind("x", 1)); }));
        // For those who know executors only.
        CHECK(refuses<state_error>([&] { static_cast<void>(same.submit(fn<&count_up>, 1)); }));
        CHECK(refuses<isolate_error>([] { static_cast<void>(isolate::main().close()); }));
        CHECK(ids_of(isolate::list_all()) == std::vector<std::uint64_t>{0});
        CHECK(refuses<std::invalid_argument>(
            [] { static_cast<void>(isolate::create({.workers = 2})); }));
        CHECK(refuses<std::invalid_argument>(
            [] { static_cast<void>(isolate::create({.max_tasks_per_worker = 1})); }));
    }());
}

TEST_CASE("isolate: what a function throws comes as its type's name and its text", "[CI-06]") {
    run([]() -> task<> {
        isolate i = isolate::create();
        std::string text = co_await failure_of(i.call(fn<&get_into_trouble>, 0));
        CHECK(text == "std::out_of_range / no such thing");
        text = co_await failure_of(i.spawn(fn<&get_into_trouble>, 2));
        CHECK_THAT(text, Catch::EndsWith("nobodys_trouble / strange"));
        text = co_await failure_of(i.call(fn<&get_into_trouble>, 3));
        CHECK(text == "int / ");
        // Not taken for what the isolate itself says.
        text = co_await failure_of(i.call(fn<&get_into_trouble>, 4));
        CHECK(text == "weft::state_error / not now");

        // The exception itself, and where it was thrown.
        future<void> failing = i.spawn(fn<&get_into_trouble>, 1);
        std::string cause, trace;
        for (int k = 0; k != 2; ++k) { // each who asks gets one
            try {
                co_await failing;
            } catch (const execution_failed& e) {
                trace = e.trace();
                try {
                    std::rethrow_exception(e.cause());
                } catch (const own_trouble& t) {
                    cause += t.what();
                }
            }
        }
        CHECK(cause == "minemine");
#if defined(__x86_64__) || defined(__aarch64__)
        CHECK_FALSE(trace.empty());
#endif
        // It has lived through all that.
        int n = co_await i.call(fn<&count_up>, 1);
        CHECK(n == 1);
        co_await i.close();
    }());
}

TEST_CASE("isolate: queues connect isolates and the program", "[CI-07]") {
    run([]() -> task<> {
        isolate a = isolate::create();
        isolate b = isolate::create();
        isolate_queue<std::string> in(2), between, out;
        auto first = a.spawn(fn<&pass_on>, in, between, 100);
        auto second = b.spawn(fn<&pass_on>, between, out, 100);
        for (int i = 0; i != 100; ++i)
            co_await in.put(std::to_string(i));
        int right = 0;
        for (int i = 0; i != 100; ++i) {
            std::string s = co_await out.get();
            right += s == std::to_string(i) + "..";
        }
        CHECK(right == 100);
        co_await first;
        co_await second;

        CHECK(in.capacity() == 2);
        CHECK(in.empty());
        CHECK(in.try_put("a"));
        CHECK(in.try_put("b"));
        CHECK(in.full());
        CHECK_FALSE(in.try_put("c"));
        bool full = false, empty = false;
        try {
            co_await in.put_for("c", 0ms);
        } catch (const queue_full&) {
            full = true;
        }
        try {
            co_await out.get_for(0ms);
        } catch (const queue_empty&) {
            empty = true;
        }
        CHECK(full);
        CHECK(empty);
        co_await a.close();
        co_await b.close();
    }());
}

TEST_CASE("isolate: values are copied, buffers shared, and what is gone is told", "[CI-08]") {
    run([]() -> task<> {
        isolate i = isolate::create();
        std::vector<int> mine{1, 2};
        std::size_t there = co_await i.call(fn<&spoil>, mine);
        CHECK(there == 3);
        CHECK(mine == std::vector{1, 2});

        isolate_buffer b(1000 * sizeof(double));
        auto numbers = b.as<double>();
        std::iota(numbers.begin(), numbers.end(), 0.0);
        co_await i.call(fn<&scale>, b, 2.0);
        CHECK(numbers.size() == 1000);
        CHECK(std::accumulate(numbers.begin(), numbers.end(), 0.0) == 999'000.0);

        // Gone before the call has begun, and its number another file's.
        isolate_queue<int> begun;
        auto blocking = i.spawn([](isolate_queue<int> q) { sync_wait(q.get()); }, begun);
        auto given_away = std::make_unique<isolate_buffer>(100);
        int number = given_away->memory().fd();
        auto late = i.spawn(fn<&count_bytes>, *given_away);
        given_away.reset();
        isolate_buffer other(200);
        CHECK(other.memory().fd() == number);
        co_await begun.put(1);
        co_await blocking;
        bool told = false;
        try {
            co_await late;
        } catch (const isolate_error& e) {
            told = std::string_view(e.what()).find("isn't there any more") != std::string::npos;
        }
        CHECK(told);
        co_await i.close();
    }());
}

TEST_CASE("isolate: one whose process ends has ended, and doesn't begin anew", "[P8][P10]") {
    bool stopped = GENERATE(false, true);
    CAPTURE(stopped);
    run([](bool by_stop) -> task<> {
        isolate i = isolate::create({.stop_grace = 0ms});
        int one = co_await i.call(fn<&count_up>, 1);
        CHECK(one == 1);
        isolate_queue<int> begun;
        auto running = i.spawn(fn<&signal_and_wait>, begun);
        auto waiting = i.spawn(fn<&count_up>, 1);
        int pid = co_await begun.get();
        if (by_stop)
            running.request_stop();
        else
            ::kill(pid, SIGKILL);
        bool cancelled = false;
        int lost = 0, signal = 0;
        try {
            co_await running;
        } catch (const ipc::worker_lost& e) {
            lost = e.pid();
            signal = -e.status().number();
        } catch (const cancelled_error&) {
            cancelled = true;
        }
        CHECK(cancelled == by_stop);
        CHECK(lost == (by_stop ? 0 : pid));
        CHECK(signal == (by_stop ? 0 : SIGKILL));
        // It would give 1 where 2 is right.
        std::string said;
        try {
            co_await waiting;
        } catch (const broken_isolate_pool& e) {
            said = e.what();
        }
        CHECK_THAT(said, Catch::Contains(by_stop ? "what it knew" : "killed"));
        CHECK(is_closed(i));
        CHECK(ids_of(isolate::list_all()) == std::vector<std::uint64_t>{0});
        co_await i.close();
        CHECK(refuses<isolate_closed>([&] { static_cast<void>(i.close()); }));

        // Nor does one that has nothing to do.
        isolate idle = isolate::create();
        ::kill(co_await idle.call(fn<&pid_there>), SIGKILL);
        for (int k = 0; k != 10'000 && !is_closed(idle); ++k)
            co_await sleep_for(1ms);
        CHECK(is_closed(idle));
    }(stopped));
}

TEST_CASE("isolate_pool: workers with states of their own, which get copies and make errors",
          "[CF-IPE-01]") {
    run([]() -> task<> {
        auto prepare = [](int from) { counter = from; };
        isolate_pool pool({.workers = 2}, prepare, 100);
        // Both at once, so each in a worker of its own.
        isolate_queue<int> meeting(0);
        isolate_queue<int> go(0);
        auto meet = [](isolate_queue<int> here, isolate_queue<int> there) {
            sync_wait(here.put(::getpid()));
            sync_wait(there.get());
            return count_up(1);
        };
        auto first = pool.submit(meet, meeting, go);
        auto second = pool.submit(meet, meeting, go);
        int one = co_await meeting.get();
        int two = co_await meeting.get();
        CHECK(one != two);
        co_await go.put(1);
        co_await go.put(1);
        int a = co_await first;
        int b = co_await second;
        CHECK(a == 101);
        CHECK(b == 101);
        CHECK(counter == 0);

        std::vector<int> mine{1, 2};
        std::size_t there = co_await pool.call(fn<&spoil>, mine);
        CHECK(there == 3);
        CHECK(mine == std::vector{1, 2});

        // As itself, with a summary of what happened there inside.
        std::string text, summary;
        try {
            co_await pool.call(fn<&get_into_trouble>, 1);
        } catch (const own_trouble& e) {
            text = e.what();
            try {
                std::rethrow_if_nested(e);
            } catch (const ipc::remote_error& r) {
                summary = r.type_name() + " / " + r.text();
            }
        }
        CHECK(text == "mine");
#if defined(__x86_64__) || defined(__aarch64__)
        CHECK_THAT(summary, Catch::EndsWith("own_trouble / mine"));
#endif
        co_await pool.shutdown();

        auto fails = [] { throw std::runtime_error("no tools"); };
        isolate_pool broken({.workers = 1}, fails);
        std::string why;
        try {
            co_await broken.call(fn<&pid_there>);
        } catch (const broken_isolate_pool& e) {
            why = e.what();
        }
        CHECK_THAT(why, Catch::Contains("no tools"));
    }());
}
