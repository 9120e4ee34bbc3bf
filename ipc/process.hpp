// SPDX-License-Identifier: MIT
// A function that runs in a process of its own.
//
//     weft::task<> echo(weft::ipc::connection c) {                  // or a plain function
//         weft::ipc::byte_buffer message = co_await c.receive_bytes();
//         co_await c.send_bytes(message.bytes());
//     }
//     weft::task<> ask() {
//         auto [ours, theirs] = weft::ipc::make_connection_pair();
//         weft::ipc::process p({.name = "echo"}, weft::fn<&echo>, std::move(theirs));
//         co_await p.start();
//         co_await ours.send_bytes(weft::as_bytes("hello"));
//         auto answer = co_await ours.receive_bytes();
//         weft::ipc::exit_status s = co_await p.join();
//         fmt::print("{} bytes, then it {}\n", answer.size(), s.text());
//     }
//
// The process is this program, started again, or a fork of one that was (start_context.hpp says how
// to choose): main() begins with the line of worker_entry.hpp.
// Arguments travel as codec.hpp says, and passing.hpp what is more than bytes; the process gets
// nothing else but the environment, the standard streams (its input is /dev/null) and the key. What
// the function gives is dropped. If it throws, the error, what is nested inside of it and its stack
// are written to standard error and the exit code is 1; process_exit is thrown to end with another
// code. Signals mean what they mean anywhere: an interrupt from the terminal goes to all processes
// of the program, and ends those that don't handle it.
//
// Threads:      any; copies of a handle are the same process. start() and join() are awaited on any
//               loop.
// Processes:    a process ends at once when the one that started it has ended, for whatever reason
//               (one that is stopped, when it goes on, unless the main thread started it). One that
//               ends in an orderly way terminates its daemons first, and then waits for the other
//               processes that it started. A handle that is dropped leaves its process alone; it is
//               still waited for and reaped.
// Cancellation: a stopped join() leaves the process alone. start() isn't stopped once it has begun.
// Errors:       std::system_error with errno and path if it can't be started, codec_error.
//               state_error for what doesn't fit: started twice, or by another process than the one
//               that made it, or by a daemon; joined before it was started; closed while it runs;
//               used after that.
// Cost:         starting takes 0.3 to 1 ms, during which the loop waits for the exec; by a fork
//               server a fraction of it, during which the loop goes on. Waiting for the end takes a
//               request to the ring.
// Source:       multiprocessing.Process.
#pragma once
#include <weft/ipc/detail/process_target.hpp>
#include <weft/ipc/exit_status.hpp>
#include <weft/ipc/secret_bytes.hpp>
#include <weft/ipc/start_method.hpp>
#include <weft/runtime/time.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::ipc {

struct process_options {
    /// Empty: Process-1 for the first that this process makes, Process-1:2 for the second that it
    /// makes in turn.
    std::string_view name = {};
    /// Terminated when this process ends, where another one is waited for; and can't start
    /// processes itself.
    bool daemon = false;
    /// How long a daemon has between SIGTERM and SIGKILL then.
    duration stop_grace = std::chrono::seconds(5);
    start_method start = start_method::standard;
    /// Where this program lies, if spawn is to start another file of it.
    const char* executable = nullptr;
    /// Its key, if it isn't to be that of this process.
    const secret_bytes* key = nullptr;
};

namespace detail {
class process_record;
class process_holder;
struct process_arguments {
    process_arguments();
    process_arguments(const process_arguments&) = delete;
    process_arguments& operator=(const process_arguments&) = delete;
    archive_writer out;
    attachments passed;
};
} // namespace detail

class process {
public:
    /// None.
    process() noexcept = default;
    /// Of `function(arguments...)`; the arguments are encoded here and now. The function is
    /// weft::fn<&f> or something callable without state, such as a lambda that captures nothing.
    template <class F, class... A>
        requires detail::stateless<F>
    explicit process(F function, A&&... arguments)
        : process(process_options(), function, std::forward<A>(arguments)...) {}
    template <class F, class... A>
        requires detail::stateless<F>
    process(const process_options& options, F function, A&&... arguments);

    /// Starts it, once.
    [[nodiscard]] task<> start();
    /// Waits for its end. Any number of tasks may wait, also after that.
    [[nodiscard]] task<exit_status> join();
    /// Waits until `deadline` at most; a past one only looks.
    [[nodiscard]] task<std::optional<exit_status>> join_until(time_point deadline);
    template <class Rep, class Period>
    [[nodiscard]] task<std::optional<exit_status>> join_for(std::chrono::duration<Rep, Period> d) {
        return join_until(deadline_after(d));
    }

    /// Send SIGTERM, SIGKILL or SIGINT. False if it has ended.
    bool terminate();
    bool kill();
    bool interrupt();
    bool send_signal(int signal);

    /// Lets go of what is kept of a process that has ended, or wasn't started. Does nothing the
    /// second time.
    void close();

    [[nodiscard]] const std::string& name() const;
    [[nodiscard]] bool daemon() const;
    /// None before the start.
    [[nodiscard]] std::optional<int> pid() const;
    /// Whether it was started and hasn't ended.
    [[nodiscard]] bool alive() const;
    /// How it ended; none before that.
    [[nodiscard]] std::optional<exit_status> status() const;
    /// The exit code, or minus the signal; 255 if somebody else took the status. None before it has
    /// ended.
    [[nodiscard]] std::optional<int> exit_code() const;
    /// A pidfd, which becomes readable at the end and stays so. state_error before the start.
    [[nodiscard]] int sentinel() const;

    /// Whether there is one.
    explicit operator bool() const noexcept { return static_cast<bool>(holder_); }
    friend bool operator==(const process& a, const process& b) noexcept {
        return a.holder_ == b.holder_;
    }

private:
    friend std::vector<process> active_children();
    explicit process(std::shared_ptr<detail::process_holder> h) noexcept : holder_(std::move(h)) {}
    void make(const process_options& options, const function_entry& function,
              detail::process_arguments& arguments);
    [[nodiscard]] detail::process_record& record() const;

    std::shared_ptr<detail::process_holder> holder_;
};

/// Thrown in a process to end it: with a code, or with a text on standard error and the code 1.
class process_exit : public std::exception {
public:
    explicit process_exit(int code = 0) noexcept : code_(code) {}
    explicit process_exit(std::string_view why);
    ~process_exit() override;
    [[nodiscard]] int code() const noexcept { return code_; }
    [[nodiscard]] bool has_text() const noexcept { return text_ != nullptr; }
    [[nodiscard]] const char* what() const noexcept override;

private:
    std::shared_ptr<const std::string> text_;
    int code_ = 1;
};

/// The processes that this one has started and that haven't ended. Reaps those that have.
[[nodiscard]] std::vector<process> active_children();

/// The running process.
class process_info {
public:
    process_info(std::string name, int pid, bool daemon) noexcept
        : name_(std::move(name)), pid_(pid), daemon_(daemon) {}
    /// MainProcess if nobody started it through this header.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] int pid() const noexcept { return pid_; }
    [[nodiscard]] bool daemon() const noexcept { return daemon_; }

private:
    std::string name_;
    int pid_;
    bool daemon_;
};
[[nodiscard]] process_info current_process();

/// The process that started this one.
class process_parent {
public:
    process_parent(std::string name, int pid, descriptor pidfd)
        : name_(std::move(name)), pid_(pid),
          pidfd_(std::make_shared<const descriptor>(std::move(pidfd))) {}
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] int pid() const noexcept { return pid_; }
    [[nodiscard]] bool alive() const noexcept;
    /// A pidfd, which becomes readable at its end.
    [[nodiscard]] int sentinel() const noexcept { return pidfd_->get(); }
    /// Waits for its end, which is also that of this process.
    [[nodiscard]] task<> join() const;

private:
    std::string name_;
    int pid_;
    std::shared_ptr<const descriptor> pidfd_;
};
/// None in a process that nobody started through this header.
[[nodiscard]] std::optional<process_parent> parent_process();

/// The key that this process and those that it starts share, for listener.hpp. The first of them
/// draws it at random.
[[nodiscard]] secret_bytes authkey();
/// Sets another one, for this process and those that it starts from now on. At most 4096 bytes.
void set_authkey(secret_bytes key);

// -------------------------------------------------------------------------------------------------

template <class F, class... A>
    requires detail::stateless<F>
process::process(const process_options& options, F, A&&... arguments) {
    using target = detail::process_target_of<F, std::remove_cvref_t<A>...>;
    detail::process_arguments encoded;
    target::send_arguments(encoded.out, arguments...);
    make(options, target::entry, encoded);
    (detail::let_go_of(std::forward<A>(arguments)), ...);
}

} // namespace weft::ipc
