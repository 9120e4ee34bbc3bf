// SPDX-License-Identifier: MIT
// A process pool and a thread pool behind the same interface, and what only processes show.
#include "support/io.hpp"

#include <weft/executors/cpus.hpp>
#include <weft/executors/impl/call_setting.hpp>
#include <weft/executors/impl/function_name.hpp>
#include <weft/executors/impl/pool_hub.hpp>
#include <weft/executors/map.hpp>
#include <weft/executors/process_pool.hpp>
#include <weft/executors/thread_pool.hpp>
#include <weft/executors/wait.hpp>

#include <weft/ipc/error.hpp>
#include <weft/ipc/log.hpp>
#include <weft/ipc/travelling_var.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/introspect.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unhandled.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <optional>
#include <poll.h>
#include <ranges>
#include <string>
#include <tuple>
#include <typeinfo>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;

int slowly(int n) {
    ::poll(nullptr, 0, 20);
    return n;
}
int set_by_the_program = 0;
int what_the_program_set() { return set_by_the_program; }
// What goes along with a call.
context_var<int> at_home("at home", 1);
ipc::travelling_var<int> number("number", 1);
ipc::travelling_var<std::vector<std::string>> names("names");
ipc::travelling_var<int> one_of_two("the same name", 1);
ipc::travelling_var<int> other_of_two("the same name", 1);
std::string what_is_set() {
    std::string told = std::to_string(at_home.get()) + " " + std::to_string(number.get());
    for (const std::string& n : names.get_or(std::vector<std::string>()))
        told += " " + n;
    number.set(100); // which ends with this call
    return told + " " + ipc::trace_id.get();
}
task<std::string> what_is_set_in_a_task() {
    co_await yield();
    co_return what_is_set();
}
void set_number(int n) { number.set(n); }
std::optional<duration> left_until_deadline() {
    return current_deadline() == never ? std::optional<duration>() : current_deadline() - now();
}
task<std::optional<duration>> left_in_a_task() {
    co_await yield();
    co_return left_until_deadline();
}

// What a worker says beside its results.
void say_things() {
    ipc::get_logger().say(ipc::log_level::debug, "nobody wants to know");
    ipc::get_logger().say(ipc::log_level::warning, "the disk is full");
}
task<> fail_unseen() {
    co_await yield();
    throw std::out_of_range("nobody waits for this");
}
task<> leave_an_error() {
    spawn(fail_unseen()).set_name("unseen");
    co_await sleep_for(1ms);
}
void touch(const std::string& file) {
    ::close(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}
task<> sleep_long(const std::string& sign) {
    touch(sign);
    co_await sleep_for(1h);
}
task<> block_its_loop(const std::string& sign) {
    co_await yield();
    touch(sign);
    while (true)
        ::poll(nullptr, 0, 1000);
}
void freeze(const std::string& sign) {
    touch(sign);
    ::raise(SIGSTOP);
}
void compute(const std::string& sign) {
    touch(sign);
    while (true)
        ::poll(nullptr, 0, 1000);
}

// What is told in this process.
std::mutex told_mutex;
std::vector<std::string> told_here;
void tell(std::string what) {
    std::lock_guard lock(told_mutex);
    told_here.push_back(std::move(what));
}
std::vector<std::string> what_was_told() {
    std::lock_guard lock(told_mutex);
    return std::exchange(told_here, {});
}

// Far beyond what anything takes that isn't broken, also with sanitizers on a busy machine.
constexpr auto patience = 40s;

template <class Condition>
task<> eventually(Condition condition) {
    time_point end = now() + patience;
    while (!condition()) {
        REQUIRE(now() < end);
        co_await sleep_for(1ms);
    }
}

// A call that nobody wants any more when its turn comes.
class unwanted : public detail::pool_request {
public:
    using call = detail::pool_function_of<function_constant<&touch>, std::string>;
    unwanted(const std::shared_ptr<detail::pool_hub>& hub, const std::string& file)
        : pool_request(hub, call::entry, detail::encoded_call<call>(file), type) {}
    using pool_request::hand_in;
    bool asked = false;
    bool left = false;

private:
    static const detail::pool_request_type type;
};
const detail::pool_request_type unwanted::type{
    [](pool_request& r) noexcept {
        static_cast<unwanted&>(r).asked = true;
        return false;
    },
    [](pool_request&) noexcept {},
    [](pool_request& r) noexcept { static_cast<unwanted&>(r).left = true; }};

// Hangs until its worker is killed.
int for_ever(int n) {
    while (true)
        ::poll(nullptr, 0, 1000);
    return n;
}

// The words of an executor, whatever it runs on.
template <executor E>
task<std::string> tour(E& pool) {
    std::string told;
    auto square = [](int n) { return n * n; };
    future<int> nine = pool.submit(square, 3);
    told += std::to_string(co_await nine) + " ";
    auto squares = map(pool, {.chunk = 2}, square, std::views::iota(1, 6));
    while (auto n = co_await squares.next())
        told += std::to_string(*n) + " ";
    std::vector<future<int>> all;
    for (int i = 0; i != 3; ++i)
        all.push_back(pool.submit(square, i));
    auto w = co_await wait(all);
    told += std::to_string(w.done().size()) + " done ";
    auto fails = [](int) -> int { throw std::out_of_range("no such thing"); };
    try {
        co_await pool.submit(fails, 1);
    } catch (const std::out_of_range& e) {
        told += e.what();
    }
    co_await pool.shutdown(shutdown_options());
    try {
        static_cast<void>(pool.submit(square, 1));
    } catch (const state_error&) {
        told += ", and no more";
    }
    co_return told;
}

} // namespace

TEST_CASE("executor: threads and processes are used in the same words",
          "[MP-POOL-21][MP-DUM-01][MP-POOL-11]") {
    run([]() -> task<> {
        const std::string expected = "9 1 4 9 16 25 3 done no such thing, and no more";
        process_pool processes({.workers = 2});
        thread_pool threads({.threads = 2});
        auto by_processes = co_await tour(processes);
        auto by_threads = co_await tour(threads);
        CHECK(by_processes == expected);
        CHECK(by_threads == expected);
    }());
}

TEST_CASE("process_pool: without a number it has one worker for each usable CPU",
          "[CF-PPE-01][MP-POOL-01]") {
    run([]() -> task<> {
        process_pool pool;
        CHECK(pool.size() == usable_cpus());
        process_pool three({.workers = 3, .min_workers = 0});
        CHECK(three.size() == 3);
        co_return;
    }());
}

TEST_CASE("process_pool: a future is waited for with a limit, and asked how it is",
          "[MP-POOL-20]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        future<int> f = pool.submit({.stop_grace = 0s}, fn<&for_ever>, 1);
        bool done = co_await f.wait_for(1ms);
        CHECK_FALSE(done);
        CHECK_FALSE(f.done());
        bool timed_out = false;
        try {
            co_await f.result_for(1ms);
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        f.request_stop();
        co_await f.wait(); // never throws
        CHECK(f.done());
        CHECK(f.cancelled());
    }());
}

TEST_CASE("map: what comes before a bad item of the input arrives, and the pool stays of use",
          "[MP-POOL-09][MP-POOL-07]") {
    run([]() -> task<> {
        process_pool pool({.workers = 2});
        auto until_five = std::views::iota(1) | std::views::transform([](int n) {
                              return n == 5 ? throw std::runtime_error("a bad item") : n;
                          });
        for (std::size_t chunk = 1; chunk != 4; ++chunk) {
            auto results = map(pool, {.chunk = chunk, .look_ahead = 2}, fn<&slowly>, until_five);
            std::vector<int> got;
            std::string error;
            try {
                while (auto n = co_await results.next())
                    got.push_back(*n);
            } catch (const std::runtime_error& e) {
                error = e.what();
            }
            CHECK(error == "a bad item");
            // Whole pieces only.
            CHECK(got.size() == 4 / chunk * chunk);
            CHECK(std::ranges::equal(got, std::views::iota(1, 1 + static_cast<int>(got.size()))));
        }
        auto again = co_await pool.submit(fn<&slowly>, 7);
        CHECK(again == 7);
    }());
}

TEST_CASE("process_pool: context variables that travel go along with a call") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto nothing = co_await pool.call(fn<&what_is_set>);
        CHECK(nothing == "1 1 ");
        at_home.set(2);
        number.set(3);
        auto some = co_await pool.call(fn<&what_is_set>);
        CHECK(some == "1 3 ");
        auto again = co_await pool.submit(fn<&what_is_set>);
        CHECK(again == "1 3 ");
        {
            auto here = names.scoped({"a", "b"});
            auto trace = ipc::trace_id.scoped("00-7-1-01");
            auto all = co_await pool.call(fn<&what_is_set_in_a_task>);
            CHECK(all == "1 3 a b 00-7-1-01");
        }
        auto fewer = co_await pool.call(fn<&what_is_set>);
        CHECK(fewer == "1 3 ");

        // What can't be told apart there is refused here.
        bool refused = false;
        {
            auto here = one_of_two.scoped(2);
            try {
                static_cast<void>(pool.submit(fn<&what_is_set>));
            } catch (const state_error&) {
                refused = true;
            }
        }
        CHECK(refused);

        process_pool prepared({.workers = 1}, fn<&set_number>, 9);
        number.set(1);
        auto replaced = co_await prepared.call(fn<&what_is_set>);
        CHECK(replaced == "1 1 ");
    }());
    run([]() -> task<> {
        process_pool prepared({.workers = 1}, fn<&set_number>, 9);
        for (int i = 0; i != 2; ++i) {
            auto by_initialiser = co_await prepared.call(fn<&what_is_set>);
            CHECK(by_initialiser == "1 9 ");
        }
    }());
}

TEST_CASE("process_pool: a call sees the deadline that its caller is under", "[P2]") {
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto none = co_await pool.call(fn<&left_until_deadline>);
        CHECK_FALSE(none.has_value());
        auto is_about = [](const std::optional<duration>& left, duration expected) {
            return left && *left <= expected && *left > expected - 30s;
        };
        auto scoped = co_await with_timeout(1min, pool.call(fn<&left_until_deadline>));
        CHECK(is_about(scoped, 1min));
        auto own = co_await pool.call({.timeout = 2min}, fn<&left_until_deadline>);
        CHECK(is_about(own, 2min));
        auto both = co_await with_timeout(1min, pool.call({.timeout = 2min}, fn<&left_in_a_task>));
        CHECK(is_about(both, 1min));
        auto after = co_await pool.submit(fn<&left_in_a_task>);
        CHECK_FALSE(after.has_value());
    }());
}

TEST_CASE("call_setting: without anything to tell, nothing goes along") {
    using detail::call_setting;
    ipc::archive_writer message;
    message.write_value(7);
    auto there = copy_context().run([&] {
        at_home.set(5);
        const bool nothing = call_setting::append(message, never, {});
        CHECK_FALSE(nothing);
        CHECK(message.size() == sizeof(int));
        number.set(6);
        return call_setting::append(message, time_point(5s), {3, 4});
    });
    REQUIRE(there);
    call_setting back(message.bytes());
    CHECK(message.size() - back.size() == sizeof(int));
    CHECK(back.deadline() == time_point(5s));
    CHECK(back.window().items == 3);
    CHECK(back.window().bytes == 4);
    context().run([&] {
        back.set_variables();
        CHECK(number.get() == 6);
        CHECK(at_home.get() == 1);
    });
    for (std::size_t n = 0; n != back.size(); ++n) { // whatever is missing is noticed
        auto cut = message.bytes().last(n);
        bool noticed = false;
        context().run([&] {
            try {
                call_setting(cut).set_variables();
            } catch (const std::exception&) {
                noticed = true;
            }
        });
        CHECK(noticed);
    }
}

TEST_CASE("process_pool: a worker has what it is given, and not what the program has",
          "[MP-GUIDE-03]") {
    set_by_the_program = 5;
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        auto seen = co_await pool.submit(fn<&what_the_program_set>);
        CHECK(seen == 0);
    }());
}

TEST_CASE("process_pool: what nobody wants when its turn comes isn't sent to the worker", "[P3]") {
    run([]() -> task<> {
        weft::tests::temp_dir dir;
        process_pool_options one;
        one.workers = 1;
        auto hub = std::make_shared<detail::pool_hub>(this_loop(), one);
        detail::pool_hub::start(hub);
        // As if it had been cancelled by a thread that the pool hasn't heard yet.
        unwanted u(hub, dir.path("unwanted"));
        REQUIRE(u.hand_in());
        co_await eventually([&] { return u.left; });
        CHECK(u.asked);
        using call = unwanted::call;
        auto* record = new detail::pool_submission<void>(
            hub, call::entry, detail::encoded_call<call>(dir.path("wanted")));
        auto wanted = future<>::of(detail::future_hold::first_of(*record));
        record->post();
        co_await wanted;
        CHECK(::access(dir.path("wanted").c_str(), F_OK) == 0);
        CHECK(::access(dir.path("unwanted").c_str(), F_OK) != 0);
        CHECK(hub->statistics().workers.front().tasks_done == 1);
        co_await detail::pool_shutdown_op(hub, never);
    }());
}

TEST_CASE("process_pool: what workers log, and errors that nobody caught there, come to the pool") {
    auto log_before = ipc::get_logger().set_sink(
        [](ipc::log_level level, std::string_view process, std::string_view text) {
            tell(ipc::name_of(level) + " of " + std::string(process) + ": " + std::string(text));
        });
    auto hook_before = set_unhandled_error_hook(
        [](const unhandled_error& e) { tell(std::string(e.where) + ": " + e.text); });
    run([]() -> task<> {
        process_pool pool({.workers = 1});
        co_await pool.call(fn<&say_things>);
        const std::string pid = std::to_string(pool.statistics().workers.front().pid);
        std::vector<std::string> lines;
        co_await eventually([&] { return !(lines = what_was_told()).empty(); });
        CHECK(lines == std::vector<std::string>{"WARNING of worker " + pid + ": the disk is full"});
        co_await pool.call(fn<&leave_an_error>);
        co_await eventually([&] { return !(lines = what_was_told()).empty(); });
        REQUIRE(lines.size() == 1);
        CHECK_THAT(lines.front(), Catch::StartsWith("unseen (started at ") &&
                                      Catch::Contains(" in the worker " + pid + ": ") &&
                                      Catch::Contains("nobody waits for this"));
        // What is said last is heard, too; and nothing, if nobody listens.
        co_await pool.call(fn<&say_things>);
        ipc::get_logger().set_sink(nullptr);
        co_await pool.call(fn<&say_things>);
        co_await pool.shutdown();
        CHECK(what_was_told().size() <= 1);
    }());
    ipc::get_logger().set_sink(log_before);
    set_unhandled_error_hook(hook_before);
}

TEST_CASE("process_pool: a look at its workers shows what each does, and waits for none that hangs",
          "[P2]") {
    run([]() -> task<> {
        weft::tests::temp_dir dir;
        process_pool pool({.workers = 4});
        const std::vector<std::string> signs{"sleep_long", "block_its_loop", "freeze", "compute"};
        const submit_options at_once{.stop_grace = 0s};
        auto waits = spawn(pool.call(at_once, fn<&sleep_long>, dir.path(signs[0])));
        auto blocks = spawn(pool.call(at_once, fn<&block_its_loop>, dir.path(signs[1])));
        auto frozen = spawn(pool.call(at_once, fn<&freeze>, dir.path(signs[2])));
        auto computes = spawn(pool.call(at_once, fn<&compute>, dir.path(signs[3])));
        for (const std::string& n : signs)
            co_await eventually([&] { return ::access(dir.path(n).c_str(), F_OK) == 0; });
        process_pool_statistics s;
        const process_pool_statistics::worker* sleeps = nullptr;
        auto of = [&s](const std::string& name) -> const process_pool_statistics::worker* {
            for (const auto& w : s.workers)
                if (w.function == name)
                    return &w;
            return nullptr;
        };
        time_point end = now() + patience; // a slow machine may need more than one look
        do {
            s = co_await pool.inspect(200ms);
            sleeps = of("sleep_long");
        } while ((sleeps == nullptr || !sleeps->answered) && now() < end);
        REQUIRE(s.workers.size() == 4);
        REQUIRE(sleeps != nullptr);
        CHECK(sleeps->answered);
        CHECK_THAT(sleeps->tasks, Catch::Contains("waits for sleep"));
        CHECK_THAT(sleeps->tasks, Catch::Contains("sleep_long"));
        REQUIRE(of("block_its_loop") != nullptr);
        CHECK_FALSE(of("block_its_loop")->answered);
        REQUIRE(of("freeze") != nullptr);
        CHECK_FALSE(of("freeze")->answered);
        REQUIRE(of("compute") != nullptr);
        CHECK(of("compute")->tasks.empty());
        CHECK_THAT(to_string(s), Catch::Contains("\n    ") && Catch::Contains("waits for sleep"));
        // The tree of tasks of this process says so, too.
        const std::string dump = to_string(capture_tasks());
        for (const std::string& n : signs)
            CHECK_THAT(dump, Catch::Contains(" runs " + n + " for "));
        CHECK_THAT(dump, Catch::Contains("worker " + std::to_string(sleeps->pid) + " runs"));
        waits.cancel();
        for (auto* t : {&blocks, &frozen, &computes})
            t->cancel();
        co_await pool.shutdown();
    }());
}

TEST_CASE(
    "process_pool: a worker whose first function was a plain one can be asked about its second") {
    run([]() -> task<> {
        weft::tests::temp_dir dir;
        process_pool pool({.workers = 1});
        co_await pool.call(fn<&what_the_program_set>);
        const std::string sign = dir.path("compute");
        auto computes = spawn(pool.call({.stop_grace = 0s}, fn<&compute>, sign));
        co_await eventually([&] { return ::access(sign.c_str(), F_OK) == 0; });
        process_pool_statistics s;
        const time_point end = now() + patience;
        do {
            s = co_await pool.inspect(200ms);
        } while (!s.workers.at(0).answered && now() < end);
        CHECK(s.workers.at(0).answered);
        CHECK(s.workers.at(0).function == "compute");
        computes.cancel();
        co_await pool.shutdown();
    }());
}

TEST_CASE("function_name: is what people call a function") {
    auto name = [](auto f) { return detail::function_name(typeid(f).name()); };
    CHECK(name(fn<&touch>) == "touch");
    CHECK(name(fn<&slowly>) == "slowly");
    CHECK(name(fn<&weft::describe>) == "weft::describe");
    CHECK(name(detail::mapped_call<function_constant<&slowly>, int>()) == "map of slowly");
    CHECK(
        name(detail::mapped_call<detail::starred<function_constant<&slowly>>, std::tuple<int>>()) ==
        "map of slowly");
    CHECK_FALSE(name([](int n) { return n; }).empty());
}
