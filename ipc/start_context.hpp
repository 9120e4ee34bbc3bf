// SPDX-License-Identifier: MIT
// How processes come into being: the program is started again (spawn), a helper that was started
// early forks (forkserver), or this process does (fork). What a process is given, and what it
// finds, is the same with each of them.
//
//     void early_in_main() {
//         weft::ipc::set_start_method(weft::ipc::start_method::forkserver);    // once in a program
//     }
//     void count_from(int n) { fmt::print("{}\n", n); }
//     weft::task<> count() {
//         auto context = weft::ipc::get_context(weft::ipc::start_method::spawn);
//         weft::ipc::process p = context.process(weft::fn<&count_from>, 7);
//         co_await p.start();
//         co_await p.join();
//     }
//
// The helper is this program, started again and held in the line of worker_entry.hpp. It has one
// thread and no loop, so that it can be forked at any time; what preload functions have set up in
// it is there in every process that comes from it, and so are its environment and its directory. It
// lives as long as this process, and a new one is started if it should die.
//
// Threads:      any.
// Cancellation: none.
// Errors:       state_error if a start method is set a second time; std::invalid_argument for what
//               isn't one. Starting by fork is a state_error in a process with several threads.
// Cost:         the helper is one process, and so is what it has loaded; forking it takes a part of
//               the time of a new program.
// Source:       multiprocessing's set_start_method, get_context and set_forkserver_preload.
#pragma once
#include <weft/ipc/process.hpp>

#include <span>
#include <string_view>

namespace weft::ipc {

/// Those that there are, the default first.
[[nodiscard]] std::span<const start_method> start_methods() noexcept;
[[nodiscard]] std::string_view name_of(start_method m) noexcept;
/// Throws std::invalid_argument if there is none of this name.
[[nodiscard]] start_method start_method_named(std::string_view name);

/// What `standard` stands for from now on: once in a program, unless `force` is set.
void set_start_method(start_method m, bool force = false);
/// What `standard` stands for. Whoever asks fixes it.
[[nodiscard]] start_method get_start_method();
/// The same if it is fixed.
[[nodiscard]] std::optional<start_method> start_method_if_set() noexcept;

/// A start method as a value: what it makes is started so, whatever else is set.
class start_context {
public:
    explicit start_context(start_method m);
    [[nodiscard]] start_method method() const noexcept { return method_; }
    /// The program file for spawn, which is this one at another place. The text must outlive the
    /// context.
    void set_executable(const char* path) noexcept { executable_ = path; }

    /// As process's constructors.
    template <class F, class... A>
        requires detail::stateless<F>
    [[nodiscard]] ipc::process process(F function, A&&... arguments) const {
        return process(process_options(), function, std::forward<A>(arguments)...);
    }
    template <class F, class... A>
        requires detail::stateless<F>
    [[nodiscard]] ipc::process process(process_options options, F function,
                                       A&&... arguments) const {
        options.start = method_;
        if (options.executable == nullptr)
            options.executable = executable_;
        return ipc::process(options, function, std::forward<A>(arguments)...);
    }

private:
    start_method method_;
    const char* executable_ = nullptr;
};

/// `standard`: that which get_start_method() gives.
[[nodiscard]] start_context get_context(start_method m = start_method::standard);

namespace detail {
void set_preload(std::vector<const function_entry*> functions);
} // namespace detail

/// What the helper of forkserver calls when it has started, so that its processes find it done. A
/// hint: it counts for a helper that isn't there yet, and functions that throw are passed over.
/// They must not leave threads behind.
template <class... F>
    requires(detail::stateless<F> && ...)
void set_forkserver_preload(F...) {
    detail::set_preload({&detail::process_target_of<F>::entry...});
}

} // namespace weft::ipc
