// SPDX-License-Identifier: MIT
// The shapes that weft's interface has its users write. Each must destroy what it makes exactly
// once, whether its last await completes, throws or never ends. Output: Test Anything Protocol.
#include "canary.hpp"

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

using namespace canary;

namespace {

/// As weft's results and handles are: a constructor of its own.
class result {
public:
    result(int n, token t) : number(n), held(std::move(t)) {}
    int number;
    token held;
};
/// As std::string is for a literal: made of something else without a word.
class converted {
public:
    converted(int n) : held(n) {}
    token held;
};
/// As weft's options are: trivially destructible.
struct options {
    int number = 0;
    const char* text = nullptr;
};
/// As weft's awaiters are.
class operation {
public:
    explicit operation(token t) : held(std::move(t)) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept {
        return how == ending::is_destroyed;
    }
    int await_resume() const {
        if (how == ending::throws)
            throw 1;
        return held.value;
    }
    operation then(int) && { return operation(std::move(held)); }
    token held;
};

task<int> take_result(result r) {
    co_await leaf();
    co_return r.number + r.held.value;
}
task<int> take_converted(converted c) {
    co_await leaf();
    co_return c.held.value;
}
task<int> take_options(token t, options o = {}) {
    co_await leaf();
    co_return t.value + o.number;
}
task<result> make_result(int n) {
    co_await leaf();
    co_return result(n, token(n));
}
task<std::optional<token>> next_of(int& left) {
    co_await leaf();
    if (left-- > 0)
        co_return token(left);
    co_return std::nullopt;
}
task<int> all(task<token> a, task<token> b, task<token> c) {
    token x = co_await std::move(a);
    token y = co_await std::move(b);
    token z = co_await std::move(c);
    co_return x.value + y.value + z.value;
}
template <class F, class... A>
auto spawn(F f, A... args) {
    return f(std::move(args)...);
}
task<int> with_body(task<int> body, options = {}) { co_return co_await std::move(body); }
template <class F>
task<int> with_scope(F f) {
    token scope;
    co_return co_await f(scope);
}
sequence yields() {
    token t(1);
    co_yield t;
    co_yield token(2);
    co_yield std::move(t);
}

constexpr shape shapes[] = {
    {"a temporary made by its constructor",
     []() -> task<int> { co_return co_await read(token(1)); }},
    {"the same with braces", []() -> task<int> { co_return co_await read(token{1}); }},
    {"a temporary inside of a temporary",
     []() -> task<int> { co_return co_await take_result(result(1, token(2))); }},
    {"arguments in braces for a class that has a constructor",
     []() -> task<int> {
         co_return co_await take_result(
             {1, token(2)}); // coroutine-lint: the class has a constructor
     }},
    {"a temporary made by a function",
     []() -> task<int> {
         auto f = [] { return result(1, token(2)); };
         co_return co_await take_result(f());
     }},
    {"options with designated initialisers",
     []() -> task<int> { co_return co_await take_options(token(1), {.number = 2}); }},
    {"options left at their default",
     []() -> task<int> { co_return co_await take_options(token(1)); }},
    {"an awaiter that has a constructor",
     []() -> task<int> { co_return co_await operation(token(1)); }},
    {"the same with braces", []() -> task<int> { co_return co_await operation{token(1)}; }},
    {"a member function of an awaiter made on the spot",
     []() -> task<int> { co_return co_await operation(token(1)).then(2); }},
    {"two steps: first the operation, then its await",
     []() -> task<int> {
         auto op = read(token(1));
         co_return co_await std::move(op);
     }},
    {"a task given to another one",
     []() -> task<int> { co_return co_await with_body(read(token(1)), {.number = 5}); }},
    {"several tasks given to another one",
     []() -> task<int> { co_return co_await all(make(1), make(2), make(3)); }},
    {"a function and its arguments, spawned",
     []() -> task<int> {
         token t(1);
         co_return co_await spawn(take_result, result(1, t));
     }},
    {"a lambda that is a coroutine, given to a scope, capturing by reference",
     []() -> task<int> {
         token outside(1);
         co_return co_await with_scope([&outside](token& inside) -> task<int> {
             co_return (co_await make(2)).value + inside.value + outside.value;
         });
     }},
    {"a lambda capturing a number",
     []() -> task<int> {
         int n = 1;
         co_return co_await call([n] { return n; }); // coroutine-lint: trivial
     }},
    {"a named lambda that owns what it captures",
     []() -> task<int> {
         token t(1);
         auto f = [t] { return t.value; };
         co_return co_await call(f);
     }},
    {"the same, moved",
     []() -> task<int> {
         token t(1);
         auto f = [t = std::move(t)] { return t.value; };
         co_return co_await call(std::move(f));
     }},
    {"a std::function made on the spot",
     []() -> task<int> {
         token t(1);
         auto f = [t] { return t.value; };
         co_return co_await call(std::function<int()>(f));
     }},
    {"a conditional of numbers",
     []() -> task<int> {
         bool two = total.made > 100;
         co_return co_await read(token(two ? 2 : 1));
     }},
    {"a variable made from what is awaited",
     []() -> task<int> {
         token t = co_await make(1);
         token u(co_await make(2));
         co_return t.value + u.value;
     }},
    {"a result taken apart",
     []() -> task<int> {
         auto [n, t] = co_await make_result(1);
         co_return n + t.value;
     }},
    {"an argument that a constructor converts",
     []() -> task<int> { co_return co_await take_converted(1); }},
    {"several awaits in one expression",
     []() -> task<int> { co_return (co_await make(1)).value + (co_await make(2)).value; }},
    {"awaits as arguments of one call",
     []() -> task<int> {
         co_return co_await take_result(result((co_await make(1)).value, co_await make(2)));
     }},
    {"an await in the condition of an if",
     []() -> task<int> {
         if (token t = co_await make(1); t.value > 0)
             co_return t.value;
         co_return 0;
     }},
    {"a loop until nothing comes",
     []() -> task<int> {
         int left = 3;
         int sum = 0;
         while (auto item = co_await next_of(left))
             sum += item->value;
         co_return sum;
     }},
    {"an await in the range of a loop",
     []() -> task<int> {
         int sum = 0;
         for (char c : std::string(static_cast<std::size_t>((co_await make(3)).value), 'x'))
             sum += c;
         co_return sum;
     }},
    {"awaits in a loop with a variable that is destroyed each time",
     []() -> task<int> {
         int sum = 0;
         for (int i = 0; i < 3; ++i) {
             token t(i);
             sum += co_await read(t);
         }
         co_return sum;
     }},
    {"an await inside of try, and what is caught",
     []() -> task<int> {
         token before(1);
         try {
             token inside(2);
             co_return co_await read(token(3));
         } catch (int) {
             token caught(4);
             co_return caught.value;
         }
     }},
    {"move-only temporaries",
     []() -> task<int> {
         auto f = [](std::unique_ptr<token> t) -> task<int> {
             co_await leaf();
             co_return t->value;
         };
         co_return co_await f(std::make_unique<token>(1));
     }},
    {"strings and vectors made on the spot",
     []() -> task<int> {
         auto f = [](std::string s, std::vector<token> v) -> task<int> {
             co_await leaf();
             co_return static_cast<int>(s.size() + v.size());
         };
         co_return co_await f("longer than the small string fits " + std::to_string(7),
                              std::vector<token>(3));
     }},
    {"pairs, tuples and optionals made on the spot",
     []() -> task<int> {
         auto f = [](std::pair<int, token> p, std::tuple<token, token> t,
                     std::optional<token> o) -> task<int> {
             co_await leaf();
             co_return p.first + std::get<0>(t).value + o->value;
         };
         co_return co_await f(std::pair<int, token>(1, token(2)),
                              std::make_tuple(token(3), token(4)), std::optional<token>(token(5)));
     }},
    {"an aggregate with a name, then awaited with",
     []() -> task<int> {
         struct pair_of {
             int n;
             token t;
         };
         auto f = [](pair_of p) -> task<int> {
             co_await leaf();
             co_return p.n + p.t.value;
         };
         pair_of p{1, token(2)};
         int sum = co_await f(p);
         co_return sum + co_await f(std::move(p));
     }},
    {"an object made from an await before it is thrown",
     []() -> task<int> {
         try {
             token t = co_await make(1);
             throw t;
         } catch (const token& t) {
             co_return t.value;
         }
     }},
    {"values given by co_yield",
     []() -> task<int> {
         sequence s = yields();
         int sum = s.last();
         while (s.next())
             sum += s.last();
         co_await leaf();
         co_return sum;
     }},
    {"a sequence left half-way",
     []() -> task<int> {
         sequence s = yields();
         s.next();
         co_await leaf();
         co_return s.last();
     }},
};

} // namespace

int main() {
    int number = 0;
    int failures = 0;
    for (const shape& s : shapes) {
        for (const auto& e : endings) {
            verdict v = try_shape(s.run, e.value);
            failures += v != verdict::balanced;
            std::printf("%s %d - %s, which %s: %s\n", v == verdict::balanced ? "ok" : "not ok",
                        ++number, s.name, e.name, text(v));
        }
    }
    std::printf("1..%d\n", number);
    return failures > 0 ? 1 : 0;
}
