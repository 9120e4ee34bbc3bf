// SPDX-License-Identifier: MIT
// The shapes that g++ 12 gets wrong, which the lint (tests/tidy_check.py) keeps out of our sources.
// With another compiler each must be right. With g++ it is noted which ones still fail: when a
// later version has none left, the rules can go. Output: Test Anything Protocol.
#include "canary.hpp"

#include <array>

using namespace canary;

namespace {

struct aggregate {
    int number = 0;
    token held = token(); // a default of its own: no initialiser is missing anywhere
};
struct aggregate_awaiter {
    token held;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept {
        return how == ending::is_destroyed;
    }
    int await_resume() const {
        if (how == ending::throws)
            throw 1;
        return held.value;
    }
};
struct failure {
    failure(token t, int n) : held(std::move(t)), number(n) {}
    token held;
    int number;
};

task<int> take(aggregate a) {
    co_await leaf();
    co_return a.number;
}
task<int> take_default(aggregate a = {}) {
    co_await leaf();
    co_return a.number;
}
task<int> take_array(std::array<token, 2> a) {
    co_await leaf();
    co_return a[0].value;
}
task<aggregate> make_aggregate() { co_return aggregate{1, co_await make(2)}; }
task<bool> count(int& calls) {
    ++calls;
    co_await leaf();
    co_return false;
}
int none_of(int calls) {
    if (calls != 0)
        std::abort(); // what stands behind a false && was awaited
    return 0;
}
int first_of(bool, int calls) { return calls; }
sequence yields_aggregate() {
    struct item {
        int value;
        token held;
    };
    co_yield item{1, token(2)};
}

constexpr shape shapes[] = {
    {"an aggregate made on the spot",
     []() -> task<int> { co_return co_await take(aggregate{1, token(2)}); }},
    {"the same in parentheses",
     []() -> task<int> { co_return co_await take(aggregate(1, token(2))); }},
    {"the same without its name", []() -> task<int> { co_return co_await take({1, token(2)}); }},
    {"the same with designated initialisers",
     []() -> task<int> { co_return co_await take({.number = 1}); }},
    {"an empty aggregate", []() -> task<int> { co_return co_await take(aggregate{}); }},
    {"an aggregate as default argument", []() -> task<int> { co_return co_await take_default(); }},
    {"an array made on the spot",
     []() -> task<int> {
         co_return co_await take_array(std::array<token, 2>{token(1), token(2)});
     }},
    {"an awaiter that is an aggregate",
     []() -> task<int> { co_return co_await aggregate_awaiter{token(1)}; }},
    {"a lambda made on the spot that owns what it captures",
     []() -> task<int> {
         token t(1);
         co_return co_await call([t] { return t.value; });
     }},
    {"a coroutine lambda called on the spot that owns what it captures",
     []() -> task<int> {
         token t(1);
         co_return co_await [t]() -> task<int> {
             co_await leaf();
             co_return t.value;
         }();
     }},
    {"a conditional of tasks",
     []() -> task<int> {
         bool one = how == ending::completes;
         co_return (co_await (one ? make(1) : make(2))).value;
     }},
    {"a conditional with an await on one side",
     []() -> task<int> {
         bool none = total.made > 100;
         token t = none ? token() : co_await make(1);
         co_return t.value;
     }},
    {"a conditional among the arguments",
     []() -> task<int> {
         bool one = how == ending::completes;
         co_return co_await read(one ? token(1) : token(2));
     }},
    {"an await inside of an initialiser's braces",
     []() -> task<int> {
         aggregate a{1, co_await make(2)};
         co_return a.number;
     }},
    {"an await in braces beside a temporary",
     []() -> task<int> {
         aggregate a{co_await read(token(1)), token(2)};
         co_return a.number;
     }},
    {"new with an await among its arguments",
     []() -> task<int> {
         token* t = new token(co_await make(2));
         delete t;
         co_return 1;
     }},
    {"co_return of an aggregate with an await in it",
     []() -> task<int> {
         aggregate a = co_await make_aggregate();
         co_return a.number;
     }},
    {"throw with an await among its arguments",
     []() -> task<int> {
         try {
             throw failure(token(1), (co_await make(2)).value);
         } catch (const failure& f) {
             co_return f.number;
         }
     }},
    {"an await behind && in a loop's condition",
     []() -> task<int> {
         int calls = 0;
         bool open = false;
         while (open && co_await count(calls))
             none_of(1);
         co_return none_of(calls);
     }},
    {"an await behind || among arguments",
     []() -> task<int> {
         int calls = 0;
         bool done = true;
         first_of(done || co_await count(calls), 0);
         co_return none_of(calls);
     }},
    {"co_yield of an aggregate",
     []() -> task<int> {
         sequence s = yields_aggregate();
         s.next();
         co_await leaf();
         co_return 1;
     }},
};

#if defined(__GNUC__) && !defined(__clang__)
constexpr bool may_fail = true;
#else
constexpr bool may_fail = false;
#endif

} // namespace

int main() {
    int number = 0;
    int wrong = 0;
    for (const shape& s : shapes) {
        bool fails = false;
        for (const auto& e : endings) {
            verdict v = try_shape(s.run, e.value);
            fails = fails || v != verdict::balanced;
            if (v != verdict::balanced)
                std::printf("# %s, which %s: %s\n", s.name, e.name, text(v));
        }
        wrong += fails;
        std::printf("%s %d - %s: %s\n", fails && !may_fail ? "not ok" : "ok", ++number, s.name,
                    fails ? "this compiler gets it wrong" : "right with this compiler");
    }
    std::printf("1..%d\n", number);
    if (may_fail && wrong < number)
        std::printf("# %d of %d shapes are right with this compiler\n", number - wrong, number);
    return wrong > 0 && !may_fail ? 1 : 0;
}
