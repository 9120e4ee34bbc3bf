// SPDX-License-Identifier: MIT
// What all tasks are doing now: the tree of tasks, what each waits for, and where.
//
//     weft::task<> program(weft::task<> (*serve)()) {
//         co_await weft::with_task_group([&](weft::task_group& g) -> weft::task<> {
//             g.spawn(weft::dump_on_signal(SIGUSR1));    // kill -USR1 prints the tree
//             g.spawn(serve());
//             co_return;
//         });
//     }
//     void print_tasks() { std::fputs(weft::to_string(weft::capture_tasks()).c_str(), stderr); }
//
// A tree in text has a line for each task and one for each await that it is in, the innermost
// first:
//
//    main: waits for task_group
//          at program (server.cpp:12)
//      started at server.cpp:13: waits for signal
//          at dump_on_signal (introspect.cpp:40)
//
// Threads:      capture_tasks() shows the calling thread's loop. With a runtime it may be called
//               from any thread: each loop looks at its own tasks when it comes to it.
// Cancellation: dump_on_signal goes on until it is stopped.
// Errors:       state_error if the thread runs no loop; std::bad_alloc.
// Cost:         what is shown is stored anyway when a task suspends. A look copies it, in time and
//               memory proportional to what the options allow.
// Source:       asyncio.capture_call_graph and its printed form.
#pragma once
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/time.hpp>

#include <cstddef>
#include <limits>
#include <source_location>
#include <string>
#include <vector>

namespace weft {

class runtime;

enum class task_state : std::uint8_t {
    running,  // the caller itself
    ready,    // goes on, or begins, at the loop's next turn
    waiting,  // for what `waits_for` says
    stopping, // was asked to stop, and waits until what it waits for has ended
};

/// One task: everything that awaits directly, one inside the other. Scopes (a timeout, a group, a
/// shield) have a task of their own for their body.
struct task_info {
    static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

    std::size_t parent = none;       // index in the tree
    std::size_t depth = 0;           // how many are above it
    std::string name;                // empty if it has none
    std::source_location started_at; // line 0 if unknown
    task_state state = task_state::waiting;
    std::string waits_for; // "sleep", "read", ...; empty if it waits for nothing
    // Where each of its coroutines stands, innermost first
    std::vector<std::source_location> awaits;
    std::size_t awaits_left_out = 0;
};

/// The tasks of a loop, parents before their children.
struct task_tree {
    std::vector<task_info> tasks;
    bool complete = true; // false: there are more than the options allow
    bool answered = true; // false: the loop didn't come to it in time
};

struct capture_options {
    /// How many tasks are shown of each loop.
    std::size_t max_tasks = 10'000;
    /// How many awaits are shown of each task: the n innermost, or with -n the n outermost.
    int max_awaits = 32;
};

/// The tasks of the loop that this thread runs. Of the calling task only its place in the tree is
/// known; capture_tasks_here shows its awaits too.
[[nodiscard]] task_tree capture_tasks(const capture_options& options = {});

/// The same for each loop of a runtime, from any thread. Loops are waited for until `within` has
/// passed, which on one of these loops holds that one up.
[[nodiscard]] std::vector<task_tree> capture_tasks(runtime& of, const capture_options& options = {},
                                                   duration within = std::chrono::seconds(1));

/// As text, which ends with a newline unless it is empty.
[[nodiscard]] std::string to_string(const task_tree& tree);

/// The part of std::source_location::function_name() by which people call a function.
[[nodiscard]] std::string function_name(const std::source_location& where);

/// Writes the tree to standard error each time that this process gets the signal, until stopped.
/// With a runtime, the trees of all its loops.
task<> dump_on_signal(int signal, runtime* of = nullptr);

// -------------------------------------------------------------------------------------------------

namespace detail {

task_tree capture(const capture_options& options, const promise_base* here,
                  const std::source_location& at);

class [[nodiscard]] capture_op {
public:
    explicit capture_op(const capture_options& options) noexcept : options_(options) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        tree_ = capture(options_, &h.promise(), where);
        return false;
    }
    task_tree await_resume() noexcept { return std::move(tree_); }

private:
    capture_options options_;
    task_tree tree_;
};

} // namespace detail

/// `co_await capture_tasks_here()`: the tasks of this loop, with the awaits of the calling one. It
/// doesn't suspend.
[[nodiscard]] inline detail::capture_op
capture_tasks_here(const capture_options& options = {}) noexcept {
    return detail::capture_op(options);
}

} // namespace weft
