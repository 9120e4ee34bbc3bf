// SPDX-License-Identifier: MIT
#include <weft/ipc/listener.hpp>

#include "impl/permits.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <exception>
#include <list>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::ipc {

namespace detail {

namespace {

// A socket's place in the file system, removed if it is still the same one.
class own_path {
public:
    own_path() noexcept = default;
    own_path(std::string socket, std::string directory)
        : socket_(std::move(socket)), directory_(std::move(directory)) {
        struct stat s{};
        if (::lstat(socket_.c_str(), &s) == 0) {
            device_ = s.st_dev;
            inode_ = s.st_ino;
        }
    }
    own_path(const own_path&) = delete;
    own_path& operator=(own_path&& other) noexcept {
        remove();
        socket_ = std::exchange(other.socket_, {});
        directory_ = std::exchange(other.directory_, {});
        device_ = other.device_;
        inode_ = other.inode_;
        return *this;
    }
    ~own_path() { remove(); }

    void remove() noexcept {
        struct stat s{};
        if (!socket_.empty() && ::lstat(socket_.c_str(), &s) == 0 && s.st_dev == device_ &&
            s.st_ino == inode_)
            ::unlink(socket_.c_str());
        socket_.clear();
        if (!directory_.empty())
            ::rmdir(directory_.c_str());
        directory_.clear();
    }

private:
    std::string socket_;
    std::string directory_; // made for it; empty if there is none
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

// How it went with somebody who came: a connection, or why there is none.
struct arrival {
    connection joined;
    socket_address from;
    std::exception_ptr error;
};

struct unfinished_handshake {
    explicit unfinished_handshake(const socket_address& a) noexcept : from(a) {}
    task_handle<> task;
    socket_address from;
    // It was told to stop. A result that came just before is of no interest any more.
    bool given_up = false;
};

} // namespace

class listener_state {
public:
    listener_state(const socket_address& at, const listener_options& o, std::string directory);

    task<connection> accept(std::shared_ptr<listener_state> self);
    /// Everything but closing the socket.
    void shut() noexcept;
    task<> close(std::shared_ptr<listener_state> self);

    [[nodiscard]] bool has_waiters() const noexcept { return waiting_ != 0; }
    [[nodiscard]] const socket_address& address() const noexcept { return address_; }

    std::optional<socket_address> last_accepted;
    std::list<std::shared_ptr<unfinished_handshake>> unfinished; // the oldest first

private:
    task<descriptor> accept_socket();
    task<> accept_all(std::shared_ptr<listener_state> self);
    task<> let_in(std::shared_ptr<listener_state> self, std::shared_ptr<unfinished_handshake> me,
                  connection c);
    static void give_up(unfinished_handshake& u) noexcept;
    void begin_handshake(const std::shared_ptr<listener_state>& self, descriptor d);
    void arrived(arrival a);
    void refused(const socket_address& who, const char* why);
    /// Throws authentication_error if the socket's user isn't let in.
    void check_user(const descriptor& d) const;
    void require_open() const;
    [[nodiscard]] connection_options options_of_connections() const noexcept {
        return {.message_limit = options_.message_limit, .read_ahead = options_.read_ahead};
    }

    unix_listener local_;
    tcp_listener remote_;
    socket_address address_;
    own_path path_;
    std::optional<secret_bytes> key_;
    listener_options options_;
    task_handle<> accepting_;
    std::deque<arrival> arrivals_;
    permits there_are_{0}; // one for each of arrivals_
    permits go_on_{0};
    bool paused_ = false; // accept_all waits for go_on_
    bool closed_ = false;
    std::size_t waiting_ = 0;
};

namespace {

bool is_unix(const socket_address& a) noexcept { return a.family() == address_family::unix_domain; }

bool is_path(const socket_address& a) { return is_unix(a) && !a.host().starts_with('@'); }

void check_address(const socket_address& a, const listener_options& o) {
    if (!is_unix(a) && a.family() != address_family::ipv4 && a.family() != address_family::ipv6)
        throw std::invalid_argument("connections can't come to " + a.to_string());
    if (o.key == nullptr && !o.unauthenticated && !is_path(a) && !a.is_loopback())
        throw std::invalid_argument("listening at " + a.to_string() +
                                    " needs a key, or the word that none is wanted");
}

class counted {
public:
    explicit counted(std::size_t& n) noexcept : n_(n) { ++n_; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --n_; }

private:
    std::size_t& n_;
};

} // namespace

listener_state::listener_state(const socket_address& at, const listener_options& o,
                               std::string directory)
    : options_(o) {
    check_address(at, o);
    if (o.key != nullptr)
        key_ = o.key->clone();
    options_.key = nullptr;
    if (is_unix(at)) {
        local_ = listen_unix(at, {.backlog = o.backlog, .ahead = o.ahead});
        address_ = local_.local_address();
        if (is_path(at))
            path_ = own_path(at.host(), std::move(directory));
    } else {
        remote_ = listen_tcp(at, {.backlog = o.backlog, .ahead = o.ahead});
        address_ = remote_.local_address();
    }
}

void listener_state::require_open() const {
    if (closed_)
        throw state_error("the listener is closed");
}

task<descriptor> listener_state::accept_socket() {
    if (is_unix(address_)) {
        unix_stream s = co_await local_.accept();
        co_return s.release();
    }
    tcp_stream s = co_await remote_.accept();
    co_return s.release();
}

void listener_state::check_user(const descriptor& d) const {
    if (!is_unix(address_) || options_.any_user)
        return;
    unix_stream s(d.duplicate());
    unsigned user = s.peer_credentials().uid;
    // Root reads what it wants anyway.
    if (user != ::geteuid() && user != 0)
        throw authentication_error("it belongs to user " + std::to_string(user));
}

task<connection> listener_state::accept(std::shared_ptr<listener_state> self) {
    counted waits(waiting_);
    require_open();
    if (!key_) {
        descriptor d = co_await accept_socket();
        socket_address from = weft::detail::peer_address(d.get());
        check_user(d);
        last_accepted = from;
        co_return connection(std::move(d), options_of_connections());
    }
    if (!accepting_ || accepting_.done())
        accepting_ = spawn(accept_all(std::move(self)));
    permit one = co_await there_are_.take();
    one.keep();
    require_open();
    arrival a = std::move(arrivals_.front());
    arrivals_.pop_front();
    if (std::exchange(paused_, false))
        go_on_.give();
    if (a.error)
        std::rethrow_exception(a.error);
    last_accepted = a.from;
    co_return std::move(a.joined);
}

// Runs beside those who accept, so that nobody waits for another one's handshake.
task<> listener_state::accept_all(std::shared_ptr<listener_state> self) {
    while (true) {
        if (arrivals_.size() >= options_.ahead) {
            paused_ = true;
            permit again = co_await go_on_.take();
            again.keep();
            continue;
        }
        try {
            descriptor d = co_await accept_socket();
            if (closed_)
                co_return;
            begin_handshake(self, std::move(d));
        } catch (const authentication_error& e) {
            refused(socket_address(), e.what());
        } catch (...) { // of the listener itself: the next accept begins anew
            arrived({connection(), socket_address(), std::current_exception()});
            co_return;
        }
    }
}

void listener_state::begin_handshake(const std::shared_ptr<listener_state>& self, descriptor d) {
    socket_address from = weft::detail::peer_address(d.get());
    check_user(d);
    if (unfinished.size() >= std::max(options_.most_unfinished, 1u)) {
        // A new one may be honest; the oldest has had the most time to be.
        std::shared_ptr<unfinished_handshake> oldest = std::move(unfinished.front());
        unfinished.pop_front();
        give_up(*oldest);
        refused(oldest->from, "it had to give way to newer ones");
    }
    connection c(std::move(d), options_of_connections());
    auto newest = std::make_shared<unfinished_handshake>(from);
    unfinished.push_back(newest);
    try {
        newest->task = spawn(let_in(self, newest, std::move(c)));
    } catch (...) {
        unfinished.pop_back();
        throw;
    }
}

void listener_state::give_up(unfinished_handshake& u) noexcept {
    u.given_up = true;
    u.task.cancel();
    u.task = task_handle<>(); // which would keep the frame, and that keeps u
}

task<> listener_state::let_in(std::shared_ptr<listener_state> self,
                              std::shared_ptr<unfinished_handshake> me, connection c) {
    std::string why;
    bool failed = false;
    try {
        handshake_options o;
        o.allow_legacy_md5 = options_.allow_legacy_md5;
        o.time_limit = options_.handshake_time;
        co_await authenticate(c, *key_, handshake_role::listener, o);
    } catch (const std::exception& e) {
        failed = true;
        why = e.what();
    }
    if (me->given_up)
        co_return;
    me->task = task_handle<>();
    unfinished.remove(me);
    if (failed)
        refused(me->from, why.c_str());
    else
        arrived({std::move(c), me->from, nullptr});
    static_cast<void>(self);
}

void listener_state::refused(const socket_address& who, const char* why) {
    // Those who aren't let in mustn't fill the memory either. If nobody hears of them, let it be.
    if (arrivals_.size() >= options_.ahead)
        return;
    std::string name = who.host().empty() ? "a peer" : who.to_string();
    std::string text = name + " wasn't let in: " + why;
    arrived({connection(), who, std::make_exception_ptr(authentication_error(text))});
}

void listener_state::arrived(arrival a) {
    arrivals_.push_back(std::move(a));
    there_are_.give();
}

void listener_state::shut() noexcept {
    closed_ = true;
    path_.remove();
    if (accepting_)
        accepting_.cancel();
    accepting_ = task_handle<>();
    for (const std::shared_ptr<unfinished_handshake>& u : unfinished)
        give_up(*u);
    unfinished.clear();
    arrivals_.clear();
    there_are_.give_all();
}

task<> listener_state::close(std::shared_ptr<listener_state> self) {
    if (closed_)
        co_return;
    shut();
    if (is_unix(address_))
        co_await local_.close();
    else
        co_await remote_.close();
    static_cast<void>(self);
}

} // namespace detail

listener::listener() noexcept = default;
listener::listener(std::shared_ptr<detail::listener_state> s) noexcept : state_(std::move(s)) {}
listener::listener(listener&& other) noexcept = default;

listener& listener::operator=(listener&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}

listener::~listener() {
    if (!state_)
        return;
    WEFT_ASSERT(!state_->has_waiters(), "a listener was destroyed while a task accepts from it");
    state_->shut();
}

namespace {

detail::listener_state& there(const std::shared_ptr<detail::listener_state>& s) {
    if (!s)
        throw state_error("there is no listener");
    return *s;
}

} // namespace

task<connection> listener::accept() { return there(state_).accept(state_); }

task<> listener::close() { return there(state_).close(state_); }

const socket_address& listener::address() const { return there(state_).address(); }

const std::optional<socket_address>& listener::last_accepted() const {
    return there(state_).last_accepted;
}

std::size_t listener::unfinished() const noexcept { return state_ ? state_->unfinished.size() : 0; }

listener listen(const socket_address& at, const listener_options& options) {
    return listener(std::make_shared<detail::listener_state>(at, options, std::string()));
}

listener listen_at_fresh_path(const listener_options& options) {
    const char* base = std::getenv("TMPDIR");
    std::string directory = std::string(base == nullptr ? "/tmp" : base) + "/weft-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr)
        throw_errno(errno, "make a directory", directory);
    try {
        socket_address at = socket_address::unix_path(directory + "/listener");
        return listener(std::make_shared<detail::listener_state>(at, options, directory));
    } catch (...) {
        ::rmdir(directory.c_str());
        throw;
    }
}

task<connection> connect(socket_address to, client_options options) {
    descriptor d;
    switch (to.family()) {
    case address_family::unix_domain: {
        unix_stream s = co_await connect_unix(to);
        d = s.release();
        break;
    }
    case address_family::ipv4:
    case address_family::ipv6: {
        tcp_stream s = co_await connect_tcp(to);
        d = s.release();
        break;
    }
    default:
        throw std::invalid_argument("nobody to connect to at " + to.to_string());
    }
    connection c(std::move(d),
                 {.message_limit = options.message_limit, .read_ahead = options.read_ahead});
    if (options.key != nullptr) {
        handshake_options o;
        o.allow_legacy_md5 = options.allow_legacy_md5;
        o.time_limit = options.handshake_time;
        co_await authenticate(c, *options.key, handshake_role::client, o);
    }
    co_return c;
}

} // namespace weft::ipc
