// SPDX-License-Identifier: MIT
#include "pool_worker.hpp"

#include "worker_link.hpp"
#include "worker_surroundings.hpp"

#include <weft/ipc/detail/stack_trace.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/registry.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <poll.h>
#include <pthread.h>
#include <stop_token>
#include <sys/socket.h>
#include <thread>
#include <utility>

namespace weft::detail {

namespace {

// The task that is running, for the watching thread.
class stop_desk {
public:
    /// The token that the task `id` is to run with.
    std::stop_token begin(std::uint64_t id, bool takes_stop) {
        std::lock_guard lock(mutex_);
        running_ = id;
        source_ = takes_stop ? std::stop_source() : std::stop_source(std::nostopstate);
        if (stopped_ == id) // the stop was faster than the task
            source_.request_stop();
        return source_.get_token();
    }
    /// The task has returned. Gives whether a stop was asked of it.
    bool end() {
        std::lock_guard lock(mutex_);
        running_ = 0;
        return std::exchange(source_, std::stop_source(std::nostopstate)).stop_requested();
    }
    void stop(std::uint64_t id) {
        source_to_stop(id).request_stop(); // runs callbacks of the task, so not under the lock
    }

private:
    std::stop_source source_to_stop(std::uint64_t id) {
        std::lock_guard lock(mutex_);
        stopped_ = id;
        return running_ == id ? source_ : std::stop_source(std::nostopstate);
    }

    std::mutex mutex_;
    std::stop_source source_{std::nostopstate};
    std::uint64_t running_ = 0;
    std::uint64_t stopped_ = 0;
};

class watcher {
public:
    watcher(int parent, int control, stop_desk& desk)
        : parent_(parent), control_(control), desk_(desk) {
        // Signals of the program go to the main thread.
        sigset_t all, before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        thread_ = std::thread([this] { watch(); });
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
            else if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
                if (quitting_.load(
                        std::memory_order_acquire)) // pairs with the release in the destructor
                    return;
                leave_at_once();
            }
        }
    }

    int parent_;
    int control_;
    stop_desk& desk_;
    std::atomic<bool> quitting_{false};
    std::thread thread_;
};

class pool_worker {
public:
    pool_worker(int parent, int tasks, int control, int memory)
        : link_(tasks, memory), watcher_(parent, control, desk_) {}

    int run() {
        close_gate(); // nothing that tasks mustn't have is needed from here on
        ipc::archive_writer hello = link_.writer();
        hello.write_value(pool_protocol_version);
        link_.send(hello, frame_kind::ready, 0);
        while (true) {
            worker_link::message m = link_.receive();
            switch (m.header.kind) {
            case frame_kind::initialise:
            case frame_kind::task:
                work(m);
                break;
            case frame_kind::quit:
                return 0;
            default: // the parent is the same program: this is memory gone wrong
                leave_at_once();
            }
        }
    }

private:
    struct call {
        const ipc::function_entry& function;
        ipc::archive_reader& arguments;
        ipc::archive_writer& result;
        const std::stop_token& stop;
        static void run(void* p) {
            auto& c = *static_cast<call*>(p);
            c.function.invoke(c.arguments, c.result, c.stop);
        }
    };

    void work(const worker_link::message& m) {
        ipc::detail::stack_trace trace;
        bool failed = false;
        ipc::archive_writer answer = link_.writer();
        try {
            ipc::archive_reader in(m.payload);
            auto id = in.read_value<std::uint64_t>();
            const ipc::function_entry& function =
                ipc::find_function(id, in.read_value<std::uint64_t>());
            std::stop_token stop = desk_.begin(m.header.task, function.takes_stop());
            call c{function, in, answer, stop};
            ipc::detail::call_traced(call::run, &c, trace);
        } catch (...) {
            failed = true;
            answer.rewind(0);
            ipc::encode_error(answer, std::current_exception(), trace.text());
        }
        bool stop_seen = desk_.end();
        link_.send(answer, failed ? frame_kind::error : frame_kind::result, m.header.task,
                   stop_seen);
    }

    worker_link link_;
    stop_desk desk_;
    watcher watcher_;
};

int run_pool_worker(int parent, std::span<const int> descriptors) {
    ipc::detail::prepare_traces();
    pool_worker worker(parent, descriptors[0], descriptors[1], descriptors[2]);
    return worker.run();
}

const ipc::detail::worker_role role("pool", 3, run_pool_worker);

} // namespace

const ipc::detail::worker_role& pool_worker_role() noexcept { return role; }

} // namespace weft::detail
