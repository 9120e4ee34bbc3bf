// SPDX-License-Identifier: MIT
// What is known of a process that was made here, whoever holds a handle of it, and of the family:
// who this process is, who its children are.
//
// Threads:      any; each has a lock.
// Cancellation: none. Errors: as process.hpp's. Cost: a system call for a look at a running one.
// Source: none.
#pragma once
#include <weft/ipc/detail/child.hpp>
#include <weft/ipc/process.hpp>

#include <cstdint>
#include <mutex>

namespace weft::ipc::detail {

/// So that a key fits into a pipe.
inline constexpr std::size_t longest_key = 4096;

class process_record : public std::enable_shared_from_this<process_record> {
public:
    process_record(const process_options& options, const function_entry& function,
                   process_arguments& arguments);

    // Never changes.
    std::string name, identity;
    bool daemon;
    duration stop_grace;
    start_method method; // never `standard`
    std::string executable;
    const function_entry& function;
    int creator; // the process that made it

    /// What the process gets, for those who start it: between begin_start and its end.
    byte_buffer arguments;
    attachments passed;
    secret_bytes key;

    /// Throws state_error if it can't be started now.
    void begin_start();
    void started(child c);
    /// If started() wasn't called: it may be tried again.
    void not_started() noexcept;

    /// Its end, if it has come.
    [[nodiscard]] std::optional<exit_status> look();
    [[nodiscard]] bool is_running();
    [[nodiscard]] std::optional<int> pid() const;
    [[nodiscard]] int sentinel() const;
    bool send_signal(int signal);
    void close();
    /// Throws state_error if it was closed.
    void check_open() const;
    /// Throws state_error unless this process may wait for it.
    void check_join() const;

    /// The last handle is gone.
    void abandoned() noexcept;
    /// The one holder that all handles share.
    [[nodiscard]] std::shared_ptr<process_holder> holder();

private:
    enum class stage : std::uint8_t { made, starting, running, ended, closed };
    [[nodiscard]] std::optional<exit_status> look_locked();

    mutable std::mutex mutex_; // for what follows
    stage stage_ = stage::made;
    child child_;
    std::optional<exit_status> status_;
    std::weak_ptr<process_holder> holder_;
};

/// What handles hold: so a record learns when there are none left.
class process_holder {
public:
    explicit process_holder(std::shared_ptr<process_record> r) noexcept : record(std::move(r)) {}
    process_holder(const process_holder&) = delete;
    process_holder& operator=(const process_holder&) = delete;
    ~process_holder() { record->abandoned(); }
    const std::shared_ptr<process_record> record;
};

/// What a new process is told of itself. Travels in front of its arguments.
struct process_letter {
    std::string name, identity, parent_name;
    std::int32_t parent_pid;
    bool daemon;
    bool parent_thread_lasts; // the thread that starts it ends with its process only
    bool has_tracker;         // its descriptor comes last
    bool log_to_stderr;
    std::int32_t log_level;
    std::uint64_t function, signature;
};

class family {
public:
    /// The one of this process. A fork leaves the children to the parent.
    static family& instance();

    [[nodiscard]] std::string next_identity();
    /// One that has been started.
    void add(std::shared_ptr<process_record> r);
    /// One that has ended.
    void remove(const process_record& r);
    /// Reaps those that have ended, and gives the others.
    [[nodiscard]] std::vector<std::shared_ptr<process_record>> living();
    /// Ends the daemons, waits for the others. At the orderly end of the process.
    void end() noexcept;

    [[nodiscard]] process_info self();
    [[nodiscard]] std::string identity();
    [[nodiscard]] std::optional<process_parent> parent();
    [[nodiscard]] secret_bytes key();
    void set_key(secret_bytes k);
    /// In a child: who it is.
    void be(const process_letter& letter, descriptor parent, secret_bytes key);

private:
    std::mutex mutex_; // for what follows
    int pid_ = 0;
    std::string name_ = "MainProcess";
    std::string identity_;
    bool daemon_ = false;
    unsigned made_ = 0;
    std::optional<process_parent> parent_;
    std::optional<secret_bytes> key_;
    std::vector<std::shared_ptr<process_record>> children_;
    std::size_t look_through_at_ = 16;
};

/// The bytes of a letter and arguments, as memory without a name: the descriptor.
[[nodiscard]] descriptor write_letter(const process_record& r, bool thread_lasts, bool has_tracker);
/// A pipe from which the key can be read, to its end.
[[nodiscard]] descriptor write_key(const secret_bytes& key);
/// Whether the calling thread is the one with which the process began.
[[nodiscard]] bool on_main_thread() noexcept;

/// The life of a process, with what it was given; gives its exit code.
int live(descriptor parent, descriptor letter, descriptor key, std::vector<descriptor> passed);

/// Starts it anew from the program's file.
[[nodiscard]] child spawn_process(const process_record& r);
/// Forks this process, which must have one thread. Doesn't return in the child.
[[nodiscard]] child fork_process(process_record& r);

} // namespace weft::ipc::detail
