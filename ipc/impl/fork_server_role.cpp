// SPDX-License-Identifier: MIT
// The fork server itself: one thread that waits for packets and forks.
#include "fork_server.hpp"
#include "fork_server_machine.hpp"
#include "process_record.hpp"

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/registry.hpp>
#include <weft/runtime/detail/forked.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <dirent.h>
#include <optional>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#define WEFT_HAS_THREAD_OF_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEFT_HAS_THREAD_OF_SANITIZER 1
#endif
#endif

namespace weft::ipc::detail {

namespace {

// What came in one packet. Descriptors beyond those that fit are closed by the kernel.
struct fork_request {
    std::array<std::byte, sizeof(fork_packet) + 1> bytes;
    std::size_t size = 0;
    std::vector<descriptor> descriptors;
    bool ended = false;
};

fork_request receive_packet(int from) {
    fork_request r;
    iovec part{r.bytes.data(), r.bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(fork_server_machine::most_in_packet * sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    ssize_t n = 0;
    do {
        n = ::recvmsg(from, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    r.ended = n <= 0;
    r.size = n < 0 ? 0 : static_cast<std::size_t>(n);
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i != count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            r.descriptors.emplace_back(fd);
        }
    }
    if ((m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0)
        r.size = 0; // not what a parent sends
    return r;
}

void send_reply(int to, fork_reply reply, int pidfd) noexcept {
    iovec part{&reply, sizeof reply};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (pidfd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        cmsghdr* c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(c), &pidfd, sizeof pidfd);
    }
    // The other reply may have been enough, and the socket be closed.
    while (::sendmsg(to, &m, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

bool has_one_thread() noexcept {
#if defined(WEFT_HAS_THREAD_OF_SANITIZER)
    return true; // the other one does no harm
#else
    DIR* tasks = ::opendir("/proc/self/task");
    if (tasks == nullptr)
        return true;
    int n = 0;
    while (const dirent* e = ::readdir(tasks))
        n += e->d_name[0] == '.' ? 0 : 1;
    ::closedir(tasks);
    return n == 1;
#endif
}

// A fork whose child is our parent's. The C library has no call for it, so what its fork does for a
// process with one thread is done here: the thread's id, and the list of robust locks.
class sibling_fork {
public:
    /// As fork(2), with the child's pidfd in the caller. Precondition: there is one thread, whose
    /// id is kept at `thread_id`.
    static pid_t make(int& pidfd, int* thread_id) noexcept {
        void* robust = nullptr;
        std::size_t robust_size = 0;
        const bool has_robust = ::syscall(SYS_get_robust_list, 0, &robust, &robust_size) == 0;
        constexpr unsigned long flags =
            CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
#if defined(__aarch64__)
        long pid = ::syscall(SYS_clone, flags, nullptr, &pidfd, 0L, thread_id);
#else
        long pid = ::syscall(SYS_clone, flags, nullptr, &pidfd, thread_id, 0L);
#endif
        if (pid == 0) {
            if (has_robust)
                ::syscall(SYS_set_robust_list, robust, robust_size);
            weft::detail::note_fork();
        }
        return static_cast<pid_t>(pid);
    }
};

void call_preload(const fork_server_machine& m) noexcept {
    try {
        archive_reader none{std::span<const std::byte>()};
        archive_writer nothing;
        find_function(m.function(), m.signature()).invoke(none, nothing, std::stop_token());
    } catch (...) {
        // A hint, which wasn't to be.
        static_cast<void>(m);
    }
}

class fork_server_process {
public:
    fork_server_process(int parent, int control) : parent_(parent), control_(control) {}

    /// Gives the exit code: of the server, or of the process that has come out of it.
    int run() {
        while (true) {
            pollfd both[2] = {{parent_.get(), POLLIN, 0}, {control_.get(), POLLIN, 0}};
            if (::poll(both, 2, -1) < 0)
                continue; // EINTR
            if (both[0].revents != 0)
                return 0;
            fork_request r = receive_packet(control_.get());
            if (r.ended)
                return 0;
            switch (machine_.received(std::span(r.bytes).first(r.size), r.descriptors.size())) {
            case fork_server_machine::step::preload:
                call_preload(machine_);
                break;
            case fork_server_machine::step::wait:
                keep(r);
                break;
            case fork_server_machine::step::start:
                keep(r);
                if (fork_one())
                    return live_on();
                request_.clear();
                break;
            case fork_server_machine::step::bad:
                return 70; // EX_SOFTWARE
            }
        }
    }

private:
    void keep(fork_request& r) {
        for (descriptor& d : r.descriptors)
            request_.push_back(std::move(d));
    }
    descriptor& place(fork_place p) { return request_[static_cast<std::size_t>(p)]; }

    /// True in the process.
    bool fork_one() noexcept {
        const int reply_to = place(fork_place::reply).get();
        if (!has_one_thread()) {
            send_reply(reply_to, {has_threads, 0}, -1);
            return false;
        }
        int* thread_id = place_of_thread_id(true);
        if (thread_id == nullptr) {
            send_reply(reply_to, {no_thread_id, 0}, -1);
            return false;
        }
        // A signal that comes at once finds the process ready for it.
        sigset_t all, before;
        ::sigfillset(&all);
        ::sigprocmask(SIG_SETMASK, &all, &before);
        int pidfd = -1;
        pid_t pid = sibling_fork::make(pidfd, thread_id);
        const int error_number = errno;
        if (pid == 0) {
            pidfd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
            std::signal(SIGINT, SIG_DFL);
        }
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        descriptor opened(pidfd);
        if (pid < 0)
            send_reply(reply_to, {error_number, 0}, -1);
        else if (pidfd >= 0) // the child may have no descriptor left; the server's reply is enough
            send_reply(reply_to, {0, pid == 0 ? ::getpid() : pid}, pidfd);
        return pid == 0;
    }

    int live_on() {
        control_.reset();
        place(fork_place::reply).reset();
        ::dup2(place(fork_place::output).get(), STDOUT_FILENO);
        ::dup2(place(fork_place::error).get(), STDERR_FILENO);
        std::vector<descriptor> passed;
        for (std::size_t i = static_cast<std::size_t>(fork_place::passed); i < request_.size(); ++i)
            passed.push_back(std::move(request_[i]));
        descriptor letter = std::move(place(fork_place::letter));
        descriptor key = std::move(place(fork_place::key));
        request_.clear();
        return live(std::move(parent_), std::move(letter), std::move(key), std::move(passed));
    }

    descriptor parent_, control_;
    fork_server_machine machine_;
    std::vector<descriptor> request_;
};

int run_fork_server(int parent, std::span<const int> descriptors) {
    ::prctl(PR_SET_NAME, "weft-forkserver");
    fork_server_process server(parent, descriptors[0]);
    return server.run();
}

const worker_role server_role("fork server", 1, run_fork_server, role_kind::helper);

} // namespace

const worker_role& fork_server_role() noexcept { return server_role; }

int* place_of_thread_id(bool asks_kernel) noexcept {
    int* place = nullptr;
    if (asks_kernel && ::prctl(PR_GET_TID_ADDRESS, &place) == 0)
        return place;
    constexpr std::size_t reach = 1024 / sizeof(int); // the record is larger
    const int own = ::gettid();
    for (int *at = reinterpret_cast<int*>(::pthread_self()), *end = at + reach; at != end; ++at) {
        if (*at != own)
            continue;
        if (place != nullptr)
            return nullptr;
        place = at;
    }
    return place;
}

} // namespace weft::ipc::detail
