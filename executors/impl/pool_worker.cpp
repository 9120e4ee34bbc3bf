// SPDX-License-Identifier: MIT
#include "pool_worker.hpp"

#include "call_desk.hpp"
#include "call_runner.hpp"
#include "worker_link.hpp"
#include "worker_surroundings.hpp"
#include "worker_voice.hpp"

#include <weft/ipc/detail/stack_trace.hpp>
#include <weft/runtime/error.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <new>
#include <optional>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>

namespace weft::detail {

namespace {

class watcher {
public:
    watcher(int parent, int control, call_desk& desk)
        : parent_(parent), control_(control), desk_(desk) {
        // Signals of the program go to the main thread.
        sigset_t all, before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            thread_ = std::thread([this] { watch(); });
        } catch (const std::system_error& e) { // no memory, or over the limit of processes
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw_errno(e.code().value(), "start the thread that hears of stops", "in a worker");
        }
        ::pthread_setname_np(thread_.native_handle(), "weft-watch");
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    watcher(const watcher&) = delete;
    watcher& operator=(const watcher&) = delete;
    ~watcher() {
        quitting_.store(true, std::memory_order_release); // pairs with the acquire in watch()
        ::shutdown(control_, SHUT_RDWR);
        thread_.join();
    }

private:
    void watch() noexcept {
        while (true) {
            pollfd both[2] = {{parent_, POLLIN, 0}, {control_, POLLIN, 0}};
            if (::poll(both, 2, -1) < 0 && errno == EINTR)
                continue;
            if (both[0].revents != 0)
                leave_at_once();
            control_message m;
            auto n = ::recv(control_, &m, sizeof m, MSG_DONTWAIT);
            if (n == sizeof m && m.what == control_message::kind::stop)
                desk_.stop(m.task);
            else if (n == sizeof m && m.what == control_message::kind::credit)
                desk_.credit(m.task, m.amount);
            else if (n == sizeof m && m.what == control_message::kind::tasks)
                tell_tasks(m.task);
            else if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
                if (quitting_.load(
                        std::memory_order_acquire)) // pairs with the release in the destructor
                    return;
                leave_at_once();
            }
        }
    }

    void tell_tasks(std::uint64_t question) noexcept {
        try {
            desk_.tell_tasks(question);
        } catch (const std::bad_alloc&) { // then it isn't answered, as by one that hangs
            return;
        }
    }

    int parent_;
    int control_;
    call_desk& desk_;
    std::atomic<bool> quitting_{false};
    std::thread thread_;
};

// Without the watcher's help.
bool dies_with_parent() noexcept {
    int signal = 0;
    return ::prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal == SIGKILL;
}

class pool_worker {
public:
    pool_worker(int parent, int tasks, int control, int memory, int blocks)
        : parent_(parent), control_(control), link_(tasks, memory, blocks, block_bounds_here()),
          runner_(link_, desk_) {}

    int run() {
        if (gate_shuts_out_nothing()) {
            // Nothing that is still to be made can fail for a limit, so it needn't keep the pool
            // waiting. Nor the first call, if it is plain and comes at once.
            say_ready();
            if (!dies_with_parent() || !link_.first_comes_soon())
                settle();
        } else {
            settle();
            close_gate();
            say_ready();
        }
        while (true) {
            worker_link::message m = link_.receive();
            if (!watcher_ && !call_runner::is_plain(m))
                settle();
            close_gate(); // nothing that tasks mustn't have is needed from here on
            switch (m.header.kind) {
            case frame_kind::initialise:
            case frame_kind::task:
            case frame_kind::task_in_setting:
                runner_.run(m);
                break;
            case frame_kind::quit:
                return 0;
            default: // the parent is the same program: this is memory gone wrong
                leave_at_once();
            }
            if (!watcher_)
                settle();
        }
    }

private:
    void say_ready() {
        ipc::archive_writer hello = link_.writer();
        hello.write_value(pool_protocol_version);
        link_.send(hello, frame_kind::ready, 0);
    }

    void settle() {
        ipc::detail::prepare_traces();
        watcher_.emplace(parent_, control_, desk_);
    }

    int parent_;
    int control_;
    worker_link link_;
    call_desk desk_;
    call_runner runner_;
    std::optional<watcher> watcher_; // once it has settled
};

int run_pool_worker(int parent, std::span<const int> descriptors) {
    worker_voice::start(descriptors[1]);
    pool_worker worker(parent, descriptors[0], descriptors[1], descriptors[2], descriptors[3]);
    return worker.run();
}

const ipc::detail::worker_role role("pool", 4, run_pool_worker);

} // namespace

const ipc::detail::worker_role& pool_worker_role() noexcept { return role; }

} // namespace weft::detail
