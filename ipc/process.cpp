// SPDX-License-Identifier: MIT
#include <weft/ipc/process.hpp>

#include "impl/fork_server.hpp"
#include "impl/process_record.hpp"

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/log.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/timeout.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <poll.h>
#include <stdexcept>
#include <unistd.h>

namespace weft::ipc {

namespace detail {

// --- A record ------------------------------------------------------------------------------------

process_record::process_record(const process_options& options, const function_entry& f,
                               process_arguments& a)
    : name(options.name), identity(family::instance().next_identity()), daemon(options.daemon),
      stop_grace(options.stop_grace),
      method(options.start == start_method::standard ? get_start_method() : options.start),
      executable(options.executable == nullptr ? "" : options.executable), function(f),
      creator(::getpid()), arguments(a.out.take()), passed(std::move(a.passed)),
      key(options.key == nullptr ? family::instance().key() : options.key->clone()) {
    if (name.empty())
        name = "Process-" + identity;
}

void process_record::begin_start() {
    const bool by_daemon = family::instance().self().daemon();
    std::lock_guard lock(mutex_);
    if (stage_ != stage::made)
        throw state_error("process " + name + " was started before");
    if (creator != ::getpid())
        throw state_error("process " + name + " can only be started by the process that made it");
    if (by_daemon)
        throw state_error("a daemon can't start processes");
    stage_ = stage::starting;
}

void process_record::started(child c) {
    // What the process has got now needn't be kept for it.
    arguments = byte_buffer();
    passed = attachments();
    key = secret_bytes();
    std::lock_guard lock(mutex_);
    child_ = std::move(c);
    stage_ = stage::running;
}

void process_record::not_started() noexcept {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::starting)
        stage_ = stage::made;
}

std::optional<exit_status> process_record::look_locked() {
    if (stage_ == stage::running) {
        if (creator != ::getpid()) // somebody else's child by now
            return std::nullopt;
        status_ = child_.try_wait();
        if (status_)
            stage_ = stage::ended;
    }
    return status_;
}

std::optional<exit_status> process_record::look() {
    std::lock_guard lock(mutex_);
    return look_locked();
}

bool process_record::is_running() {
    std::lock_guard lock(mutex_);
    static_cast<void>(look_locked());
    return stage_ == stage::running;
}

std::optional<int> process_record::pid() const {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::made || stage_ == stage::starting)
        return std::nullopt;
    return child_.pid();
}

int process_record::sentinel() const {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::made || stage_ == stage::starting)
        throw state_error("process " + name + " wasn't started");
    return child_.pidfd();
}

bool process_record::send_signal(int signal) {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::made || stage_ == stage::starting)
        throw state_error("process " + name + " wasn't started");
    return stage_ == stage::running && child_.send_signal(signal);
}

void process_record::check_open() const {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::closed)
        throw state_error("process " + name + " was closed");
}

void process_record::check_join() const {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::closed)
        throw state_error("process " + name + " was closed");
    if (stage_ == stage::made || stage_ == stage::starting)
        throw state_error("process " + name + " wasn't started");
    if (creator != ::getpid())
        throw state_error("process " + name + " can only be joined by the process that made it");
}

void process_record::close() {
    std::lock_guard lock(mutex_);
    if (stage_ == stage::starting || (stage_ == stage::running && !look_locked()))
        throw state_error("process " + name + " can't be closed while it runs");
    stage_ = stage::closed;
    child_ = child();
    arguments = byte_buffer();
    passed = attachments();
}

std::shared_ptr<process_holder> process_record::holder() {
    std::lock_guard lock(mutex_);
    std::shared_ptr<process_holder> h = holder_.lock();
    if (!h) {
        h = std::make_shared<process_holder>(shared_from_this());
        holder_ = h;
    }
    return h;
}

namespace {

task<> reap_later(std::shared_ptr<process_record> r) {
    int pidfd = r->sentinel();
    while (!r->look())
        co_await readable(pidfd);
    family::instance().remove(*r);
}

} // namespace

void process_record::abandoned() noexcept {
    try {
        if (this_loop_or_null() == nullptr || creator != ::getpid() || !is_running())
            return;
        spawn(reap_later(shared_from_this())).set_name("reaper of a process");
    } catch (...) {
        // The loop is ending, or there is no memory: the next look at the family reaps it, or the
        // end of the process does.
        static_cast<void>(creator);
    }
}

bool on_main_thread() noexcept { return ::gettid() == ::getpid(); }

// --- The family ----------------------------------------------------------------------------------

family& family::instance() {
    // Never destroyed: processes are waited for at the very end.
    static family& f = *new family();
    std::lock_guard lock(f.mutex_);
    if (int pid = ::getpid(); f.pid_ != pid) {
        // Those that a fork has copied are another process's children. Their records would close
        // descriptors, which is right, and kill nobody.
        f.children_.clear();
        f.key_.reset(); // the pages are wiped in the child: zeros are no key
        f.pid_ = pid;
    }
    return f;
}

std::string family::next_identity() {
    std::lock_guard lock(mutex_);
    std::string number = std::to_string(++made_);
    return identity_.empty() ? number : identity_ + ":" + number;
}

void family::add(std::shared_ptr<process_record> r) {
    static const bool at_exit = std::atexit([] { family::instance().end(); }) == 0;
    static_cast<void>(at_exit);
    bool look_through = false;
    {
        std::lock_guard lock(mutex_);
        children_.push_back(std::move(r));
        look_through = children_.size() > look_through_at_;
    }
    if (!look_through)
        return;
    // Those that nobody waits for are reaped now and then.
    std::size_t left = living().size();
    std::lock_guard lock(mutex_);
    look_through_at_ = std::max<std::size_t>(16, 2 * left);
}

void family::remove(const process_record& r) {
    std::lock_guard lock(mutex_);
    std::erase_if(children_, [&](const auto& child) { return child.get() == &r; });
}

std::vector<std::shared_ptr<process_record>> family::living() {
    fork_server::instance().look();
    std::vector<std::shared_ptr<process_record>> all;
    {
        std::lock_guard lock(mutex_);
        all = children_;
    }
    std::erase_if(all, [](const auto& r) { return !r->is_running(); });
    std::lock_guard lock(mutex_);
    std::erase_if(children_, [](const auto& r) { return !r->is_running(); });
    return all;
}

namespace {
void say_at_end(const char* what, const process_record& r) {
    if (logger& log = get_logger(); log.wants(log_level::info))
        log.say(log_level::info, what + r.name);
}
} // namespace

void family::end() noexcept {
    try {
        auto left = living();
        time_point kill_at = clock::now();
        for (const auto& r : left) {
            if (!r->daemon)
                continue;
            say_at_end("terminating daemon ", *r);
            r->send_signal(SIGTERM);
            kill_at = std::max(kill_at, clock::now() + r->stop_grace);
        }
        auto wait_until = [](process_record& r, time_point deadline) {
            while (!r.look()) {
                int timeout = -1;
                if (deadline != never) {
                    auto wait = std::chrono::ceil<std::chrono::milliseconds>(
                        std::max(deadline - clock::now(), duration::zero()));
                    if (wait.count() == 0)
                        return false;
                    timeout = static_cast<int>(std::min<std::int64_t>(wait.count(), 1000));
                }
                pollfd p{r.sentinel(), POLLIN, 0};
                ::poll(&p, 1, timeout);
            }
            return true;
        };
        for (const auto& r : left) {
            if (r->daemon && !wait_until(*r, kill_at))
                r->send_signal(SIGKILL);
        }
        for (const auto& r : left) {
            if (!r->daemon)
                say_at_end("waiting for process ", *r);
            wait_until(*r, never);
        }
        fork_server::instance().stop();
    } catch (...) {
        // No memory for the list: they see that their parent has ended.
        static_cast<void>(mutex_);
    }
}

process_info family::self() {
    std::lock_guard lock(mutex_);
    return {name_, ::getpid(), daemon_};
}

std::string family::identity() {
    std::lock_guard lock(mutex_);
    return identity_;
}

std::optional<process_parent> family::parent() {
    std::lock_guard lock(mutex_);
    return parent_;
}

secret_bytes family::key() {
    std::lock_guard lock(mutex_);
    if (!key_)
        key_ = secret_bytes::random();
    return key_->clone();
}

void family::set_key(secret_bytes k) {
    if (k.size() > longest_key)
        throw std::invalid_argument("a key of more than 4096 bytes");
    std::lock_guard lock(mutex_);
    key_ = std::move(k);
}

void family::be(const process_letter& letter, descriptor parent, secret_bytes k) {
    std::lock_guard lock(mutex_);
    name_ = letter.name;
    identity_ = letter.identity;
    daemon_ = letter.daemon;
    made_ = 0;
    parent_.emplace(letter.parent_name, letter.parent_pid, std::move(parent));
    key_ = std::move(k);
}

// --- Awaited -------------------------------------------------------------------------------------

process_arguments::process_arguments() { out.carry(passed); }

namespace {

// Between begin_start and started, however that ends.
class start_guard {
public:
    explicit start_guard(process_record& r) : record_(r) { r.begin_start(); }
    start_guard(const start_guard&) = delete;
    start_guard& operator=(const start_guard&) = delete;
    ~start_guard() { record_.not_started(); }

private:
    process_record& record_;
};

task<> start_process(std::shared_ptr<process_record> r) {
    start_guard guard(*r);
    switch (r->method) {
    case start_method::fork:
        r->started(fork_process(*r));
        break;
    case start_method::forkserver: {
        child c = co_await fork_elsewhere(r);
        r->started(std::move(c));
        break;
    }
    default:
        r->started(spawn_process(*r));
        break;
    }
    if (logger& log = get_logger(); log.wants(log_level::debug))
        log.say(log_level::debug, "started " + r->name + " by " + std::string(name_of(r->method)) +
                                      " as process " + std::to_string(r->pid().value_or(0)));
    family::instance().add(r);
}

task<std::optional<exit_status>> join_process(std::shared_ptr<process_record> r,
                                              time_point deadline) {
    r->check_join();
    int pidfd = r->sentinel();
    while (true) {
        std::optional<exit_status> status = r->look();
        if (status)
            family::instance().remove(*r);
        if (status || deadline <= now())
            co_return status;
        if (deadline == never) {
            co_await readable(pidfd);
            continue;
        }
        auto wait = with_deadline(deadline, readable(pidfd));
        try {
            co_await std::move(wait);
        } catch (const timeout_error&) {
            continue; // for a last look
        }
    }
}

task<exit_status> join_to_end(std::shared_ptr<process_record> r) {
    std::optional<exit_status> status = co_await join_process(std::move(r), never);
    co_return *status;
}

} // namespace
} // namespace detail

// --- The handle ----------------------------------------------------------------------------------

void process::make(const process_options& options, const function_entry& function,
                   detail::process_arguments& arguments) {
    function.check();
    if (options.start != start_method::standard && name_of(options.start).empty())
        throw std::invalid_argument("no start method");
    if (options.executable == nullptr)
        detail::require_worker_entry("process");
    if (options.key != nullptr && options.key->size() > detail::longest_key)
        throw std::invalid_argument("a key of more than 4096 bytes");
    holder_ = std::make_shared<detail::process_record>(options, function, arguments)->holder();
}

detail::process_record& process::record() const {
    if (!holder_)
        throw state_error("there is no process");
    holder_->record->check_open();
    return *holder_->record;
}

task<> process::start() { return detail::start_process(record().shared_from_this()); }
task<exit_status> process::join() { return detail::join_to_end(record().shared_from_this()); }
task<std::optional<exit_status>> process::join_until(time_point deadline) {
    return detail::join_process(record().shared_from_this(), deadline);
}

bool process::send_signal(int signal) { return record().send_signal(signal); }
bool process::terminate() { return send_signal(SIGTERM); }
bool process::kill() { return send_signal(SIGKILL); }
bool process::interrupt() { return send_signal(SIGINT); }

void process::close() {
    if (!holder_)
        throw state_error("there is no process");
    holder_->record->close();
}

const std::string& process::name() const { return record().name; }
bool process::daemon() const { return record().daemon; }
std::optional<int> process::pid() const { return record().pid(); }
bool process::alive() const {
    detail::process_record& r = record();
    return r.is_running();
}
std::optional<exit_status> process::status() const { return record().look(); }
std::optional<int> process::exit_code() const {
    auto s = status();
    if (!s)
        return std::nullopt;
    return s->known() ? s->number() : 255;
}
int process::sentinel() const { return record().sentinel(); }

process_exit::process_exit(std::string_view why)
    : text_(std::make_shared<const std::string>(why)) {}
process_exit::~process_exit() = default;
const char* process_exit::what() const noexcept {
    return text_ ? text_->c_str() : "the process was asked to end";
}

// --- The family, for users -----------------------------------------------------------------------

std::vector<process> active_children() {
    std::vector<process> all;
    for (const auto& r : detail::family::instance().living())
        all.push_back(process(r->holder()));
    return all;
}

process_info current_process() { return detail::family::instance().self(); }
std::optional<process_parent> parent_process() { return detail::family::instance().parent(); }
secret_bytes authkey() { return detail::family::instance().key(); }
void set_authkey(secret_bytes key) { detail::family::instance().set_key(std::move(key)); }

bool process_parent::alive() const noexcept {
    pollfd p{sentinel(), POLLIN, 0};
    return ::poll(&p, 1, 0) == 0;
}

namespace detail {
namespace {
task<> wait_for_end(process_parent p) { co_await readable(p.sentinel()); }
} // namespace
} // namespace detail

task<> process_parent::join() const { return detail::wait_for_end(*this); }

} // namespace weft::ipc
