// SPDX-License-Identifier: MIT
#include "system_call_filter.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdexcept>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft::detail {

namespace {

// A name that this machine's headers don't know stays a name when it is expanded.
#define WEFT_TEXT_OF(x) #x
#define WEFT_EXPANDED(x) WEFT_TEXT_OF(x)
#define WEFT_CALL(name) {#name, WEFT_EXPANDED(__NR_##name)},

struct known_call {
    const char* name;
    const char* number; // or "__NR_name"
};

// clang-format off
#define WEFT_SYSTEM_CALLS(X) \
    X(_sysctl) X(accept) X(accept4) X(access) X(acct) X(add_key) X(adjtimex) X(afs_syscall) \
    X(alarm) X(arch_prctl) X(bind) X(bpf) X(brk) X(cachestat) X(capget) X(capset) X(chdir) \
    X(chmod) X(chown) X(chroot) X(clock_adjtime) X(clock_getres) X(clock_gettime) \
    X(clock_nanosleep) X(clock_settime) X(clone) X(clone3) X(close) X(close_range) X(connect) \
    X(copy_file_range) X(creat) X(create_module) X(delete_module) X(dup) X(dup2) X(dup3) \
    X(epoll_create) X(epoll_create1) X(epoll_ctl) X(epoll_ctl_old) X(epoll_pwait) \
    X(epoll_pwait2) X(epoll_wait) X(epoll_wait_old) X(eventfd) X(eventfd2) X(execve) \
    X(execveat) X(exit) X(exit_group) X(faccessat) X(faccessat2) X(fadvise64) X(fallocate) \
    X(fanotify_init) X(fanotify_mark) X(fchdir) X(fchmod) X(fchmodat) X(fchmodat2) X(fchown) \
    X(fchownat) X(fcntl) X(fdatasync) X(fgetxattr) X(file_getattr) X(file_setattr) \
    X(finit_module) X(flistxattr) X(flock) X(fork) X(fremovexattr) X(fsconfig) X(fsetxattr) \
    X(fsmount) X(fsopen) X(fspick) X(fstat) X(fstatat) X(fstatfs) X(fsync) X(ftruncate) \
    X(futex) X(futex_requeue) X(futex_wait) X(futex_waitv) X(futex_wake) X(futimesat) \
    X(get_kernel_syms) X(get_mempolicy) X(get_robust_list) X(get_thread_area) X(getcpu) \
    X(getcwd) X(getdents) X(getdents64) X(getegid) X(geteuid) X(getgid) X(getgroups) \
    X(getitimer) X(getpeername) X(getpgid) X(getpgrp) X(getpid) X(getpmsg) X(getppid) \
    X(getpriority) X(getrandom) X(getresgid) X(getresuid) X(getrlimit) X(getrusage) X(getsid) \
    X(getsockname) X(getsockopt) X(gettid) X(gettimeofday) X(getuid) X(getxattr) X(getxattrat) \
    X(init_module) X(inotify_add_watch) X(inotify_init) X(inotify_init1) X(inotify_rm_watch) \
    X(io_cancel) X(io_destroy) X(io_getevents) X(io_pgetevents) X(io_setup) X(io_submit) \
    X(io_uring_enter) X(io_uring_register) X(io_uring_setup) X(ioctl) X(ioperm) X(iopl) \
    X(ioprio_get) X(ioprio_set) X(kcmp) X(kexec_file_load) X(kexec_load) X(keyctl) X(kill) \
    X(landlock_add_rule) X(landlock_create_ruleset) X(landlock_restrict_self) X(lchown) \
    X(lgetxattr) X(link) X(linkat) X(listen) X(listmount) X(listxattr) X(listxattrat) \
    X(llistxattr) X(lookup_dcookie) X(lremovexattr) X(lseek) X(lsetxattr) X(lsm_get_self_attr) \
    X(lsm_list_modules) X(lsm_set_self_attr) X(lstat) X(madvise) X(map_shadow_stack) X(mbind) \
    X(membarrier) X(memfd_create) X(memfd_secret) X(migrate_pages) X(mincore) X(mkdir) \
    X(mkdirat) X(mknod) X(mknodat) X(mlock) X(mlock2) X(mlockall) X(mmap) X(modify_ldt) \
    X(mount) X(mount_setattr) X(move_mount) X(move_pages) X(mprotect) X(mq_getsetattr) \
    X(mq_notify) X(mq_open) X(mq_timedreceive) X(mq_timedsend) X(mq_unlink) X(mremap) X(mseal) \
    X(msgctl) X(msgget) X(msgrcv) X(msgsnd) X(msync) X(munlock) X(munlockall) X(munmap) \
    X(name_to_handle_at) X(nanosleep) X(newfstatat) X(nfsservctl) X(open) X(open_by_handle_at) \
    X(open_tree) X(open_tree_attr) X(openat) X(openat2) X(pause) X(perf_event_open) \
    X(personality) X(pidfd_getfd) X(pidfd_open) X(pidfd_send_signal) X(pipe) X(pipe2) \
    X(pivot_root) X(pkey_alloc) X(pkey_free) X(pkey_mprotect) X(poll) X(ppoll) X(prctl) \
    X(pread64) X(preadv) X(preadv2) X(prlimit64) X(process_madvise) X(process_mrelease) \
    X(process_vm_readv) X(process_vm_writev) X(pselect6) X(ptrace) X(putpmsg) X(pwrite64) \
    X(pwritev) X(pwritev2) X(query_module) X(quotactl) X(quotactl_fd) X(read) X(readahead) \
    X(readlink) X(readlinkat) X(readv) X(reboot) X(recvfrom) X(recvmmsg) X(recvmsg) \
    X(remap_file_pages) X(removexattr) X(removexattrat) X(rename) X(renameat) X(renameat2) \
    X(request_key) X(restart_syscall) X(riscv_flush_icache) X(riscv_hwprobe) X(rmdir) X(rseq) \
    X(rt_sigaction) X(rt_sigpending) X(rt_sigprocmask) X(rt_sigqueueinfo) X(rt_sigreturn) \
    X(rt_sigsuspend) X(rt_sigtimedwait) X(rt_tgsigqueueinfo) X(sched_get_priority_max) \
    X(sched_get_priority_min) X(sched_getaffinity) X(sched_getattr) X(sched_getparam) \
    X(sched_getscheduler) X(sched_rr_get_interval) X(sched_setaffinity) X(sched_setattr) \
    X(sched_setparam) X(sched_setscheduler) X(sched_yield) X(seccomp) X(security) X(select) \
    X(semctl) X(semget) X(semop) X(semtimedop) X(sendfile) X(sendmmsg) X(sendmsg) X(sendto) \
    X(set_mempolicy) X(set_mempolicy_home_node) X(set_robust_list) X(set_thread_area) \
    X(set_tid_address) X(setdomainname) X(setfsgid) X(setfsuid) X(setgid) X(setgroups) \
    X(sethostname) X(setitimer) X(setns) X(setpgid) X(setpriority) X(setregid) X(setresgid) \
    X(setresuid) X(setreuid) X(setrlimit) X(setsid) X(setsockopt) X(settimeofday) X(setuid) \
    X(setxattr) X(setxattrat) X(shmat) X(shmctl) X(shmdt) X(shmget) X(shutdown) X(sigaltstack) \
    X(signalfd) X(signalfd4) X(socket) X(socketpair) X(splice) X(stat) X(statfs) X(statmount) \
    X(statx) X(swapoff) X(swapon) X(symlink) X(symlinkat) X(sync) X(sync_file_range) \
    X(sync_file_range2) X(syncfs) X(sysfs) X(sysinfo) X(syslog) X(tee) X(tgkill) X(time) \
    X(timer_create) X(timer_delete) X(timer_getoverrun) X(timer_gettime) X(timer_settime) \
    X(timerfd_create) X(timerfd_gettime) X(timerfd_settime) X(times) X(tkill) X(truncate) \
    X(tuxcall) X(umask) X(umount2) X(uname) X(unlink) X(unlinkat) X(unshare) X(uselib) \
    X(userfaultfd) X(ustat) X(utime) X(utimensat) X(utimes) X(vfork) X(vhangup) X(vmsplice) \
    X(vserver) X(wait4) X(waitid) X(write) X(writev)
// clang-format on

constexpr known_call known_calls[] = {WEFT_SYSTEM_CALLS(WEFT_CALL)};

#undef WEFT_SYSTEM_CALLS
#undef WEFT_CALL
#undef WEFT_EXPANDED
#undef WEFT_TEXT_OF

#if defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
constexpr std::uint32_t first_foreign = 0x40000000; // x32 calls have this bit
#elif defined(__aarch64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t first_foreign = 0x40000000;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::uint32_t architecture = AUDIT_ARCH_RISCV64;
constexpr std::uint32_t first_foreign = 0x40000000;
#else
constexpr std::uint32_t architecture = 0; // not tried
constexpr std::uint32_t first_foreign = 0;
#endif

// Without one of these no worker could be given a task, answer, or end.
constexpr std::array indispensable{
    "read",  "write", "recvfrom", "sendto", "recvmsg", "sendmsg",    "poll",         "ppoll",
    "futex", "mmap",  "munmap",   "brk",    "exit",    "exit_group", "rt_sigreturn", "close",
};
// What a worker does besides: memory (also such that has no name, for large results), signals,
// locks, time and threads' ends, as the C library and the codec need them. None opens, makes or
// changes anything outside of the process and what it was given.
constexpr std::array also_needed{
    "mremap",          "madvise",
    "mprotect",        "readv",
    "writev",          "shutdown",
    "fstat",           "newfstatat",
    "lseek",           "rt_sigprocmask",
    "rt_sigaction",    "rt_sigtimedwait",
    "sigaltstack",     "restart_syscall",
    "sched_yield",     "nanosleep",
    "clock_nanosleep", "clock_gettime",
    "clock_getres",    "gettimeofday",
    "getpid",          "gettid",
    "tgkill",          "getrandom",
    "membarrier",      "rseq",
    "set_robust_list", "futex_waitv",
    "futex_wait",      "futex_wake",
    "futex_requeue",   "sched_getaffinity",
    "getrusage",       "memfd_create",
    "ftruncate",       "fallocate",
    "fcntl",
};

std::uint32_t number_of(const system_call& c) {
    if (c.name() == nullptr) {
        if (c.number() < 0 || c.number() >= first_foreign)
            throw std::invalid_argument("worker_options: there is no system call " +
                                        std::to_string(c.number()));
        return static_cast<std::uint32_t>(c.number());
    }
    auto n = system_call_number(c.name());
    if (!n)
        throw std::invalid_argument("worker_options: no system call is called " +
                                    std::string(c.name()));
    return *n;
}

bool is_recommended(const system_call& c) {
    return std::ranges::any_of(recommended_denials, [&](const system_call& r) {
        return c.name() != nullptr && std::string_view(c.name()) == r.name();
    });
}

constexpr std::uint64_t packed(sock_filter f) noexcept { return std::bit_cast<std::uint64_t>(f); }

constexpr std::uint64_t load(std::uint32_t offset) noexcept {
    return packed(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}
constexpr std::uint64_t give(std::uint32_t verdict) noexcept {
    return packed(BPF_STMT(BPF_RET | BPF_K, verdict));
}
// Goes on with the next instruction if the condition holds, and skips it if not.
constexpr std::uint64_t if_equal(std::uint32_t n) noexcept {
    return packed(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, n, 0, 1));
}
constexpr std::uint64_t if_not_equal(std::uint32_t n) noexcept {
    return packed(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, n, 1, 0));
}
constexpr std::uint64_t if_at_least(std::uint32_t n) noexcept {
    return packed(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, n, 0, 1));
}

} // namespace

std::optional<std::uint32_t> system_call_number(std::string_view name) noexcept {
    for (const known_call& c : known_calls) {
        if (c.name != name)
            continue;
        std::uint32_t n = 0;
        for (const char* at = c.number; *at != 0; ++at) {
            if (*at < '0' || *at > '9')
                return std::nullopt;
            n = n * 10 + static_cast<std::uint32_t>(*at - '0');
        }
        return n;
    }
    return std::nullopt;
}

std::vector<std::uint64_t> filter_program(const system_call_filter& f) {
    using list = system_call_filter::list;
    if (f.listed == list::off) {
        if (!f.calls.empty())
            throw std::invalid_argument(
                "worker_options: system calls are listed, but not what for");
        return {};
    }
    if (architecture == 0)
        throw std::invalid_argument("worker_options: no filter of system calls for this machine");

    std::vector<std::uint32_t> numbers;
    for (const system_call& c : f.calls) {
        // Those of the recommended list that this machine doesn't have can't be made either.
        if (f.listed == list::denied && c.name() != nullptr && !system_call_number(c.name()) &&
            is_recommended(c))
            continue;
        numbers.push_back(number_of(c));
    }
    for (const char* name : indispensable) {
        auto n = system_call_number(name);
        if (!n)
            continue; // this machine has another one for it
        if (f.listed == list::allowed)
            numbers.push_back(*n);
        else if (std::ranges::find(numbers, *n) != numbers.end())
            throw std::invalid_argument(
                "worker_options: no worker can do without the system call " + std::string(name));
    }
    if (f.listed == list::allowed)
        for (const char* name : also_needed)
            if (auto n = system_call_number(name))
                numbers.push_back(*n);
    std::ranges::sort(numbers);
    const auto same = std::ranges::unique(numbers);
    numbers.erase(same.begin(), same.end());

    const std::uint32_t denied = f.when_denied == denied_call::kills
                                     ? SECCOMP_RET_KILL_PROCESS
                                     : SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA);
    const bool deny_listed = f.listed == list::denied;
    // The calls of another architecture have other numbers: none of them is let through.
    std::vector<std::uint64_t> p{
        load(offsetof(seccomp_data, arch)), if_not_equal(architecture), give(denied),
        load(offsetof(seccomp_data, nr)),   if_at_least(first_foreign), give(denied)};
    for (std::uint32_t n : numbers) {
        p.push_back(if_equal(n));
        p.push_back(give(deny_listed ? denied : SECCOMP_RET_ALLOW));
    }
    p.push_back(give(deny_listed ? SECCOMP_RET_ALLOW : denied));
    if (p.size() > BPF_MAXINSNS)
        throw std::invalid_argument("worker_options: too many system calls are listed");
    return p;
}

bool lets_through(const std::vector<std::uint64_t>& program, std::string_view name) noexcept {
    const auto number = system_call_number(name);
    if (program.empty() || !number)
        return true; // a call that this machine doesn't have isn't made
    std::uint64_t verdict = program.back();
    for (std::size_t i = 0; i + 1 < program.size(); ++i)
        if (program[i] == if_equal(*number))
            verdict = program[i + 1];
    return verdict == give(SECCOMP_RET_ALLOW);
}

void install_filter(const std::vector<std::uint64_t>& program) {
    if (program.empty())
        return;
    std::vector<sock_filter> instructions;
    instructions.reserve(program.size());
    for (std::uint64_t i : program)
        instructions.push_back(std::bit_cast<sock_filter>(i));
    sock_fprog all{static_cast<unsigned short>(instructions.size()), instructions.data()};
    // Else only a privileged process may have one: a program with more rights, started from here,
    // mustn't be fooled by calls that fail.
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        throw_errno(errno, "prctl PR_SET_NO_NEW_PRIVS", "for the filter of system calls");
    long r = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &all);
    if (r != 0) // a thread's number: that one has another filter
        throw_errno(r < 0 ? errno : EBUSY, "seccomp", "filter of system calls");
}

} // namespace weft::detail
