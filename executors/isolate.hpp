// SPDX-License-Identifier: MIT
// A process that keeps what its functions leave behind: an executor with one worker and a state of
// its own, which nothing but calls can reach.
//
//     std::vector<std::string>& notes() {
//         static std::vector<std::string> all;     // each isolate has its own, and so has main
//         return all;
//     }
//     std::size_t note(std::string_view text) {
//         notes().push_back(std::string(text) + weft::isolate::bound<std::string>("mark"));
//         return notes().size();
//     }
//     weft::task<> keep_notes() {
//         auto diary = weft::isolate::create();
//         co_await diary.bind("mark", "!");
//         co_await diary.call(weft::fn<&note>, "rain");
//         std::size_t n = co_await diary.call(weft::fn<&note>, "wind");    // 2
//         fmt::print("{} notes, and here {}\n", n, notes().size());        // 0
//         co_await diary.close();
//     }
//
// Calls are run one after another, in the order in which they were begun. An isolate is named by
// handles, which are copied; with the last of them it ends, and what it runs. What crosses is
// `sendable`: copied by its codec, or shared by isolate_queue and isolate_buffer.
//
// Because its state is what it is for, an isolate isn't started again: when its process dies, or
// has to be killed because a call that was stopped doesn't end, the isolate has ended.
//
// Threads:      create() on a loop's thread, which supervises it; the others from any thread. The
//               functions run on the main thread of the isolate's process.
// Processes:    an isolate dies with the process that made it. That has nothing of it to lose.
// Cancellation: as process_pool.hpp's.
// Errors:       what a function throws comes as execution_failed. isolate_error for what the
//               isolate isn't in the state for, isolate_closed once it has ended. ipc::worker_lost
//               for the call in whose course the process died, broken_process_pool for those that
//               waited. Otherwise as process_pool.hpp.
// Cost:         a process; a call is that of a process pool.
// Source:       concurrent.interpreters and PEP 734, with a process for an interpreter: it may
//               crash, and be stopped.
#pragma once
#include <weft/executors/detail/memory_place.hpp>
#include <weft/executors/executor.hpp>
#include <weft/executors/process_pool.hpp>
#include <weft/executors/sendable.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/error.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace weft {

/// The isolate isn't one with which that can be done, or not now.
class isolate_error : public state_error {
public:
    using state_error::state_error;
    ~isolate_error() override;
};

/// It was closed, or its process has ended.
class isolate_closed : public isolate_error {
public:
    using isolate_error::isolate_error;
    ~isolate_closed() override;
};

/// A function threw in its isolate: the name of the exception's type, its text, and the stack.
class execution_failed : public ipc::remote_error {
public:
    explicit execution_failed(const std::exception_ptr& cause, std::string_view trace = {});
    execution_failed(const ipc::remote_error& told, std::exception_ptr cause);
    ~execution_failed() override;

    /// The exception itself, if both sides know its type, else an ipc::remote_error.
    [[nodiscard]] const std::exception_ptr& cause() const noexcept { return cause_; }

private:
    std::exception_ptr cause_;
};

/// Where an isolate comes from.
enum class isolate_origin : std::uint8_t {
    program, // the one that main() runs in
    created  // by create()
};

namespace detail {

class isolate_state;

void keep_bound(std::string name, const std::type_info& type, std::shared_ptr<void> value);
[[nodiscard]] void* find_bound(std::string_view name, const std::type_info& type);

/// Text is bound as a string of its own.
template <class A>
using bound_type =
    std::conditional_t<std::is_convertible_v<const A&, std::string_view>, std::string, A>;

template <class T>
void bind_value(const std::string& name, T value) {
    keep_bound(name, typeid(T), std::make_shared<T>(std::move(value)));
}

/// In the isolate: calls f(argument). What that throws becomes execution_failed, but for a stop.
void run_in_isolate(void (*f)(void*), void* argument);

template <class R, class Call>
std::remove_cvref_t<R> in_isolate(Call call) {
    if constexpr (std::is_void_v<R>) {
        run_in_isolate([](void* c) { (*static_cast<Call*>(c))(); }, &call);
    } else {
        struct both {
            Call& call;
            std::optional<std::remove_cvref_t<R>> result;
        } b{call, std::nullopt};
        auto run = [](void* p) {
            both& x = *static_cast<both*>(p);
            x.result.emplace(x.call());
        };
        run_in_isolate(run, &b);
        return std::move(*b.result);
    }
}

/// The function that an isolate's process is asked for: F, with its parameters.
template <class Call>
struct isolated;
template <class F, class R, class... P>
struct isolated<ipc::detail::call<F, false, ipc::detail::signature<R, P...>>> {
    static_assert((sendable<ipc::detail::owned_t<P>> && ...) &&
                      (std::is_void_v<R> || sendable<std::remove_cvref_t<R>>),
                  "what the function takes or gives can't cross to an isolate: see "
                  "executors/sendable.hpp");
    std::remove_cvref_t<R> operator()(P... arguments) const {
        return in_isolate<R>([&]() -> R { return F{}(std::forward<P>(arguments)...); });
    }
};
template <class F, class R, class... P>
struct isolated<ipc::detail::call<F, true, ipc::detail::signature<R, P...>>> {
    static_assert((sendable<ipc::detail::owned_t<P>> && ...) &&
                      (std::is_void_v<R> || sendable<std::remove_cvref_t<R>>),
                  "what the function takes or gives can't cross to an isolate: see "
                  "executors/sendable.hpp");
    std::remove_cvref_t<R> operator()(std::stop_token stop, P... arguments) const {
        return in_isolate<R>(
            [&]() -> R { return F{}(std::move(stop), std::forward<P>(arguments)...); });
    }
};
template <class F, class... A>
using isolated_function = isolated<ipc::detail::call_of<F, A...>>;

} // namespace detail

class isolate {
public:
    /// Makes one. Of the options, those that a single worker of unlimited life has a use for. A
    /// filter of its system calls must let it open files (in /proc).
    [[nodiscard]] static isolate create(const process_pool_options& options = {});
    /// The one that this code runs in.
    [[nodiscard]] static isolate current();
    /// The program's own, in which everything runs that runs in no other.
    [[nodiscard]] static isolate main();
    /// Those that this one knows and that haven't ended: the program's, this one, and those that it
    /// made.
    [[nodiscard]] static std::vector<isolate> list_all();

    /// 0 is the program's.
    [[nodiscard]] std::uint64_t id() const noexcept;
    [[nodiscard]] isolate_origin whence() const noexcept;
    /// Whether it runs a function, or one waits there. A snapshot. Throws isolate_closed.
    [[nodiscard]] bool is_running() const;

    /// Calls `function(arguments...)` there, once this is awaited; as process_pool::call.
    template <class F, class... A>
        requires(!std::is_convertible_v<F, const submit_options&>)
    [[nodiscard]] auto call(F function, const A&... arguments) const {
        return call(submit_options(), function, arguments...);
    }
    template <class F, class... A>
    [[nodiscard]] auto call(const submit_options& options, F, const A&... arguments) const {
        return open_pool().call(options, detail::isolated_function<F, A...>(), arguments...);
    }

    /// The same at once, for a future.
    template <class F, class... A>
        requires(!std::is_convertible_v<F, const submit_options&>)
    [[nodiscard]] auto submit(F function, const A&... arguments) const {
        return submit(submit_options(), function, arguments...);
    }
    template <class F, class... A>
    [[nodiscard]] auto submit(const submit_options& options, F, const A&... arguments) const {
        return open_pool().submit(options, detail::isolated_function<F, A...>(), arguments...);
    }
    /// What it is called elsewhere.
    template <class F, class... A>
    [[nodiscard]] auto spawn(F function, const A&... arguments) const {
        return submit(function, arguments...);
    }

    /// Gives its functions a value under a name, in place of the one that had it; to be awaited.
    template <class A>
        requires sendable<detail::bound_type<A>>
    [[nodiscard]] auto bind(std::string_view name, const A& value) const {
        using T = detail::bound_type<A>;
        return open_pool().call(fn<&detail::bind_value<T>>, name, value);
    }
    /// In its functions: that value, which stays until another has its name. Throws lookup_error if
    /// there is none, isolate_error if it is of another type.
    template <class T>
    [[nodiscard]] static T& bound(std::string_view name) {
        return *static_cast<T*>(detail::find_bound(name, typeid(T)));
    }

    /// Ends it. Throws isolate_error while it is running, isolate_closed if it was closed.
    [[nodiscard]] task<> close() const;
    /// As an executor: ends it when it has done what it was given.
    [[nodiscard]] task<> shutdown(shutdown_options how = {}) const;
    [[nodiscard]] unsigned size() const noexcept { return 1; }

    /// Of its worker: its pid, what it does.
    [[nodiscard]] process_pool_statistics statistics() const;

    /// Whether both name the same.
    friend bool operator==(const isolate& a, const isolate& b) noexcept { return a.id() == b.id(); }

private:
    explicit isolate(std::shared_ptr<detail::isolate_state> state) noexcept;
    /// Throws isolate_error unless it is one that can be called.
    [[nodiscard]] process_pool& open_pool() const;

    std::shared_ptr<detail::isolate_state> state_;
};

static_assert(executor<isolate>);

/// A pool of isolates that are all alike: each worker of a process pool has a state of its own, and
/// nothing crosses but copies.
using isolate_pool = process_pool;
using broken_isolate_pool = broken_process_pool;

} // namespace weft
