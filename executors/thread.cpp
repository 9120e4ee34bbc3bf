// SPDX-License-Identifier: MIT
#include <weft/executors/thread.hpp>

#include "impl/native_thread.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/unhandled.hpp>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <source_location>
#include <stdexcept>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

namespace weft {

namespace detail {

enum class thread_kind : std::uint8_t { ours, main, foreign };

class thread_record {
public:
    thread_record(thread_kind k, std::string n, bool d) : kind(k), name(std::move(n)), daemon(d) {}
    thread_record(const thread_record&) = delete;
    thread_record& operator=(const thread_record&) = delete;
    ~thread_record() {
        if (joinable.load(std::memory_order_relaxed)) // nobody is left who could
            ::pthread_detach(handle);
    }

    void start();
    /// Takes the thread out of the system's table, once. Precondition: it has ended, but for the
    /// last destructors.
    void reap() noexcept;
    void require_joinable() const;

    const thread_kind kind;
    std::atomic<std::uint32_t> references{1};
    std::stop_source stop;
    event ended;
    std::unique_ptr<thread_body> body;
    std::optional<context> variables;
    std::size_t stack_size = 0;
    std::atomic<bool> joinable{false}; // `handle` is to be joined or detached
    std::mutex joining;
    pthread_t handle{};

    // Guarded by the registry's lock.
    std::string name;
    bool daemon;
    enum class life : std::uint8_t { fresh, starting, alive, ended } is = life::fresh;
    bool failed = false;
    int native = 0;
    thread_record* next = nullptr;
    thread_record* previous = nullptr;

private:
    static void* run_thread(void* record) noexcept;
    void run() noexcept;
};

void retain_thread(thread_record& r) noexcept {
    r.references.fetch_add(1, std::memory_order_relaxed);
}
void release_thread(thread_record& r) noexcept {
    if (r.references.fetch_sub(1, std::memory_order_acq_rel) == 1)
        delete &r;
}

namespace {

constexpr std::chrono::seconds daemon_grace(1);

// All records of live threads. Never destroyed: threads may end after the program's statics.
struct thread_registry {
    std::mutex mutex; // for all that follows
    std::condition_variable changed;
    thread_record* first = nullptr;
    std::size_t stack_size = 0;
    bool waits_at_exit = false;
    bool exiting = false;
    thread_record* main_record = nullptr;
    std::atomic<std::uint64_t> last_number{0};

    static thread_registry& instance() {
        static thread_registry& all = *new thread_registry();
        return all;
    }
    /// Precondition: somebody holds the record until it is removed.
    void add(thread_record& r) noexcept {
        r.is = thread_record::life::alive;
        r.previous = nullptr;
        r.next = first;
        if (first != nullptr)
            first->previous = &r;
        first = &r;
    }
    void remove(thread_record& r) noexcept {
        r.is = thread_record::life::ended;
        (r.previous == nullptr ? first : r.previous->next) = r.next;
        if (r.next != nullptr)
            r.next->previous = r.previous;
        changed.notify_all();
    }
    template <class Predicate>
    bool any(Predicate p) const {
        for (const thread_record* r = first; r != nullptr; r = r->next) {
            if (r->kind == thread_kind::ours && p(*r))
                return true;
        }
        return false;
    }
};

int kernel_thread_id() noexcept { return static_cast<int>(::gettid()); }

// Of the calling thread, once it is known.
constinit thread_local thread_record* record_here = nullptr;

// Takes the record of a thread that was not made here away when the thread ends.
struct foreign_record_guard {
    foreign_record_guard() noexcept = default;
    foreign_record_guard(const foreign_record_guard&) = delete;
    foreign_record_guard& operator=(const foreign_record_guard&) = delete;
    ~foreign_record_guard() {
        if (record_here == nullptr || record_here->kind != thread_kind::foreign)
            return;
        thread_record& r = *std::exchange(record_here, nullptr);
        thread_registry& all = thread_registry::instance();
        {
            std::lock_guard lock(all.mutex);
            all.remove(r);
        }
        r.ended.set();
        release_thread(r);
    }
    void attach() const noexcept {}
};
thread_local foreign_record_guard foreign_guard;

// The end of the program.
void wait_for_threads() {
    thread_registry& all = thread_registry::instance();
    std::unique_lock lock(all.mutex);
    all.exiting = true;
    // One of them may be who ends the program.
    all.changed.wait(lock, [&] {
        return !all.any([](const thread_record& r) { return !r.daemon && &r != record_here; });
    });
    std::vector<thread_hold> asked;
    for (thread_record* r = all.first; r != nullptr; r = r->next) {
        if (r->kind == thread_kind::ours)
            asked.emplace_back(*r);
    }
    lock.unlock(); // it runs callbacks
    for (const thread_hold& h : asked)
        h->stop.request_stop();
    lock.lock();
    all.changed.wait_for(lock, daemon_grace, [&] {
        return !all.any([](const thread_record& r) { return &r != record_here; });
    });
}

pthread_t handle_of_main() noexcept {
    // The library's statics are made by the main thread, unless it was loaded by another one.
    static const pthread_t handle = ::pthread_self();
    return handle;
}
[[maybe_unused]] const pthread_t noted_handle_of_main = handle_of_main();

thread_record& record_of_main() {
    thread_registry& all = thread_registry::instance();
    std::lock_guard lock(all.mutex);
    if (all.main_record == nullptr) {
        auto* r = new thread_record(thread_kind::main, "MainThread", false);
        r->handle = handle_of_main();
        r->native = ::getpid();
        all.add(*r);
        all.main_record = r; // for ever
    }
    return *all.main_record;
}

thread_record& record_of_caller() {
    if (record_here != nullptr)
        return *record_here;
    if (kernel_thread_id() == ::getpid()) {
        record_here = &record_of_main();
        return *record_here;
    }
    foreign_guard.attach();
    thread_registry& all = thread_registry::instance();
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    auto* r = new thread_record(thread_kind::foreign, name, true);
    r->handle = ::pthread_self();
    r->native = kernel_thread_id();
    std::lock_guard lock(all.mutex);
    all.add(*r);
    record_here = r;
    return *r;
}

bool caller_is_daemon() {
    const thread_record& r = record_of_caller();
    std::lock_guard lock(thread_registry::instance().mutex);
    return r.daemon;
}

void show_name(pthread_t thread, const std::string& name) noexcept {
    ::pthread_setname_np(thread, name.substr(0, 15).c_str());
}

} // namespace

void thread_record::start() {
    thread_registry& all = thread_registry::instance();
    context now = copy_context();
    // Held until the thread may look at what is written here.
    std::unique_lock lock(all.mutex);
    if (is != life::fresh || kind != thread_kind::ours)
        throw state_error("a thread can be started once");
    thread_attributes attributes(stack_size != 0 ? stack_size : all.stack_size);
    const bool given = variables.has_value();
    if (!given)
        variables.emplace(std::move(now));
    retain_thread(*this); // its own
    int e;
    {
        signals_held_off hold;
        e = ::pthread_create(&handle, attributes.get(), run_thread, this);
    }
    if (e != 0) {
        if (!given)
            variables.reset();
        release_thread(*this);
        throw_errno(e, "pthread_create", name);
    }
    is = life::starting;
    joinable.store(true, std::memory_order_relaxed);
    if (!std::exchange(all.waits_at_exit, true))
        std::atexit(wait_for_threads);
    all.changed.wait(lock, [&] { return is != life::starting; });
}

void* thread_record::run_thread(void* record) noexcept {
    static_cast<thread_record*>(record)->run();
    return nullptr;
}

void thread_record::run() noexcept {
    thread_registry& all = thread_registry::instance();
    record_here = this;
    {
        std::lock_guard lock(all.mutex);
        native = kernel_thread_id();
        show_name(::pthread_self(), name);
        all.add(*this);
        all.changed.notify_all();
    }
    bool threw = false;
    try {
        variables->run([this] { body->run(stop.get_token()); });
    } catch (const cancelled_error&) { // it was asked to stop, or has ended itself
        threw = false;
    } catch (...) {
        threw = true;
        std::string who;
        {
            std::lock_guard lock(all.mutex);
            who = name;
        }
        report_current_exception(who.c_str());
    }
    body.reset();
    variables.reset();
    {
        std::lock_guard lock(all.mutex);
        failed = threw;
        all.remove(*this);
    }
    ended.set();
    record_here = nullptr;
    release_thread(*this); // its own
}

void thread_record::reap() noexcept {
    std::lock_guard lock(joining);
    if (joinable.exchange(false))
        ::pthread_join(handle, nullptr);
}

void thread_record::require_joinable() const {
    if (kind != thread_kind::ours)
        throw state_error("a thread that weft didn't make can't be joined");
    if (record_here == this)
        throw state_error("a thread would wait for its own end");
    thread_registry& all = thread_registry::instance();
    std::lock_guard lock(all.mutex);
    if (is == life::fresh || is == life::starting)
        throw state_error("a thread was joined that was not started");
    if (all.exiting && daemon && is == life::alive)
        throw state_error("the program is ending, and a daemon may not");
}

namespace {
event& ended_of(const thread_hold& t) {
    t->require_joinable();
    return t->ended;
}
} // namespace

thread_join_op::thread_join_op(thread_hold t)
    : event::wait_op(ended_of(t).wait()), of_(std::move(t)) {}

void thread_join_op::await_resume() const noexcept { of_->reap(); }

timed_thread_join_op::timed_thread_join_op(wait_limit limit, thread_hold t)
    : event::timed_wait_op(limit, ended_of(t)), of_(std::move(t)) {}

bool timed_thread_join_op::await_resume() {
    bool ended = event::timed_wait_op::await_resume();
    if (ended)
        of_->reap();
    return ended;
}

void run_thread_task(std::stop_token stop, task<> t) {
    sync_wait(with_stop_token(std::move(stop), std::move(t)));
}

} // namespace detail

// -------------------------------------------------------------------------------------------------

using detail::thread_record;
using detail::thread_registry;

thread::thread(const thread_options& options, detail::thread_body* body) {
    std::unique_ptr<detail::thread_body> mine(body);
    detail::require_stack(options.stack_size);
    bool is_daemon = options.daemon ? *options.daemon : detail::caller_is_daemon();
    std::string name = options.name != nullptr
                           ? std::string(options.name)
                           : "Thread-" + std::to_string(++thread_registry::instance().last_number);
    auto r = std::make_unique<thread_record>(detail::thread_kind::ours, std::move(name), is_daemon);
    r->body = std::move(mine);
    r->stack_size = options.stack_size;
    if (options.context != nullptr)
        r->variables.emplace(*options.context);
    of_ = detail::thread_hold(*r);
    detail::release_thread(*r.release()); // the handle holds it
}

void thread::start() const { of_->start(); }

void thread::request_stop() const noexcept { of_->stop.request_stop(); }

std::stop_token thread::get_stop_token() const noexcept { return of_->stop.get_token(); }

std::string thread::name() const {
    std::lock_guard lock(thread_registry::instance().mutex);
    return of_->name;
}

void thread::set_name(std::string_view name) const {
    std::string copy(name);
    std::lock_guard lock(thread_registry::instance().mutex);
    of_->name = std::move(copy);
    if (of_->is == thread_record::life::alive)
        detail::show_name(of_->handle, of_->name);
}

std::optional<thread_id> thread::ident() const noexcept {
    std::lock_guard lock(thread_registry::instance().mutex);
    if (of_->native == 0)
        return std::nullopt;
    return static_cast<thread_id>(of_->handle);
}

std::optional<int> thread::native_id() const noexcept {
    std::lock_guard lock(thread_registry::instance().mutex);
    return of_->native == 0 ? std::nullopt : std::optional(of_->native);
}

bool thread::alive() const noexcept {
    std::lock_guard lock(thread_registry::instance().mutex);
    return of_->is == thread_record::life::alive;
}

std::optional<int> thread::exit_code() const noexcept {
    std::lock_guard lock(thread_registry::instance().mutex);
    if (of_->is != thread_record::life::ended)
        return std::nullopt;
    return of_->failed ? 1 : 0;
}

bool thread::daemon() const noexcept {
    std::lock_guard lock(thread_registry::instance().mutex);
    return of_->daemon;
}

void thread::set_daemon(bool on) const {
    std::lock_guard lock(thread_registry::instance().mutex);
    if (of_->is != thread_record::life::fresh)
        throw state_error("whether a thread is a daemon is settled when it is started");
    of_->daemon = on;
}

thread current_thread() { return thread(detail::thread_hold(detail::record_of_caller())); }

thread main_thread() { return thread(detail::thread_hold(detail::record_of_main())); }

std::vector<thread> threads() {
    static_cast<void>(detail::record_of_main());
    std::vector<thread> all;
    std::lock_guard lock(thread_registry::instance().mutex);
    for (thread_record* r = thread_registry::instance().first; r != nullptr; r = r->next)
        all.push_back(thread(detail::thread_hold(*r)));
    return all;
}

std::size_t thread_stack_size() noexcept {
    std::lock_guard lock(thread_registry::instance().mutex);
    return thread_registry::instance().stack_size;
}

std::size_t set_thread_stack_size(std::size_t bytes) {
    detail::require_stack(bytes);
    std::lock_guard lock(thread_registry::instance().mutex);
    return std::exchange(thread_registry::instance().stack_size, bytes);
}

void interrupt_main(int signal) {
    struct sigaction is{};
    if (signal <= 0 || ::sigaction(signal, nullptr, &is) != 0)
        throw std::invalid_argument("there is no such signal");
    if (is.sa_handler == SIG_IGN)
        return;
    ::syscall(SYS_tgkill, ::getpid(), ::getpid(), signal);
}

} // namespace weft
