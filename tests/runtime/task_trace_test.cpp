// SPDX-License-Identifier: MIT
#include <weft/runtime/task_trace.hpp>

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;

// What was told, on one thread.
struct told {
    task_event::kind what;
    std::uintptr_t task;
    std::string name;
    std::string waits_for;
};
std::vector<told> events;

void note(const task_event& e) noexcept {
    events.push_back(told{e.what, e.task, e.name, e.waits_for});
}

class traced {
public:
    traced() {
        events.clear();
        set_task_trace_hook(note);
    }
    traced(const traced&) = delete;
    traced& operator=(const traced&) = delete;
    ~traced() { set_task_trace_hook(nullptr); }
};

// Those of the tasks with a name, in short: S(tart), s(uspend), r(esume), E(nd).
std::string history(std::string_view name) {
    std::string text;
    for (const told& e : events)
        if (e.name == name)
            text += "SsrE"[e.what];
    return text;
}

// Whether each task starts, takes turns and ends, and nobody runs while another one does.
bool in_order() {
    std::map<std::uintptr_t, task_event::kind> last;
    std::uintptr_t running = 0;
    for (const told& e : events) {
        auto before = last.find(e.task);
        switch (e.what) {
        case task_event::start:
            if (running != 0 || before != last.end())
                return false;
            running = e.task;
            break;
        case task_event::resume:
            if (running != 0 || before == last.end() || before->second != task_event::suspend)
                return false;
            running = e.task;
            break;
        case task_event::suspend:
        case task_event::end:
            if (running != e.task)
                return false;
            running = 0;
            break;
        }
        if (e.what == task_event::end)
            last.erase(e.task);
        else
            last[e.task] = e.what;
    }
    return running == 0;
}

task<> naps() {
    co_await sleep_for(1ms);
    co_await yield();
}
task<> for_ever() { co_await sleep_for(1h); }

task<> program() {
    auto a = spawn(naps());
    a.set_name("naps");
    auto b = spawn(for_ever());
    b.set_name("for ever");
    auto c = spawn(for_ever());
    c.set_name("never begins");
    c.cancel();
    co_await a.join();
    b.cancel();
    static_cast<void>(co_await as_result(b.join()));
    co_await with_task_group([](task_group& g) -> task<> {
        g.spawn(naps()).set_name("child");
        co_await with_timeout(1h, naps());
        auto both = [] { return when_all(naps(), shield(naps())); };
        co_await both();
    });
    co_await finally(naps(), naps);
    try {
        co_await with_timeout(1ms, for_ever());
    } catch (const timeout_error&) {
        co_return;
    }
}

} // namespace

TEST_CASE("task_trace: each task starts, waits, goes on and ends, one at a time on its loop",
          "[T-MOD-06]") {
    {
        traced here;
        run(program());
    }
    CHECK(history("naps") == "SsrsrE");
    CHECK(history("child") == "SsrsrE");
    CHECK(history("for ever") == "SsrE"); // it is unwound
    CHECK(history("never begins") == "SE");
    CHECK(history("main").front() == 'S');
    CHECK(history("main").back() == 'E');
    CHECK(in_order());
    bool slept = false;
    for (const told& e : events)
        slept |= e.name == "naps" && e.what == task_event::suspend && e.waits_for == "sleep";
    CHECK(slept);
}

TEST_CASE("task_trace: a hook is told of what comes after it was set and before it is taken away",
          "[T-MOD-06]") {
    events.clear();
    run([]() -> task<> {
        auto a = spawn(naps());
        a.set_name("before");
        co_await a.join();
        CHECK(set_task_trace_hook(note) == nullptr);
        co_await sleep_for(1ms); // what the loop runs now is over
        auto b = spawn(naps());
        b.set_name("meanwhile");
        co_await b.join();
        CHECK(set_task_trace_hook(nullptr) == &note);
        co_await sleep_for(1ms);
        auto c = spawn(naps());
        c.set_name("after");
        co_await c.join();
    }());
    CHECK(history("before").empty());
    CHECK(history("meanwhile") == "SsrsrE");
    CHECK(history("after").empty());
}
