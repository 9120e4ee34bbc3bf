// SPDX-License-Identifier: MIT
// The surroundings of a process pool's workers: what they may use, where they run, and which system
// calls they can make.
//
//     weft::task<> decode_untrusted_files() {
//         using namespace std::chrono_literals;
//         const char* variables[] = {"LANG=C", "HOME"};       // sets the one, takes the other away
//         weft::worker_options sandbox;
//         sandbox.limits = {.memory = 512 << 20, .cpu_time = 60s, .open_files = 64};
//         sandbox.directory = "/var/empty";
//         sandbox.environment = variables;
//         sandbox.system_calls = {.listed = weft::system_call_filter::list::denied,
//                                 .calls = weft::recommended_denials};
//         weft::process_pool pool({.workers = 4, .worker = sandbox});
//         co_await pool.shutdown();
//     }
//
// All of it is in force in each worker before its initialiser and its first task, also in one that
// replaces another. What can't be had (no such directory, a limit above the system's) breaks the
// pool with a broken_process_pool that says why, at the first worker's start.
//
// Threads:      any; values, which the pool copies.
// Cancellation: none.
// Errors:       the pool's constructor throws std::invalid_argument for what makes no sense.
// Cost:         a few system calls when a worker starts; a filter costs each system call that isn't
//               in it next to nothing (the kernel remembers those that always pass).
// Source:       setrlimit(2), sched_setaffinity(2), seccomp(2); Python's pools have none of it.
#pragma once
#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <span>

namespace weft {

/// For each worker process, over its whole life (see max_tasks_per_worker). 0: as the pool's
/// process.
struct worker_limits {
    /// Bytes of address space. What doesn't fit is a std::bad_alloc, an error like any other.
    std::uint64_t memory = 0;
    /// Of all its threads. Beyond it the worker is killed by SIGXCPU.
    std::chrono::seconds cpu_time{0};
    /// Descriptors that it may have open, those by which it talks with the pool included.
    std::uint64_t open_files = 0;
};

/// A system call by name ("openat") or number. The text isn't copied.
class system_call {
public:
    constexpr system_call(const char* name) noexcept : name_(name) {}
    template <std::integral I>
    constexpr system_call(I number) noexcept : number_(static_cast<std::int64_t>(number)) {}
    /// Null if it was given by number.
    [[nodiscard]] constexpr const char* name() const noexcept { return name_; }
    [[nodiscard]] constexpr std::int64_t number() const noexcept { return number_; }

private:
    const char* name_ = nullptr;
    std::int64_t number_ = -1;
};

/// What becomes of a system call that the filter doesn't let through.
enum class denied_call : std::uint8_t {
    fails, // with EPERM
    kills, // the worker, by SIGSYS
};

struct system_call_filter {
    enum class list : std::uint8_t { off, denied, allowed };
    /// What `calls` are. If they are those allowed, what a worker needs to get tasks, to answer and
    /// to use memory and threads that it has (but not to open anything) is allowed as well.
    list listed = list::off;
    std::span<const system_call> calls = {};
    denied_call when_denied = denied_call::fails;
};

/// What no computing needs and a program that was taken over would want: making rings, tracing and
/// reading other processes, mounting, namespaces, keys, modules, clocks, the machine's end. Names
/// that a machine doesn't have are no harm here. Tasks that run a loop of their own need rings, and
/// another list.
inline constexpr std::array<system_call, 48> recommended_denials{
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "add_key",
    "request_key",
    "keyctl",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "acct",
    "quotactl",
    "syslog",
    "sethostname",
    "setdomainname",
    "open_by_handle_at",
    "personality",
    "vhangup",
};

/// What becomes of what a worker writes to its standard error.
enum class worker_errors : std::uint8_t {
    shown,  // goes on to that of the pool's process; the last 4 KiB are kept for worker_lost
    kept,   // isn't shown, but kept so
    direct, // the worker writes where the pool's process does, and nothing is known of it
};

struct worker_options {
    worker_limits limits = {};
    /// Where it works. Null: where the pool's process is, or its fork server.
    const char* directory = nullptr;
    /// "NAME=value" sets a variable, "NAME" takes one away.
    std::span<const char* const> environment = {};
    /// There are no variables but those.
    bool clean_environment = false;
    /// Worker N runs on the CPUs cpu_lists[N % cpu_lists.size()] and nowhere else.
    std::span<const std::span<const int>> cpu_lists = {};
    /// Each worker runs on one CPU, of those that the pool's process may use, in turn.
    bool one_cpu_each = false;
    system_call_filter system_calls = {};
    worker_errors errors = worker_errors::shown;
};

} // namespace weft
