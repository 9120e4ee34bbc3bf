// SPDX-License-Identifier: MIT
// A yarn of its own for the canaries: the smallest task that can be awaited, thrown through and
// destroyed while it waits, and an object that counts. No weft here: what is tried is the compiler.
#pragma once
#include <coroutine>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

namespace canary {

/// How the innermost await of a shape ends.
enum class ending { completes, throws, is_destroyed };
inline ending how = ending::completes;

struct counts {
    long made = 0;
    long destroyed = 0;
};
inline counts total;

/// Counts its constructions and destructions.
class token {
public:
    token() noexcept { ++total.made; }
    explicit token(int v) noexcept : value(v) { ++total.made; }
    token(const token& o) noexcept : value(o.value) { ++total.made; }
    token(token&& o) noexcept : value(o.value) { ++total.made; }
    token& operator=(const token&) noexcept = default;
    ~token() { ++total.destroyed; }
    int value = 0;
};

/// What a leaf awaits: it ends as `how` says.
class leaf {
public:
    leaf() noexcept {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept {
        return how == ending::is_destroyed;
    }
    void await_resume() const {
        if (how == ending::throws)
            throw 1;
    }
};

template <class T>
class [[nodiscard]] task {
public:
    struct promise_type {
        std::optional<T> value;
        std::exception_ptr error;
        std::coroutine_handle<> next;
        struct last {
            last() noexcept {}
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<>
            await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
                return h.promise().next ? h.promise().next : std::noop_coroutine();
            }
            void await_resume() const noexcept {}
        };
        task get_return_object() {
            return task(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() noexcept { return {}; }
        last final_suspend() noexcept { return {}; }
        void return_value(T v) { value.emplace(std::move(v)); }
        void unhandled_exception() { error = std::current_exception(); }
    };
    explicit task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    task(task&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (handle_)
            handle_.destroy();
    }
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> next) noexcept {
        handle_.promise().next = next;
        return handle_;
    }
    T await_resume() {
        if (handle_.promise().error)
            std::rethrow_exception(handle_.promise().error);
        return std::move(*handle_.promise().value);
    }
    void start() { handle_.resume(); }

private:
    std::coroutine_handle<promise_type> handle_;
};

/// Tasks that shapes await: each waits at a leaf first.
inline task<token> make(int v) {
    co_await leaf();
    co_return token(v);
}
inline task<int> read(token t) {
    co_await leaf();
    co_return t.value;
}
template <class F>
task<int> call(F f) {
    co_await leaf();
    co_return f();
}

/// A sequence whose body runs at once up to the first co_yield.
class [[nodiscard]] sequence {
public:
    struct promise_type {
        int last = 0;
        sequence get_return_object() {
            return sequence(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        template <class T>
        std::suspend_always yield_value(T&& item) noexcept {
            last = item.value;
            return {};
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::abort(); }
    };
    explicit sequence(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    sequence(sequence&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
    sequence& operator=(sequence&&) = delete;
    ~sequence() {
        if (handle_)
            handle_.destroy();
    }
    bool next() {
        handle_.resume();
        return !handle_.done();
    }
    int last() const noexcept { return handle_.promise().last; }

private:
    std::coroutine_handle<promise_type> handle_;
};

enum class verdict { balanced, left_alive, destroyed_twice, crashed };

inline const char* text(verdict v) {
    switch (v) {
    case verdict::balanced:
        return "every object is destroyed once";
    case verdict::left_alive:
        return "objects are left alive";
    case verdict::destroyed_twice:
        return "objects are destroyed twice";
    case verdict::crashed:
        return "crashes";
    }
    return "";
}

/// Runs one shape, whose last await ends as `e` says, in a process of its own, for it may crash.
inline verdict try_shape(task<int> (*shape)(), ending e) {
    std::fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        how = e;
        {
            task<int> t = shape();
            t.start();
        }
        _exit(total.made == total.destroyed  ? static_cast<int>(verdict::balanced)
              : total.made > total.destroyed ? static_cast<int>(verdict::left_alive)
                                             : static_cast<int>(verdict::destroyed_twice));
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        std::abort();
    return WIFEXITED(status) ? static_cast<verdict>(WEXITSTATUS(status)) : verdict::crashed;
}

struct shape {
    const char* name;
    task<int> (*run)();
};

inline constexpr struct {
    ending value;
    const char* name;
} endings[] = {{ending::completes, "completes"},
               {ending::throws, "throws"},
               {ending::is_destroyed, "is destroyed while it waits"}};

} // namespace canary
