// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/child.hpp>

#include <weft/runtime/error.hpp>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <string>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace weft::ipc::detail {

namespace {

// Not through <sys/pidfd.h>: that of glibc 2.36 forgets to say that these are C functions.
int pidfd_open(int pid) noexcept { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }
int pidfd_send_signal(int pidfd, int signal) noexcept {
    return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

class file_actions {
public:
    file_actions() { check(::posix_spawn_file_actions_init(&actions_)); }
    file_actions(const file_actions&) = delete;
    file_actions& operator=(const file_actions&) = delete;
    ~file_actions() { ::posix_spawn_file_actions_destroy(&actions_); }

    void open_null(int fd, int flags) {
        check(::posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", flags, 0));
    }
    void duplicate(int from, int to) {
        check(::posix_spawn_file_actions_adddup2(&actions_, from, to));
    }
    void close_from(int fd) { check(::posix_spawn_file_actions_addclosefrom_np(&actions_, fd)); }
    [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

private:
    static void check(int error_number) {
        if (error_number != 0)
            throw_errno(error_number, "posix_spawn_file_actions");
    }
    posix_spawn_file_actions_t actions_;
};

class spawn_attributes {
public:
    explicit spawn_attributes(bool blocks_signals) {
        if (int e = ::posix_spawnattr_init(&attributes_); e != 0)
            throw_errno(e, "posix_spawnattr_init");
        sigset_t all, blocked;
        ::sigfillset(&all);
        ::sigemptyset(&blocked);
        if (blocks_signals) {
            ::sigaddset(&blocked, SIGINT);
            ::sigaddset(&blocked, SIGTERM);
        }
        ::posix_spawnattr_setsigdefault(&attributes_, &all);
        ::posix_spawnattr_setsigmask(&attributes_, &blocked);
        ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    }
    spawn_attributes(const spawn_attributes&) = delete;
    spawn_attributes& operator=(const spawn_attributes&) = delete;
    ~spawn_attributes() { ::posix_spawnattr_destroy(&attributes_); }
    [[nodiscard]] const posix_spawnattr_t* get() const noexcept { return &attributes_; }

private:
    posix_spawnattr_t attributes_;
};

} // namespace

child spawn_child(const child_options& options) {
    constexpr int first = 3;
    const int end = first + static_cast<int>(options.descriptors.size());

    // A descriptor that lies where another one is to go is moved out of the way before.
    std::vector<descriptor> moved;
    file_actions actions;
    actions.open_null(STDIN_FILENO, O_RDONLY);
    if (options.standard_error >= 0) // before another one takes its number
        actions.duplicate(options.standard_error, STDERR_FILENO);
    for (int fd : {STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0 && !(fd == STDERR_FILENO && options.standard_error >= 0))
            actions.open_null(fd, O_WRONLY);
    for (int to = first; to != end; ++to) {
        int from = options.descriptors[static_cast<std::size_t>(to - first)];
        if (from < end) {
            from = ::fcntl(from, F_DUPFD_CLOEXEC, end);
            if (from < 0)
                throw_errno(errno, "spawn: fcntl F_DUPFD_CLOEXEC", options.path);
            moved.emplace_back(from);
        }
        actions.duplicate(from, to);
    }
    actions.close_from(end);

    spawn_attributes attributes(options.blocks_signals);
    pid_t pid = 0;
    if (int e = ::posix_spawn(&pid, options.path, actions.get(), attributes.get(),
                              const_cast<char* const*>(options.arguments.data()),
                              options.environment == nullptr
                                  ? environ
                                  : const_cast<char* const*>(options.environment));
        e != 0)
        throw_errno(e, "spawn", options.path);

    return adopt_child(pid, "spawn", options.path);
}

child adopt_child(int pid, const char* operation, const char* path) {
    // Until we reap it nobody else can have the pid, unless the program makes the kernel reap by
    // ignoring SIGCHLD: then the pid may be gone (ESRCH), and the status with it.
    int pidfd = pidfd_open(pid);
    if (pidfd < 0 && errno != ESRCH) {
        int e = errno;
        ::kill(pid, SIGKILL);
        siginfo_t info;
        while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) < 0 && errno == EINTR) {
        }
        throw_errno(e, std::string(operation) + ": pidfd_open", path);
    }
    return {pid, descriptor(pidfd)};
}

descriptor own_pidfd() {
    descriptor self(pidfd_open(::getpid()));
    if (!self)
        throw_errno(errno, "pidfd_open", "of this process");
    return self;
}

child::child(int pid, descriptor pidfd) noexcept
    : pidfd_(std::move(pidfd)), pid_(pid), owner_(::getpid()), ended_(!pidfd_) {}

child& child::operator=(child&& other) noexcept {
    child old(std::move(*this)); // ended by its destructor
    pidfd_ = std::move(other.pidfd_);
    pid_ = std::exchange(other.pid_, 0);
    owner_ = other.owner_;
    status_ = other.status_;
    ended_ = std::exchange(other.ended_, true);
    return *this;
}

child::~child() {
    if (ended_ || owner_ != ::getpid()) // what a fork copied ends nobody
        return;
    send_signal(SIGKILL);
    while (!reap(0)) {
    }
}

bool child::send_signal(int signal) noexcept {
    return !ended_ && pidfd_send_signal(pidfd_.get(), signal) == 0;
}

std::optional<exit_status> child::try_wait() noexcept {
    if (!ended_ && !reap(WNOHANG))
        return std::nullopt;
    return status_;
}

bool child::reap(int options) noexcept {
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | options) < 0) {
        switch (errno) {
        case EINTR:
            return false;
        default: // ECHILD: the program took the status itself, or makes the kernel drop it
            ended_ = true;
            return true;
        }
    }
    if (info.si_pid == 0)
        return false;
    switch (info.si_code) {
    case CLD_EXITED:
        status_ = exit_status::by_exit(info.si_status);
        break;
    case CLD_DUMPED:
        status_ = exit_status::by_signal(info.si_status, true);
        break;
    default: // CLD_KILLED
        status_ = exit_status::by_signal(info.si_status);
        break;
    }
    ended_ = true;
    return true;
}

} // namespace weft::ipc::detail
