// SPDX-License-Identifier: MIT
// A small model checker: runs a piece of code with a few threads in every order that differs by at
// most two preemptions, and lets each atomic load read every store that its memory order allows it
// to read. README.md says how that works, how a model is written, and what isn't modelled.
//
//     void a_model() {
//         weft::model::atomics::atomic<bool> ready{false};
//         weft::model::plain<int> data{0};
//         weft::model::threads(
//             [&] {
//                 data = 42;
//                 ready.store(true, std::memory_order_release);
//             },
//             [&] {
//                 if (ready.load(std::memory_order_acquire))
//                     weft::model::check(data == 42, "what was written before is seen");
//             });
//     }
//     weft::model::result r = weft::model::explore("message passing", a_model);
//
// Threads:      one real thread; those of a model take turns on it.
// Cancellation: none: a search ends with the first failure, or at the bounds.
// Errors:       a failure is what `explore` returns. A model must not use Catch's macros: between
//               explore and its end nothing may be left behind by an execution that is given up.
// Cost:         some microseconds an execution.
// Source:       bounded preemptions after CHESS (Musuvathi and Qadeer, 2007); stores that may be
//               read after CDSChecker (Norris and Demsky, 2013) and loom; views as in the promising
//               semantics (Kang et al., 2017); races by vector clocks after FastTrack (2009).
#pragma once
#include "model/arena.hpp"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weft::model {

using site = std::source_location;

/// How far a search goes. Each counts for one execution.
struct bounds {
    unsigned preemptions = 2; // WEFT_MODEL_PREEMPTIONS overrides it
    unsigned stale_reads = 2; // loads that don't read the newest store
    unsigned spurious = 1;    // compare_exchange_weak and futex waits that fail without a reason
    unsigned timeouts = 1;    // of timed waits, while something else could run
    unsigned pauses = 0;      // spinning threads that go on although nothing has changed
    unsigned deaths = 0;      // threads that vanish, of those that may
    unsigned steps = 4000;    // beyond that something spins without a pause
    std::uint64_t executions = 4'000'000; // of the whole search
};

struct result {
    std::string name;
    std::uint64_t executions = 0;
    bool complete = false;              // nothing is left within the bounds
    std::optional<std::string> failure; // what went wrong
    std::string schedule;               // of the failure: for WEFT_MODEL_REPLAY
    std::string trace;                  // its steps

    [[nodiscard]] bool passed() const noexcept { return complete && !failure; }
    /// For people: what was found, and how to see it again.
    [[nodiscard]] std::string text() const;
};

/// Runs `model` in every order within the bounds, or until one fails. With
/// WEFT_MODEL_REPLAY=name@schedule in the environment the model of that name runs once, in that
/// order, and prints its steps.
result explore(std::string_view name, const std::function<void()>& model, const bounds& b = {});

// --- What a model calls --------------------------------------------------------------------------

/// The execution fails.
[[noreturn]] void fail(std::string_view what, const site& at = site::current()) noexcept;
inline void check(bool holds, std::string_view what, const site& at = site::current()) noexcept {
    if (!holds) [[unlikely]]
        fail(what, at);
}
/// Any number below n: a branch of the search.
unsigned choose(unsigned n) noexcept;
/// For what a test collects over all executions: what f allocates stays when one has ended.
template <class F>
void keep(F f) {
    const bool before = std::exchange(arena::in_use, false);
    f();
    arena::in_use = before;
}
/// Any other thread may run first.
void yield(const site& at = site::current()) noexcept;

/// A thread that may vanish at any of its steps (if the bounds have `deaths`), as a process that is
/// killed. What the kernel does then is done by `at_death`, in its place.
template <class Body, class AtDeath>
struct mortal {
    Body body;
    AtDeath at_death;
};
template <class Body, class AtDeath>
mortal(Body, AtDeath) -> mortal<Body, AtDeath>;

namespace detail {
struct thread_body {
    void (*run)(void*) = nullptr;
    void* argument = nullptr;
    void (*at_death)(void*) = nullptr;
};
template <class Body>
thread_body body_of(Body& b) noexcept {
    return {[](void* p) { (*static_cast<Body*>(p))(); }, &b, nullptr};
}
template <class Body, class AtDeath>
thread_body body_of(mortal<Body, AtDeath>& b) noexcept {
    return {[](void* p) { static_cast<mortal<Body, AtDeath>*>(p)->body(); }, &b,
            [](void* p) { static_cast<mortal<Body, AtDeath>*>(p)->at_death(); }};
}
void run_threads(const thread_body* bodies, std::size_t n) noexcept;
} // namespace detail

/// How many there may be at once.
inline constexpr std::size_t most_threads = 5;

/// Runs each in a thread of its own and waits for all of them.
template <class... Bodies>
void threads(Bodies&&... bodies) {
    static_assert(sizeof...(Bodies) <= most_threads);
    const detail::thread_body all[] = {detail::body_of(bodies)...};
    detail::run_threads(all, sizeof...(Bodies));
}

// --- Memory --------------------------------------------------------------------------------------

namespace detail {

using bits = std::uint64_t;
using location = std::uint32_t;

location make_location(const void* object, bits value, const site& made) noexcept;
void end_location(location l, const void* object) noexcept;

bits load(location l, const void* object, std::memory_order o, const site& at) noexcept;
void store(location l, const void* object, bits value, std::memory_order o,
           const site& at) noexcept;
void store_ahead(location l, const void* object, bits value, const site& at) noexcept;
/// Reads the newest; the caller writes at once.
bits read_newest(location l, const void* object, std::memory_order o, const char* what,
                 const site& at) noexcept;
void write_newest(bits value) noexcept;
bool compare_exchange(location l, const void* object, bits& expected, bits desired,
                      std::memory_order success, std::memory_order failure, bool weak,
                      const site& at) noexcept;

/// How a futex wait ended.
enum class woken : std::uint8_t { by_wake, changed, timed_out, spuriously };
woken wait_while(location l, const void* object, bits expected, bool timed,
                 const site& at) noexcept;
void wake_waiters(location l, const void* object, unsigned n, const site& at) noexcept;

void read_plain(const void* p, const site& at) noexcept;
void write_plain(const void* p, const site& at) noexcept;

} // namespace detail

/// As std::atomic, for what has 8 bytes at most.
template <class T>
class atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(detail::bits));
    using order = std::memory_order;
    static constexpr order seq_cst = std::memory_order_seq_cst;

public:
    using value_type = T;

    atomic(T v = T{}, const site& at = site::current()) noexcept {
        location_ = detail::make_location(this, pack(v), at);
    }
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;
    ~atomic() { detail::end_location(location_, this); }

    T load(order o = seq_cst, const site& at = site::current()) const noexcept {
        return unpack(detail::load(location_, this, o, at));
    }
    void store(T v, order o = seq_cst, const site& at = site::current()) noexcept {
        detail::store(location_, this, pack(v), o, at);
    }
    T exchange(T v, order o = seq_cst, const site& at = site::current()) noexcept {
        return modify("exchange", o, at, [v](T) { return v; });
    }
    T fetch_add(T n, order o = seq_cst, const site& at = site::current()) noexcept {
        return modify("fetch_add", o, at, [n](T was) { return static_cast<T>(was + n); });
    }
    T fetch_sub(T n, order o = seq_cst, const site& at = site::current()) noexcept {
        return modify("fetch_sub", o, at, [n](T was) { return static_cast<T>(was - n); });
    }
    T fetch_or(T n, order o = seq_cst, const site& at = site::current()) noexcept {
        return modify("fetch_or", o, at, [n](T was) { return static_cast<T>(was | n); });
    }
    T fetch_and(T n, order o = seq_cst, const site& at = site::current()) noexcept {
        return modify("fetch_and", o, at, [n](T was) { return static_cast<T>(was & n); });
    }
    T fetch_xor(T n, order o = seq_cst, const site& at = site::current()) noexcept {
        return modify("fetch_xor", o, at, [n](T was) { return static_cast<T>(was ^ n); });
    }
    bool compare_exchange_weak(T& expected, T v, order success, order failure,
                               const site& at = site::current()) noexcept {
        return exchange_if(expected, v, success, failure, true, at);
    }
    bool compare_exchange_strong(T& expected, T v, order success, order failure,
                                 const site& at = site::current()) noexcept {
        return exchange_if(expected, v, success, failure, false, at);
    }
    bool compare_exchange_weak(T& expected, T v, order o = seq_cst,
                               const site& at = site::current()) noexcept {
        return exchange_if(expected, v, o, of_failure(o), true, at);
    }
    bool compare_exchange_strong(T& expected, T v, order o = seq_cst,
                                 const site& at = site::current()) noexcept {
        return exchange_if(expected, v, o, of_failure(o), false, at);
    }

    void wait(T old, order o = seq_cst, const site& at = site::current()) const noexcept {
        while (pack(load(o, at)) == pack(old))
            detail::wait_while(location_, this, pack(old), false, at);
    }
    void notify_one(const site& at = site::current()) noexcept {
        detail::wake_waiters(location_, this, 1, at);
    }
    void notify_all(const site& at = site::current()) noexcept {
        detail::wake_waiters(location_, this, ~0u, at);
    }

private:
    friend struct atomics;

    static detail::bits pack(T v) noexcept {
        detail::bits b = 0;
        std::memcpy(&b, &v, sizeof v);
        return b;
    }
    static T unpack(detail::bits b) noexcept {
        T v;
        std::memcpy(static_cast<void*>(&v), &b, sizeof v);
        return v;
    }
    static constexpr order of_failure(order o) noexcept {
        return o == std::memory_order_acq_rel   ? std::memory_order_acquire
               : o == std::memory_order_release ? std::memory_order_relaxed
                                                : o;
    }
    template <class F>
    T modify(const char* what, order o, const site& at, F f) noexcept {
        T was = unpack(detail::read_newest(location_, this, o, what, at));
        detail::write_newest(pack(f(was)));
        return was;
    }
    bool exchange_if(T& expected, T v, order success, order failure, bool weak,
                     const site& at) noexcept {
        detail::bits seen = pack(expected);
        bool done =
            detail::compare_exchange(location_, this, seen, pack(v), success, failure, weak, at);
        if (!done)
            expected = unpack(seen);
        return done;
    }

    detail::location location_ = 0;
};

/// Notes that a thing that isn't atomic is read or written, and fails if that isn't ordered with
/// what other threads did to it. For what a model hands around: an item, a buffer.
inline void reads(const void* p, const site& at = site::current()) noexcept {
    detail::read_plain(p, at);
}
inline void writes(const void* p, const site& at = site::current()) noexcept {
    detail::write_plain(p, at);
}

/// A number or a pointer that isn't atomic.
template <class T>
class plain {
    static_assert(std::is_scalar_v<T>, "see lines.hpp for how a class is watched");

public:
    plain(T v = T{}, const site& at = site::current()) noexcept : value_(v) { writes(this, at); }
    plain(const plain& other) noexcept : value_(other) { writes(this); }
    plain& operator=(const plain& other) noexcept { return *this = static_cast<T>(other); }
    plain& operator=(T v) noexcept {
        writes(this);
        value_ = v;
        return *this;
    }
    ~plain() { writes(this); }
    plain& operator+=(T v) noexcept { return *this = static_cast<T>(*this + v); }
    plain& operator-=(T v) noexcept { return *this = static_cast<T>(*this - v); }
    operator T() const noexcept {
        reads(this);
        return value_;
    }
    T operator->() const noexcept
        requires std::is_pointer_v<T>
    {
        return *this;
    }

private:
    T value_;
};

/// What lock-free code takes as its parameter, instead of weft::detail::std_atomics.
struct atomics {
    template <class T>
    using atomic = model::atomic<T>;
    template <class T>
    using plain = model::plain<T>;

    /// In a loop that waits for another thread: comes back when something has changed that the
    /// thread has read since it last paused, and from then on sees the change.
    static void pause(unsigned round = 0) noexcept;
    static void fence(std::memory_order o, const site& at = site::current()) noexcept;
    template <class T>
    static void store_ahead(model::atomic<T>& to, std::type_identity_t<T> value,
                            const site& at = site::current()) noexcept {
        detail::store_ahead(to.location_, &to, model::atomic<T>::pack(value), at);
    }
    static void fence_all(const site& at = site::current()) noexcept;

    /// A futex: waits while the word has this value. The kernel orders the look at the word against
    /// those who wake, and nothing else.
    template <class T>
    static detail::woken wait(const model::atomic<T>& word, T expected, bool timed = false,
                              const site& at = site::current()) noexcept {
        return detail::wait_while(word.location_, &word, model::atomic<T>::pack(expected), timed,
                                  at);
    }
    template <class T>
    static void wake(const model::atomic<T>& word, unsigned n,
                     const site& at = site::current()) noexcept {
        detail::wake_waiters(word.location_, &word, n, at);
    }
};

/// The same on a kernel that doesn't fence for others.
struct atomics_without_fences : atomics {
    template <class T>
    static void store_ahead(model::atomic<T>& to, std::type_identity_t<T> value,
                            const site& at = site::current()) noexcept {
        to.store(value, std::memory_order_seq_cst, at);
    }
    static void fence_all() noexcept {}
};

/// What a thread sleeps on in a model until it is rung for: as an eventfd. It forgets nothing, and
/// orders what was before ring() before what comes after wait().
class doorbell {
public:
    doorbell() noexcept;
    doorbell(const doorbell&) = delete;
    doorbell& operator=(const doorbell&) = delete;

    void ring(const site& at = site::current()) noexcept;
    /// Returns once for each ring().
    void wait(const site& at = site::current()) noexcept;

private:
    std::uint32_t number_;
};

} // namespace weft::model
