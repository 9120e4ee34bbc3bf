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
// and one more if others wait for the task (`awaited by main`). Circles of tasks that wait for each
// other come last.
//
// Threads:      capture_tasks() shows the calling thread's loop. With a runtime it may be called
//               from any thread: each loop looks at its own tasks when it comes to it.
// Cancellation: dump_on_signal and dump_on_socket go on until they are stopped.
// Errors:       state_error if the thread runs no loop; std::bad_alloc; std::system_error for a
//               signal or an address that can't be had.
// Cost:         what is shown is stored anyway when a task suspends. A look copies it, in time and
//               memory proportional to what the options allow.
// Source:       asyncio.capture_call_graph, its printed form, and `python -m asyncio pstree`.
#pragma once
#include <weft/runtime/address.hpp>
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/time.hpp>

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
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
    // More about that, a line each: what the workers of a process pool do
    std::vector<std::string> notes;
    // Where each of its coroutines stands, innermost first
    std::vector<std::source_location> awaits;
    std::size_t awaits_left_out = 0;
    // Which others wait for its end (join, wait, as_completed, a wait_link), first come first
    std::vector<std::size_t> awaited_by;
};

/// The tasks of a loop, or of a thread of a pool, parents before their children.
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

/// Circles of tasks each of which waits for the next one, and the last for the first: for ever, if
/// nothing stops one of them or ends its wait. Scopes wait for what is below them. Shows a few.
[[nodiscard]] std::vector<std::vector<std::size_t>> wait_cycles(const task_tree& tree);

/// As text, which ends with a newline unless it is empty.
[[nodiscard]] std::string to_string(const task_tree& tree);

/// The part of std::source_location::function_name() by which people call a function.
[[nodiscard]] std::string function_name(const std::source_location& where);

/// Writes the tree to standard error each time that this process gets the signal, until stopped.
/// With a runtime, the trees of all its loops.
task<> dump_on_signal(int signal, runtime* of = nullptr);

/// Writes it to everyone who connects to this Unix socket (`socat - UNIX-CONNECT:path`), one after
/// the other, until stopped. Others than root and the user that the process runs as get nothing,
/// who doesn't read loses the connection after a second. A path must not exist, and is removed at
/// the end.
task<> dump_on_socket(socket_address at, runtime* of = nullptr);

/// While it lives, the running task is shown as waiting for another one of its loop. For
/// combinators that wait in a way of their own; what the library offers shows it by itself.
class wait_link : private detail::end_listener {
public:
    template <class T>
    explicit wait_link(const task_handle<T>& on) noexcept : wait_link(*on.record()) {}
    wait_link(const wait_link&) = delete;
    wait_link& operator=(const wait_link&) = delete;
    ~wait_link();

private:
    explicit wait_link(detail::spawned& on) noexcept;
    static void task_ended(end_listener& l, bool failed) noexcept;
    static const detail::strand* who_waits(const end_listener& l) noexcept;
    static const detail::end_listener_type listens;
    detail::spawned* on_; // null when it has ended
    const detail::strand* by_;
};

// -------------------------------------------------------------------------------------------------

namespace detail {

task_tree capture(const capture_options& options, const promise_base* here,
                  const std::source_location& at);

class fork_runner;
/// The tasks that belong to a thread of a pool, on that thread, between two of them.
[[nodiscard]] task_tree capture_strands_of(const fork_runner& r, const capture_options& options);

struct tree_gathering;
/// Where one of several puts its tree, from any thread, once at most.
class tree_answer {
public:
    tree_answer(std::shared_ptr<tree_gathering> to, std::size_t i) noexcept
        : to_(std::move(to)), place_(i) {}
    void operator()(task_tree t) const;

private:
    std::shared_ptr<tree_gathering> to_;
    std::size_t place_;
};

/// Has `count` others answer: `ask(i, answer)` sees to it that somebody calls `answer(tree)`. Waits
/// until `within` has passed.
[[nodiscard]] std::vector<task_tree>
gather_trees(std::size_t count, duration within,
             const std::function<void(std::size_t, tree_answer)>& ask);

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
