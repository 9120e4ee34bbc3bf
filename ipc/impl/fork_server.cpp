// SPDX-License-Identifier: MIT
#include "fork_server.hpp"

#include "fork_server_machine.hpp"
#include "tracker.hpp"

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace weft::ipc::detail {

namespace {

// Long enough for a machine in trouble; then the server is taken for stopped.
constexpr auto answer_deadline = std::chrono::seconds(10);
constexpr int most_attempts = 3;

std::pair<descriptor, descriptor> packet_sockets() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno(errno, "socketpair", "for the fork server");
    return {descriptor(ends[0]), descriptor(ends[1])};
}

// False if nobody is there to receive it.
bool send_packet(int to, const fork_packet& p, std::span<const int> descriptors) {
    iovec part{const_cast<fork_packet*>(&p), sizeof p};
    alignas(cmsghdr) char control[CMSG_SPACE(fork_server_machine::most_in_packet * sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (!descriptors.empty()) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size_bytes());
    }
    while (::sendmsg(to, &m, MSG_NOSIGNAL) < 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EPIPE:
        case ECONNRESET:
            return false;
        default: // ETOOMANYREFS: more descriptors are on their way than this user may have open
            throw_errno(errno, "ask the fork server");
        }
    }
    return true;
}

// Where this process writes; elsewhere if it doesn't.
descriptor output_of(int fd) {
    descriptor d(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!d)
        d.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!d)
        throw_errno(errno, "open", "/dev/null");
    return d;
}

} // namespace

fork_server& fork_server::instance() {
    // Never destroyed: it is ended after the last process has.
    static fork_server& s = *new fork_server();
    return s;
}

void fork_server::leave_to_parent() noexcept {
    if (int pid = ::getpid(); owner_ != pid) {
        child_.let_go();
        child_ = child();
        control_.reset();
        watched_ = false;
        owner_ = pid;
    }
}

void fork_server::set_preload(std::vector<const function_entry*> functions) {
    std::lock_guard lock(mutex_);
    preload_ = std::move(functions);
}

void fork_server::start() {
    auto [ours, theirs] = packet_sockets();
    // A server that is stopped takes nothing; that mustn't hold up whoever asks for ever.
    const timeval patience{answer_deadline.count(), 0};
    ::setsockopt(ours.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    thread_lasts_ = on_main_thread();
    const std::array<int, 1> passed{theirs.get()};
    child_ = start_worker(fork_server_role(), passed);
    control_ = std::move(ours);
    theirs.reset();
    for (const function_entry* f : preload_) {
        fork_packet p;
        p.what = fork_packet::kind::preload;
        p.function = f->id();
        p.signature = f->signature();
        static_cast<void>(send_packet(control_.get(), p, {}));
    }
}

descriptor fork_server::request(const process_record& r) {
    require_worker_entry("fork server");
    std::lock_guard lock(mutex_);
    leave_to_parent();
    for (int attempt = 0; attempt != most_attempts; ++attempt) {
        if (child_.try_wait() || !control_)
            start();
        auto [ours, theirs] = packet_sockets();
        descriptor names = tracker::instance().for_child();
        descriptor letter = write_letter(r, thread_lasts_, static_cast<bool>(names));
        descriptor key = write_key(r.key);
        descriptor output = output_of(STDOUT_FILENO);
        descriptor error = output_of(STDERR_FILENO);
        std::vector<int> all{theirs.get(), letter.get(), key.get(), output.get(), error.get()};
        for (const descriptor& d : r.passed.list())
            all.push_back(d.get());
        if (names)
            all.push_back(names.get());
        if (all.size() > fork_server_machine::most_in_request)
            throw limit_error("so many descriptors can't be passed through the fork server");
        fork_packet p;
        p.descriptors = static_cast<std::uint32_t>(all.size());
        std::span<const int> left(all);
        bool sent = true;
        while (sent && !left.empty()) {
            auto now = left.first(std::min(left.size(), fork_server_machine::most_in_packet));
            try {
                sent = send_packet(control_.get(), p, now);
            } catch (...) {
                // The rest of a request can't follow later: the next server begins anew.
                if (p.what == fork_packet::kind::more)
                    control_.reset();
                throw;
            }
            left = left.subspan(now.size());
            p.what = fork_packet::kind::more;
        }
        if (sent)
            return std::move(ours);
        child_ = child(); // it is dying, if it isn't dead
    }
    throw process_error("the fork server dies each time that it is started");
}

// While it lives, its task will reap the server.
class fork_server::watch {
public:
    explicit watch(descriptor d) noexcept : pidfd(std::move(d)) {}
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;
    ~watch() {
        fork_server& s = instance();
        std::lock_guard lock(s.mutex_);
        s.watched_ = false;
    }
    const descriptor pidfd; // one of its own: another server may be there by then
};

task<> fork_server::wait_for_end(std::unique_ptr<watch> w) {
    co_await readable(w->pidfd.get());
    instance().look();
}

void fork_server::be_watched() {
    std::unique_ptr<watch> w;
    {
        std::lock_guard lock(mutex_);
        leave_to_parent();
        if (watched_ || child_.try_wait())
            return;
        w = std::make_unique<watch>(descriptor(::fcntl(child_.pidfd(), F_DUPFD_CLOEXEC, 3)));
        watched_ = true;
    }
    if (!w->pidfd)
        return;
    try {
        spawn(wait_for_end(std::move(w))).set_name("fork server");
    } catch (const state_error&) { // the loop is ending
    }
}

void fork_server::give_up() noexcept {
    std::lock_guard lock(mutex_);
    leave_to_parent();
    child_ = child();
    control_.reset();
}

void fork_server::look() noexcept {
    std::lock_guard lock(mutex_);
    leave_to_parent();
    static_cast<void>(child_.try_wait());
}

void fork_server::stop() noexcept { give_up(); }

int fork_server::pid() {
    std::lock_guard lock(mutex_);
    leave_to_parent();
    return child_.try_wait() ? 0 : child_.pid();
}

namespace {

// None if the server died before it had forked.
task<std::optional<child>> reply_on(descriptor socket) {
    fork_reply reply;
    received_message m = co_await weft::detail::receive_message_op(
        socket.get(), std::as_writable_bytes(std::span(&reply, 1)));
    if (m.size() == 0)
        co_return std::nullopt;
    if (m.size() != sizeof reply)
        throw protocol_error("the fork server sent something that is no reply");
    if (reply.error_number == has_threads)
        throw state_error("the fork server has several threads, left behind by what it was to "
                          "preload, and can't fork");
    if (reply.error_number == no_thread_id)
        throw unavailable_error("the fork server can't fork: neither the kernel "
                                "(PR_GET_TID_ADDRESS, which needs CONFIG_CHECKPOINT_RESTORE) nor "
                                "the C library tells where a thread's id is kept");
    if (reply.error_number != 0)
        throw_errno(reply.error_number, "fork", "in the fork server");
    if (m.descriptors().size() != 1)
        throw protocol_error("the fork server sent a process without its pidfd");
    co_return child(reply.pid, std::move(m.descriptors().front()));
}

task<std::optional<child>> reply_in_time(descriptor socket) {
    descriptor again = socket.duplicate();
    auto wait = with_timeout(answer_deadline, reply_on(std::move(socket)));
    try {
        co_return co_await std::move(wait);
    } catch (const timeout_error&) { // it is stopped, or the machine is in deep trouble
    }
    // When it is gone there is a reply, or none will come.
    fork_server::instance().give_up();
    co_return co_await reply_on(std::move(again));
}

} // namespace

task<child> fork_elsewhere(std::shared_ptr<process_record> r) {
    for (int attempt = 0; attempt != most_attempts; ++attempt) {
        auto reply = shield(reply_in_time(fork_server::instance().request(*r)));
        fork_server::instance().be_watched();
        std::optional<child> made = co_await std::move(reply);
        if (made)
            co_return std::move(*made);
    }
    throw process_error("the fork server died each time that it was asked to fork");
}

} // namespace weft::ipc::detail
